//! Random limits on resources and networks, and addresses of clients inside and around them.

use super::{
    naive::{Address, Block, Granter, Names, Share, Shares},
    random::Random,
};

/// The kinds of resources that a service may declare.
pub const KINDS: [&str; 3] = ["machine", "project", "site"];

/// The ids of resources in limits.
const IDS: [&str; 3] = ["1", "2", "3"];

/// The ids that are asked for. Some only look like those in limits.
const ASKED: [&str; 8] = ["1", "2", "3", "1", "2", "", "1 ", "10"];

/// The kinds of addresses: IPv4, IPv6, an IPv4 address mapped into IPv6, and one that is only written like that.
const ADDRESSES: [&[u8]; 12] = [
    &[10, 0, 0, 1],
    &[10, 0, 0, 2],
    &[10, 0, 1, 1],
    &[10, 1, 0, 1],
    &[11, 0, 0, 1],
    &[192, 0, 2, 7],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, 1],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 1, 0, 1],
    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1],
    &[32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    &[32, 1, 13, 184, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    &[32, 1, 13, 185, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
];

/// Returns the id of a resource that a route touches, more often one that is listed.
pub fn id_for(share: Option<&Share>, random: &mut Random) -> String {
    match share {
        Some(Share::Only(ids)) if !ids.is_empty() && random.one_in(2) => {
            let ids: Vec<&String> = ids.iter().collect();
            (*random.pick(&ids)).clone()
        }
        _ => (*random.pick(&ASKED)).into(),
    }
}

/// Returns the address of a client. `None` if it is not known.
pub fn address(random: &mut Random) -> Option<Address> {
    (!random.one_in(6)).then(|| random.pick(&ADDRESSES).to_vec())
}

/// Returns the address of a client, more often one that is allowed. `None` if it is not known.
pub fn address_for(networks: Option<&[Block]>, random: &mut Random) -> Option<Address> {
    match networks {
        Some(networks) if !networks.is_empty() && random.one_in(2) => {
            Some(random.pick(networks).start.clone())
        }
        _ => address(random),
    }
}

/// Returns the resources of one kind.
pub fn share(random: &mut Random) -> Share {
    match random.below(8) {
        0 | 1 => Share::All,
        2 => Share::Only(Names::new()),
        _ => Share::Only(random.some(&IDS, 3).into_iter().map(String::from).collect()),
    }
}

/// Returns resources of some of `kinds`. The other ones are not named.
pub fn shares(kinds: &[String], random: &mut Random) -> Shares {
    let mut shares = Shares::new();
    for kind in kinds {
        if !random.one_in(4) {
            shares.insert(kind.clone(), share(random));
        }
    }
    shares
}

/// Returns one to three networks, `None` for any.
pub fn networks(random: &mut Random) -> Option<Vec<Block>> {
    let many = 1 + random.below(3);
    random.one_in(3).then(|| (0..many).map(|_| block(random)).collect())
}

/// Returns a network around one of the addresses. It often has a neighbor that is its other half.
fn block(random: &mut Random) -> Block {
    let mut address = random.pick(&ADDRESSES).to_vec();
    let before = if address.len() == 16 && address[10] == 255 { 96 } else { 0 };
    let v4 = [0, 7, 8, 15, 16, 23, 24, 31, 32];
    let length = match address.len() {
        4 => *random.pick(&v4),
        _ if before == 96 => 96 + *random.pick(&v4),
        _ => *random.pick(&[0, 16, 31, 32, 47, 48, 64, 96, 127, 128]),
    };
    if length > before && random.one_in(3) {
        // The other half of the next shorter network.
        let flipped = 128 >> ((length - 1) % 8);
        address[(length - 1) / 8] ^= flipped;
    }
    Block::around(&address, length)
}

/// Returns networks that have all addresses of these: each one, a wider one or its two halves.
fn around(networks: &[Block], random: &mut Random) -> Vec<Block> {
    let mut around = Vec::new();
    for block in networks {
        match (random.below(4), block.halves()) {
            (0, Some(halves)) => around.extend(halves),
            (1, _) if block.length > 96 || block.start.len() == 4 => {
                around.push(Block::around(&block.start, block.length.saturating_sub(1)));
            }
            _ => around.push(block.clone()),
        }
    }
    around
}

/// Returns a granter of `scopes`, who can name `kinds`. Its limits are often those of a key, `shares` and `networks`,
/// so that it may pass them on.
pub fn granter(
    scopes: Vec<String>,
    kinds: &[String],
    (shares, networks): (&Shares, Option<&[Block]>),
    random: &mut Random,
) -> Granter {
    let mut granter = Granter::of(scopes);
    let known = shares.iter().filter(|(kind, _)| kinds.contains(kind));
    granter.shares = match random.below(3) {
        0 => None,
        1 => Some(known.map(|(kind, share)| (kind.clone(), share.clone())).collect()),
        _ => Some(self::shares(kinds, random)),
    };
    // A granter is limited by the kinds that it names.
    granter.shares = granter.shares.filter(|shares: &Shares| !shares.is_empty());
    granter.networks = match random.below(3) {
        0 => None,
        1 => networks.map(|networks| around(networks, random)),
        _ => self::networks(random),
    };
    granter
}
