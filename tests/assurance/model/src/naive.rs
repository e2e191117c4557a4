//! What the naive rules are about: names, numbers and sets of them. Nothing here is of keyway.

mod changes;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

pub use self::rules::Rules;

pub type Names = BTreeSet<String>;
/// Milliseconds.
pub type Time = i64;

pub const DAY: Time = 86_400_000;

/// What a service has declared.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Every scope, and what it implies besides those below it by its dots.
    pub scopes: BTreeMap<String, Names>,
    /// In ascending order.
    pub tiers: Vec<Tier>,
}

#[derive(Clone, Debug)]
pub struct Tier {
    pub name: String,
    /// Without one, everything.
    pub ceiling: Option<Names>,
    pub longest: Option<Time>,
}

/// The peppers that a host has, by slot.
#[derive(Clone, Debug)]
pub struct Ring {
    pub current: u8,
    pub tokens: Vec<u8>,
    pub seals: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Tenant {
    pub name: String,
    pub tier: String,
    pub suspension: Option<Suspension>,
    pub sealed: u8,
}

/// It ends at this time, or never.
#[derive(Clone, Copy, Debug)]
pub struct Suspension(pub Option<Time>);

#[derive(Clone, Debug)]
pub struct Key {
    /// No other key has it.
    pub number: usize,
    pub tenant: String,
    /// The slot of the pepper that its id names.
    pub slot: u8,
    /// The slot of the pepper that its record was last sealed with.
    pub sealed: u8,
    pub granted: Names,
    pub enabled: bool,
    pub suspension: Option<Suspension>,
    pub from: Option<Time>,
    pub end: Option<Time>,
    pub created: Time,
    /// No other secret has it.
    pub secret: usize,
    pub previous: Option<Previous>,
}

#[derive(Clone, Copy, Debug)]
pub struct Previous {
    pub secret: usize,
    pub until: Time,
    pub until_first_use: bool,
}

/// A token that somebody presents.
#[derive(Clone, Debug)]
pub struct Token {
    pub key: usize,
    pub secret: usize,
    pub slot: u8,
    pub shape: Shape,
}

/// What was done to it since it was minted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Whole,
    OtherLength,
    OtherByte,
}

#[derive(Clone, Debug)]
pub struct Requirement {
    pub names: Names,
    pub any: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Malformed,
    Forged,
    Unknown,
    WrongSecret,
    TenantSuspended(Option<Time>),
    KeySuspended(Option<Time>),
    Disabled,
    NotYetValid(Time),
    Expired(Time),
    Missing { names: Names, any: bool },
    Admitted { previous: bool },
}

/// Why a record is not made ready for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unready {
    Tampered,
    OtherTenant,
    UnknownTier,
}

/// Why a key is not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    UnknownScope(String),
    AboveCeiling(Names),
    AboveGranter(Names),
    ExpiryInPast,
    EndsBeforeStart,
    LifetimeTooLong,
    Expired,
    OverlapTooLong,
    OtherTenant,
    Tampered,
    NoPepper,
}

/// What is asked of a new key or an edit. What is not named stays.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub scopes: Option<Vec<String>>,
    pub from: Option<Option<Time>>,
    pub end: Option<Option<Time>>,
    pub enabled: Option<bool>,
    /// What whoever asks holds.
    pub granter: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
pub enum Overlap {
    None,
    For(Time),
    UntilFirstUse,
}
