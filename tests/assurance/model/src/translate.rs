//! Translates keyway's results into the types of the naive rules.

mod limits;

use std::{collections::BTreeSet, mem, time::Duration};

use keyway::{
    ChangeError, GracePeriod, ImportedKey, KeyEdit, KeyRecord, KeyState, NewKey, Timestamp,
    audit::Rejection,
    grant::OutsideGrant,
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::{Denial, MintError},
    record::{RecordError, Suspension, TenantRecord},
    scope::Scope,
};
use sha2::{Digest as _, Sha256};

pub use self::limits::{address, grant, networks, resources, share};
#[cfg(feature = "children")]
use keyway::record::ChildSwitch;

use super::{
    naive::{self, Answer, Key, Names, Refusal, Tenant, Time, Unready, Wish},
    random::Random,
};

/// Returns the key that both sides made, or `None` if both refuse for the same reason.
pub fn both<K, M>(
    expected: Result<K, BTreeSet<Refusal>>,
    made: Result<M, ChangeError>,
) -> Result<Option<(K, M)>, String> {
    match (expected, made) {
        (Ok(key), Ok(made)) => Ok(Some((key, made))),
        (Err(reasons), Err(error)) if is_first(&refusal(&error)?, &reasons) => Ok(None),
        (Ok(_), Err(error)) => Err(format!("refused: {error}")),
        (Err(reasons), made) => Err(format!("{:?} and not {reasons:?}", made.err())),
    }
}

/// Returns whether `refusal` is one of these reasons, and no reason of another kind is before it.
fn is_first(refusal: &Refusal, reasons: &BTreeSet<Refusal>) -> bool {
    let is_kind = |first| mem::discriminant(first) == mem::discriminant(refusal);
    reasons.contains(refusal) && reasons.first().is_some_and(is_kind)
}

/// Compares a record with the naive key.
pub fn same_record(key: &Key, record: &KeyRecord) -> Result<(), String> {
    let is_same = strings(record.scopes()) == key.granted
        && limits::are_same(key, record)
        && record.imported() == key.imported
        && has_same_switch(key, record)
        && record.tenant().as_str() == key.tenant
        && record.id().slot() == key.slot
        && record.version() == key.version
        && record.enabled() == key.enabled
        && record.not_before() == key.from.map(time)
        && record.expires_at() == key.end.map(time)
        && record.created_at() == time(key.created)
        && record.lifetime_from() == time(key.counts_from)
        && record.rotated_at() == key.rotated.map(time)
        && record.suspension().map(Suspension::end)
            == key.suspension.map(|suspension| suspension.0.map(time))
        && record.grace_until() == key.older.iter().map(|older| time(older.until)).max();
    if is_same { Ok(()) } else { Err(format!("{record:?} and not {key:?}")) }
}

#[cfg(feature = "children")]
fn has_same_switch(key: &Key, record: &KeyRecord) -> bool {
    (record.children() != ChildSwitch::Off) == key.children
}

#[cfg(not(feature = "children"))]
fn has_same_switch(_: &Key, _: &KeyRecord) -> bool {
    true
}

/// Compares a record with the naive tenant.
pub fn same_tenant(tenant: &Tenant, record: &TenantRecord) -> Result<(), String> {
    let is_same = record.id().as_str() == tenant.name
        && record.tier() == tenant.tier
        && record.version() == tenant.version
        && record.suspension().map(Suspension::end)
            == tenant.suspension.map(|suspension| suspension.0.map(time));
    if is_same { Ok(()) } else { Err(format!("{record:?} and not {tenant:?}")) }
}

pub fn refusal(error: &ChangeError) -> Result<Refusal, String> {
    Ok(match error {
        ChangeError::UnknownScope(name) => Refusal::UnknownScope(name.clone()),
        ChangeError::AboveCeiling { scopes, .. } => Refusal::AboveCeiling(strings(scopes)),
        ChangeError::AboveGranter(scopes) => Refusal::AboveGranter(strings(scopes)),
        ChangeError::UnknownResource(kind) => {
            Refusal::UndeclaredOrAbove { kind: kind.clone(), above: false }
        }
        ChangeError::ResourcesAboveGranter(kind) => {
            Refusal::UndeclaredOrAbove { kind: kind.clone(), above: true }
        }
        ChangeError::NetworksAboveGranter => Refusal::NetworksAboveGranter,
        ChangeError::ExpiryInPast(_) => Refusal::ExpiryInPast,
        ChangeError::EndsBeforeStart => Refusal::EndsBeforeStart,
        ChangeError::LifetimeTooLong { .. } => Refusal::LifetimeTooLong,
        ChangeError::Expired(_) => Refusal::Expired,
        ChangeError::GracePeriodTooLong(_) => Refusal::GracePeriodTooLong,
        ChangeError::TooManySecrets { .. } => Refusal::TooManySecrets,
        ChangeError::UnknownTier(_) => Refusal::UnknownTier,
        ChangeError::Record(RecordError::Misplaced) => Refusal::OtherTenant,
        ChangeError::Record(RecordError::Tampered) => Refusal::Tampered,
        ChangeError::Mint(MintError::NoPepper) => Refusal::NoPepper,
        other => return Err(format!("refused: {other}")),
    })
}

