//! What may be done to keys, and what becomes of them.
//!
//! Where several reasons hold for a refusal, all are given: which of them is told is not for here.

use std::collections::BTreeSet;

use super::{DAY, Key, Names, Overlap, Policy, Previous, Refusal, Ring, Rules, Tenant, Time, Wish};
use crate::fault::Fault;

impl Rules {
    /// A new key, or why not. `number` and `secret` are new.
    pub fn issue(
        self,
        policy: &Policy,
        ring: &Ring,
        tenant: &Tenant,
        wish: &Wish,
        now: Time,
        number: usize,
        secret: usize,
    ) -> Result<Key, BTreeSet<Refusal>> {
        let mut reasons = BTreeSet::new();
        if !ring.seals.contains(&tenant.sealed) {
            reasons.insert(Refusal::Tampered);
        }
        let asked = wish.scopes.clone().unwrap_or_default();
        self.check_grant(policy, tenant, &asked, wish.granter.as_deref(), &mut reasons);
        let longest = longest(policy, tenant);
        let end = wish.end.flatten().or(longest.map(|longest| now + longest));
        let from = wish.from.flatten();
        check_times(longest, from, end, now, now, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        Ok(Key {
            number,
            tenant: tenant.name.clone(),
            slot: ring.current,
            sealed: ring.current,
            granted: self.maximal(policy, &self.held(policy, &asked)),
            enabled: true,
            suspension: None,
            from,
            end,
            created: now,
            secret,
            previous: None,
        })
    }

    pub fn edit(
        self,
        policy: &Policy,
        ring: &Ring,
        key: &Key,
        tenant: &Tenant,
        wish: &Wish,
        now: Time,
    ) -> Result<Key, BTreeSet<Refusal>> {
        let mut reasons = BTreeSet::new();
        if !ring.seals.contains(&key.sealed) || !ring.seals.contains(&tenant.sealed) {
            reasons.insert(Refusal::Tampered);
        }
        if key.tenant != tenant.name {
            reasons.insert(Refusal::OtherTenant);
        }
        let mut changed = key.clone();
        let granter = wish.granter.as_deref();
        if let Some(asked) = &wish.scopes {
            self.check_grant(policy, tenant, asked, granter, &mut reasons);
            changed.granted = self.maximal(policy, &self.held(policy, asked));
        } else if wish.enabled != Some(false) || wish.from.is_some() || wish.end.is_some() {
            self.check_granter(policy, &self.held(policy, &key.granted), granter, &mut reasons);
        }
        changed.from = wish.from.unwrap_or(key.from);
        changed.end = wish.end.unwrap_or(key.end);
        changed.enabled = wish.enabled.unwrap_or(key.enabled);
        if wish.from.is_some() || wish.end.is_some() {
            let longest = longest(policy, tenant);
            let created = if self.has(Fault::LifetimesBeginAnew) { now } else { key.created };
            check_times(longest, changed.from, changed.end, created, now, &mut reasons);
        }
        changed.sealed = ring.current;
        if reasons.is_empty() { Ok(changed) } else { Err(reasons) }
    }

    pub fn rotate(
        self,
        policy: &Policy,
        ring: &Ring,
        key: &Key,
        overlap: Overlap,
        granter: Option<&[String]>,
        now: Time,
        secret: usize,
    ) -> Result<Key, BTreeSet<Refusal>> {
        let mut reasons = BTreeSet::new();
        if !ring.seals.contains(&key.sealed) {
            reasons.insert(Refusal::Tampered);
        }
        self.check_granter(policy, &self.held(policy, &key.granted), granter, &mut reasons);
        if key.end.is_some_and(|end| end <= now) {
            reasons.insert(Refusal::Expired);
        }
        if !ring.tokens.contains(&key.slot) {
            reasons.insert(Refusal::NoPepper);
        }
        if matches!(overlap, Overlap::For(time) if time > 30 * DAY) {
            reasons.insert(Refusal::OverlapTooLong);
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        // A secret that was still waited for has not been used: it is the one that ends.
        let is_unused = key.previous.filter(|old| old.until_first_use && now < old.until);
        let lives_on = match is_unused {
            Some(old) if !self.has(Fault::UnusedSecretsLiveOn) => old.secret,
            _ => key.secret,
        };
        let mut changed = key.clone();
        changed.previous = match overlap {
            Overlap::None if self.has(Fault::OverlapNeverEnds) => key.previous,
            Overlap::None => None,
            Overlap::For(time) => {
                Some(Previous { secret: lives_on, until: now + time, until_first_use: false })
            }
            Overlap::UntilFirstUse => {
                Some(Previous { secret: lives_on, until: now + DAY, until_first_use: true })
            }
        };
        changed.secret = secret;
        changed.sealed = ring.current;
        Ok(changed)
    }

    /// The key keeps those of its scopes that are in `floor` too; whether that changes it.
    pub fn quarantine(self, policy: &Policy, key: &mut Key, floor: &[String]) -> bool {
        let held = self.held(policy, &key.granted);
        let floor = self.held(policy, floor);
        let left = if self.has(Fault::QuarantineGrants) {
            held.union(&floor).cloned().collect()
        } else {
            held.intersection(&floor).cloned().collect()
        };
        let left = self.maximal(policy, &left);
        let changes = left != key.granted;
        key.granted = left;
        changes
    }

    fn check_grant(
        self,
        policy: &Policy,
        tenant: &Tenant,
        asked: &[String],
        granter: Option<&[String]>,
        reasons: &mut BTreeSet<Refusal>,
    ) {
        let unknown = asked.iter().filter(|name| !policy.scopes.contains_key(*name));
        reasons.extend(unknown.cloned().map(Refusal::UnknownScope));
        let asked = self.held(policy, asked);
        let tier = policy.tiers.iter().find(|tier| tier.name == tenant.tier);
        let ceiling = tier.map(|tier| self.ceiling(policy, tier)).unwrap_or_default();
        let above = self.above(policy, &asked, &ceiling);
        if !above.is_empty() {
            reasons.insert(Refusal::AboveCeiling(above));
        }
        self.check_granter(policy, &asked, granter, reasons);
    }

    fn check_granter(
        self,
        policy: &Policy,
        asked: &Names,
        granter: Option<&[String]>,
        reasons: &mut BTreeSet<Refusal>,
    ) {
        let Some(granter) = granter else { return };
        let above = self.above(policy, asked, &self.held(policy, granter));
        if !above.is_empty() && !self.has(Fault::AnybodyGrants) {
            reasons.insert(Refusal::AboveGranter(above));
        }
    }

    /// Those of the maximal names of `set` that stand for more than is in `bound`.
    fn above(self, policy: &Policy, set: &Names, bound: &Names) -> Names {
        let is_above = |name: &String| !self.held(policy, [name]).is_subset(bound);
        self.maximal(policy, set).into_iter().filter(is_above).collect()
    }
}

fn longest(policy: &Policy, tenant: &Tenant) -> Option<Time> {
    policy.tiers.iter().find(|tier| tier.name == tenant.tier)?.longest
}

fn check_times(
    longest: Option<Time>,
    from: Option<Time>,
    end: Option<Time>,
    created: Time,
    now: Time,
    reasons: &mut BTreeSet<Refusal>,
) {
    let Some(end) = end else {
        if longest.is_some() {
            reasons.insert(Refusal::LifetimeTooLong);
        }
        return;
    };
    if end <= now {
        reasons.insert(Refusal::ExpiryInPast);
    }
    if from.is_some_and(|from| from >= end) {
        reasons.insert(Refusal::EndsBeforeStart);
    }
    if longest.is_some_and(|longest| end - created > longest) {
        reasons.insert(Refusal::LifetimeTooLong);
    }
}
