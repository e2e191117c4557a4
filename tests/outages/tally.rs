//! What came of the requests in trouble.

use std::time::Duration;

use crate::figures::{figure, measured, none};

/// What somebody was answered.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "is shown")]
pub struct Reply {
    /// Who was asked what with which key.
    pub request: String,
    pub status: u16,
    pub has_retry_after: bool,
    pub took: Duration,
}

/// By when a reply is late although the machine is busy, beyond the time limit.
const LATE: Duration = Duration::from_millis(1_500);

/// The replies of one store in all of its troubles.
#[derive(Debug)]
pub struct Tally {
    store: &'static str,
    limit: Duration,
    troubles: Vec<&'static str>,
    in_trouble: Vec<Reply>,
    /// Those that no trouble changes, with what each should be.
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

    /// Replies that are to be 503.
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

    /// A reply that is to be `status`, trouble or not.
    pub fn unchanged(&mut self, reply: Reply, status: u16) {
        if reply.status != status {
            println!("{}, {:?}: {reply:?}", self.store, self.troubles.last());
        }
        self.unchanged.push((reply, status));
    }

    fn is_late(&self, reply: &Reply) -> bool {
        reply.took > self.limit + LATE
    }

    /// Tells the figures, and fails unless they are right.
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
                "of {asked} requests in trouble of {store} are answered later than the time limit allows"
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
