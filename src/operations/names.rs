//! A table by name that does not change. A look-up compares the name with one other, as a rule.

use alloc::{boxed::Box, collections::BTreeMap, vec};

/// Values by name, sorted by name.
///
/// Clients choose the names that are looked up, but not those in the table. So they cannot make a look-up longer than the
/// longest run of places that are taken, of which at least three quarters are free.
pub(crate) struct Names<T> {
    entries: Box<[(Box<str>, T)]>,
    /// The places of an open-addressed hash table. Their number is a power of two.
    places: Box<[Place]>,
}

#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    /// The index in `entries`, and `FREE` if there is none.
    entry: u32,
}

const FREE: u32 = u32::MAX;

impl<T> Names<T> {
    pub(crate) fn new(named: BTreeMap<Box<str>, T>) -> Self {
        let entries: Box<[_]> = named.into_iter().collect();
        let number = (entries.len() * 4).next_power_of_two();
        let mut places = vec![Place { hash: 0, entry: FREE }; number];
        for ((name, _), entry) in entries.iter().zip(0..) {
            let hash = hash(name.as_bytes());
            let at = probe(&places, hash).find(|(_, place)| place.entry == FREE).map(|(at, _)| at);
            if let Some(place) = at.and_then(|at| places.get_mut(at)) {
                *place = Place { hash, entry };
            }
        }
        Self { entries, places: places.into() }
    }

    /// Returns the value of the name, if it is in the table.
    #[inline]
    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        let hash = hash(name.as_bytes());
        for (_, place) in probe(&self.places, hash) {
            if place.entry == FREE {
                return None;
            }
            if place.hash == hash
                && let Some((own, value)) =
                    self.entries.get(usize::try_from(place.entry).unwrap_or(usize::MAX))
                && **own == *name
            {
                return Some(value);
            }
        }
        None
    }

    /// Returns all names and values, sorted by name.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }
}

/// Returns all places, in the order in which a name with this hash is looked for.
#[inline]
fn probe(places: &[Place], hash: u32) -> impl Iterator<Item = (usize, &Place)> {
    let first = hash as usize & places.len().wrapping_sub(1);
    let (before, after) = places.split_at_checked(first).unwrap_or((&[], places));
    (first..).zip(after).chain((0..).zip(before))
}

/// Returns a hash that depends on each byte. It need not resist anyone, since the table is fixed.
#[inline]
#[allow(clippy::cast_possible_truncation, reason = "the hash is a part of the product")]
fn hash(name: &[u8]) -> u32 {
    // The golden ratio in binary, which is odd and spreads the bits.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = name.as_chunks();
    let mut last = [0; 8];
    for (byte, rest) in last.iter_mut().zip(rest) {
        *byte = *rest;
    }
    // Both halves of the product, so that each bit of a word reaches the low bits of the hash.
    let mix = |hash: u64, word: &[u8; 8]| {
        let product = u128::from(hash ^ u64::from_le_bytes(*word)) * u128::from(SPREAD);
        (product as u64) ^ (product >> 64) as u64
    };
    words.iter().chain([&last]).fold(name.len() as u64, mix) as u32
}

#[cfg(test)]
mod tests {
    use alloc::{format, vec::Vec};

    use super::*;

    #[test]
    fn each_name_leads_to_its_value_and_no_other_does() {
        for number in [0_usize, 1, 2, 3, 4, 30, 1_000] {
            let name = |index: usize| format!("/factory.v1.Machines/Method{index}");
            let named = (0..number).map(|index| (name(index).into_boxed_str(), index)).collect();
            let table = Names::new(named);
            for index in 0..number {
                assert_eq!(table.get(&name(index)), Some(&index));
            }
            let text = name(1);
            let shorter = text.get(1..).unwrap();
            for other in ["", "/", "Method1", shorter, &format!("{text} "), &name(number)] {
                assert_eq!(table.get(other), None, "{other} of {number}");
            }
            assert_eq!(table.iter().len(), number);
            assert!(table.iter().is_sorted());
        }
    }

    #[test]
    fn names_with_equal_hashes_are_told_apart() {
        // All places are the same one in a table whose hash is ignored.
        let named: BTreeMap<Box<str>, u32> =
            [("a", 1), ("b", 2), ("c", 3)].map(|(name, value)| (name.into(), value)).into();
        let mut table = Names::new(named);
        let hash = hash(b"b");
        for place in &mut table.places {
            *place = Place { hash: 0, entry: FREE };
        }
        let order: Vec<usize> = probe(&table.places, hash).map(|(at, _)| at).take(3).collect();
        for (entry, at) in (0..).zip(order) {
            table.places[at] = Place { hash, entry };
        }
        assert_eq!(table.get("b"), Some(&2));
    }

    #[test]
    fn no_look_up_is_long() {
        let named = (0..4_000).map(|index| (format!("Query.field{index}").into(), ()));
        let table = Names::new(named.collect());
        let mut longest = 0;
        let mut run = 0;
        for place in table.places.iter().chain(&table.places) {
            run = if place.entry == FREE { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        assert!(longest < 16, "{longest}");
    }
}
