//! Every audit event names its subjects: a table of all kinds, each produced by an ordinary operation.

use std::{
    collections::BTreeSet,
    future::pending,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
};

#[cfg(feature = "children")]
use crate::support::DAY;
use crate::support::{HOUR, World, block_on, catalog, overheard::RevealKnown as _, policy};
#[cfg(feature = "children")]
use keyway::children::NewChild;
use keyway::{
    GracePeriod, ImportedKey, KeyEdit, KeyRecord, Keyring, LeakResponse, NewKey, Policy,
    ScopeCatalog, TenantKeys, Tier, Timestamp,
    audit::{AuditEvent, AuditSink},
    grant::Networks,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::{Exceptions, Suspension},
    scope::ScopeDeclaration,
    store::{Change, ChangeFeed, Follower},
};

const OPERATOR: &str = "olga@example.com";
const TENANT: &str = "acme";

/// The subjects of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    actor: String,
    tenant: Option<String>,
    key: Option<String>,
    child: Option<String>,
    at: Timestamp,
}

#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<(String, Subject)>>>);

impl AuditSink for Events {
    fn record(&self, event: &AuditEvent<'_>) {
        let kind = format!("{:?}", event.kind);
        let name: String = kind.chars().take_while(char::is_ascii_alphanumeric).collect();
        let subject = Subject {
            actor: event.actor.into(),
            tenant: event.tenant.map(Into::into),
            key: event.key.map(|id| id.to_string()),
            child: event.child.map(|id| id.to_string()),
            at: event.at,
        };
        self.0.lock().unwrap().push((name, subject));
    }
}

/// A service with one tenant and its key, and an operator that acts on them.
struct Stage {
    world: World,
    events: Events,
    operator: Keyring,
    keys: TenantKeys,
    key: KeyRecord,
    token: String,
    /// A child of the key.
    #[cfg(feature = "children")]
    child: String,
}

fn format() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

impl Stage {
    fn new() -> Self {
        let events = Events::default();
        let sink = events.clone();
        let policy = policy();
        #[cfg(feature = "children")]
        let policy = policy.with_children(DAY).unwrap();
        let world = World::with(policy, |builder| builder.audit(sink).accept_imported(format()));
        let operator = world.keyring.acting_as(OPERATOR);
        let request = NewKey::named("first").scopes(["reporting"]);
        #[cfg(feature = "children")]
        let request = request.children(true);
        let created = block_on(operator.create_tenant_with(TENANT, "advanced", request));
        let (keys, issued) = created.unwrap();
        #[cfg(feature = "children")]
        let child = {
            let minter = operator.child_minter(&issued.token).unwrap();
            let child = minter.mint_at(&NewChild::until(world.after(DAY)), world.now());
            child.unwrap().reveal_known().to_string()
        };
        let token = issued.token.reveal_known().to_string();
        Self {
            world,
            events,
            operator,
            keys,
            key: issued.key,
            token,
            #[cfg(feature = "children")]
            child,
        }
    }

    /// Verifies in another process, whose policy has other tiers or scopes.
    fn verify_elsewhere(&self, catalog: ScopeCatalog, tier: &str) {
        let policy = Policy::new("mm", catalog, [Tier::new(tier, 5)]).unwrap();
        let sink = self.events.clone();
        let there = self.world.another_node_with(policy, |builder| builder.audit(sink));
        let _ = block_on(there.keyring.verify(&self.token));
    }

    fn verify(&self, token: &str) {
        let _ = block_on(self.world.keyring.verify(token));
    }

    fn rotate(&self) -> String {
        let rotated =
            block_on(self.keys.rotate(self.key.id(), self.key.version(), GracePeriod::default()));
        rotated.unwrap().token.reveal_known().to_string()
    }

    fn tenant(&self) -> &keyway::TenantId {
        self.keys.id()
    }
}

/// The subjects that an event must name.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// The operator and the tenant.
    Tenant,
    /// The operator, the tenant and the key.
    Key,
    /// The operator, the tenant, and a key that the operation creates.
    NewKey,
    /// The tenant and the key, without an actor: a verification.
    Verified,
    /// As [`Verified`](Self::Verified), and the child.
    #[cfg(feature = "children")]
    Child,
    /// The key alone. Its tenant is not known before the record is read.
    Claimed,
    Nobody,
}

