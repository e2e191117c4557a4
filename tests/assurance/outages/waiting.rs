//! How long requests wait while a store is unavailable, how many wait at once, and how soon the store is used
//! again.
//!
//! A request is sent every 40 ms, whatever became of those before it. In a black hole each request that
//! reaches the store waits for the store's time limit.

use std::{cell::Cell, slice, time::Duration};

use actix_web::rt::System;
use futures_util::future::join_all;
use keyway::store::{AnyStore, PostgresBuilder};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::{
    planted::{Wrong, planted},
    postgres::{CONNECTIONS, Place},
    proxy::Way,
    service::{Guards, Service},
    strace,
    support::figures::{caught, figure, scale},
    tally::SLACK,
};

const LIMIT: Duration = PostgresBuilder::DEFAULT_TIME_LIMIT;
const APART: Duration = Duration::from_millis(40);
const NUMBER: usize = 100;

/// A request that does not reach the store takes less than this.
const AT_ONCE: Duration = Duration::from_millis(250);

/// How many requests may wait at once: those of the first second, until the store is known to be silent, and
/// a few probes.
const MOST: usize = 40;

/// How many of the later requests may probe the store: one every two seconds.
const TRIES: usize = 2;

/// From this time on, requests know that the store is silent.
const KNOWN: Duration = Duration::from_millis(1_500);

/// The longest pause between two probes, and the slack for a busy machine.
const BACK: Duration = Duration::from_secs(5).saturating_add(SLACK);

/// The outcomes of requests. All times count from the moment at which the first request was due.
struct Seen {
    requests: Vec<Request>,
    /// The highest number of requests that waited at once.
    most: usize,
}

struct Request {
    came: Duration,
    answered: Duration,
    status: u16,
}

impl Request {
    fn waited(&self) -> Duration {
        self.answered.checked_sub(self.came).expect("a response follows its request")
    }
}

impl Seen {
    fn slow(&self) -> usize {
        let known = self.requests.iter().filter(|request| request.came >= KNOWN);
        known.filter(|request| request.waited() > AT_ONCE).count()
    }

    /// Returns how long after `end` the first request was admitted.
    fn back(&self, end: Duration) -> Option<Duration> {
        let let_in = self.requests.iter().filter(|request| request.status == 200);
        let_in.map(|request| request.answered).min().map(|first| first.saturating_sub(end))
    }

    fn assert_unavailable(&self) {
        let wrong: Vec<_> = self.requests.iter().filter(|request| request.status != 503).collect();
        assert!(wrong.is_empty(), "{} of {}", wrong.len(), self.requests.len());
    }
}

/// Sends one request with each of `tokens`, through each of `guards` in turn.
async fn come(tokens: impl Iterator<Item = &String>, guards: &[Guards]) -> Seen {
    let (waiting, most) = (Cell::new(0), Cell::new(0));
    let began = Instant::now();
    let mut came = Duration::ZERO;
    let requests =
        tokens.zip(guards.iter().cycle()).enumerate().map(|(number, (token, guards))| {
            let due = came;
            came += APART;
            let (waiting, most) = (&waiting, &most);
            async move {
                sleep_until(began + due).await;
                waiting.set(waiting.get() + 1);
                most.set(most.get().max(waiting.get()));
                let reply = if number % 2 == 0 {
                    guards.ask_axum("/report", token, "one of many").await
                } else {
                    guards.ask_actix("/report", token, "one of many").await
                };
                waiting.set(waiting.get() - 1);
                assert!(reply.status == 200 || reply.has_retry_after, "{reply:?}");
                Request { came: due, answered: began.elapsed(), status: reply.status }
            }
        });
    let requests = join_all(requests).await;
    Seen { requests, most: most.get() }
}

/// Sends requests as [`come`] does. The way to the store is `way` for this time, and then open again.
async fn until_back(
    place: &Place,
    way: Way,
    long: Duration,
    tokens: &[String],
    guards: [&[Guards]; 2],
) -> [Option<Duration>; 2] {
    let number = usize::try_from((long + BACK).as_millis() / APART.as_millis()).unwrap();
    let many = || tokens.iter().cycle().take(number);
    place.proxy.set(way);
    let began = Instant::now();
    let open = async {
        sleep_until(began + long).await;
        place.proxy.set(Way::Open);
    };
    let (first, second, ()) = tokio::join!(come(many(), guards[0]), come(many(), guards[1]), open);
    [first.back(long), second.back(long)]
}

