//! Rows of usage, and the unit in which a node writes them.

use alloc::vec::Vec;

use super::{Counts, Day};
use crate::{record::TenantId, token::KeyId};

/// The counts of one key in one day or month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsage {
    /// The tenant that holds the key.
    pub tenant: TenantId,
    /// The key. It may have been deleted since.
    pub key: KeyId,
    /// The day, or the first day of the month.
    pub day: Day,
    /// The counts.
    pub counts: Counts,
}

/// The counts of all keys of a tenant in one day or month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// The day, or the first day of the month.
    pub day: Day,
    /// The counts.
    pub counts: Counts,
}

/// The counts that a node adds to the usage in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageFlush {
    /// The node: a random number, another one after each start of the process.
    pub node: u128,
    /// The number of the flush. The first one of a node is 1, and each further one is larger by 1. A node begins no flush
    /// before the one before it was added.
    pub number: u64,
    /// The day of the flush by the clock of the node.
    pub day: Day,
    /// At most 10,000 rows, each for another key and day.
    pub rows: Vec<KeyUsage>,
}