type Row = (&'static str, Named, fn(&Stage));

fn suspension() -> Suspension {
    Suspension::permanent("unpaid").unwrap()
}

const ROWS: &[Row] = &[
    ("TenantCreated", Named::Tenant, |_| {}),
    ("KeyIssued", Named::Key, |_| {}),
    ("TierChanged", Named::Tenant, |stage| {
        block_on(stage.operator.set_tier(stage.tenant(), "lite")).unwrap();
    }),
    ("TenantSuspended", Named::Tenant, |stage| {
        block_on(stage.operator.suspend_tenant(stage.tenant(), suspension())).unwrap();
    }),
    ("TenantResumed", Named::Tenant, |stage| {
        block_on(stage.operator.resume_tenant(stage.tenant())).unwrap();
    }),
    ("TenantDeleted", Named::Tenant, |stage| {
        block_on(stage.operator.delete_tenant(stage.tenant())).unwrap();
    }),
    ("KeyImported", Named::NewKey, |stage| {
        let digest = ForeignDigest::from_bytes(&[5; 32]).unwrap();
        let key = ImportedKey::new(&format(), digest, NewKey::named("imported")).unwrap();
        block_on(stage.keys.import(key)).unwrap();
    }),
    ("KeyEdited", Named::Key, |stage| {
        let edit = KeyEdit::new().name("second");
        block_on(stage.keys.edit(stage.key.id(), stage.key.version(), edit)).unwrap();
    }),
    ("KeyRotated", Named::Key, |stage| {
        stage.rotate();
    }),
    ("GracePeriodEnded", Named::Verified, |stage| {
        let token = stage.rotate();
        stage.verify(&token);
    }),
    ("KeySuspended", Named::Key, |stage| {
        block_on(stage.operator.suspend_key(stage.key.id(), suspension())).unwrap();
    }),
    ("KeyResumed", Named::Key, |stage| {
        block_on(stage.operator.resume_key(stage.key.id())).unwrap();
    }),
    ("KeyDeleted", Named::Key, |stage| block_on(stage.keys.delete(stage.key.id())).unwrap()),
    ("KeyRevoked", Named::Key, |stage| block_on(stage.operator.revoke(&stage.token)).unwrap()),
    ("LeakReported", Named::Key, |stage| {
        let report = stage.operator.report_leak(&stage.token, "found", LeakResponse::Suspend);
        block_on(report).unwrap();
    }),
    ("Rejected", Named::Claimed, |stage| {
        block_on(stage.keys.delete(stage.key.id())).unwrap();
        stage.verify(&stage.token);
    }),
    ("Inactive", Named::Verified, |stage| {
        block_on(stage.keys.disable(stage.key.id())).unwrap();
        stage.verify(&stage.token);
    }),
    ("OtherNetwork", Named::Verified, |stage| {
        let key = block_on(stage.keys.find(stage.key.id())).unwrap();
        let edit = KeyEdit::new().networks(Networks::only(["192.0.2.1"]).unwrap());
        block_on(stage.keys.edit(key.id(), key.version(), edit)).unwrap();
        stage.verify(&stage.token);
    }),
    // No place is given, so no child is accepted.
    #[cfg(feature = "children")]
    ("OtherAudience", Named::Child, |stage| stage.verify(&stage.child)),
    ("Tampered", Named::Verified, |stage| {
        stage.world.store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "first", "other")));
        stage.verify(&stage.token);
    }),
    ("UnknownScopes", Named::Verified, |stage| {
        let smaller = ScopeCatalog::new([ScopeDeclaration::new("billing", "Read bills")]);
        stage.verify_elsewhere(smaller.unwrap(), "advanced");
    }),
    ("UnknownTier", Named::Verified, |stage| stage.verify_elsewhere(catalog(), "lite")),
    ("Unavailable", Named::Claimed, |stage| {
        stage.world.store.set_down(true);
        stage.verify(&stage.token);
    }),
    ("ChangeRefused", Named::Key, |stage| {
        let edit = KeyEdit::new().name("late");
        block_on(stage.keys.edit(stage.key.id(), 99, edit)).unwrap_err();
    }),
    ("ExceptionsChanged", Named::Tenant, |stage| {
        let tenant = block_on(stage.operator.find_tenant(stage.tenant())).unwrap();
        let exceptions = Exceptions::new().keys(7);
        let set = stage.operator.set_exceptions(tenant.id(), tenant.version(), exceptions);
        block_on(set).unwrap();
    }),
    ("OwnerDisabled", Named::Tenant, |stage| {
        block_on(stage.keys.disable_owner(&"ann".parse().unwrap())).unwrap();
    }),
    ("OwnerEnabled", Named::Tenant, |stage| {
        let ann = "ann".parse().unwrap();
        block_on(stage.keys.disable_owner(&ann)).unwrap();
        block_on(stage.keys.enable_owner(&ann)).unwrap();
    }),
    ("Missing", Named::Nobody, |stage| {
        let _ = block_on(stage.world.keyring.verify_authorization(None::<&str>));
    }),
    ("BadRequest", Named::Nobody, |stage| {
        let _ = block_on(stage.world.keyring.verify_authorization(Some("Bearer")));
    }),
    ("Suppressed", Named::Nobody, |stage| {
        (0..11).for_each(|_| stage.verify("malformed"));
        block_on(stage.operator.flush_uses()).unwrap();
    }),
    ("FeedGap", Named::Nobody, |stage| {
        let mut following = pin!(stage.world.keyring.verifier().follow(Gap(true)));
        let _ = following.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    }),
];

