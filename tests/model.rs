//! Random histories of a keyring, beside a naive model that shares no code with it.
//!
//! `PROPTEST_CASES` sets the number of histories; 200 is the default.

#![cfg(feature = "std")]
#![allow(
    clippy::indexing_slicing,
    clippy::manual_let_else,
    clippy::option_option,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "tests, and helpers of tests"
)]

mod common;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use common::{block_on, catalog, fresh_rng, overheard::RevealKnown as _, policy, tenant_id};
use keyway::{
    authority::{ChangeError, KeyEdit, LeakResponse, NewKey, Overlap},
    decision::{KeyState, Principal},
    keyring::{Keyring, KeyringError, TenantKeys},
    pepper::{Pepper, Peppers},
    record::{KeyRecord, Suspension},
    scope::{Scope, ScopeSet},
    store::{KeyLookup, KeyQuery, KeyStore, MemoryStore},
    time::{Clock, ManualClock, Timestamp},
    token::KeyId,
    verifier::{Freshness, Verifier, VerifyError},
};
use proptest::{
    collection, option,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestError, TestRunner},
};

const MINUTE: i64 = 60_000;
const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
const SCOPES: [&str; 6] =
    ["erp", "manager", "operator", "operator.jobs", "operator.read", "reporting"];
/// Name, number of keys, and ceiling.
const TIERS: [(&str, usize, &[&str]); 2] =
    [("lite", 1, &["operator", "erp"]), ("advanced", 5, &SCOPES)];

/// What is done about a leaked key.
#[derive(Clone, Copy, Debug)]
enum Reaction {
    Suspend,
    Quarantine(u8),
    ReportOnly,
}

/// One step. Tenants, keys and tokens are numbers that are brought into range.
#[derive(Clone, Debug)]
enum Op {
    CreateTenant { tenant: usize, tier: usize, with_key: bool },
    DeleteTenant(usize),
    SetTier(usize, usize),
    SuspendTenant(usize, Option<i64>),
    ResumeTenant(usize),
    Issue { tenant: usize, scopes: u8, start: Option<i64>, end: Option<i64>, granter: Option<u8> },
    Edit(Edit),
    Rotate { key: usize, stale: bool, overlap: Overlap, granter: Option<u8> },
    Switch(usize, bool),
    Delete { key: usize, tenant: Option<usize> },
    SuspendKey(usize, Option<i64>),
    ResumeKey(usize),
    Verify(usize, Freshness),
    Describe(usize),
    ReportLeak(usize, Reaction),
    Revoke(usize),
    Find { key: usize, tenant: Option<usize> },
    Advance(u64),
    NewPepper,
    Reseal,
    Flush,
}

#[derive(Clone, Debug)]
struct Edit {
    key: usize,
    /// Somebody else's handle, perhaps.
    tenant: Option<usize>,
    stale: bool,
    scopes: Option<u8>,
    start: Option<Option<i64>>,
    end: Option<Option<i64>>,
    enabled: Option<bool>,
    granter: Option<u8>,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let tenant = || 0..TENANTS.len();
    let tier = || 0..TIERS.len();
    let any_number = any::<usize>;
    let scopes = || prop_oneof![Just(0b10_0000), 0..64_u8];
    let granter = || option::weighted(0.3, 0..64_u8);
    let minutes = || prop_oneof![-1..=1_i64, 1..100_i64, Just(5_000)];
    let until = || option::of(minutes());
    let overlap = prop_oneof![
        Just(Overlap::None),
        Just(Overlap::UntilFirstUse),
        Just(Overlap::UntilFirstUse),
        (0..100_u64).prop_map(|minutes| Overlap::For(Duration::from_secs(60 * minutes))),
        Just(Overlap::For(Overlap::MAX + Duration::from_secs(1))),
    ];
    let freshness = prop_oneof![3 => Just(Freshness::Cached), 1 => Just(Freshness::Now)];
    let other = || option::weighted(0.2, tenant());
    let edit = (
        (any_number(), other(), prop::bool::weighted(0.1)),
        option::of(scopes()),
        option::weighted(0.2, option::of(minutes())),
        option::weighted(0.3, option::of(minutes())),
        option::weighted(0.3, any::<bool>()),
        granter(),
    );
    let edit = edit.prop_map(|((key, tenant, stale), scopes, start, end, enabled, granter)| {
        Op::Edit(Edit { key, tenant, stale, scopes, start, end, enabled, granter })
    });
    let issue = (tenant(), scopes(), option::weighted(0.2, minutes()), until(), granter());
    let issue = issue.prop_map(|(tenant, scopes, start, end, granter)| Op::Issue {
        tenant,
        scopes,
        start,
        end,
        granter,
    });
    let advance = prop_oneof![
        Just(1),
        Just(999),
        Just(5_000),
        Just(59_999),
        0..6_000_000_u64,
        Just(86_400_000),
    ];
    let reaction = prop_oneof![
        Just(Reaction::Suspend),
        (0..64_u8).prop_map(Reaction::Quarantine),
        Just(Reaction::ReportOnly),
    ];
    let step = prop_oneof![
        3 => (tenant(), tier(), any::<bool>())
            .prop_map(|(tenant, tier, with_key)| Op::CreateTenant { tenant, tier, with_key }),
        1 => tenant().prop_map(Op::DeleteTenant),
        2 => (tenant(), tier()).prop_map(|(tenant, tier)| Op::SetTier(tenant, tier)),
        1 => (tenant(), until()).prop_map(|(tenant, until)| Op::SuspendTenant(tenant, until)),
        1 => tenant().prop_map(Op::ResumeTenant),
        8 => issue,
        5 => edit,
        5 => (any_number(), prop::bool::weighted(0.1), overlap, granter())
            .prop_map(|(key, stale, overlap, granter)| Op::Rotate { key, stale, overlap, granter }),
        3 => (any_number(), any::<bool>()).prop_map(|(key, on)| Op::Switch(key, on)),
        1 => (any_number(), other()).prop_map(|(key, tenant)| Op::Delete { key, tenant }),
        1 => (any_number(), until()).prop_map(|(key, until)| Op::SuspendKey(key, until)),
        1 => any_number().prop_map(Op::ResumeKey),
        12 => (any_number(), freshness)
            .prop_map(|(token, freshness)| Op::Verify(token, freshness)),
        1 => any_number().prop_map(Op::Describe),
        2 => (any_number(), reaction).prop_map(|(token, how)| Op::ReportLeak(token, how)),
        1 => any_number().prop_map(Op::Revoke),
        1 => (any_number(), other()).prop_map(|(key, tenant)| Op::Find { key, tenant }),
        5 => advance.prop_map(Op::Advance),
        1 => Just(Op::NewPepper),
        1 => Just(Op::Reseal),
        1 => Just(Op::Flush),
    ];
    // A tenant to begin with, so that no history is about nothing.
    collection::vec(step, 1..=40).prop_map(|mut ops| {
        ops.insert(0, Op::CreateTenant { tenant: 0, tier: 1, with_key: true });
        ops
    })
}

