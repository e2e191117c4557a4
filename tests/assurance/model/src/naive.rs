//! The data of the naive rules: names, numbers and sets of them. Nothing here comes from keyway.

mod changes;
mod children;
mod limits;
mod networks;
mod rules;
mod service;

use std::collections::{BTreeMap, BTreeSet};

#[cfg(feature = "children")]
pub use self::children::{Child, Place};
pub use self::{
    limits::{Granter, Share, Shares},
    networks::{Address, Block, joined},
    rules::{Question, Rules},
    service::{Caller, Service},
};

pub type Names = BTreeSet<String>;
/// A time in milliseconds.
pub type Time = i64;

pub const DAY: Time = 86_400_000;

/// The declaration of a service.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Every scope, with the scopes that it implies besides those below it by its dots.
    pub scopes: BTreeMap<String, Names>,
    /// The kinds of resources, in the order of their declaration.
    pub kinds: Vec<String>,
    /// In ascending order.
    pub tiers: Vec<Tier>,
}

#[derive(Clone, Debug)]
pub struct Tier {
    pub name: String,
    /// How many keys a tenant may hold.
    pub keys: u32,
    /// The scopes of the tier. `None` means all scopes.
    pub ceiling: Option<Names>,
    pub longest: Option<Time>,
}

/// The peppers of an application, by slot.
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
    pub version: u64,
}

impl Tenant {
    /// Records that the changed record was written with the current pepper.
    pub fn write(&mut self, ring: &Ring) {
        self.sealed = ring.current;
        self.version += 1;
    }
}

/// A suspension that ends at this time, or never.
#[derive(Clone, Copy, Debug)]
pub struct Suspension(pub Option<Time>);

#[derive(Clone, Debug)]
pub struct Key {
    /// Unique among keys.
    pub number: usize,
    pub tenant: String,
    /// The slot of the pepper that its id names.
    pub slot: u8,
    /// The slot of the pepper that its record was last sealed with.
    pub sealed: u8,
    pub granted: Names,
    /// Of every kind that is named, there is something.
    pub shares: Shares,
    /// `None` means any network.
    pub networks: Option<Vec<Block>>,
    pub enabled: bool,
    pub suspension: Option<Suspension>,
    pub from: Option<Time>,
    pub end: Option<Time>,
    pub created: Time,
    /// Unique among secrets.
    pub secret: usize,
    /// The secret was made by another system.
    pub imported: bool,
    /// Whether its holder may derive children.
    pub children: bool,
    /// The newest first.
    pub older: Vec<Older>,
    /// The time from which the longest lifetime of a tier counts.
    pub counts_from: Time,
    pub rotated: Option<Time>,
    pub version: u64,
}

impl Key {
    /// Records that the changed record was written with the current pepper.
    pub fn write(&mut self, ring: &Ring) {
        self.sealed = ring.current;
        self.version += 1;
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Older {
    pub secret: usize,
    pub until: Time,
    /// A first use of a newer secret ends it earlier.
    pub until_first_use: bool,
}

/// A presented token.
#[derive(Clone, Debug)]
pub struct Token {
    pub key: usize,
    pub secret: usize,
    pub slot: u8,
    /// The token was made by another system.
    pub foreign: bool,
    pub shape: Shape,
}

/// The change to a token since it was minted.
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
    OtherResource(String),
    OtherNetwork,
    OtherPlace,
    Missing { names: Names, any: bool },
    Admitted { previous: bool },
}

/// The reason why a record cannot be resolved for decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unready {
    Tampered,
    OtherTenant,
    UnknownTier,
}

/// The reason why an operation is refused. Of several reasons, the first kind in this order is reported.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    NoTenant,
    TenantExists,
    NoKey,
    Conflict,
    Rejected,
    Inactive(Answer),
    Outside(Answer),
    Tampered,
    OtherTenant,
    UnknownScope(String),
    AboveCeiling(Names),
    AboveGranter(Names),
    /// The kind is not declared, or a granter has less of it. Kinds are checked in the order of their names.
    UndeclaredOrAbove {
        kind: String,
        above: bool,
    },
    NetworksAboveGranter,
    UnknownTier,
    LifetimeTooLong,
    ExpiryInPast,
    EndsBeforeStart,
    Expired,
    GracePeriodTooLong,
    TooManySecrets,
    NoPepper,
    QuotaExceeded {
        allowed: u32,
        held: u32,
    },
}

/// The values of a new key or of an edit. `None` leaves a value unchanged.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    pub scopes: Option<Vec<String>>,
    pub from: Option<Option<Time>>,
    pub end: Option<Option<Time>>,
    pub enabled: Option<bool>,
    pub children: Option<bool>,
    /// The kinds whose resources are set.
    pub shares: Shares,
    pub networks: Option<Option<Vec<Block>>>,
    /// Each one is a limit.
    pub granters: Vec<Granter>,
}

#[derive(Clone, Copy, Debug)]
pub enum GracePeriod {
    None,
    For(Time),
    UntilFirstUse,
}