/// `UsesLost` names nothing, and takes a million used keys: see the tests in `src/cache/uses.rs`. The others
/// come from guards: see `audit.rs` and the tests of guards.
const NOT_DRIVEN: &[&str] = &[
    "UsesLost",
    "Forbidden",
    "OtherResource",
    "Limited",
    #[cfg(not(feature = "children"))]
    "OtherAudience",
];

/// A feed that starts.
struct Gap(bool);

impl ChangeFeed for Gap {
    async fn next(&mut self, _: &Follower) -> Option<Change> {
        if core::mem::take(&mut self.0) { Some(Change::Gap) } else { pending().await }
    }
}

/// Returns the names of the kinds from the source.
fn kinds() -> BTreeSet<&'static str> {
    let source = include_str!("../../src/audit.rs");
    let (_, rest) = source.split_once("pub enum AuditKind<'e> {\n").unwrap();
    let (body, _) = rest.split_once("\n}\n").unwrap();
    let variants = body.lines().filter_map(|line| line.strip_prefix("    "));
    let variants =
        variants.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    variants.map(|line| line.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap()).collect()
}

#[test]
fn every_kind_of_event_is_in_the_table() {
    let listed = ROWS.iter().map(|(kind, ..)| *kind).chain(NOT_DRIVEN.iter().copied()).collect();
    assert_eq!(kinds(), listed);
}

#[test]
fn every_event_names_its_subjects() {
    for (kind, named, drive) in ROWS {
        let stage = Stage::new();
        if !matches!(*kind, "TenantCreated" | "KeyIssued") {
            stage.events.0.lock().unwrap().clear();
            stage.world.clock.advance(HOUR);
        }
        drive(&stage);
        let events = stage.events.0.lock().unwrap().clone();
        let found = events.iter().rfind(|(name, _)| name == kind);
        let (_, found) = found.unwrap_or_else(|| panic!("no {kind} among {events:?}"));
        assert_eq!(found.at, stage.world.now(), "{kind}");
        let acts = matches!(named, Named::Tenant | Named::Key | Named::NewKey);
        assert_eq!(found.actor, if acts { OPERATOR } else { "" }, "{kind}");
        let has_tenant = !matches!(named, Named::Claimed | Named::Nobody);
        assert_eq!(found.tenant.as_deref(), has_tenant.then_some(TENANT), "{kind}");
        let child = None::<String>;
        #[cfg(feature = "children")]
        let child = matches!(named, Named::Child)
            .then(|| super::children_audit::child_id(&stage.child))
            .or(child);
        assert_eq!(found.child, child, "{kind}");
        let held = stage.key.id().to_string();
        match named {
            Named::Tenant | Named::Nobody => assert_eq!(found.key, None, "{kind}"),
            Named::NewKey => assert!(found.key.as_ref().is_some_and(|key| *key != held), "{kind}"),
            _ => assert_eq!(found.key, Some(held), "{kind}"),
        }
    }
}
