//! Feeds around other ones, with planted faults.

use std::{future::pending, time::Duration};

use keyway::{
    store::{Change, ChangeFeed, Follower},
    time::SystemClock,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

/// A feed that receives changes and never returns them.
pub(super) struct Ignoring<F>(pub(super) F);

impl<F: ChangeFeed> ChangeFeed for Ignoring<F> {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        while self.0.next(follower).await.is_some() {}
        pending().await
    }
}

/// A feed that drops each notice, so that its proofs come too early.
pub(super) struct Deaf<F>(pub(super) F);

impl<F: ChangeFeed> ChangeFeed for Deaf<F> {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        loop {
            match self.0.next(follower).await {
                Some(Change::Notice(_)) => {}
                event => return event,
            }
        }
    }
}

/// A feed that proves without asking the store. It returns all other events of the feed beneath.
pub(super) struct Eager(UnboundedReceiver<Change>);

impl Eager {
    pub(super) fn over(mut feed: impl ChangeFeed, max_staleness: Duration) -> Self {
        let (sender, events) = unbounded_channel();
        tokio::spawn(async move {
            let follower = Follower::new(SystemClock, max_staleness);
            while let Some(event) = feed.next(&follower).await {
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
        Self(events)
    }
}

impl ChangeFeed for Eager {
    async fn next(&mut self, follower: &Follower) -> Option<Change> {
        match timeout(Duration::from_millis(20), self.0.recv()).await {
            Ok(Some(Change::Proof(_))) | Err(_) => Some(Change::Proof(follower.moment())),
            Ok(event) => event,
        }
    }
}
