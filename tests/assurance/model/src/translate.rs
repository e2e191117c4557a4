//! What keyway says, in the words of the naive rules.

use std::{collections::BTreeSet, time::Duration};

use keyway::{
    authority::ChangeError,
    decision::{Denial, KeyState, ResolveError},
    record::{KeyRecord, Suspension},
    scope::{CatalogError, Scope},
    time::Timestamp,
    token::{MintError, Rejection},
};

use crate::naive::{Answer, Key, Names, Refusal, Time, Unready};

/// The key that both sides made, or nothing if both refuse for the same reason.
pub fn both<K, M>(
    expected: Result<K, BTreeSet<Refusal>>,
    made: Result<M, ChangeError>,
) -> Result<Option<(K, M)>, String> {
    match (expected, made) {
        (Ok(key), Ok(made)) => Ok(Some((key, made))),
        (Err(reasons), Err(error)) if reasons.contains(&refusal(&error)?) => Ok(None),
        (Ok(_), Err(error)) => Err(format!("refused: {error}")),
        (Err(reasons), made) => Err(format!("{:?} and not {reasons:?}", made.err())),
    }
}

/// Whether a record holds what the naive key does.
pub fn same_record(key: &Key, record: &KeyRecord) -> Result<(), String> {
    let is_same = strings(record.scopes()) == key.granted
        && record.tenant().as_str() == key.tenant
        && record.id().slot() == key.slot
        && record.enabled() == key.enabled
        && record.not_before() == key.from.map(time)
        && record.expires_at() == key.end.map(time)
        && record.created_at() == time(key.created)
        && record.suspension().map(Suspension::end)
            == key.suspension.map(|suspension| suspension.0.map(time));
    if is_same { Ok(()) } else { Err(format!("{record:?} and not {key:?}")) }
}

pub fn refusal(error: &ChangeError) -> Result<Refusal, String> {
    Ok(match error {
        ChangeError::Scope(CatalogError::Unknown(name)) => Refusal::UnknownScope(name.clone()),
        ChangeError::AboveCeiling { scopes, .. } => Refusal::AboveCeiling(strings(scopes)),
        ChangeError::AboveGranter(scopes) => Refusal::AboveGranter(strings(scopes)),
        ChangeError::ExpiryInPast(_) => Refusal::ExpiryInPast,
        ChangeError::EndsBeforeStart => Refusal::EndsBeforeStart,
        ChangeError::LifetimeTooLong { .. } => Refusal::LifetimeTooLong,
        ChangeError::Expired(_) => Refusal::Expired,
        ChangeError::OverlapTooLong(_) => Refusal::OverlapTooLong,
        ChangeError::OtherTenant => Refusal::OtherTenant,
        ChangeError::Tampered(_) => Refusal::Tampered,
        ChangeError::Mint(MintError::NoPepper) => Refusal::NoPepper,
        other => return Err(format!("refused: {other}")),
    })
}

pub fn unready(error: &ResolveError) -> Unready {
    match error {
        ResolveError::Tampered(_) => Unready::Tampered,
        ResolveError::OtherTenant => Unready::OtherTenant,
        ResolveError::UnknownTier(_) => Unready::UnknownTier,
        other => panic!("a reason that the rules do not have: {other:?}"),
    }
}

pub fn denied(denial: &Denial) -> Answer {
    match denial {
        Denial::Rejected(Rejection::Malformed) => Answer::Malformed,
        Denial::Rejected(Rejection::Forged) => Answer::Forged,
        Denial::Rejected(Rejection::Unknown) => Answer::Unknown,
        Denial::Rejected(Rejection::WrongSecret) => Answer::WrongSecret,
        Denial::Inactive(KeyState::TenantSuspended { until }) => {
            Answer::TenantSuspended(until.map(Timestamp::as_millis))
        }
        Denial::Inactive(KeyState::KeySuspended { until }) => {
            Answer::KeySuspended(until.map(Timestamp::as_millis))
        }
        Denial::Inactive(KeyState::Disabled) => Answer::Disabled,
        Denial::Inactive(KeyState::NotYetValid { from }) => Answer::NotYetValid(from.as_millis()),
        Denial::Inactive(KeyState::Expired { at }) => Answer::Expired(at.as_millis()),
        other => panic!("an answer that the rules do not have: {other:?}"),
    }
}

pub fn suspension(until: Option<Time>) -> Suspension {
    let reason = "a reason";
    let suspension = match until {
        Some(until) => Suspension::until(time(until), reason),
        None => Suspension::for_good(reason),
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