// The model. Scopes are texts, times are numbers, and nothing is clever.

/// A mistake that the model makes on purpose, to show that it would be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    OneKeyTooMany,
    DisabledKeysDoNotCount,
    CeilingIsForgotten,
    DotsDoNotMatter,
    EnablingLiftsSuspensions,
    ExpiryIsInclusive,
    FirstUseEndsNothing,
    RotatingKeepsThreeSecrets,
    DeletedTenantsKeepKeys,
    GranterIsForgotten,
    ResealingKeepsVersions,
    QuarantineGrants,
}

struct Model {
    flaw: Flaw,
    now: i64,
    slot: u8,
    tenants: BTreeMap<usize, TenantModel>,
    keys: BTreeMap<KeyId, KeyModel>,
}

struct TenantModel {
    tier: usize,
    /// Suspended until then, or for good.
    suspended: Option<Option<i64>>,
    version: u64,
    slot: u8,
}

struct KeyModel {
    tenant: usize,
    scopes: BTreeSet<&'static str>,
    enabled: bool,
    suspended: Option<Option<i64>>,
    start: Option<i64>,
    end: Option<i64>,
    secret: String,
    /// The secret, its end, and whether a first use ends it before.
    previous: Option<(String, i64, bool)>,
    version: u64,
    slot: u8,
    used: Option<i64>,
    written_use: Option<i64>,
}

impl Model {
    fn implies(&self, upper: &str, lower: &str) -> bool {
        upper == lower
            || (upper == "erp" && lower == "reporting")
            || (self.flaw != Flaw::DotsDoNotMatter
                && lower.len() > upper.len()
                && lower.starts_with(upper)
                && lower[upper.len()..].starts_with('.'))
    }

    fn holds(&self, scopes: &BTreeSet<&'static str>, scope: &str) -> bool {
        scopes.iter().any(|upper| self.implies(upper, scope))
    }

    /// Those that no other one implies.
    fn maximal(&self, scopes: &BTreeSet<&'static str>) -> BTreeSet<&'static str> {
        let implied = |lower: &str| {
            let above = |upper: &&&str| **upper != lower && self.implies(upper, lower);
            scopes.iter().any(|upper| above(&upper))
        };
        scopes.iter().copied().filter(|scope| !implied(scope)).collect()
    }

    fn above(&self, scopes: &BTreeSet<&'static str>, bound: &BTreeSet<&'static str>) -> String {
        let missing = self.maximal(scopes).into_iter();
        missing.filter(|scope| !self.holds(bound, scope)).collect::<Vec<_>>().join(" ")
    }

    fn ceiling(&self, tenant: usize) -> BTreeSet<&'static str> {
        TIERS[self.tenants[&tenant].tier].2.iter().copied().collect()
    }

    fn held(&self, tenant: usize) -> usize {
        let counts = |key: &&KeyModel| {
            key.tenant == tenant && (key.enabled || self.flaw != Flaw::DisabledKeysDoNotCount)
        };
        self.keys.values().filter(counts).count()
    }

    fn grant(
        &self,
        tenant: usize,
        scopes: &BTreeSet<&'static str>,
        granter: Option<u8>,
    ) -> Result<(), String> {
        let above = self.above(scopes, &self.ceiling(tenant));
        if !above.is_empty() {
            return Err(format!("above the tier: {above}"));
        }
        self.check_granter(scopes, granter)
    }

    fn check_granter(
        &self,
        scopes: &BTreeSet<&'static str>,
        granter: Option<u8>,
    ) -> Result<(), String> {
        let above = granter.map_or(String::new(), |mask| self.above(scopes, &chosen(mask)));
        if above.is_empty() || self.flaw == Flaw::GranterIsForgotten {
            return Ok(());
        }
        Err(format!("above the granter: {above}"))
    }

