//! The changes of keys, and their results.
//!
//! If a change is refused for several reasons, all of them are returned.

use std::collections::BTreeSet;

use super::super::fault::Fault;
use super::{
    DAY, GracePeriod, Granter, Key, Names, Older, Policy, Refusal, Ring, Rules, Share, Shares,
    Tenant, Time, Wish,
};

impl Rules {
    /// Returns a new key, or the reasons for a refusal. `number` and `secret` are new.
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
        let granters = &wish.granters;
        self.check_grant(policy, tenant, &asked, &Names::new(), granters, &mut reasons);
        let shares = something(&wish.shares);
        let networks = wish.networks.clone().flatten();
        let limits = (&shares, networks.as_deref());
        self.check_limits(policy, limits, &Shares::new(), granters, &mut reasons);
        let longest = longest(policy, tenant);
        let end = wish.end.flatten().or(longest.map(|longest| now + longest));
        let from = wish.from.flatten();
        if longest.is_some_and(|longest| end.is_none_or(|end| end - now > longest)) {
            reasons.insert(Refusal::LifetimeTooLong);
        }
        check_order(from, end, now, &mut reasons);
        if !reasons.is_empty() {
            return Err(reasons);
        }
        Ok(Key {
            number,
            tenant: tenant.name.clone(),
            slot: ring.current,
            sealed: ring.current,
            granted: self.maximal(policy, &self.held(policy, &asked)),
            shares,
            networks,
            enabled: true,
            suspension: None,
            from,
            end,
            created: now,
            secret,
            imported: false,
            children: wish.children == Some(true),
            older: Vec::new(),
            counts_from: now,
            rotated: None,
            version: 1,
        })
    }

    /// Returns a new key for a token of another system.
    pub fn import(
        self,
        policy: &Policy,
        ring: &Ring,
        tenant: &Tenant,
        wish: &Wish,
        now: Time,
        number: usize,
        secret: usize,
    ) -> Result<Key, BTreeSet<Refusal>> {
        let mut wish = wish.clone();
        if self.has(Fault::AnybodyImports) {
            wish.granters.clear();
        }
        let key = self.issue(policy, ring, tenant, &wish, now, number, secret)?;
        Ok(Key { imported: true, enabled: wish.enabled != Some(false), ..key })
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
        let granters = &wish.granters;
        let sets_limits = !wish.shares.is_empty() || wish.networks.is_some();
        let only_disables = wish.enabled == Some(false)
            && wish.scopes.is_none()
            && wish.from.is_none()
            && wish.end.is_none()
            && wish.children.is_none()
            && !sets_limits;
        if let Some(asked) = &wish.scopes {
            self.check_grant(policy, tenant, asked, &key.granted, granters, &mut reasons);
            changed.granted = self.maximal(policy, &self.held(policy, asked));
            changed.granted.extend(kept_unknown(policy, asked, &key.granted));
        } else if !only_disables {
            self.check_held(policy, key, granters, &mut reasons);
        }
        if !wish.shares.is_empty() && self.has(Fault::EditsReplaceAllKinds) {
            changed.shares.clear();
        }
        changed.shares.extend(wish.shares.clone());
        changed.shares = something(&changed.shares);
        changed.networks = wish.networks.clone().unwrap_or(changed.networks);
        let is_checked = sets_limits || !self.has(Fault::LimitsAreKeptAboveTheGranter);
        if !only_disables && is_checked {
            let limits = (&changed.shares, changed.networks.as_deref());
            self.check_limits(policy, limits, &key.shares, granters, &mut reasons);
        }
        changed.from = wish.from.unwrap_or(key.from);
        changed.end = wish.end.unwrap_or(key.end);
        changed.enabled = wish.enabled.unwrap_or(key.enabled);
        changed.children = wish.children.unwrap_or(key.children);
        if wish.end.is_some() {
            let longest = longest(policy, tenant);
            let before = self.end(policy, key, tenant).unwrap_or(Time::MAX);
            let stored = key.end.unwrap_or(Time::MAX);
            let asked = changed.end.unwrap_or(Time::MAX);
            let secret = key.rotated.unwrap_or(key.created);
            let secret = if self.has(Fault::LifetimesBeginAnew) { now } else { secret };
            let is_within = longest
                .is_none_or(|longest| changed.end.is_some_and(|end| end - secret <= longest));
            let lengthens = asked > before || self.has(Fault::ShorteningIsRefused);
            if lengthens && is_within {
                changed.counts_from = secret;
            } else if lengthens && (asked > stored || self.has(Fault::ShorteningIsRefused)) {
                reasons.insert(Refusal::LifetimeTooLong);
            }
            // An expiry that does not change may have passed.
            let since = if changed.end == key.end { Time::MIN } else { now };
            check_order(changed.from, changed.end, since, &mut reasons);
        }
        if wish.from.is_some() {
            check_order(changed.from, self.end(policy, &changed, tenant), Time::MIN, &mut reasons);
        }
        if wish.enabled == Some(true) && self.has(Fault::EnablingLiftsSuspensions) {
            changed.suspension = None;
        }
        changed.write(ring);
        if reasons.is_empty() { Ok(changed) } else { Err(reasons) }
    }

    pub fn rotate(
        self,
        policy: &Policy,
        ring: &Ring,
        key: &Key,
        tenant: &Tenant,
        grace_period: GracePeriod,
        granters: &[Granter],
        now: Time,
        secret: usize,
    ) -> Result<Key, BTreeSet<Refusal>> {
        let mut reasons = BTreeSet::new();
        if !ring.seals.contains(&key.sealed) || !ring.seals.contains(&tenant.sealed) {
            reasons.insert(Refusal::Tampered);
        }
        if key.tenant != tenant.name {
            reasons.insert(Refusal::OtherTenant);
        }
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            reasons.insert(Refusal::UnknownTier);
        }
        self.check_held(policy, key, granters, &mut reasons);
        if !self.has(Fault::RotationsIgnoreLimits) {
            let limits = (&key.shares, key.networks.as_deref());
            self.check_limits(policy, limits, &key.shares, granters, &mut reasons);
        }
        if self.end(policy, key, tenant).is_some_and(|end| end <= now) {
            reasons.insert(Refusal::Expired);
        }
        if !ring.tokens.contains(&key.slot) {
            reasons.insert(Refusal::NoPepper);
        }
        if matches!(grace_period, GracePeriod::For(time) if time > 30 * DAY) {
            reasons.insert(Refusal::GracePeriodTooLong);
        }
        let alive: Vec<Older> = key.older.iter().filter(|old| now < old.until).copied().collect();
        let lasts = match grace_period {
            GracePeriod::None | GracePeriod::For(0) => None,
            GracePeriod::For(time) => Some(now + time),
            GracePeriod::UntilFirstUse => Some(now + DAY),
        };
        if lasts.is_some() && alive.len() > 1 {
            reasons.insert(Refusal::TooManySecrets);
        }
        if !reasons.is_empty() {
            return Err(reasons);
        }
        let mut changed = key.clone();
        changed.older = match lasts {
            None if self.has(Fault::GracePeriodNeverEnds) => key.older.clone(),
            None => Vec::new(),
            Some(until) => {
                let until_first_use = matches!(grace_period, GracePeriod::UntilFirstUse);
                let mut older = vec![Older { secret: key.secret, until, until_first_use }];
                // Each old secret keeps its own deadline.
                older.extend(alive.into_iter().map(|old| match self.0 {
                    Some(Fault::RotationsMoveDeadlines) => Older { until, ..old },
                    _ => old,
                }));
                older
            }
        };
        changed.rotated = Some(now);
        changed.secret = secret;
        changed.imported = false;
        changed.write(ring);
        Ok(changed)
    }

    /// Ends the grace periods that last until the first use of `secret`. Returns whether that changes the key.
    pub fn first_use(self, ring: &Ring, key: &mut Key, secret: usize, now: Time) -> bool {
        let place = key.older.iter().position(|older| older.secret == secret);
        let before = key.older.split_off(place.map_or(0, |place| place + 1));
        let ends = before.iter().any(|older| older.until_first_use && now < older.until)
            && !self.has(Fault::FirstUseEndsNothing);
        key.older.extend(before.into_iter().filter(|older| !(ends && older.until_first_use)));
        if ends {
            key.write(ring);
        }
        ends
    }

    /// Limits the scopes of the key to those in `floor`. Returns whether that changes the key.
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

    /// Checks the requested scopes. A key may keep any part of its present scopes, `kept`, whatever its tier
    /// allows now.
    fn check_grant(
        self,
        policy: &Policy,
        tenant: &Tenant,
        asked: &[String],
        kept: &Names,
        granters: &[Granter],
        reasons: &mut BTreeSet<Refusal>,
    ) {
        let is_unknown =
            |name: &&String| !policy.scopes.contains_key(*name) && !kept.contains(*name);
        reasons.extend(asked.iter().filter(is_unknown).cloned().map(Refusal::UnknownScope));
        let set = self.held(policy, asked);
        let tier = policy.tiers.iter().find(|tier| tier.name == tenant.tier);
        let mut allowed = tier.map(|tier| self.ceiling(policy, tier)).unwrap_or_default();
        allowed.extend(self.held(policy, kept));
        let above = self.above(policy, &set, &allowed);
        if !above.is_empty() {
            reasons.insert(Refusal::AboveCeiling(above));
        }
        let mut names = self.maximal(policy, &set);
        names.extend(kept_unknown(policy, asked, kept));
        self.check_granters(policy, &names, granters, reasons);
    }

    /// Checks that every granter has every one of `names`. No granter can have a name that this node does not
    /// know, although another node may let the key use it.
    fn check_granters(
        self,
        policy: &Policy,
        names: &Names,
        granters: &[Granter],
        reasons: &mut BTreeSet<Refusal>,
    ) {
        let held = self.bounds(granters).iter().map(|one| self.held(policy, &one.scopes));
        let both = |left: Names, right| left.intersection(&right).cloned().collect();
        let Some(bound) = held.reduce(both) else { return };
        let mut above = self.above(policy, &self.held(policy, names), &bound);
        if !self.has(Fault::UnknownScopesAreInNoBound) {
            let is_unknown = |name: &&String| !policy.scopes.contains_key(*name);
            above.extend(names.iter().filter(is_unknown).cloned());
        }
        if !above.is_empty() && !self.has(Fault::AnybodyGrants) {
            reasons.insert(Refusal::AboveGranter(above));
        }
    }

    /// Checks that every granter has every name that the key holds.
    fn check_held(
        self,
        policy: &Policy,
        key: &Key,
        granters: &[Granter],
        reasons: &mut BTreeSet<Refusal>,
    ) {
        self.check_granters(policy, &key.granted, granters, reasons);
    }

    /// Returns the maximal names of `set` that imply more than `bound` contains.
    fn above(self, policy: &Policy, set: &Names, bound: &Names) -> Names {
        let is_above = |name: &String| !self.held(policy, [name]).is_subset(bound);
        self.maximal(policy, set).into_iter().filter(is_above).collect()
    }
}

/// Returns the names of `asked` that the key has and this node does not know.
fn kept_unknown(policy: &Policy, asked: &[String], kept: &Names) -> Names {
    let is_unknown = |name: &&String| !policy.scopes.contains_key(*name);
    asked.iter().filter(is_unknown).filter(|name| kept.contains(*name)).cloned().collect()
}

/// Returns the kinds of which there is something.
fn something(shares: &Shares) -> Shares {
    let is_something = |(_, share): &(&String, &Share)| !share.is_nothing();
    let some = shares.iter().filter(is_something);
    some.map(|(kind, share)| (kind.clone(), share.clone())).collect()
}

fn longest(policy: &Policy, tenant: &Tenant) -> Option<Time> {
    policy.tiers.iter().find(|tier| tier.name == tenant.tier)?.longest
}

fn check_order(from: Option<Time>, end: Option<Time>, now: Time, reasons: &mut BTreeSet<Refusal>) {
    let Some(end) = end else { return };
    if end <= now {
        reasons.insert(Refusal::ExpiryInPast);
    }
    if from.is_some_and(|from| from >= end) {
        reasons.insert(Refusal::EndsBeforeStart);
    }
}