#[test]
fn requests_do_not_pile_up_and_what_is_back_is_used_again() {
    let _undisturbed = strace::undisturbed();
    System::new().block_on(async {
        let place = Place::new(LIMIT).await;
        let tokens = place.service.tokens(NUMBER).await;
        let (mut first, mut last, mut most, mut slow) = (Duration::ZERO, Duration::ZERO, 0, 0);
        let mut asked = 0;
        let (mut back_lost, mut back_reset) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..scale(1, 3) {
            let service = Service::new(&place.store);
            let guards = slice::from_ref(&service.guards);
            place.proxy.set(Way::Lost);
            let seen = come(tokens.iter(), guards).await;
            seen.assert_unavailable();
            first = first.max(seen.requests[0].waited());
            last = last.max(seen.requests[NUMBER - 1].waited());
            most = most.max(seen.most);
            slow = slow.max(seen.slow());
            asked = seen.requests.iter().filter(|request| request.came >= KNOWN).count();
            let [back, _] = until_back(&place, Way::Lost, LIMIT, &tokens, [guards, &[]]).await;
            back_lost = back_lost.max(back.unwrap_or(Duration::MAX));

            // Probes that fail at once lengthen the pause up to the longest one.
            let service = Service::new(&place.store);
            let guards = slice::from_ref(&service.guards);
            let long = Duration::from_secs(9);
            let [back, _] = until_back(&place, Way::Reset, long, &tokens, [guards, &[]]).await;
            back_reset = back_reset.max(back.unwrap_or(Duration::MAX));
        }
        let millis = |duration: Duration| duration.as_millis();
        figure(
            millis(first),
            "<=",
            millis(LIMIT + SLACK),
            "ms does the 1st of 100 uncached requests wait that come 40 ms apart in a black hole, where the time \
             limit is 5000 ms",
        );
        figure(millis(last), "<=", millis(AT_ONCE), "ms does the 100th of them wait");
        figure(most, "<=", MOST, "of them wait at once at most");
        figure(
            slow,
            "<=",
            TRIES,
            &format!(
                "of {asked} of them that come more than 1500 ms after the 1st try the store, and wait longer than 250 ms"
            ),
        );
        figure(
            millis(back_lost),
            "<=",
            millis(BACK),
            "ms after the end of the black hole is the first request answered 200",
        );
        figure(
            millis(back_reset),
            "<=",
            millis(BACK),
            "ms after the end of 9 s of resets is the first request answered 200",
        );
        assert!(first <= LIMIT + SLACK && last <= AT_ONCE && most <= MOST && slow <= TRIES);
        assert!(back_lost <= BACK && back_reset <= BACK);
    });
}

#[test]
fn requests_that_pile_up_or_never_come_back_are_caught() {
    let _undisturbed = strace::undisturbed();
    System::new().block_on(async {
        let place = Place::new(LIMIT).await;
        let tokens = place.service.tokens(NUMBER).await;
        // Each request has its own verifier, which has seen no failure before.
        let forgetful: Vec<_> = tokens.iter().map(|_| Guards::over(place.store.clone())).collect();
        place.proxy.set(Way::Lost);
        let seen = come(tokens.iter(), &forgetful).await;
        seen.assert_unavailable();
        let asked = seen.requests.iter().filter(|request| request.came >= KNOWN).count();
        let last = seen.requests[NUMBER - 1].waited().as_millis();
        place.proxy.set(Way::Open);

        let stays_away = planted(&place.store, Wrong::StaysAway);
        let stays_away = Service::new(&AnyStore::new(stays_away));
        let guards = slice::from_ref(&stays_away.guards);
        let sound = slice::from_ref(&place.service.guards);
        let long = LIMIT + Duration::from_secs(1);
        let [away, back] = until_back(&place, Way::Reset, long, &tokens, [guards, sound]).await;
        assert!(back.is_some(), "the other one is back");

        let too_many = seen.most.saturating_sub(MOST);
        let slow = seen.slow();
        caught(
            usize::try_from(last).unwrap().saturating_sub(250),
            "ms above 250 ms does the 100th request wait without a breaker",
        );
        caught(too_many, "requests above 40 wait at once without a breaker");
        caught(
            slow,
            &format!(
                "of {asked} requests that come more than 1500 ms after the 1st wait longer than 250 ms without \
                 a breaker"
            ),
        );
        let too_late = usize::from(away.is_none_or(|back| back > BACK));
        caught(too_late, "of 1 store that stays away is not back in time");
        assert!(too_many > 0 && slow > 0 && too_late > 0 && last > AT_ONCE.as_millis());
    });
}

#[test]
fn a_black_hole_keeps_no_place_of_the_pool() {
    let _undisturbed = strace::undisturbed();
    System::new().block_on(async {
        let limit = Duration::from_millis(500);
        let place = Place::new(limit).await;
        let tokens = place.service.tokens(60).await;
        for _ in 0..3 {
            // All at once, so that some connections are on their way back to the pool when the outage begins.
            let forgetful: Vec<_> =
                tokens.iter().map(|_| Guards::over(place.store.clone())).collect();
            let asked = tokens.iter().zip(&forgetful);
            let asked =
                asked.map(|(token, guards)| guards.ask_axum("/report", token, "one of many"));
            let lose = async {
                sleep(Duration::from_millis(20)).await;
                place.proxy.set(Way::Lost);
            };
            tokio::join!(join_all(asked), lose);
            place.proxy.set(Way::Open);
        }
        // By then the pool has closed the connections that were on their way back to it.
        sleep(Duration::from_millis(5_500)).await;
        let mut held = Vec::new();
        for number in 0..CONNECTIONS {
            let connection = timeout(Duration::from_secs(2), place.pool.acquire()).await;
            held.push(
                connection.unwrap_or_else(|_| panic!("connection {number} is missing")).unwrap(),
            );
        }
    });
}
