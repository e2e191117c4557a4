//! Sets of scopes as fixed-size bits.

use core::fmt;

/// A set of scopes of one [`ScopeCatalog`](super::ScopeCatalog), downward closed in its order.
///
/// Only a catalog creates sets. Every operation takes a few instructions, whatever the size of the set. Sets
/// of different catalogs have nothing in common: neither [covers](Self::covers) the other, and their
/// [`join`](Self::join) and [`meet`](Self::meet) are empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ScopeSet {
    bits: Bits,
    catalog: u64,
}

/// One bit per declared scope, in the order of the catalog.
pub(super) type Bits = [u64; 4];

impl ScopeSet {
    pub(super) const fn new(bits: Bits, catalog: u64) -> Self {
        Self { bits, catalog }
    }

    pub(super) const fn bits(self) -> Bits {
        self.bits
    }

    pub(crate) const fn catalog(self) -> u64 {
        self.catalog
    }

    /// Returns the number of scopes in the set, including implied ones.
    pub fn len(self) -> usize {
        self.bits.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns whether the set has no scopes. An empty set permits nothing.
    pub fn is_empty(self) -> bool {
        self.bits == [0; 4]
    }

    /// Returns whether every scope of `other` is in this set (≥ in the lattice).
    #[inline]
    pub fn covers(self, other: Self) -> bool {
        self.catalog == other.catalog && holds_all(self.bits, other.bits)
    }

    /// Returns the scopes in either set (∪).
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        self.combine(other, |left, right| left | right)
    }

    /// Returns the scopes in both sets (∩).
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        self.combine(other, |left, right| left & right)
    }

    fn combine(self, other: Self, word: impl Fn(u64, u64) -> u64) -> Self {
        let mut bits = [0; 4];
        if self.catalog == other.catalog {
            for ((bits, left), right) in bits.iter_mut().zip(self.bits).zip(other.bits) {
                *bits = word(left, right);
            }
        }
        Self::new(bits, self.catalog)
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ScopeSet({} scopes of catalog {:016x})", self.len(), self.catalog)
    }
}

#[inline]
pub(super) fn holds_all(have: Bits, need: Bits) -> bool {
    have.iter().zip(need).fold(0, |missing, (have, need)| missing | (need & !have)) == 0
}

#[inline]
pub(super) fn holds_any(have: Bits, need: Bits) -> bool {
    have.iter().zip(need).fold(0, |found, (have, need)| found | (need & have)) != 0
}

pub(super) fn contains(bits: Bits, index: usize) -> bool {
    bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
}

pub(super) fn insert(bits: &mut Bits, index: usize) {
    if let Some(word) = bits.get_mut(index / 64) {
        *word |= 1 << (index % 64);
    }
}
