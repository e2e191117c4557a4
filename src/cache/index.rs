//! A hash table made for one purpose: to find a key with two reads of memory.
//!
//! A line of the table fills one line of the processor's cache. It has seven keys, one byte of each key's
//! hash, and the number of keys that are in later lines for want of room in this one. So a lookup reads one
//! line and then the key. A general table reads its tags, its slots and then the key. The line `index` of
//! `benches/ratios.rs` compares a verification with one by a plain map.

use alloc::{boxed::Box, sync::Arc, vec::Vec};

use crate::{decision::ResolvedKey, swar, token::KeyId};

const SLOTS: usize = 7;

/// The table grows before more than three in four of its slots are taken. The ratio is in keys per line.
const MAX_LOAD: (usize, usize) = (SLOTS * 3, 4);

pub(super) struct Index {
    /// The lines of the table. Their number is a power of two.
    lines: Box<[Line]>,
    len: usize,
    capacity: usize,
    /// The slot from which to look for the next key to evict.
    hand: usize,
}

#[repr(align(64))]
#[derive(Default)]
struct Line {
    /// One byte of each key's hash, with its high bit set. Zero is an empty slot. The last byte is the number
    /// of keys that belong in this line and are in a later one.
    tags: [u8; SLOTS + 1],
    keys: [Option<Arc<ResolvedKey>>; SLOTS],
}

impl Index {
    pub(super) fn new(capacity: usize) -> Self {
        Self { lines: lines(1), len: 0, capacity, hand: 0 }
    }

    #[inline]
    pub(super) fn find(&self, hash: u64, id: KeyId) -> Option<&Arc<ResolvedKey>> {
        let tag = tag(hash);
        for line in self.walk(hash) {
            let line = self.lines.get(line)?;
            let mut matches = line.matches(tag);
            while matches != 0 {
                let slot = (matches.trailing_zeros() / 8) as usize;
                if let Some(key) = line.keys.get(slot)?
                    && key.id() == id
                {
                    return Some(key);
                }
                matches &= matches - 1;
            }
            if line.is_last() {
                return None;
            }
        }
        None
    }

    /// Returns the number of keys in the table.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds `key`, or replaces the key with its id. A full table evicts another key. Returns whether it did.
    pub(super) fn insert(
        &mut self,
        hash: u64,
        key: Arc<ResolvedKey>,
        hash_of: impl Fn(KeyId) -> u64,
    ) -> bool {
        if self.capacity == 0 {
            return false;
        }
        self.remove(hash, key.id());
        let is_full = self.len >= self.capacity;
        if is_full {
            self.forget_one(&hash_of);
        }
        let (numerator, denominator) = MAX_LOAD;
        if (self.len + 1) * denominator > self.lines.len() * numerator {
            self.grow(&hash_of);
        }
        self.place(hash, key);
        self.len += 1;
        is_full
    }

    /// Removes the key `id`. Returns whether it was there.
    pub(super) fn remove(&mut self, hash: u64, id: KeyId) -> bool {
        let found = self.walk(hash).find_map(|number| {
            let line = self.lines.get(number)?;
            let holds =
                |key: &Option<Arc<ResolvedKey>>| key.as_ref().is_some_and(|key| key.id() == id);
            match line.keys.iter().position(holds) {
                Some(slot) => Some(Some((number, slot))),
                None => line.is_last().then_some(None),
            }
        });
        let Some(Some((number, slot))) = found else { return false };
        self.take(hash, number, slot);
        true
    }

    /// Empties a slot, and reverts the counts that placing its key made in earlier lines.
    fn take(&mut self, hash: u64, number: usize, slot: usize) {
        for passed in self.walk(hash).take_while(|passed| *passed != number).collect::<Vec<_>>() {
            if let Some(line) = self.lines.get_mut(passed) {
                line.count_passing(false);
            }
        }
        if let Some(line) = self.lines.get_mut(number)
            && let (Some(tag), Some(key)) = (line.tags.get_mut(slot), line.keys.get_mut(slot))
        {
            *tag = 0;
            *key = None;
            self.len -= 1;
        }
    }