pub fn unready(error: &RecordError) -> Unready {
    match error {
        RecordError::Tampered => Unready::Tampered,
        RecordError::Misplaced => Unready::OtherTenant,
        RecordError::UnknownTier(_) => Unready::UnknownTier,
        other => panic!("a reason that the rules do not have: {other:?}"),
    }
}

pub fn denied(denial: &Denial) -> Answer {
    match denial {
        Denial::Rejected(Rejection::Malformed) => Answer::Malformed,
        Denial::Rejected(Rejection::Forged) => Answer::Forged,
        Denial::Rejected(Rejection::Unknown) => Answer::Unknown,
        Denial::Rejected(Rejection::WrongSecret) => Answer::WrongSecret,
        Denial::Inactive(state) => inactive(state).expect("a state other than active"),
        Denial::Outside(reason) => outside(reason),
        Denial::Rejected(other) => panic!("an answer that the rules do not have: {other:?}"),
    }
}

pub fn outside(reason: &OutsideGrant) -> Answer {
    match reason {
        OutsideGrant::Scope(missing) => {
            Answer::Missing { names: strings(missing.scopes()), any: missing.is_any() }
        }
        OutsideGrant::Resource(kind) => Answer::OtherResource(kind.to_string()),
        OutsideGrant::Network => Answer::OtherNetwork,
        #[cfg(feature = "children")]
        OutsideGrant::Audience => Answer::OtherPlace,
        other => panic!("an answer that the rules do not have: {other:?}"),
    }
}

/// Returns the refusal of a key in this state. `None` if it is active.
pub fn inactive(state: &KeyState) -> Option<Answer> {
    Some(match state {
        KeyState::TenantSuspended { until } => {
            Answer::TenantSuspended(until.map(Timestamp::as_millis))
        }
        KeyState::KeySuspended { until } => Answer::KeySuspended(until.map(Timestamp::as_millis)),
        KeyState::Disabled => Answer::Disabled,
        KeyState::NotYetValid { from } => Answer::NotYetValid(from.as_millis()),
        KeyState::Expired { at } => Answer::Expired(at.as_millis()),
        KeyState::Active => return None,
        other => panic!("a state that the rules do not have: {other:?}"),
    })
}

/// Returns the request for a new key. It does not contain the granters.
pub fn new_key(wish: &Wish) -> NewKey {
    let mut request = NewKey::named("k").scopes(wish.scopes.iter().flatten());
    if let Some(from) = wish.from.flatten() {
        request = request.not_before(time(from));
    }
    if let Some(end) = wish.end.flatten() {
        request = request.expires_at(time(end));
    }
    for (kind, share) in &wish.shares {
        request = request.resources(kind, resources(share));
    }
    if let Some(wished) = &wish.networks {
        request = request.networks(networks(wished.as_deref()));
    }
    #[cfg(feature = "children")]
    if let Some(allowed) = wish.children {
        request = request.children(allowed);
    }
    request
}

/// Returns the format of the tokens that another system made.
pub fn foreign_format() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).expect("an allowed length")
}

/// Returns the request to import a key with a random token, and the token.
pub fn import(request: NewKey, enabled: bool, random: &mut Random) -> (ImportedKey, Vec<u8>) {
    let token: Vec<u8> = (0..43).map(|_| *random.pick(b"ABCDEFGHabcdefgh01234567")).collect();
    let digest = ForeignDigest::from_bytes(&Sha256::digest(&token)).expect("32 bytes");
    let imported = ImportedKey::new(&foreign_format(), digest, request);
    (imported.expect("a format without a public part").enabled(enabled), token)
}

/// Returns the edit of a key. It does not contain the granters.
pub fn key_edit(wish: &Wish) -> KeyEdit {
    let mut edit = KeyEdit::new();
    if let Some(scopes) = &wish.scopes {
        edit = edit.scopes(scopes);
    }
    if let Some(from) = wish.from {
        edit = edit.not_before(from.map(time));
    }
    if let Some(end) = wish.end {
        edit = edit.expires_at(end.map(time));
    }
    if let Some(enabled) = wish.enabled {
        edit = edit.enabled(enabled);
    }
    for (kind, share) in &wish.shares {
        edit = edit.resources(kind, resources(share));
    }
    if let Some(wished) = &wish.networks {
        edit = edit.networks(networks(wished.as_deref()));
    }
    #[cfg(feature = "children")]
    if let Some(allowed) = wish.children {
        edit = edit.children(allowed);
    }
    edit
}

pub fn grace_period(naive: naive::GracePeriod) -> GracePeriod {
    match naive {
        naive::GracePeriod::None => GracePeriod::None,
        naive::GracePeriod::For(lasts) => GracePeriod::For(span(lasts)),
        naive::GracePeriod::UntilFirstUse => GracePeriod::UntilFirstUse,
    }
}

pub fn suspension(until: Option<Time>) -> Suspension {
    let reason = "a reason";
    let suspension = match until {
        Some(until) => Suspension::until(time(until), reason),
        None => Suspension::permanent(reason),
    };
    suspension.expect("a reason is one line")
}

pub fn strings(scopes: &[Scope]) -> Names {
    scopes.iter().map(|scope| scope.as_str().to_owned()).collect()
}

pub fn time(millis: Time) -> Timestamp {
    Timestamp::from_millis(millis).expect("within the years 1 to 9999")
}

pub fn span(millis: Time) -> Duration {
    Duration::from_millis(millis.unsigned_abs())
}
