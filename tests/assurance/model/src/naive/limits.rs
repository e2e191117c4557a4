//! Limits of keys and granters: the resources of each kind, and the networks of clients.

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::Fault;
use super::networks::{covers, plain};
use super::{Address, Answer, Block, Key, Names, Policy, Refusal, Rules};

/// The resources of one kind. An empty list is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    Only(Names),
}

impl Share {
    pub fn is_nothing(&self) -> bool {
        *self == Self::Only(Names::new())
    }

    fn has(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.contains(id),
        }
    }

    /// Returns whether these are all resources of `other`. Nobody can list all of them.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) => true,
            (Self::Only(_), Self::All) => false,
            (Self::Only(ids), Self::Only(others)) => others.is_subset(ids),
        }
    }
}

/// The resources of each kind, by name. There is nothing of a kind that is missing.
pub type Shares = BTreeMap<String, Share>;

/// The most that a granter passes on.
#[derive(Clone, Debug, Default)]
pub struct Granter {
    pub scopes: Vec<String>,
    /// `None` means all resources of all kinds.
    pub shares: Option<Shares>,
    /// `None` means any network.
    pub networks: Option<Vec<Block>>,
}

impl Granter {
    /// Returns the granter without limits on resources and networks.
    pub fn of(scopes: Vec<String>) -> Self {
        Self { scopes, shares: None, networks: None }
    }

    pub fn is_limited(&self) -> bool {
        self.shares.is_some() || self.networks.is_some()
    }
}

impl Rules {
    /// Returns the resources that `shares` has of a kind.
    pub fn share(self, shares: &Shares, kind: &str) -> Share {
        match shares.get(kind) {
            Some(share) => share.clone(),
            None if self.has(Fault::EmptyListsAreAll) => Share::All,
            None => Share::Only(Names::new()),
        }
    }

    pub fn may_touch(self, shares: &Shares, kind: &str, id: &str) -> bool {
        let is_of_any_kind = || shares.values().any(|share| share.has(id));
        self.share(shares, kind).has(id) || self.has(Fault::KindsShareTheirIds) && is_of_any_kind()
    }

    /// Returns whether a client with this address may use a key that is limited to `networks`.
    pub fn may_come_from(self, networks: Option<&[Block]>, address: Option<&Address>) -> bool {
        let Some(networks) = networks else { return true };
        let Some(address) = address else { return self.has(Fault::UnknownAddressesAreAdmitted) };
        let address = match self.0 {
            Some(Fault::MappedAddressesAreV6) => address.clone(),
            _ => plain(address),
        };
        networks.iter().any(|block| block.plain().has(&address))
    }

    /// Returns why a client with this address may not use an active key. `None` if it may.
    pub(super) fn outside(
        self,
        policy: &Policy,
        key: &Key,
        address: Option<&Address>,
    ) -> Option<Answer> {
        match self.undeclared(policy, &key.shares) {
            Some(kind) => Some(Answer::OtherResource(kind)),
            None if !self.may_come_from(key.networks.as_deref(), address) => {
                Some(Answer::OtherNetwork)
            }
            None => None,
        }
    }

    /// Returns a kind that is not declared, and of which these are not all resources. No route can say which of them it
    /// touches.
    pub(super) fn undeclared(self, policy: &Policy, shares: &Shares) -> Option<String> {
        let is_undeclared = |(kind, share): &(&String, &Share)| {
            **share != Share::All && !policy.kinds.contains(kind)
        };
        let found = shares.iter().find(is_undeclared).map(|(kind, _)| kind.clone());
        found.filter(|_| !self.has(Fault::UndeclaredKindsMeanNothing))
    }

    /// Checks the limits that a key would have. It may keep what it has in `kept` of a kind that is not declared.
    pub(super) fn check_limits(
        self,
        policy: &Policy,
        (shares, networks): (&Shares, Option<&[Block]>),
        kept: &Shares,
        granters: &[Granter],
        reasons: &mut BTreeSet<Refusal>,
    ) {
        for (kind, share) in shares {
            let is_declared = policy.kinds.contains(kind);
            if !is_declared && kept.get(kind) != Some(share) {
                reasons.insert(Refusal::UndeclaredOrAbove { kind: kind.clone(), above: false });
            }
            let passes_on = |granter: &Granter| {
                // Another node may declare the kind, so no granter of this node has it.
                let is_known = is_declared || self.has(Fault::UndeclaredKindsAreInNoBound);
                is_known && self.passes_on(granter, kind, share)
            };
            if !self.bounds(granters).iter().all(passes_on) {
                reasons.insert(Refusal::UndeclaredOrAbove { kind: kind.clone(), above: true });
            }
        }
        let is_within = |granter: &Granter| self.networks_cover(granter, networks);
        if !self.bounds(granters).iter().all(is_within) {
            reasons.insert(Refusal::NetworksAboveGranter);
        }
    }

    /// Returns the granters that count. Each one does.
    pub(super) fn bounds(self, granters: &[Granter]) -> &[Granter] {
        match granters {
            [.., last] if self.has(Fault::LastGranterReplaces) => std::slice::from_ref(last),
            all => all,
        }
    }

    fn passes_on(self, granter: &Granter, kind: &str, share: &Share) -> bool {
        let Some(shares) = &granter.shares else { return true };
        self.has(Fault::GrantersPassOnAllResources)
            || self.has(Fault::UnnamedKindsArePassedOn) && !shares.contains_key(kind)
            || self.share(shares, kind).covers(share)
    }

    fn networks_cover(self, granter: &Granter, networks: Option<&[Block]>) -> bool {
        let Some(above) = &granter.networks else { return true };
        let above: Vec<Block> = above.iter().map(Block::plain).collect();
        let by_halves = !self.has(Fault::NeighborsAreNotJoined);
        let is_covered = |block: &Block| covers(&above, &block.plain(), by_halves);
        self.has(Fault::GrantersPassOnAllNetworks)
            || networks.is_some_and(|networks| networks.iter().all(is_covered))
    }
}
