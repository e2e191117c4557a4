//! Services over stores with a planted fault, and their responses during an outage.

use std::time::Duration;

use keyway::store::AnyStore;

use crate::{
    planted::{Wrong, planted},
    service::{Guards, Keys, Look, Service},
    support::figures,
    tally::{Reply, Tally},
};

/// A guard and a console over each planted store.
pub struct PlantedStores {
    finds_nothing: Service,
    remembers: Service,
    is_late: Service,
}

impl PlantedStores {
    /// `late` is the extra time that one of the planted stores takes for an error.
    pub fn over(store: &AnyStore, late: Duration) -> Self {
        let [finds_nothing, remembers, is_late] =
            [Wrong::FindsNothing, Wrong::Remembers, Wrong::IsLate(late)]
                .map(|wrong| Service::new(&AnyStore::new(planted(store, wrong))));
        Self { finds_nothing, remembers, is_late }
    }

    pub fn guards(&self) -> [&Guards; 3] {
        [&self.finds_nothing.guards, &self.remembers.guards, &self.is_late.guards]
    }

    /// Reads through the remembering store while the database is up, so that it has results to repeat.
    pub async fn remember(&self, keys: &Keys) {
        for reply in self.remembers.look(keys, "before the trouble").await.console {
            assert_eq!(reply.status, 200, "{reply:?}");
        }
        keys.become_stale().await;
    }

    /// Returns the responses of each planted service.
    pub async fn look(&self, keys: &Keys) -> [Look; 3] {
        let looks = tokio::join!(
            self.finds_nothing.look(keys, "finds nothing"),
            self.remembers.look(keys, "remembers"),
            self.is_late.look(keys, "is late")
        );
        [looks.0, looks.1, looks.2]
    }
}

/// How many wrong responses were caught, counted for the guards and for the console.
#[derive(Default)]
pub struct Caught {
    asked: Numbers,
    turned_away: Numbers,
    let_in: Numbers,
    late: Numbers,
}

#[derive(Clone, Copy, Default)]
struct Numbers {
    guards: usize,
    console: usize,
}

impl Numbers {
    fn add(&mut self, look: &Look, is: impl Fn(&Reply) -> bool) {
        self.guards += look.guards.iter().filter(|reply| is(reply)).count();
        self.console += look.console.iter().filter(|reply| is(reply)).count();
    }
}

impl Caught {
    pub fn add(&mut self, [nothing, remembered, late]: [Look; 3], tally: &Tally) {
        self.asked.add(&nothing, |_| true);
        self.turned_away.add(&nothing, |reply| [401, 404].contains(&reply.status));
        self.let_in.add(&remembered, |reply| reply.status == 200);
        self.late.add(&late, |reply| tally.is_late(reply));
    }

    /// Prints the figures of this outage. `late` describes the store that is late.
    pub fn tell(&self, trouble: &str, late: &str) {
        let of_guards: fn(&Numbers) -> usize = |numbers| numbers.guards;
        let of_console: fn(&Numbers) -> usize = |numbers| numbers.console;
        for (who, refusal, number) in [("guards", 401, of_guards), ("the console", 404, of_console)]
        {
            let asked = number(&self.asked);
            for (caught, what) in [
                (&self.turned_away, format!("are {refusal} with a store that finds nothing")),
                (&self.let_in, "are 200 with a store that remembers for ever".to_owned()),
                (&self.late, format!("are late with a store that {late}")),
            ] {
                let caught = number(caught);
                figures::caught(caught, &format!("of {asked} answers of {who} {what}{trouble}"));
                assert!(caught > 0, "{who}: {what}");
            }
        }
    }
}
