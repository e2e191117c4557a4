//! Checks which of the public types are `Send`, `Sync` and `Unpin`. A private field could break this
//! unnoticed.

use keyway::{
    ChangeError, ConfigError, GracePeriod, ImportedKey, IssuedKey, KeyEdit, KeyId, KeyRecord,
    KeyState, Keyring, KeyringError, LeakResponse, MemoryStore, NewKey, OneTimeToken, Pepper,
    Peppers, Policy, Principal, ScopeCatalog, TenantId, TenantKeys, Tier, Timestamp, VerifyError,
    audit::{AuditEvent, AuditKind, AuditSink, Rejection},
    import::{ForeignDigest, ForeignFormat, ForeignHash, ImportError},
    keyring::{Description, KeyringBuilder, Page, QuotaUse, Upkeep},
    lowlevel::{
        Authority, CheckedToken, CredentialError, Denial, MintError, Minted, ResolvedKey, Seals,
        TokenFormat,
    },
    rate::{Rate, RateStatus},
    record::{InvalidField, Labels, RecordError, Suspension, TenantRecord, TextProblem},
    scope::{MissingScope, Requirement, Scope, ScopeDeclaration, ScopeSet},
    store::{
        AnyLookup, AnyStore, KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError,
        StoredKey,
    },
    time::{Clock, ManualClock, Moment, SystemClock},
    verifier::{Freshness, Verifier, VerifierBuilder},
};

fn is_shared<T: Send + Sync + Unpin + 'static>() {}

fn is_sent<T: Send>(_: &T) {}

macro_rules! are_shared {
    ($($type:ty),* $(,)?) => { $(is_shared::<$type>();)* };
}

#[test]
fn every_type_is_send_and_sync() {
    are_shared![
        AuditEvent<'static>,
        AuditKind<'static>,
        Box<dyn AuditSink>,
        Authority,
        ChangeError,
        ImportError,
        ImportedKey,
        KeyEdit,
        LeakResponse,
        NewKey,
        GracePeriod,
        CredentialError,
        Denial,
        KeyState,
        Principal,
        RecordError,
        ResolvedKey,
        ForeignDigest,
        ForeignFormat,
        ConfigError,
        ForeignHash,
        Description,
        IssuedKey,
        Keyring,
        KeyringError,
        Page<KeyRecord>,
        Upkeep,
        QuotaUse,
        TenantKeys,
        Pepper,
        Peppers,
        Policy,
        RateStatus,
        InvalidField,
        KeyRecord,
        Labels,
        Suspension,
        TenantId,
        TenantRecord,
        TextProblem,
        MissingScope,
        Requirement,
        Scope,
        ScopeCatalog,
        ScopeDeclaration,
        ScopeSet,
        Seals,
        AnyLookup,
        AnyStore,
        KeyCursor,
        KeyQuery,
        KeyUse,
        MemoryStore,
        StoreError,
        StoredKey,
        Rate,
        Tier,
        Box<dyn Clock>,
        ManualClock,
        Moment,
        SystemClock,
        Timestamp,
        CheckedToken,
        KeyId,
        MintError,
        Minted,
        OneTimeToken,
        Rejection,
        TokenFormat,
        Freshness,
        Verifier,
        VerifierBuilder,
        VerifyError,
    ];
}

#[cfg(feature = "http")]
#[test]
fn every_http_type_is_send_and_sync() {
    use keyway::{
        Guard,
        http::{
            Access, Admission, Endpoint, OwnKey, Reason, Refusal, Resolved, Response, RouteEntry,
            RouteTable, Routes,
        },
    };
    are_shared![
        Access,
        Admission,
        Response,
        Endpoint<()>,
        Guard,
        RouteTable,
        OwnKey,
        Reason,
        Refusal,
        Resolved<()>,
        Routes<()>,
        RouteEntry,
    ];
    #[cfg(feature = "actix")]
    are_shared![keyway::http::actix::ActixHandler];
    #[cfg(feature = "tower")]
    are_shared![keyway::http::tower::Guarded<()>, keyway::http::tower::GuardedBody<()>,];
    #[cfg(feature = "leak-reports")]
    are_shared![keyway::http::leak::LeakReports, keyway::http::leak::SigningKeys,];
}

#[cfg(feature = "testing")]
#[test]
fn every_type_for_tests_is_send_and_sync() {
    use keyway::testing::{Caller, CallerError, Event, Events};
    are_shared![Caller, CallerError, Event, Events];
}

#[test]
fn keyring_builder_is_send() {
    fn is_sent<T: Send + Unpin + 'static>() {}
    // The source of randomness need not be `Sync`, and so the builder is not.
    is_sent::<KeyringBuilder>();
}

/// Never called: the test is that it compiles.
#[allow(dead_code, reason = "it only has to compile")]
async fn every_future_is_send(
    keyring: Keyring,
    keys: TenantKeys,
    id: KeyId,
    tenant: TenantId,
    imported: ImportedKey,
) {
    let edit = KeyEdit::new();
    is_sent(&keyring.verify(b""));
    is_sent(&keyring.verify(String::new()));
    is_sent(&keyring.verify_as_of(b"", Freshness::Now));
    is_sent(&keyring.verify_authorization(Some(b"")));
    is_sent(&keyring.verifier().verify(b""));
    is_sent(&keyring.create_tenant("acme", "lite"));
    is_sent(&keyring.create_tenant_with("acme", "lite", NewKey::named("first")));
    is_sent(&keyring.set_tier(&tenant, "lite"));
    is_sent(&keyring.delete_tenant(&tenant));
    is_sent(&keyring.resume_key(id));
    is_sent(&keyring.describe(b""));
    is_sent(&keyring.revoke(b""));
    is_sent(&keyring.flush_uses());
    is_sent(&keys.issue(NewKey::named("first")));
    is_sent(&keys.import(imported));
    is_sent(&keys.find(id));
    is_sent(&keys.list(&KeyQuery::all()));
    is_sent(&keys.search(""));
    is_sent(&keys.edit(id, 1, edit));
    is_sent(&keys.rotate(id, 1, GracePeriod::None));
    is_sent(&keys.delete(id));
}

#[cfg(feature = "http")]
#[allow(dead_code, reason = "it only has to compile")]
async fn every_http_future_is_send(
    guard: keyway::Guard,
    own_key: keyway::http::OwnKey,
    fields: &[(&str, &[u8])],
) {
    is_sent(&guard.admit(fields));
    is_sent(&own_key.describe(fields));
    is_sent(&own_key.revoke(fields));
}

#[cfg(feature = "leak-reports")]
#[allow(dead_code, reason = "it only has to compile")]
async fn leak_report_future_is_send(
    reports: keyway::http::leak::LeakReports,
    fields: &[(&str, &[u8])],
) {
    is_sent(&reports.handle(fields, b""));
}

#[allow(dead_code, reason = "it only has to compile")]
fn every_store_future_is_send<S: KeyStore + KeyLookup>(store: &S, id: KeyId) {
    is_sent(&store.lookup(id));
    is_sent(&store.record_uses(&[], keyway::Timestamp::MAX));
}

#[cfg(feature = "console")]
#[test]
fn console_is_send_and_sync() {
    use keyway::console::{Admin, RecentEvents, TrailEvent, TrailPage};

    are_shared![Admin, RecentEvents, TrailEvent, TrailPage, keyway::console::Console];
}
