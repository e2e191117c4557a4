//! A keyring with its store and cache beside a naive service.

use std::{collections::BTreeSet, fmt::Debug, slice};

use keyway::{
    KeyId, KeyRecord, Keyring, KeyringError, MemoryStore, OneTimeToken, Pepper, Peppers, Principal,
    TenantKeys, Timestamp, VerifyError,
    store::{KeyLookup, KeyQuery, KeyStore},
    time::{Clock, ManualClock},
    verifier::{Freshness, Verifier},
};

use crate::support::{block_on, fresh_rng, overheard::RevealKnown as _, tenant_id};

use super::{
    naive_model::{
        declare::build,
        naive::{
            Caller, Granter, Policy, Refusal, Ring, Rules, Service, Shape, Share, Tier, Time, Token,
        },
        random::Random,
        translate::{self, foreign_format},
    },
    steps,
};

pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
pub(super) const SCOPES: [&str; 6] =
    ["erp", "manager", "operator", "operator.jobs", "operator.read", "reporting"];

/// The kinds of resources that the policy may declare.
pub(super) const KINDS: [&str; 2] = ["machine", "site"];

pub(super) struct History {
    pub(super) service: Service,
    pub(super) memory: MemoryStore,
    pub(super) clock: ManualClock,
    pub(super) keyring: Keyring,
    /// Verifies without recording uses.
    reader: Verifier,
    /// All keys that ever existed, by number, with their tenants.
    pub(super) keys: Vec<(KeyId, &'static str)>,
    /// All tokens that ever existed, by number of the secret.
    pub(super) tokens: Vec<(Token, String)>,
    /// The steps and their outcomes.
    pub(super) log: Vec<String>,
}

/// Plays the history with this number. Returns the first difference, after the steps before it.
pub(super) fn play(rules: Rules, seed: u64, number: u64) -> Result<(), String> {
    let mut random = Random::of_case(seed, number);
    let mut history = History::new(rules);
    let mut play = || {
        steps::create_first_tenant(&mut history)?;
        for _ in 0..=random.below(40) {
            steps::step(&mut history, &mut random)?;
            history.compare_store()?;
        }
        history.compare_all_tokens()
    };
    play().map_err(|difference| {
        format!("history {number} of SEED={seed}: {}\n{difference}", history.log.join("\n"))
    })
}

impl History {
    fn new(rules: Rules) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (memory, clock) = (MemoryStore::new(), ManualClock::at(start));
        let (policy, ring) = (policy(&KINDS), ring(0));
        let (keyring, reader) = open(&memory, &clock, &policy, 0);
        Self {
            service: Service::new(rules, policy, ring, start.as_millis()),
            memory,
            clock,
            keyring,
            reader,
            keys: Vec::new(),
            tokens: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Expects that both sides had the same outcome.
    pub(super) fn same<T: Debug + PartialEq>(
        &mut self,
        what: &str,
        actual: Result<T, KeyringError>,
        expected: &Result<T, Refusal>,
    ) -> Result<(), String> {
        let actual = match actual {
            Ok(value) => Ok(value),
            Err(error) => Err(refusal(&error)?),
        };
        self.log.push(format!("{what}: {actual:?}"));
        if actual == *expected { Ok(()) } else { Err(format!("and not {expected:?}")) }
    }

    /// Adds a token that the keyring issued.
    pub(super) fn keep(&mut self, key: usize, record: &KeyRecord, token: OneTimeToken) {
        self.keep_text(key, record, token.reveal_known().to_string());
    }

    /// Adds a token of keyway, or of another system.
    pub(super) fn keep_text(&mut self, key: usize, record: &KeyRecord, token: String) {
        let (secret, slot) = (self.tokens.len(), record.id().slot());
        let foreign = record.imported();
        self.tokens.push((Token { key, secret, slot, foreign, shape: Shape::Whole }, token));
    }

    /// Opens the keyring with a new current pepper and all earlier ones.
    pub(super) fn change_pepper(&mut self) {
        let slot = (self.service.ring.current + 1).min(9);
        self.service.ring = ring(slot);
        self.open();
    }

    /// Opens the keyring with a policy that declares these kinds of resources.
    pub(super) fn change_kinds(&mut self, kinds: &[&str]) {
        self.service.policy = policy(kinds);
        self.open();
    }

    fn open(&mut self) {
        let (policy, slot) = (&self.service.policy, self.service.ring.current);
        (self.keyring, self.reader) = open(&self.memory, &self.clock, policy, slot);
    }

    pub(super) fn handle(&self, tenant: &str, granters: &[Granter]) -> TenantKeys {
        let catalog = self.keyring.policy().catalog();
        let grants =
            granters.iter().filter_map(|one| translate::grant(catalog, slice::from_ref(one)));
        grants.fold(self.keyring.tenant(tenant_id(tenant)), |handle, grant| {
            handle.granting_at_most(&grant)
        })
    }

    /// Returns the result of a verification in the types of the model.
    pub(super) fn caller(
        &self,
        verified: Result<Principal, VerifyError>,
    ) -> Result<Caller, Refusal> {
        match verified {
            Ok(caller) => {
                let may = |scope: &&str| {
                    let requirement = self.keyring.requirement([scope]).unwrap();
                    caller.require(&requirement).is_ok()
                };
                Ok(Caller {
                    key: self.number(caller.key_id()),
                    tenant: caller.tenant().to_string(),
                    previous: caller.used_previous_secret(),
                    scopes: SCOPES.into_iter().filter(may).map(String::from).collect(),
                    shares: self.shares(&caller),
                })
            }
            Err(VerifyError::Rejected) => Err(Refusal::Rejected),
            Err(VerifyError::Inactive(state)) => {
                Err(Refusal::Inactive(translate::inactive(&state).expect("active")))
            }
            Err(VerifyError::Forbidden(reason)) => {
                Err(Refusal::Outside(translate::outside(&reason)))
            }
            Err(other) => panic!("a verification that the model does not have: {other:?}"),
        }
    }

    fn shares(&self, caller: &Principal) -> Vec<Share> {
        let catalog = self.keyring.policy().catalog();
        let share =
            |(kind, _)| translate::share(caller.resources(&catalog.resource(kind).unwrap()));
        catalog.resources().map(share).collect()
    }

    /// Compares everything that lists and lookups show.
    fn compare_store(&self) -> Result<(), String> {
        let tenants = block_on(self.keyring.tenants(None, 9)).unwrap().items;
        let names = tenants.iter().map(|tenant| tenant.id().as_str());
        if !names.eq(self.service.tenants.keys()) {
            return Err(format!("the store has {tenants:?}"));
        }
        for (record, tenant) in tenants.iter().zip(self.service.tenants.values()) {
            translate::same_tenant(tenant, record)?;
        }
        for name in TENANTS {
            let listed = block_on(self.handle(name, &[]).list(&KeyQuery::all())).unwrap().items;
            let count = block_on(self.memory.count_keys(&tenant_id(name), u32::MAX)).unwrap();
            assert_eq!(listed.len(), count as usize);
            let numbers: BTreeSet<_> = listed.iter().map(|key| self.number(key.id())).collect();
            let held = self.service.keys.values().filter(|key| key.tenant == name);
            let held: BTreeSet<_> = held.map(|key| key.number).collect();
            if numbers != held {
                return Err(format!("{name} holds the keys {numbers:?} and not {held:?}"));
            }
            for record in &listed {
                let number = self.number(record.id());
                translate::same_record(&self.service.keys[&number], record)?;
                let used = record.last_used().map(Timestamp::as_millis);
                if used != self.service.last_used(number) {
                    return Err(format!("the key {number} was last used at {used:?}"));
                }
                let stored = block_on(self.memory.lookup(record.id())).unwrap().unwrap();
                assert_eq!(stored.key, *record);
            }
        }
        Ok(())
    }

    /// Compares all tokens that ever existed, without recording uses.
    pub(super) fn compare_all_tokens(&self) -> Result<(), String> {
        let addresses = [None, Some(vec![10, 0, 0, 1])];
        self.tokens.iter().try_for_each(|(token, text)| {
            addresses.iter().try_for_each(|address| {
                let from = address.as_deref().map(translate::address);
                let read = block_on(self.reader.verify_from(text, Freshness::Now, from));
                let expected = self.service.verify(token, address.as_ref());
                let read = self.caller(read);
                let what = format!("{token:?} from {from:?} is {read:?} and not {expected:?}");
                if read == expected { Ok(()) } else { Err(what) }
            })
        })
    }

    fn number(&self, id: KeyId) -> usize {
        self.keys.iter().position(|(known, _)| *known == id).expect("a key of this history")
    }

    pub(super) fn now(&self) -> Time {
        self.clock.moment().now.as_millis()
    }
}

/// Lite allows one key below `manager`, and Advanced five keys without a ceiling.
fn policy(kinds: &[&str]) -> Policy {
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let implied = |scope| if scope == "erp" { names(&["reporting"]) } else { names(&[]) };
    let tier = |name: &str, keys, ceiling| Tier { name: name.into(), keys, ceiling, longest: None };
    Policy {
        scopes: SCOPES.into_iter().map(|scope| (scope.into(), implied(scope))).collect(),
        kinds: kinds.iter().map(ToString::to_string).collect(),
        tiers: vec![tier("lite", 1, Some(names(&["operator", "erp"]))), tier("advanced", 5, None)],
    }
}

/// Returns a ring with the pepper in `slot` as the current one, and all earlier ones.
fn ring(slot: u8) -> Ring {
    Ring { current: slot, tokens: (0..=slot).collect(), seals: (0..=slot).collect() }
}

fn open(
    memory: &MemoryStore,
    clock: &ManualClock,
    policy: &Policy,
    slot: u8,
) -> (Keyring, Verifier) {
    let policy = build(policy).expect("a consistent policy");
    let pepper = |slot| Pepper::from_bytes(&[slot + 1; 32]).unwrap().in_slot(slot).unwrap();
    let peppers = || {
        (0..slot).fold(Peppers::new(pepper(slot)), |peppers, older| {
            peppers.retiring(pepper(older)).unwrap()
        })
    };
    let keyring = Keyring::builder(policy.clone(), peppers())
        .environment("live")
        .accept_imported(foreign_format())
        .store(memory.clone())
        .clock(clock.clone())
        .rng(fresh_rng());
    let reader = Verifier::builder(policy, peppers())
        .environment("live")
        .accept_imported(foreign_format())
        .lookup(memory.clone())
        .clock(clock.clone());
    (keyring.build().unwrap(), reader.build().unwrap())
}

/// Returns the reason for a refusal in the types of the model.
fn refusal(error: &KeyringError) -> Result<Refusal, String> {
    Ok(match error {
        KeyringError::NoTenant(_) => Refusal::NoTenant,
        KeyringError::TenantExists(_) => Refusal::TenantExists,
        KeyringError::NoKey => Refusal::NoKey,
        KeyringError::Conflict => Refusal::Conflict,
        KeyringError::Rejected => Refusal::Rejected,
        KeyringError::QuotaExceeded { allowed, held, .. } => {
            Refusal::QuotaExceeded { allowed: *allowed, held: *held }
        }
        KeyringError::Refused(error) => translate::refusal(error)?,
        other => return Err(format!("refused: {other}")),
    })
}
