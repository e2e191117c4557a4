//! Which of the public types can be shared, sent and moved: a promise that a private field could break
//! unnoticed.

#![allow(clippy::unused_async, reason = "a test that goes wrong stops")]
#![cfg(feature = "std")]

use keyway::{
    audit::{AuditEvent, AuditKind, AuditSink},
    authority::{
        Authority, ChangeError, ImportError, ImportedKey, InvalidIdempotencyKey, KeyEdit,
        LeakResponse, NewKey, Overlap,
    },
    authorization::BearerError,
    decision::{Denial, KeyState, Principal, ResolveError, ResolvedKey},
    import::{
        DigestError, ForeignDigest, ForeignFormat, ForeignFormatError, ForeignHash, PublicPartError,
    },
    keyring::{
        Description, IssuedKey, Keyring, KeyringBuilder, KeyringError, Page, QuotaUse, TenantKeys,
        TierChange, Upkeep,
    },
    pepper::{Pepper, PepperError, Peppers},
    policy::{Policy, PolicyError},
    rate::RateStatus,
    record::{
        DecodeError, InvalidField, KeyRecord, Labels, Suspension, TenantId, TenantRecord,
        TextProblem,
    },
    scope::{
        CatalogError, InvalidScope, MissingScope, Requirement, Scope, ScopeCatalog,
        ScopeDeclaration, ScopeSet,
    },
    seal::{Seals, Tampered},
    store::{
        AnyLookup, AnyStore, KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, MemoryStore,
        StoreError, StoredKey,
    },
    tier::{Ceiling, Rate, Tier},
    time::{Clock, InvalidTimestamp, ManualClock, Moment, SystemClock, Timestamp},
    token::{
        Claim, FormatError, InvalidKeyId, KeyId, MintError, Minted, OneTimeToken, Rejection,
        TokenFormat,
    },
    verifier::{BuildError, Freshness, Verifier, VerifierBuilder, VerifyError},
};

fn is_shared<T: Send + Sync + Unpin + 'static>() {}

fn is_sent<T: Send>(_: &T) {}

macro_rules! are_shared {
    ($($type:ty),* $(,)?) => { $(is_shared::<$type>();)* };
}

#[test]
fn every_type_can_be_shared_between_threads() {
    are_shared![
        AuditEvent<'static>,
        AuditKind<'static>,
        Box<dyn AuditSink>,
        Authority,
        ChangeError,
        ImportError,
        ImportedKey,
        InvalidIdempotencyKey,
        KeyEdit,
        LeakResponse,
        NewKey,
        Overlap,
        BearerError,
        Denial,
        KeyState,
        Principal,
        ResolveError,
        ResolvedKey,
        DigestError,
        ForeignDigest,
        ForeignFormat,
        ForeignFormatError,
        ForeignHash,
        PublicPartError,
        Description,
        IssuedKey,
        Keyring,
        KeyringError,
        Page<KeyRecord>,
        Upkeep,
        QuotaUse,
        TenantKeys,
        TierChange,
        Pepper,
        PepperError,
        Peppers,
        Policy,
        PolicyError,
        RateStatus,
        DecodeError,
        InvalidField,
        KeyRecord,
        Labels,
        Suspension,
        TenantId,
        TenantRecord,
        TextProblem,
        CatalogError,
        InvalidScope,
        MissingScope,
        Requirement,
        Scope,
        ScopeCatalog,
        ScopeDeclaration,
        ScopeSet,
        Seals,
        Tampered,
        AnyLookup,
        AnyStore,
        KeyCursor,
        KeyQuery,
        KeyUse,
        MemoryStore,
        StoreError,
        StoredKey,
        Ceiling,
        Rate,
        Tier,
        Box<dyn Clock>,
        ManualClock,
        Moment,
        SystemClock,
        Timestamp,
        Claim,
        FormatError,
        InvalidKeyId,
        KeyId,
        MintError,
        Minted,
        OneTimeToken,
        Rejection,
        TokenFormat,
        BuildError,
        Freshness,
        Verifier,
        VerifierBuilder,
        VerifyError,
        InvalidTimestamp,
    ];
}

#[cfg(feature = "http")]
#[test]
fn every_type_of_http_can_be_shared_between_threads() {
    use keyway::http::{
        Access, Admission, Answer, CredentialError, Endpoint, Guard, GuardError, Matrix, OwnKey,
        Resolved, Routes, RoutesError, Row,
    };
    are_shared![
        Access,
        Admission,
        Answer,
        CredentialError,
        Endpoint<()>,
        Guard,
        GuardError,
        Matrix,
        OwnKey,
        Resolved<()>,
        Routes<()>,
        RoutesError,
        Row,
    ];
    #[cfg(feature = "actix")]
    are_shared![keyway::http::actix::ActixHandler];
    #[cfg(feature = "openapi")]
    are_shared![keyway::http::openapi::UndeclaredOperations];
    #[cfg(feature = "tower")]
    are_shared![keyway::http::tower::Guarded<()>, keyway::http::tower::GuardedBody<()>,];
    #[cfg(feature = "leak-reports")]
    are_shared![
        keyway::http::leak::LeakReports,
        keyway::http::leak::SigningKeys,
        keyway::http::leak::SigningKeysError,
    ];
}

#[test]
fn a_builder_can_be_sent() {
    fn is_sent<T: Send + Unpin + 'static>() {}
    // Its source of randomness need not be shared, and so it is not.
    is_sent::<KeyringBuilder>();
}

/// It is never called: that it compiles is the test.
#[allow(dead_code, reason = "it only has to compile")]
async fn every_future_can_be_sent(
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
    is_sent(&keys.rotate(id, 1, Overlap::None));
    is_sent(&keys.delete(id));
}

#[cfg(feature = "http")]
#[allow(dead_code, reason = "it only has to compile")]
async fn every_future_of_http_can_be_sent(
    guard: keyway::http::Guard,
    own_key: keyway::http::OwnKey,
    fields: &[(&str, &[u8])],
) {
    is_sent(&guard.admit(fields));
    is_sent(&own_key.describe(fields));
    is_sent(&own_key.revoke(fields));
}

#[cfg(feature = "leak-reports")]
#[allow(dead_code, reason = "it only has to compile")]
async fn a_leak_report_can_be_answered_on_any_thread(
    reports: keyway::http::leak::LeakReports,
    fields: &[(&str, &[u8])],
) {
    is_sent(&reports.answer(fields, b""));
}

#[allow(dead_code, reason = "it only has to compile")]
fn every_store_answers_with_a_future_that_can_be_sent<S: KeyStore + KeyLookup>(
    store: &S,
    id: KeyId,
) {
    is_sent(&store.lookup(id));
    is_sent(&store.record_uses(&[]));
}

#[cfg(feature = "console")]
#[test]
fn a_console_can_be_shared_between_threads() {
    use keyway::console::{Admin, ConsoleError, RecentEvents, TrailEvent, TrailPage};

    are_shared![Admin, ConsoleError, RecentEvents, TrailEvent, TrailPage, keyway::console::Console];
}