    /// Evicts a key that was not used since the hand last passed it, or any key if all were used.
    fn forget_one(&mut self, hash_of: &impl Fn(KeyId) -> u64) {
        let slots = self.lines.len() * SLOTS;
        let mut any = None;
        // Twice around: the first pass clears the mark of each used key, and the second finds it cleared.
        for _ in 0..slots * 2 {
            let (number, slot) = (self.hand / SLOTS, self.hand % SLOTS);
            self.hand = (self.hand + 1) % slots;
            let key = self.lines.get(number).and_then(|line| line.keys.get(slot)?.as_ref());
            if let Some(key) = key {
                any = Some((hash_of(key.id()), number, slot));
                if !key.stamp.take_use() {
                    break;
                }
            }
        }
        if let Some((hash, number, slot)) = any {
            self.take(hash, number, slot);
        }
    }

    fn grow(&mut self, hash_of: &impl Fn(KeyId) -> u64) {
        let more = lines(self.lines.len() * 2);
        let old = core::mem::replace(&mut self.lines, more);
        self.hand = 0;
        for key in old.into_iter().flat_map(|line| line.keys).flatten() {
            self.place(hash_of(key.id()), key);
        }
    }

    fn place(&mut self, hash: u64, key: Arc<ResolvedKey>) {
        for number in self.walk(hash) {
            let Some(line) = self.lines.get_mut(number) else {
                return;
            };
            let empty = line.tags.iter().take(SLOTS).position(|tag| *tag == 0);
            if let Some(slot) = empty
                && let (Some(tag_byte), Some(place)) =
                    (line.tags.get_mut(slot), line.keys.get_mut(slot))
            {
                *tag_byte = tag(hash);
                *place = Some(key);
                return;
            }
            line.count_passing(true);
        }
    }

    /// Returns the numbers of the lines in which a key with this hash may be, in order.
    #[inline]
    fn walk(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let mask = self.lines.len() - 1;
        let start = (hash >> 7) as usize;
        (0..=mask).map(move |step| start.wrapping_add(step) & mask)
    }
}

impl Line {
    /// Returns the high bit of each byte whose tag is `tag`, and perhaps of others.
    #[inline]
    fn matches(&self, tag: u8) -> u64 {
        const SLOT_BYTES: u64 = u64::MAX >> 8;
        // A zero byte in the difference is a match.
        swar::zeros(u64::from_le_bytes(self.tags) ^ swar::splat(tag)) & SLOT_BYTES
    }

    /// Returns whether no key that belongs in this line is in a later one.
    #[inline]
    fn is_last(&self) -> bool {
        let [.., passing] = self.tags;
        passing == 0
    }

    /// Counts a key that moves on to the next line, or has left it. A count that is full stays full. Lookups
    /// then read more lines than they need, and still find everything.
    fn count_passing(&mut self, more: bool) {
        let [.., passing] = &mut self.tags;
        if *passing < u8::MAX {
            *passing = if more { *passing + 1 } else { passing.saturating_sub(1) };
        }
    }
}

fn lines(number: usize) -> Box<[Line]> {
    (0..number).map(|_| Line::default()).collect()
}

