//! The rules of who may do what, in the most naive form: sets of strings that are searched until nothing new
//! is found. Nothing here is optimized.

use std::collections::BTreeSet;

use super::super::fault::Fault;
use super::{
    Address, Answer, Key, Names, Policy, Requirement, Ring, Shape, Suspension, Tenant, Tier, Time,
    Token, Unready,
};

/// The rules, perhaps with one of them broken.
#[derive(Clone, Copy)]
pub struct Rules(pub Option<Fault>);

/// A request: who presents what, when, from where, and to which route.
#[derive(Clone, Copy)]
pub struct Question<'q> {
    pub token: &'q Token,
    pub now: Time,
    /// The address of the client. `None` if it is not known.
    pub address: Option<&'q Address>,
    pub requirement: &'q Requirement,
    /// The kind and the id of the resource that the route touches, if it does.
    pub touches: Option<(&'q str, &'q str)>,
}

impl Rules {
    pub(super) fn has(self, fault: Fault) -> bool {
        self.0 == Some(fault)
    }

    /// Returns whether `upper` alone implies `lower` in one step.
    fn implies(self, policy: &Policy, upper: &str, lower: &str) -> bool {
        let declared = policy.scopes.get(upper).is_some_and(|implied| implied.contains(lower));
        let by_dot = match lower.strip_prefix(upper) {
            _ if self.has(Fault::DotsMeanNothing) => false,
            Some(_) if self.has(Fault::AnyPrefixImplies) => true,
            Some(rest) => rest.starts_with('.'),
            None => false,
        };
        declared || by_dot
    }