    fn check_times(&self, start: Option<i64>, end: Option<i64>) -> Result<(), String> {
        match (start, end) {
            (_, Some(end)) if end <= self.now => Err("expiry in the past".into()),
            (Some(start), Some(end)) if start >= end => Err("ends before it begins".into()),
            _ => Ok(()),
        }
    }

    fn create_tenant(&mut self, tenant: usize, tier: usize) -> Result<(), String> {
        if self.tenants.contains_key(&tenant) {
            return Err("the tenant exists".into());
        }
        let (suspended, version, slot) = (None, 1, self.slot);
        self.tenants.insert(tenant, TenantModel { tier, suspended, version, slot });
        Ok(())
    }

    fn delete_tenant(&mut self, tenant: usize) -> Result<(), String> {
        self.tenants.remove(&tenant).ok_or("no tenant")?;
        if self.flaw != Flaw::DeletedTenantsKeepKeys {
            self.keys.retain(|_, key| key.tenant != tenant);
        }
        Ok(())
    }

    fn change_tenant(
        &mut self,
        tenant: usize,
        change: impl FnOnce(&mut TenantModel),
    ) -> Result<(), String> {
        let slot = self.slot;
        let tenant = self.tenants.get_mut(&tenant).ok_or("no tenant")?;
        change(tenant);
        tenant.version += 1;
        tenant.slot = slot;
        Ok(())
    }

    fn set_tier(&mut self, tenant: usize, tier: usize) -> Result<String, String> {
        self.change_tenant(tenant, |tenant| tenant.tier = tier)?;
        let held = self.keys.values().filter(|key| key.tenant == tenant).count();
        Ok(format!("{held} of {}", TIERS[tier].1))
    }

    fn issue(&self, op: &Op) -> Result<(), String> {
        let Op::Issue { tenant, scopes, start, end, granter } = op else {
            unreachable!("only an issue is issued");
        };
        let tier = self.tenants.get(tenant).ok_or("no tenant")?.tier;
        self.grant(*tenant, &chosen(*scopes), *granter)?;
        self.check_times(start.map(|at| self.at(at)), end.map(|at| self.at(at)))?;
        let (held, mut allowed) = (self.held(*tenant), TIERS[tier].1);
        if self.flaw == Flaw::OneKeyTooMany {
            allowed += 1;
        }
        if held >= allowed {
            return Err(format!("holds {held} of {allowed}"));
        }
        Ok(())
    }

    fn add(&mut self, id: KeyId, secret: String, tenant: usize, scopes: u8) -> &mut KeyModel {
        let key = KeyModel {
            tenant,
            scopes: self.maximal(&chosen(scopes)),
            enabled: true,
            suspended: None,
            start: None,
            end: None,
            secret,
            previous: None,
            version: 1,
            slot: self.slot,
            used: None,
            written_use: None,
        };
        self.keys.entry(id).or_insert(key)
    }

    /// The key, if the tenant holds it.
    fn find(&self, id: KeyId, tenant: usize) -> Result<&KeyModel, String> {
        let key = self.keys.get(&id).filter(|key| key.tenant == tenant);
        key.ok_or_else(|| "no key".into())
    }

    fn change_key(&mut self, id: KeyId, change: impl FnOnce(&mut KeyModel)) -> Result<(), String> {
        let slot = self.slot;
        let key = self.keys.get_mut(&id).ok_or("no key")?;
        change(key);
        key.version += 1;
        key.slot = slot;
        Ok(())
    }

    fn report(&mut self, id: KeyId, how: Reaction) -> Result<(), String> {
        let key = self.keys.get(&id).ok_or("no key")?;
        let left = match how {
            Reaction::Suspend if key.suspended != Some(None) => {
                return self.change_key(id, |key| key.suspended = Some(None));
            }
            Reaction::Quarantine(mask) => {
                let in_both = |scope: &&str| {
                    self.holds(&chosen(mask), scope)
                        && (self.holds(&key.scopes, scope) || self.flaw == Flaw::QuarantineGrants)
                };
                self.maximal(&SCOPES.into_iter().filter(|scope| in_both(scope)).collect())
            }
            Reaction::Suspend | Reaction::ReportOnly => return Ok(()),
        };
        if left == key.scopes { Ok(()) } else { self.change_key(id, |key| key.scopes = left) }
    }

    fn edit(&mut self, id: KeyId, tenant: usize, version: u64, edit: &Edit) -> Result<(), String> {
        let key = self.find(id, tenant)?;
        if key.version != version {
            return Err("conflict".into());
        }
        let only_disables = edit.enabled == Some(false)
            && edit.scopes.is_none()
            && edit.start.is_none()
            && edit.end.is_none();
        match edit.scopes {
            Some(mask) => self.grant(tenant, &chosen(mask), edit.granter)?,
            None if only_disables => {}
            None => self.check_granter(&key.scopes, edit.granter)?,
        }
        let start = edit.start.map_or(key.start, |start| start.map(|at| self.at(at)));
        let end = edit.end.map_or(key.end, |end| end.map(|at| self.at(at)));
        if edit.start.is_some() || edit.end.is_some() {
            self.check_times(start, end)?;
        }
        let scopes = edit.scopes.map(|mask| self.maximal(&chosen(mask)));
        let lifts = self.flaw == Flaw::EnablingLiftsSuspensions && edit.enabled == Some(true);
        self.change_key(id, |key| {
            key.start = start;
            key.end = end;
            key.enabled = edit.enabled.unwrap_or(key.enabled);
            key.scopes = scopes.unwrap_or_else(|| key.scopes.clone());
            if lifts {
                key.suspended = None;
            }
        })
    }

