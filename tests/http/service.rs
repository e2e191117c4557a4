//! The small service that every server serves, and its counters.
//!
//! | path | method | required access |
//! |---|---|---|
//! | `/report` | `GET` | `reporting` |
//! | `/report` | `POST` | `operator.jobs` |
//! | `/either` | `GET` | `reporting` or `operator.read` |
//! | `/any` | `GET` | any key |
//! | `/every` | all | any key |
//! | `/optional` | `GET` | any key, or none |
//! | `/public` | `GET` | nothing |
//! | `/keyed` | `GET` | any key, also in `x-api-key` |
//! | `/only` | `GET` | any key, only in `x-api-key` |
//! | `/kept` | `GET` | any key, which stays in the request |
//! | `/machines/{id}` | `GET` | `reporting`, and the machine in the path |
//! | `/panic` | `GET` | any key; the handler panics with all data that it has |
//!
//! Each path with `GET` is also there below [`CALLS`], with `POST` and the same access. Protocols of remote calls have
//! no other method.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use keyway::{
    Guard, Principal,
    http::{ClientAddress, ForwardAuth},
};

use crate::{
    logs::Logs,
    support::World,
    tokens::{self, Tokens},
};

/// The path below which a `POST` reads.
pub const CALLS: &str = "/calls";

/// A world with its tokens, and the state that its servers need. All handlers of one server share it.
pub struct Service {
    pub world: World,
    pub tokens: Tokens,
    /// The log of the server's thread, if it is recorded.
    pub logs: Option<Logs>,
    /// The realm of its guards.
    realm: &'static str,
    /// The gateway that asks its guards, if one does.
    gateway: Option<ForwardAuth>,
    /// The number of reads of the store before the first request.
    reads_before: usize,
    runs: AtomicUsize,
    under_way: AtomicUsize,
}

/// The parts of a request that a handler sees.
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
        Self {
            world,
            tokens,
            logs: None,
            realm: "mm",
            gateway: None,
            reads_before,
            runs,
            under_way,
        }
    }

    /// Returns this service, recording everything that its server logs.
    pub fn logging(mut self, logs: Logs) -> Self {
        self.logs = Some(logs);
        self
    }

    /// Returns this service in another realm.
    pub fn of_realm(mut self, realm: &'static str) -> Self {
        self.realm = realm;
        self
    }

    /// Returns this service for a gateway, which asks before it forwards a request.
    pub fn behind(mut self, gateway: ForwardAuth) -> Self {
        self.gateway = Some(gateway);
        self
    }

    /// Returns the guard of all routes except `/keyed`, `/only` and `/kept`.
    pub fn guard(&self) -> Guard {
        let guard = Guard::new(&self.world.keyring).realm(self.realm).unwrap();
        let guard = guard.client_address(ClientAddress::socket()).touches_no("machine").unwrap();
        match self.gateway {
            Some(gateway) => guard.forward_auth(gateway),
            None => guard,
        }
    }

    /// Returns the guard of `/keyed`.
    pub fn key_guard(&self) -> Guard {
        self.guard().key_header("X-API-Key").unwrap()
    }

    /// Returns the guard of `/only`.
    pub fn only_guard(&self) -> Guard {
        self.guard().key_header_only("X-API-Key").unwrap()
    }

    /// Returns the number of handlers that ran.
    pub fn runs(&self) -> usize {
        self.runs.load(SeqCst)
    }

    /// Returns the number of reads of the store for a key.
    pub fn reads(&self) -> usize {
        self.world.store.calls("lookup") - self.reads_before
    }

    /// Returns the number of requests that have neither a response nor been dropped.
    pub fn under_way(&self) -> usize {
        self.under_way.load(SeqCst)
    }

    /// Counts a request as in progress until the returned value is dropped.
    pub fn enter(self: &Arc<Self>) -> impl Drop + Send + use<> {
        self.under_way.fetch_add(1, SeqCst);
        UnderWay(Arc::clone(self))
    }

    /// Returns the body of `route`'s response, which is `text/plain; charset=utf-8`.
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
