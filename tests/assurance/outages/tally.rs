//! The responses to requests during outages, and the figures about them.

use std::time::Duration;

use crate::support::figures::{figure, measured, none};

/// The response to one request.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "is shown")]
pub struct Reply {
    /// The request: which guard or console, and which key.
    pub request: String,
    pub status: u16,
    pub has_retry_after: bool,
    pub took: Duration,
}

/// How much later than the store's time limit a response may be, since the machine is busy. The figures name
/// this value.
pub const SLACK: Duration = Duration::from_millis(1_500);

/// The responses over one store in all of its outages.
#[derive(Debug)]
pub struct Tally {
    store: &'static str,
    limit: Duration,
    troubles: Vec<&'static str>,
    in_trouble: Vec<Reply>,
    /// Responses that no outage changes, each with the status that it should have.
    unchanged: Vec<(Reply, u16)>,
}

impl Tally {
    pub fn new(store: &'static str, limit: Duration) -> Self {
        let (troubles, in_trouble, unchanged) = Default::default();
        Self { store, limit, troubles, in_trouble, unchanged }
    }

    pub fn begin(&mut self, trouble: &'static str) {
        if !self.troubles.contains(&trouble) {
            self.troubles.push(trouble);
        }
    }

    /// Adds responses that must be 503.
    pub fn in_trouble(&mut self, replies: Vec<Reply>) {
        let trouble = self.troubles.last().unwrap();
        for reply in &replies {
            let is_right = reply.status == 503 && reply.has_retry_after && !self.is_late(reply);
            if !is_right {
                println!("{}, {trouble}: {reply:?}", self.store);
            }
        }
        self.in_trouble.extend(replies);
    }

    /// Adds a response that must be `status`, in an outage or not.
    pub fn unchanged(&mut self, reply: Reply, status: u16) {
        if reply.status != status {
            println!("{}, {:?}: {reply:?}", self.store, self.troubles.last());
        }
        self.unchanged.push((reply, status));
    }

    pub fn is_late(&self, reply: &Reply) -> bool {
        reply.took > self.limit + SLACK
    }

    /// Prints the figures, and panics unless they are right.
    pub fn tell(&self) {
        let Self { store, troubles, in_trouble, .. } = self;
        let (asked, kinds) = (in_trouble.len(), troubles.len());
        let number =
            |is: &dyn Fn(&Reply) -> bool| in_trouble.iter().filter(|reply| is(reply)).count();
        let (let_in, refused) =
            (number(&|reply| reply.status == 200), number(&|reply| reply.status == 401));
        let right = number(&|reply| reply.status == 503 && reply.has_retry_after);
        let late = number(&|reply| self.is_late(reply));
        let troubles = troubles.join(", ");
        figure(
            right,
            "=",
            asked,
            &format!(
                "of {asked} requests in {kinds} troubles of {store} are answered 503 with Retry-After: {troubles}"
            ),
        );
        none(let_in, &format!("of {asked} requests in trouble of {store} are answered 200"));
        none(refused, &format!("of {asked} requests in trouble of {store} are answered 401"));
        none(
            late,
            &format!(
                "of {asked} requests in trouble of {store} are answered after more than {} ms: the time limit of {} ms and 1500 ms for a busy machine",
                (self.limit + SLACK).as_millis(),
                self.limit.as_millis()
            ),
        );
        let slowest = in_trouble.iter().map(|reply| reply.took).max().unwrap();
        let limit = self.limit.as_millis();
        measured(
            format!("{}ms", slowest.as_millis()),
            &format!("is the slowest of these answers, where the time limit is {limit} ms"),
        );
        let wrong = self.unchanged.iter().filter(|(reply, status)| reply.status != *status).count();
        none(
            wrong,
            &format!(
                "of {} requests that no trouble of {store} concerns are answered otherwise: malformed and no \
                 keys while it is down, wrong keys while it is up",
                self.unchanged.len()
            ),
        );
        assert_eq!((right, let_in, refused, late, wrong), (asked, 0, 0, 0, 0));
    }
}