    fn switch(&mut self, id: KeyId, tenant: usize, enabled: bool) -> Result<(), String> {
        if self.find(id, tenant)?.enabled == enabled {
            return Ok(());
        }
        let lifts = self.flaw == Flaw::EnablingLiftsSuspensions && enabled;
        self.change_key(id, |key| {
            key.enabled = enabled;
            if lifts {
                key.suspended = None;
            }
        })
    }

    fn check_rotation(
        &self,
        id: KeyId,
        tenant: usize,
        version: u64,
        overlap: Overlap,
        granter: Option<u8>,
    ) -> Result<(), String> {
        let key = self.find(id, tenant)?;
        if key.version != version {
            return Err("conflict".into());
        }
        self.check_granter(&key.scopes, granter)?;
        if key.end.is_some_and(|end| end <= self.now) {
            return Err("expired".into());
        }
        match overlap {
            Overlap::For(time) if time.as_secs() > 30 * 86_400 => Err("overlap too long".into()),
            _ => Ok(()),
        }
    }

    fn rotate(&mut self, id: KeyId, overlap: Overlap, secret: String) {
        let now = self.now;
        let keeps = self.flaw == Flaw::RotatingKeepsThreeSecrets;
        let end = match overlap {
            Overlap::None => None,
            Overlap::For(time) => Some((now + i64::try_from(time.as_millis()).unwrap(), false)),
            Overlap::UntilFirstUse => Some((now + 1_440 * MINUTE, true)),
        };
        let _ = self.change_key(id, |key| {
            let old = match key.previous.take() {
                Some((old, until, true)) if now < until && !keeps => old,
                _ => key.secret.clone(),
            };
            key.previous = end.map(|(until, first_use)| (old, until, first_use));
            key.secret = secret;
        });
    }

    fn proves(&self, token: &str) -> Option<(KeyId, bool)> {
        self.keys.iter().find_map(|(id, key)| {
            if key.secret == token {
                return Some((*id, true));
            }
            let (old, until, _) = key.previous.as_ref()?;
            (old == token && self.now < *until).then_some((*id, false))
        })
    }

    fn state(&self, id: KeyId) -> &'static str {
        let key = &self.keys[&id];
        let is_banned = |ban: Option<Option<i64>>| {
            ban.is_some_and(|until| until.is_none_or(|end| self.now < end))
        };
        let slack = i64::from(self.flaw == Flaw::ExpiryIsInclusive);
        let tenant = self.tenants.get(&key.tenant);
        if tenant.is_some_and(|tenant| is_banned(tenant.suspended)) {
            "its tenant is suspended"
        } else if is_banned(key.suspended) {
            "it is suspended"
        } else if !key.enabled {
            "it is disabled"
        } else if key.start.is_some_and(|start| self.now < start) {
            "it is not yet valid"
        } else if key.end.is_some_and(|end| self.now >= end + slack) {
            "it has expired"
        } else {
            "it is active"
        }
    }

    /// What a verification answers, and which key it proved. Nothing changes.
    fn verify(&self, token: &str) -> (String, Option<(KeyId, bool)>) {
        let Some((id, is_current)) = self.proves(token) else {
            return ("rejected".into(), None);
        };
        let state = self.state(id);
        if state != "it is active" {
            return (state.into(), None);
        }
        let key = &self.keys[&id];
        let granted = |scope: &&&str| {
            self.holds(&key.scopes, scope)
                && (self.flaw == Flaw::CeilingIsForgotten
                    || self.holds(&self.ceiling(key.tenant), scope))
        };
        let scopes: Vec<_> = SCOPES.iter().filter(granted).copied().collect();
        let tenant = TENANTS[key.tenant];
        let old = if is_current { "" } else { " with the old secret" };
        (format!("{tenant}'s {id}{old} may {scopes:?}"), Some((id, is_current)))
    }

    fn use_key(&mut self, token: &str) -> String {
        let (answer, proved) = self.verify(token);
        let (now, flaw) = (self.now, self.flaw);
        if let Some((id, is_current)) = proved {
            let key = self.keys.get_mut(&id).unwrap();
            key.used = Some(now.div_euclid(MINUTE) * MINUTE);
            let ends = matches!(key.previous, Some((_, until, true)) if now < until);
            if is_current && ends && flaw != Flaw::FirstUseEndsNothing {
                let _ = self.change_key(id, |key| key.previous = None);
            }
        }
        answer
    }

    fn flush(&mut self) {
        for key in self.keys.values_mut() {
            key.written_use = key.used.or(key.written_use);
        }
    }

    fn reseal(&mut self) -> u64 {
        let (current, bump) = (self.slot, u64::from(self.flaw != Flaw::ResealingKeepsVersions));
        let mut sealed = 0;
        let mut seal = |slot: &mut u8, version: &mut u64| {
            if *slot != current {
                *slot = current;
                *version += bump;
                sealed += 1;
            }
        };
        for tenant in self.tenants.values_mut() {
            seal(&mut tenant.slot, &mut tenant.version);
        }
        for key in self.keys.values_mut() {
            seal(&mut key.slot, &mut key.version);
        }
        sealed
    }

    fn at(&self, minutes: i64) -> i64 {
        self.now + minutes * MINUTE
    }

    /// Everything that lists show.
    fn picture(&self) -> Vec<String> {
        let tenants = self.tenants.iter().map(|(number, tenant)| {
            let (tier, version) = (TIERS[tenant.tier].0, tenant.version);
            format!("{} {tier} {version}", TENANTS[*number])
        });
        let keys = self.keys.iter().map(|(id, key)| {
            let scopes: Vec<_> = key.scopes.iter().copied().collect();
            let until = key.previous.as_ref().map(|(_, until, _)| *until);
            picture_of(
                (*id, TENANTS[key.tenant], key.version),
                (&scopes, key.enabled, key.suspended.is_some()),
                [key.start, key.end, until, key.written_use],
            )
        });
        tenants.chain(keys).collect()
    }
}

