//! Networks, in the most naive form: an address is a list of numbers, and a network compares bit by bit.

use std::collections::BTreeSet;

/// An address: 4 numbers below 256 for IPv4, and 16 for IPv6.
pub type Address = Vec<u8>;

/// The addresses that share their first `length` bits with `start`, whose other bits are zero.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Block {
    pub start: Address,
    pub length: usize,
}

impl Block {
    /// Returns the block of this length around `address`.
    pub fn around(address: &[u8], length: usize) -> Self {
        let mut start = address.to_vec();
        for place in (length..address.len() * 8).filter(|place| bit(address, *place) == 1) {
            start[place / 8] -= worth(place);
        }
        Self { start, length }
    }

    pub fn has(&self, address: &[u8]) -> bool {
        address.len() == self.start.len()
            && (0..self.length).all(|place| bit(&self.start, place) == bit(address, place))
    }

    fn has_block(&self, other: &Self) -> bool {
        self.length <= other.length && self.has(&other.start)
    }

    /// Returns the two halves of the block. `None` if it is one address.
    pub fn halves(&self) -> Option<[Self; 2]> {
        let mut upper = self.start.clone();
        *upper.get_mut(self.length / 8)? += worth(self.length);
        let half = |start| Self { start, length: self.length + 1 };
        Some([half(self.start.clone()), half(upper)])
    }

    /// Returns a block of mapped addresses as a block of IPv4.
    pub fn plain(&self) -> Self {
        match self.length.checked_sub(96) {
            Some(length) if is_mapped(&self.start) => {
                Self { start: self.start[12..].to_vec(), length }
            }
            _ => self.clone(),
        }
    }
}

/// Returns a mapped address (RFC 4291, section 2.5.5.2) as the IPv4 address.
pub fn plain(address: &[u8]) -> Address {
    if is_mapped(address) { address[12..].to_vec() } else { address.to_vec() }
}

fn is_mapped(address: &[u8]) -> bool {
    address.len() == 16 && address[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]
}

/// Returns whether every address of `block` is in one of `list`. The halves of a block may be in different ones, if
/// `by_halves`.
pub fn covers(list: &[Block], block: &Block, by_halves: bool) -> bool {
    let is_met = |other: &Block| block.has_block(other);
    let has_both = || {
        let halves = block.halves();
        halves.is_some_and(|halves| halves.iter().all(|half| covers(list, half, true)))
    };
    list.iter().any(|other| other.has_block(block))
        || by_halves && list.iter().any(is_met) && has_both()
}

/// Returns the fewest blocks that have the same addresses: those inside others are dropped, and halves are joined,
/// until nothing changes.
pub fn joined(list: &[Block]) -> BTreeSet<Block> {
    let mut blocks: BTreeSet<Block> = list.iter().map(Block::plain).collect();
    loop {
        let is_inside =
            |block: &&Block| blocks.iter().any(|other| other != *block && other.has_block(block));
        if let Some(inside) = blocks.iter().find(is_inside).cloned() {
            blocks.remove(&inside);
            continue;
        }
        let whole = blocks.iter().find_map(|block| {
            let whole = Block::around(&block.start, block.length.checked_sub(1)?);
            let halves = whole.halves()?;
            halves.iter().all(|half| blocks.contains(half)).then_some((whole, halves))
        });
        let Some((whole, halves)) = whole else { return blocks };
        blocks.retain(|block| !halves.contains(block));
        blocks.insert(whole);
    }
}

fn bit(address: &[u8], place: usize) -> u8 {
    address[place / 8] / worth(place) % 2
}

/// Returns what the bit at `place` adds to its number.
fn worth(place: usize) -> u8 {
    128 >> (place % 8)
}