fn tag(hash: u64) -> u8 {
    (hash & 0x7f) as u8 | 0x80
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> KeyId {
        alloc::format!("{number:016}").parse().unwrap()
    }

    fn key(number: u64, name: &str) -> Arc<ResolvedKey> {
        Arc::new(ResolvedKey::sample(id(number).as_str(), "acme", name))
    }

    /// Spreads ids evenly (Knuth, The Art of Computer Programming, 6.4).
    fn spread(id: KeyId) -> u64 {
        let number: u64 = id.as_str().parse().unwrap();
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// Hashes to few tags and few first lines, so that lines overflow into others all the time.
    fn crowd(id: KeyId) -> u64 {
        spread(id) & (0b11 << 7 | 1)
    }

    fn collide(_: KeyId) -> u64 {
        0
    }

    impl Index {
        fn put(&mut self, number: u64, hash_of: fn(KeyId) -> u64) {
            self.insert(hash_of(id(number)), key(number, ""), hash_of);
        }

        fn has(&self, number: u64, hash_of: fn(KeyId) -> u64) -> bool {
            self.find(hash_of(id(number)), id(number)).is_some()
        }

        fn note_use(&self, number: u64) {
            let found = self.find(spread(id(number)), id(number)).unwrap();
            assert!(found.stamp.note_use(0));
        }

        /// Checks the invariants of lookups on the table as a whole.
        fn check(&self, hash_of: fn(KeyId) -> u64) {
            let mut len = 0;
            let mut passing = std::vec![0; self.lines.len()];
            for (number, line) in self.lines.iter().enumerate() {
                for (slot, key) in line.keys.iter().enumerate() {
                    let Some(key) = key else {
                        assert_eq!(line.tags[slot], 0);
                        continue;
                    };
                    len += 1;
                    assert_eq!(line.tags[slot], tag(hash_of(key.id())));
                    for passed in self.walk(hash_of(key.id())).take_while(|at| *at != number) {
                        passing[passed] += 1;
                    }
                }
            }
            assert_eq!(self.len, len);
            assert!(len <= self.capacity);
            assert!(self.lines.len().is_power_of_two());
            for (line, passing) in self.lines.iter().zip(passing) {
                let [.., counted] = line.tags;
                // A count that was once full stays full.
                assert!(counted == u8::MAX || usize::from(counted) == passing);
            }
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u64),
        Remove(u64),
        Find(u64),
    }

    fn steps(keys: u64) -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (0..keys).prop_map(Step::Insert),
            2 => (0..keys).prop_map(Step::Remove),
            1 => (0..keys).prop_map(Step::Find),
        ];
        prop::collection::vec(step, 0..600)
    }

    /// Runs `steps` on a table and on a map, and compares them.
    fn run(steps: Vec<Step>, capacity: usize, hash_of: fn(KeyId) -> u64) {
        let mut index = Index::new(capacity);
        let mut model = HashMap::new();
        for (version, step) in steps.into_iter().enumerate() {
            match step {
                Step::Insert(number) => {
                    let version = alloc::format!("{version}");
                    index.insert(hash_of(id(number)), key(number, &version), hash_of);
                    model.insert(number, version);
                    assert!(index.has(number, hash_of) || capacity == 0);
                    // The keys that the table evicted for want of room are gone, and no others.
                    let before = model.len();
                    model.retain(|number, _| index.has(*number, hash_of));
                    assert_eq!(model.len(), before.min(capacity));
                }
                Step::Remove(number) => {
                    index.remove(hash_of(id(number)), id(number));
                    model.remove(&number);
                }
                Step::Find(number) => {
                    let found = index.find(hash_of(id(number)), id(number));
                    assert_eq!(found.map(|key| key.name()), model.get(&number).map(|name| &**name));
                }
            }
            index.check(hash_of);
        }
        for (number, name) in &model {
            let found = index.find(hash_of(id(*number)), id(*number)).unwrap();
            assert_eq!(found.name(), name);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn table_is_a_map(steps in steps(200), capacity in prop_oneof![0..60_usize, Just(1_000)]) {
            run(steps, capacity, spread);
        }

        #[test]
        fn table_is_a_map_when_lines_overflow(steps in steps(100), capacity in 0..100_usize) {
            run(steps, capacity, crowd);
        }

        #[test]
        fn table_is_a_map_when_all_hashes_are_equal(steps in steps(60), capacity in 0..60_usize) {
            run(steps, capacity, collide);
        }
    }

    #[test]
    fn table_grows_and_finds_everything() {
        let mut index = Index::new(5_000);
        for number in 0..5_000 {
            index.put(number, spread);
        }
        index.check(spread);
        assert!((0..5_000).all(|number| index.has(number, spread)));
        assert!(!(5_000..6_000).any(|number| index.has(number, spread)));
        // A lookup seldom reads a second line.
        let passed = index.lines.iter().filter(|line| !line.is_last()).count();
        assert!(passed < index.lines.len() / 4, "{passed} of {}", index.lines.len());
    }

    #[test]
    fn table_grows_above_three_quarters_load() {
        let mut index = Index::new(1_000);
        for number in 1..=1_000 {
            index.put(number as u64, spread);
            let lines =
                (0..10).map(|power| 1 << power).find(|lines| number * 4 <= lines * SLOTS * 3);
            assert_eq!(Some(index.lines.len()), lines, "{number} keys");
        }
    }

    #[test]
    fn lookup_compares_only_keys_with_its_tag() {
        let tags: HashSet<u8> = (0..1_000).map(tag).collect();
        assert_eq!(tags, (0x80..=0xff).collect());
        let mut line = Line::default();
        assert!(line.is_last());
        assert_eq!(line.matches(0x80), 0);
        for wanted in 0x80..=0xff_u8 {
            for slot in 0..SLOTS {
                // Tags that differ from `wanted` in one bit, or in all but the highest.
                for other in (0..7).map(|bit| wanted ^ 1 << bit).chain([0, wanted ^ 0x7f]) {
                    line.tags = [other; SLOTS + 1];
                    assert_eq!(line.matches(wanted), 0);
                    line.tags[slot] = wanted;
                    let first = line.matches(wanted).trailing_zeros() / 8;
                    assert_eq!(first as usize, slot);
                }
            }
        }
        line.count_passing(true);
        assert!(!line.is_last());
    }

    /// More keys pass a line than its count can hold.
    #[test]
    fn a_full_count_loses_nothing() {
        let mut index = Index::new(1_000);
        for number in 0..600 {
            index.put(number, collide);
        }
        assert!(index.lines.iter().any(|line| line.tags[SLOTS] == u8::MAX));
        for number in (0..600).step_by(2) {
            index.remove(0, id(number));
        }
        index.check(collide);
        for number in 0..600 {
            assert_eq!(index.has(number, collide), number % 2 == 1);
        }
    }

    #[test]
    fn used_key_is_evicted_after_unused_ones() {
        let mut index = Index::new(100);
        for number in 0..100 {
            index.put(number, spread);
        }
        let used = |number: &u64| number.is_multiple_of(3);
        for number in (0..100).filter(used) {
            index.note_use(number);
        }
        let unused = (0..100).filter(|number| !used(number)).count() as u64;
        for number in 100..100 + unused {
            index.put(number, spread);
            // The new key counts as used, too: it was looked up.
            index.note_use(number);
        }
        for number in 0..100 {
            assert_eq!(index.has(number, spread), used(&number), "{number}");
        }
    }

    /// Used keys are spared once, and then the first one is evicted.
    #[test]
    fn first_used_key_at_the_hand_is_evicted() {
        fn second_line(_: KeyId) -> u64 {
            1 << 7
        }
        let mut index = Index::new(15);
        for number in 0..15 {
            index.put(number, second_line);
        }
        // The hand starts at an empty line.
        assert_eq!((index.hand, index.lines[0].keys.iter().flatten().count()), (0, 0));
        let keys = || index.lines.iter().flat_map(|line| &line.keys).flatten();
        let first = keys().next().unwrap().id();
        assert!(keys().all(|key| key.stamp.note_use(0)));
        index.put(15, second_line);
        assert!(index.find(second_line(first), first).is_none());
    }

    #[test]
    fn a_table_of_used_keys_still_takes_a_new_one() {
        let mut index = Index::new(20);
        for number in 0..200 {
            index.put(number, spread);
            index.note_use(number);
        }
        assert_eq!(index.len, 20);
        assert!(index.has(199, spread));
    }

    #[test]
    fn line_fills_one_cpu_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }
}