fn picture_of(
    (id, tenant, version): (KeyId, &str, u64),
    (scopes, enabled, suspended): (&[&str], bool, bool),
    times: [Option<i64>; 4],
) -> String {
    format!("{id} {tenant} {version} {scopes:?} {enabled} {suspended} {times:?}")
}

fn chosen(mask: u8) -> BTreeSet<&'static str> {
    let is_in = |bit: &usize| mask >> bit & 1 == 1;
    (0..SCOPES.len()).filter(is_in).map(|bit| SCOPES[bit]).collect()
}

// The real thing beside it.

struct History {
    model: Model,
    memory: MemoryStore,
    clock: ManualClock,
    keyring: Keyring,
    /// Reads without leaving a trace.
    reader: Verifier,
    /// All keys and tokens that there ever were.
    keys: Vec<(KeyId, usize)>,
    tokens: Vec<String>,
}

impl History {
    fn new(flaw: Flaw) -> Self {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (memory, clock) = (MemoryStore::new(), ManualClock::at(start));
        let (keyring, reader) = open(&memory, &clock, 0);
        Self {
            model: Model {
                flaw,
                now: start.as_millis(),
                slot: 0,
                tenants: BTreeMap::new(),
                keys: BTreeMap::new(),
            },
            memory,
            clock,
            keyring,
            reader,
            keys: Vec::new(),
            tokens: Vec::new(),
        }
    }