    /// Returns the declared ones of `names` and all scopes that they imply, directly or not.
    pub fn held<'n>(self, policy: &Policy, names: impl IntoIterator<Item = &'n String>) -> Names {
        let is_declared = |name: &&String| policy.scopes.contains_key(*name);
        let keeps = |name: &&String| self.has(Fault::RemovedScopesStillGrant) || is_declared(name);
        let mut held: Names = names.into_iter().filter(keeps).cloned().collect();
        loop {
            let is_new = |lower: &&String| {
                !held.contains(*lower)
                    && held.iter().any(|upper| self.implies(policy, upper, lower))
            };
            let new: Names = policy.scopes.keys().filter(is_new).cloned().collect();
            if new.is_empty() {
                return held;
            }
            held.extend(new);
            if self.has(Fault::ImplicationIsOneStepDeep) {
                return held;
            }
        }
    }

    /// Returns the names that no other one of them implies.
    pub fn maximal(self, policy: &Policy, names: &Names) -> Names {
        let is_below = |name: &String| {
            names.iter().any(|other| other != name && self.held(policy, [other]).contains(name))
        };
        names.iter().filter(|name| !is_below(name)).cloned().collect()
    }

    /// Returns whether a service may declare this policy.
    pub fn is_consistent(self, policy: &Policy) -> bool {
        let is_known = |name: &String| policy.scopes.contains_key(name);
        let has_cycle = || {
            policy.scopes.keys().any(|upper| {
                self.held(policy, [upper])
                    .iter()
                    .any(|lower| lower != upper && self.held(policy, [lower]).contains(upper))
            })
        };
        let ceilings = || policy.tiers.iter().map(|tier| self.ceiling(policy, tier));
        let longest = || policy.tiers.iter().map(|tier| tier.longest.unwrap_or(Time::MAX));
        policy.scopes.values().flatten().all(is_known)
            && !has_cycle()
            && policy.tiers.iter().filter_map(|tier| tier.ceiling.as_ref()).flatten().all(is_known)
            && ceilings().zip(ceilings().skip(1)).all(|(lower, higher)| higher.is_superset(&lower))
            && longest().zip(longest().skip(1)).all(|(lower, higher)| lower <= higher)
    }

    pub(super) fn ceiling(self, policy: &Policy, tier: &Tier) -> Names {
        match &tier.ceiling {
            Some(names) if !self.has(Fault::CeilingsMeanNothing) => self.held(policy, names),
            _ => policy.scopes.keys().cloned().collect(),
        }
    }

    /// Returns the scopes of a key of this tenant.
    pub fn scopes(self, policy: &Policy, key: &Key, tenant: &Tenant) -> Names {
        let tier = policy.tiers.iter().find(|tier| tier.name == tenant.tier);
        let ceiling = tier.map(|tier| self.ceiling(policy, tier)).unwrap_or_default();
        let is_allowed = |name: &String| {
            ceiling.contains(name)
                || self.has(Fault::RemovedScopesStillGrant) && !policy.scopes.contains_key(name)
        };
        self.held(policy, &key.granted).into_iter().filter(is_allowed).collect()
    }

    pub fn unready(
        self,
        policy: &Policy,
        ring: &Ring,
        key: &Key,
        tenant: &Tenant,
    ) -> BTreeSet<Unready> {
        let is_sealed =
            |slot| self.has(Fault::RetiredPeppersStillSeal) || ring.seals.contains(slot);
        let mut reasons = BTreeSet::new();
        if !is_sealed(&key.sealed) || !is_sealed(&tenant.sealed) {
            reasons.insert(Unready::Tampered);
        }
        if key.tenant != tenant.name && !self.has(Fault::AnyTenantOwnsTheKey) {
            reasons.insert(Unready::OtherTenant);
        }
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            reasons.insert(Unready::UnknownTier);
        }
        reasons
    }

    /// Returns the result of a request with a token of a key that has `scopes`.
    pub fn answer(
        self,
        policy: &Policy,
        ring: &Ring,
        key: &Key,
        tenant: &Tenant,
        scopes: &Names,
        question: Question<'_>,
    ) -> Answer {
        let Question { token, now, requirement, .. } = question;
        if token.shape == Shape::OtherLength {
            return Answer::Malformed;
        }
        if token.shape == Shape::OtherByte || !ring.tokens.contains(&token.slot) {
            // The tokens of another system have no tag that shows who made them.
            return if token.foreign { Answer::Unknown } else { Answer::Forged };
        }
        if token.key != key.number {
            return Answer::Unknown;
        }
        let is_current = token.secret == key.secret;
        let is_previous = self.is_previous(key, token.secret, now);
        if !is_current && !is_previous {
            return Answer::WrongSecret;
        }
        let mut reasons =
            [self.inactive(policy, key, tenant, now), self.outside(policy, key, question.address)];
        if self.has(Fault::NetworksBeforeStates) {
            reasons.reverse();
        }
        if let Some(reason) = reasons.into_iter().flatten().next() {
            return reason;
        }
        if let Some(names) = self.missing(scopes, requirement) {
            return Answer::Missing { names, any: requirement.any };
        }
        match question.touches {
            Some((kind, id)) if !self.may_touch(&key.shares, kind, id) => {
                Answer::OtherResource(kind.into())
            }
            _ => Answer::Admitted { previous: !is_current },
        }
    }

    /// Returns whether this older secret of the key is in its grace period.
    pub(super) fn is_previous(self, key: &Key, secret: usize, now: Time) -> bool {
        key.older.iter().any(|older| {
            let lasts = if self.has(Fault::GracePeriodEndsLate) {
                now <= older.until
            } else {
                now < older.until || self.has(Fault::GracePeriodNeverEnds)
            };
            secret == older.secret && lasts
        })
    }

    /// Returns the reason why the key does not work at `now`. `None` if it works.
    pub fn inactive(
        self,
        policy: &Policy,
        key: &Key,
        tenant: &Tenant,
        now: Time,
    ) -> Option<Answer> {
        // The first reason in this order is returned.
        let end = self.end(policy, key, tenant);
        let mut reasons = [self.suspended(tenant, key, now), self.dormant(key, end, now)];
        if self.has(Fault::DormantBeforeSuspended) {
            reasons.reverse();
        }
        reasons.into_iter().flatten().next()
    }

    /// Returns the names that `scopes` lacks for `requirement`. `None` if the requirement is met.
    pub fn missing(self, scopes: &Names, requirement: &Requirement) -> Option<Names> {
        let missing: Names = requirement.names.difference(scopes).cloned().collect();
        let is_any = requirement.any && !self.has(Fault::AnyMeansAll)
            || !requirement.any && self.has(Fault::AllMeansAny);
        let is_met = if is_any {
            missing.len() < requirement.names.len() || requirement.names.is_empty()
        } else {
            missing.is_empty()
        };
        (!is_met).then_some(missing)
    }

    pub(super) fn suspended(self, tenant: &Tenant, key: &Key, now: Time) -> Option<Answer> {
        let holds = |suspension: &Suspension| match suspension.0 {
            None => true,
            Some(end) => now < end || self.has(Fault::SuspensionsNeverEnd),
        };
        let of_tenant = tenant.suspension.filter(holds);
        let of_key = key.suspension.filter(holds);
        match (of_tenant, of_key) {
            (Some(suspension), _) if !self.has(Fault::TenantSuspensionMeansNothing) => {
                Some(Answer::TenantSuspended(suspension.0))
            }
            (_, Some(suspension)) if !self.has(Fault::KeySuspensionMeansNothing) => {
                Some(Answer::KeySuspended(suspension.0))
            }
            _ => None,
        }
    }

    /// Returns when the key ends: by its own expiry, or by the longest lifetime of its tier.
    pub(super) fn end(self, policy: &Policy, key: &Key, tenant: &Tenant) -> Option<Time> {
        let tier = policy.tiers.iter().find(|tier| tier.name == tenant.tier);
        let longest = tier.and_then(|tier| tier.longest);
        let limit = longest.map(|longest| key.counts_from + longest);
        let limit = limit.filter(|_| !self.has(Fault::LifetimesBindCreationOnly));
        key.end.into_iter().chain(limit).min()
    }

    pub(super) fn dormant(self, key: &Key, end: Option<Time>, now: Time) -> Option<Answer> {
        if !key.enabled && !self.has(Fault::DisabledMeansNothing) {
            return Some(Answer::Disabled);
        }
        match key.from {
            Some(from) if from > now => return Some(Answer::NotYetValid(from)),
            Some(from) if from == now && self.has(Fault::BeginsLate) => {
                return Some(Answer::NotYetValid(from));
            }
            _ => {}
        }
        match end {
            Some(end) if end < now => Some(Answer::Expired(end)),
            Some(end) if end == now && !self.has(Fault::ExpiresLate) => Some(Answer::Expired(end)),
            _ => None,
        }
    }
}
