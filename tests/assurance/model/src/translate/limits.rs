//! Translates limits on resources and networks.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use keyway::{
    KeyRecord, ScopeCatalog,
    grant::{Grant, Networks, Resources},
};

use super::super::naive::{Block, Granter, Key, Names, Share, joined};

pub fn resources(share: &Share) -> Resources {
    match share {
        Share::All => Resources::All,
        Share::Only(ids) => Resources::only(ids).expect("few short ids"),
    }
}

pub fn share(resources: &Resources) -> Share {
    match resources {
        Resources::All => Share::All,
        Resources::Nothing => Share::Only(Names::new()),
        Resources::Only(ids) => Share::Only(ids.iter().map(String::from).collect()),
    }
}

pub fn networks(blocks: Option<&[Block]>) -> Networks {
    let Some(blocks) = blocks else { return Networks::Any };
    Networks::only(blocks.iter().map(text)).expect("1 to 16 networks")
}

pub fn address(numbers: &[u8]) -> IpAddr {
    match (<[u8; 4]>::try_from(numbers), <[u8; 16]>::try_from(numbers)) {
        (Ok(numbers), _) => Ipv4Addr::from(numbers).into(),
        (_, Ok(numbers)) => Ipv6Addr::from(numbers).into(),
        _ => panic!("an address of {} numbers", numbers.len()),
    }
}

/// Returns what all of `granters` pass on, `None` without any.
pub fn grant(catalog: &ScopeCatalog, granters: &[Granter]) -> Option<Grant> {
    let grants = granters.iter().map(|granter| {
        let mut grant = Grant::unlimited(catalog.set(&granter.scopes).expect("declared"));
        for (kind, share) in granter.shares.iter().flatten() {
            let kind = catalog.resource(kind).expect("declared");
            grant = grant.resources(&kind, resources(share));
        }
        match &granter.networks {
            Some(blocks) => grant.networks(networks(Some(blocks))),
            None => grant,
        }
    });
    grants.reduce(|left, right| left.meet(&right))
}

/// Compares the limits of a record with those of the naive key.
pub(super) fn are_same(key: &Key, record: &KeyRecord) -> bool {
    let has_same =
        |(kind, resources): (&str, &Resources)| key.shares.get(kind) == Some(&share(resources));
    record.resources().len() == key.shares.len()
        && record.resources().all(has_same)
        && match (record.networks(), &key.networks) {
            (Networks::Any, None) => true,
            (Networks::Only(list), Some(blocks)) => {
                let texts: BTreeSet<String> = joined(blocks).iter().map(text).collect();
                list.iter().len() == texts.len()
                    && list.iter().all(|network| texts.contains(&network.to_string()))
            }
            _ => false,
        }
}

fn text(block: &Block) -> String {
    format!("{}/{}", address(&block.start), block.length)
}