    /// Does `op` in both worlds, and says how they differ.
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let (actual, expected) = match op {
            Op::Issue { .. } => self.issue(op),
            Op::Edit(edit) => self.edit(edit),
            Op::Rotate { key, stale, overlap, granter } => {
                self.rotate(*key, *stale, *overlap, *granter)
            }
            Op::Switch(..)
            | Op::Delete { .. }
            | Op::SuspendKey(..)
            | Op::ResumeKey(_)
            | Op::Find { .. } => self.change_key(op),
            Op::Verify(..) | Op::Describe(_) | Op::ReportLeak(..) | Op::Revoke(_) => {
                self.present(op)
            }
            Op::Advance(millis) => {
                self.clock.advance(Duration::from_millis(*millis));
                self.model.now = self.clock.moment().now.as_millis();
                Default::default()
            }
            Op::NewPepper | Op::Reseal | Op::Flush => self.keep(op),
            _ => self.change_tenant(op),
        };
        compare("the outcome", &actual, &expected)?;
        compare("the store", &self.picture(), &self.model.picture())
    }

    fn change_tenant(&mut self, op: &Op) -> (String, String) {
        match *op {
            Op::CreateTenant { tenant, tier, with_key } => {
                let expected = say(self.model.create_tenant(tenant, tier).map(|()| ""));
                let (id, tier) = (TENANTS[tenant], TIERS[tier].0);
                if !with_key {
                    let created = block_on(self.keyring.create_empty_tenant(id, tier));
                    return (refusal(created.map(drop)), expected);
                }
                match block_on(self.keyring.create_tenant(id, tier)) {
                    Ok((_, issued)) => {
                        let token = issued.token.reveal_known().to_string();
                        self.model.add(issued.key.id(), token.clone(), tenant, 0);
                        self.keys.push((issued.key.id(), tenant));
                        self.tokens.push(token);
                        ("done".into(), expected)
                    }
                    Err(error) => (refusal(Err(error)), expected),
                }
            }
            Op::DeleteTenant(tenant) => {
                let deleted = block_on(self.keyring.delete_tenant(&tenant_id(TENANTS[tenant])));
                (refusal(deleted), say(self.model.delete_tenant(tenant).map(|()| "")))
            }
            Op::SetTier(tenant, tier) => {
                let id = tenant_id(TENANTS[tenant]);
                let actual = match block_on(self.keyring.set_tier(&id, TIERS[tier].0)) {
                    Ok(change) => format!("done: {} of {}", change.held, change.allowed),
                    Err(error) => refusal(Err(error)),
                };
                (actual, say(self.model.set_tier(tenant, tier)))
            }
            Op::SuspendTenant(tenant, minutes) => {
                let (until, ban) = self.ban(minutes);
                let id = tenant_id(TENANTS[tenant]);
                let suspended = block_on(self.keyring.suspend_tenant(&id, ban)).map(drop);
                let expected =
                    self.model.change_tenant(tenant, |tenant| tenant.suspended = Some(until));
                (refusal(suspended), say(expected.map(|()| "")))
            }
            Op::ResumeTenant(tenant) => {
                let id = tenant_id(TENANTS[tenant]);
                let resumed = block_on(self.keyring.resume_tenant(&id)).map(drop);
                let expected = self.model.change_tenant(tenant, |tenant| tenant.suspended = None);
                (refusal(resumed), say(expected.map(|()| "")))
            }
            _ => unreachable!("not about a tenant"),
        }
    }

    fn issue(&mut self, op: &Op) -> (String, String) {
        let Op::Issue { tenant, scopes, start, end, granter } = *op else {
            unreachable!("only an issue is issued");
        };
        let mut request = NewKey::named("k").scopes(chosen(scopes));
        let (start, end) = (start.map(|at| self.at(at)), end.map(|at| self.at(at)));
        if let Some(start) = start {
            request = request.not_before(start);
        }
        if let Some(end) = end {
            request = request.expires_at(end);
        }
        let expected = say(self.model.issue(op).map(|()| ""));
        let handle = self.handle(tenant, granter);
        match block_on(handle.issue(request)) {
            Ok(issued) => {
                let (id, token) = (issued.key.id(), issued.token.reveal_known().to_string());
                let key = self.model.add(id, token.clone(), tenant, scopes);
                key.start = start.map(Timestamp::as_millis);
                key.end = end.map(Timestamp::as_millis);
                self.keys.push((id, tenant));
                self.tokens.push(token);
                ("done".into(), expected)
            }
            Err(error) => (refusal(Err(error)), expected),
        }
    }

    fn edit(&mut self, edit: &Edit) -> (String, String) {
        let Some((id, owner)) = self.key(edit.key) else {
            return Default::default();
        };
        let tenant = edit.tenant.unwrap_or(owner);
        let version = self.version(id, edit.stale);
        let mut request = KeyEdit::new();
        if let Some(mask) = edit.scopes {
            request = request.scopes(chosen(mask));
        }
        if let Some(start) = edit.start {
            request = request.not_before(start.map(|at| self.at(at)));
        }
        if let Some(end) = edit.end {
            request = request.expires_at(end.map(|at| self.at(at)));
        }
        if let Some(enabled) = edit.enabled {
            request = request.enabled(enabled);
        }
        let handle = self.handle(tenant, edit.granter);
        let edited = block_on(handle.edit(id, version, request)).map(drop);
        let expected = self.model.edit(id, tenant, version, edit);
        (refusal(edited), say(expected.map(|()| "")))
    }

    fn rotate(
        &mut self,
        key: usize,
        stale: bool,
        overlap: Overlap,
        granter: Option<u8>,
    ) -> (String, String) {
        let Some((id, tenant)) = self.key(key) else {
            return Default::default();
        };
        let version = self.version(id, stale);
        let expected = self.model.check_rotation(id, tenant, version, overlap, granter);
        let expected = say(expected.map(|()| ""));
        let handle = self.handle(tenant, granter);
        match block_on(handle.rotate(id, version, overlap)) {
            Ok(rotated) => {
                let token = rotated.token.reveal_known().to_string();
                self.model.rotate(id, overlap, token.clone());
                self.tokens.push(token);
                ("done".into(), expected)
            }
            Err(error) => (refusal(Err(error)), expected),
        }
    }

    fn change_key(&mut self, op: &Op) -> (String, String) {
        let number = match *op {
            Op::Switch(key, _)
            | Op::Delete { key, .. }
            | Op::SuspendKey(key, _)
            | Op::ResumeKey(key)
            | Op::Find { key, .. } => key,
            _ => unreachable!("not about a key"),
        };
        let Some((id, owner)) = self.key(number) else {
            return Default::default();
        };
        let own = self.handle(owner, None);
        let (actual, expected) = match *op {
            Op::Switch(_, on) => {
                let switched =
                    if on { block_on(own.enable(id)) } else { block_on(own.disable(id)) };
                (switched.map(drop), self.model.switch(id, owner, on))
            }
            Op::Delete { tenant, .. } => {
                let tenant = tenant.unwrap_or(owner);
                let expected = self.model.find(id, tenant).map(drop);
                if expected.is_ok() {
                    self.model.keys.remove(&id);
                }
                (block_on(self.handle(tenant, None).delete(id)), expected)
            }
            Op::SuspendKey(_, minutes) => {
                let (until, ban) = self.ban(minutes);
                let suspended = block_on(self.keyring.suspend_key(id, ban)).map(drop);
                let expected = self.model.change_key(id, |key| key.suspended = Some(until));
                (suspended, expected)
            }
            Op::ResumeKey(_) => {
                let resumed = block_on(self.keyring.resume_key(id)).map(drop);
                (resumed, self.model.change_key(id, |key| key.suspended = None))
            }
            Op::Find { tenant, .. } => {
                let tenant = tenant.unwrap_or(owner);
                let found = block_on(self.handle(tenant, None).find(id)).map(drop);
                (found, self.model.find(id, tenant).map(drop))
            }
            _ => unreachable!("not about a key"),
        };
        (refusal(actual), say(expected.map(|()| "")))
    }

    fn present(&mut self, op: &Op) -> (String, String) {
        let (Op::Verify(number, _)
        | Op::Describe(number)
        | Op::ReportLeak(number, _)
        | Op::Revoke(number)) = *op
        else {
            unreachable!("nothing is presented");
        };
        let Some(token) = self.tokens.get(number % self.tokens.len().max(1)).cloned() else {
            return Default::default();
        };
        let proved = self.model.proves(&token).map(|(id, _)| id);
        let rejected = || "rejected".to_string();
        match *op {
            Op::Verify(_, freshness) => {
                let verified = block_on(self.keyring.verify_as_of(&token, freshness));
                (answer(&self.keyring, verified), self.model.use_key(&token))
            }
            Op::Describe(_) => {
                let actual = match block_on(self.keyring.describe(&token)) {
                    Ok(description) => description.state.to_string(),
                    Err(error) => refusal(Err(error)),
                };
                (actual, proved.map_or_else(rejected, |id| self.model.state(id).into()))
            }
            Op::ReportLeak(_, how) => {
                let response = match how {
                    Reaction::Suspend => LeakResponse::Suspend,
                    Reaction::Quarantine(mask) => {
                        LeakResponse::Quarantine(catalog().set(chosen(mask)).unwrap())
                    }
                    Reaction::ReportOnly => LeakResponse::ReportOnly,
                };
                let reported = block_on(self.keyring.report_leak(&token, "seen", response));
                let expected = proved.ok_or_else(rejected);
                let expected = expected.and_then(|id| self.model.report(id, how));
                (refusal(reported.map(drop)), say(expected.map(|()| "")))
            }
            _ => {
                let revoked = block_on(self.keyring.revoke(&token));
                let expected = proved.ok_or_else(rejected);
                let expected = expected.map(|id| drop(self.model.keys.remove(&id)));
                (refusal(revoked), say(expected.map(|()| "")))
            }
        }
    }

    fn keep(&mut self, op: &Op) -> (String, String) {
        match op {
            Op::NewPepper => {
                block_on(self.keyring.flush_uses()).unwrap();
                self.model.flush();
                self.model.slot = (self.model.slot + 1).min(9);
                (self.keyring, self.reader) = open(&self.memory, &self.clock, self.model.slot);
                Default::default()
            }
            Op::Reseal => {
                let sealed = block_on(self.keyring.reseal(None, |_| {})).unwrap();
                (sealed.changed.to_string(), self.model.reseal().to_string())
            }
            _ => {
                block_on(self.keyring.flush_uses()).unwrap();
                self.model.flush();
                Default::default()
            }
        }
    }

    /// Every token that there ever was, without a trace.
    fn check_all_tokens(&self) -> Result<(), String> {
        self.tokens.iter().try_for_each(|token| {
            let read = block_on(self.reader.verify_as_of(token, Freshness::Now));
            let read = answer(&self.keyring, read);
            compare("a token at the end", &read, &self.model.verify(token).0)
        })
    }

    fn key(&self, number: usize) -> Option<(KeyId, usize)> {
        self.keys.get(number % self.keys.len().max(1)).copied()
    }

    fn version(&self, id: KeyId, stale: bool) -> u64 {
        let version = self.model.keys.get(&id).map_or(1, |key| key.version);
        if stale { version - 1 } else { version }
    }

    fn handle(&self, tenant: usize, granter: Option<u8>) -> TenantKeys {
        let handle = self.keyring.tenant(tenant_id(TENANTS[tenant]));
        match granter {
            Some(mask) => handle.granting_at_most(set(mask)),
            None => handle,
        }
    }

    fn at(&self, minutes: i64) -> Timestamp {
        Timestamp::from_millis(self.model.at(minutes)).unwrap()
    }

    fn ban(&self, minutes: Option<i64>) -> (Option<i64>, Suspension) {
        let end = minutes.map(|minutes| self.at(minutes));
        let ban = end.map_or(Suspension::for_good("no"), |end| Suspension::until(end, "no"));
        (end.map(Timestamp::as_millis), ban.unwrap())
    }

    fn picture(&self) -> Vec<String> {
        let tenants = block_on(self.keyring.tenants(None, 9)).unwrap().items;
        let mut keys = Vec::new();
        for (number, tenant) in TENANTS.iter().enumerate() {
            let held = block_on(self.handle(number, None).list(&KeyQuery::all())).unwrap();
            let count = block_on(self.memory.count_keys(&tenant_id(tenant))).unwrap();
            assert_eq!(held.items.len(), count as usize);
            keys.extend(held.items);
        }
        keys.sort_by_key(KeyRecord::id);
        let tenants = tenants
            .iter()
            .map(|tenant| format!("{} {} {}", tenant.id(), tenant.tier(), tenant.version()));
        let keys = keys.iter().map(|key| {
            let stored = block_on(self.memory.lookup(key.id())).unwrap().unwrap();
            assert_eq!(stored.key, *key);
            let scopes: Vec<_> = key.scopes().iter().map(Scope::as_str).collect();
            let times = [key.not_before(), key.expires_at(), key.overlap_until(), key.last_used()];
            picture_of(
                (key.id(), key.tenant().as_str(), key.version()),
                (&scopes, key.enabled(), key.suspension().is_some()),
                times.map(|time| time.map(Timestamp::as_millis)),
            )
        });
        tenants.chain(keys).collect()
    }
}

