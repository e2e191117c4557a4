//! The small service that every server serves, and what it remembers.
//!
//! | path | method | what it asks |
//! |---|---|---|
//! | `/report` | `GET` | `reporting` |
//! | `/report` | `POST` | `operator.jobs` |
//! | `/either` | `GET` | `reporting` or `operator.read` |
//! | `/any` | `GET` | any key |
//! | `/every` | all | any key |
//! | `/optional` | `GET` | any key, or none |
//! | `/public` | `GET` | nothing |
//! | `/keyed` | `GET` | any key, also in `x-api-key` |
//! | `/kept` | `GET` | any key, which stays in the request |
//! | `/panic` | `GET` | any key; the handler panics and says all that it knows |

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use keyway::{decision::Principal, http::Guard};

use crate::{
    common::World,
    logs::Logs,
    tokens::{self, Tokens},
};

/// One world with its tokens, and what the servers of it need. Shared by all handlers of one server.
pub struct Service {
    pub world: World,
    pub tokens: Tokens,
    /// What the whole thread of a server writes to its log, if anybody wants to know.
    pub logs: Option<Logs>,
    /// The realm of its guards.
    realm: &'static str,
    /// How often the store was asked before anybody was served.
    reads_before: usize,
    runs: AtomicUsize,
    under_way: AtomicUsize,
}

/// What a handler sees of its request.
pub struct Seen<'r> {
    pub caller: Option<&'r Principal>,
    pub has_authorization: bool,
    pub has_key_field: bool,
    pub body: &'r [u8],
}

impl Service {
    pub fn new() -> Self {
        let (world, tokens) = tokens::world();
        let (runs, under_way) = Default::default();
        let reads_before = world.store.calls("lookup");
        Self { world, tokens, logs: None, realm: "mm", reads_before, runs, under_way }
    }

    /// This service, writing down all that its server says.
    pub fn logging(mut self, logs: Logs) -> Self {
        self.logs = Some(logs);
        self
    }

    /// This service in another realm.
    pub fn of_realm(mut self, realm: &'static str) -> Self {
        self.realm = realm;
        self
    }

    /// The guard of all routes but `/keyed` and `/kept`.
    pub fn guard(&self) -> Guard {
        Guard::new(&self.world.keyring).realm(self.realm).unwrap()
    }

    /// The guard of `/keyed`.
    pub fn key_guard(&self) -> Guard {
        self.guard().key_field("X-API-Key").unwrap()
    }

    /// How often any handler ran.
    pub fn runs(&self) -> usize {
        self.runs.load(SeqCst)
    }

    /// How often the store was asked for a key.
    pub fn reads(&self) -> usize {
        self.world.store.calls("lookup") - self.reads_before
    }

    /// How many requests are neither answered nor given up.
    pub fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }

    /// Counts a request until what this gives is dropped.
    pub fn enter(self: &Arc<Self>) -> impl Drop + Send + use<> {
        self.under_way.fetch_add(1, SeqCst);
        UnderWay(Arc::clone(self))
    }

    /// What the handler of `route` answers, as `text/plain; charset=utf-8`.
    pub fn answer(&self, route: &str, seen: &Seen<'_>) -> String {
        self.runs.fetch_add(1, SeqCst);
        let Seen { caller, has_authorization, has_key_field, body } = seen;
        let catalog = self.world.keyring.policy().catalog();
        let caller = match caller {
            Some(caller) => {
                let scopes = catalog.text(caller.scopes());
                format!("{}/{} ({scopes})", caller.tenant(), caller.name())
            }
            None => "nobody".into(),
        };
        let mut text = format!("{route} for {caller}");
        if *has_authorization {
            text.push_str(", sees authorization");
        }
        if *has_key_field {
            text.push_str(", sees x-api-key");
        }
        if !body.is_empty() {
            write!(text, ", body of {}", body.len()).unwrap();
        }
        text
    }
}

struct UnderWay(Arc<Service>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}