/// A keyring and a reader with a new current pepper, and all before it.
fn open(memory: &MemoryStore, clock: &ManualClock, slot: u8) -> (Keyring, Verifier) {
    let pepper = |slot| Pepper::from_bytes(&[slot + 1; 32]).unwrap().in_slot(slot).unwrap();
    let peppers = || {
        (0..slot).fold(Peppers::new(pepper(slot)), |peppers, older| {
            peppers.retiring(pepper(older)).unwrap()
        })
    };
    let keyring = Keyring::builder(policy(), peppers())
        .environment("live")
        .store(memory.clone())
        .clock(clock.clone())
        .rng(fresh_rng());
    let reader = Verifier::builder(policy(), peppers())
        .environment("live")
        .lookup(memory.clone())
        .clock(clock.clone());
    (keyring.build().unwrap(), reader.build().unwrap())
}

fn set(mask: u8) -> ScopeSet {
    catalog().set(chosen(mask)).unwrap()
}

/// What a caller got, in the words of the model.
fn answer(keyring: &Keyring, verified: Result<Principal, VerifyError>) -> String {
    match verified {
        Ok(caller) => {
            let may = |scope: &&&str| {
                let requirement = keyring.requirement([scope]).unwrap();
                caller.require(&requirement).is_ok()
            };
            let scopes: Vec<_> = SCOPES.iter().filter(may).copied().collect();
            let old = if caller.used_previous_secret() { " with the old secret" } else { "" };
            let (tenant, id) = (caller.tenant(), caller.key_id());
            format!("{tenant}'s {id}{old} may {scopes:?}")
        }
        Err(VerifyError::Rejected) => "rejected".into(),
        Err(VerifyError::Inactive(state)) => KeyState::to_string(&state),
        Err(other) => format!("{other:?}"),
    }
}

/// What a keyring said, in the words of the model.
fn refusal(result: Result<(), KeyringError>) -> String {
    let list = |scopes: &[Scope]| {
        let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
        names.join(" ")
    };
    let Err(error) = result else {
        return "done".into();
    };
    match &error {
        KeyringError::NoTenant(_) => "no tenant".into(),
        KeyringError::NoKey => "no key".into(),
        KeyringError::TenantExists(_) => "the tenant exists".into(),
        KeyringError::Conflict => "conflict".into(),
        KeyringError::Rejected => "rejected".into(),
        KeyringError::QuotaExceeded { allowed, held, .. } => format!("holds {held} of {allowed}"),
        KeyringError::Refused(ChangeError::AboveCeiling { scopes, .. }) => {
            format!("above the tier: {}", list(scopes))
        }
        KeyringError::Refused(ChangeError::AboveGranter(scopes)) => {
            format!("above the granter: {}", list(scopes))
        }
        KeyringError::Refused(ChangeError::ExpiryInPast(_)) => "expiry in the past".into(),
        KeyringError::Refused(ChangeError::EndsBeforeStart) => "ends before it begins".into(),
        KeyringError::Refused(ChangeError::Expired(_)) => "expired".into(),
        KeyringError::Refused(ChangeError::OverlapTooLong(_)) => "overlap too long".into(),
        _ => format!("{error:?}"),
    }
}

fn say(result: Result<impl Into<String>, String>) -> String {
    match result.map(Into::into) {
        Ok(more) if more.is_empty() => "done".into(),
        Ok(more) => format!("done: {more}"),
        Err(refusal) => refusal,
    }
}

fn compare<T: PartialEq + core::fmt::Debug>(
    what: &str,
    actual: &T,
    model: &T,
) -> Result<(), String> {
    if actual == model {
        return Ok(());
    }
    Err(format!("{what} is {actual:#?}, and the model says {model:#?}"))
}

fn play(ops: &[Op], flaw: Flaw) -> Result<(), String> {
    let mut history = History::new(flaw);
    for op in ops {
        history.step(op).map_err(|difference| format!("{op:?}: {difference}"))?;
    }
    history.check_all_tokens()
}

#[test]
fn a_keyring_and_a_naive_model_of_it_agree_on_every_step_of_random_histories() {
    let cases = std::env::var("PROPTEST_CASES").ok();
    let mut runner = TestRunner::new(Config {
        cases: cases.and_then(|cases| cases.parse().ok()).unwrap_or(200),
        failure_persistence: None,
        ..Config::default()
    });
    let played = runner.run(&ops(), |ops| play(&ops, Flaw::None).map_err(TestCaseError::fail));
    if let Err(TestError::Fail(difference, ops)) = played {
        panic!("{difference}\nafter {ops:#?}");
    }
}

#[test]
fn every_mistake_that_the_model_could_share_with_the_keyring_would_be_noticed() {
    let flaws = [
        Flaw::OneKeyTooMany,
        Flaw::DisabledKeysDoNotCount,
        Flaw::CeilingIsForgotten,
        Flaw::DotsDoNotMatter,
        Flaw::EnablingLiftsSuspensions,
        Flaw::ExpiryIsInclusive,
        Flaw::FirstUseEndsNothing,
        Flaw::RotatingKeepsThreeSecrets,
        Flaw::DeletedTenantsKeepKeys,
        Flaw::GranterIsForgotten,
        Flaw::ResealingKeepsVersions,
        Flaw::QuarantineGrants,
    ];
    for flaw in flaws {
        let mut runner = TestRunner::deterministic();
        let is_noticed = (0..400).any(|_| {
            let ops = ops().new_tree(&mut runner).unwrap().current();
            play(&ops, flaw).is_err()
        });
        assert!(is_noticed, "{flaw:?}");
    }
}
