//! The changes of one history, on both sides.

use std::collections::BTreeSet;

use keyway::{KeyRecord, LeakResponse};

use super::{
    super::{
        met::{Limit, Met},
        naive::{self, DAY, GracePeriod, Granter, Key, Refusal, Shape, Token},
        random::Random,
        translate::{self, both, import, key_edit, new_key, same_record, suspension, time},
    },
    World,
};

impl World {
    /// Makes one change on both sides.
    pub(super) fn step(&mut self, random: &mut Random, met: &mut Met) -> Result<(), String> {
        self.now += *random.pick(&[0, 1, 60_000, DAY]);
        match random.below(if self.keys.is_empty() { 1 } else { 16 }) {
            0..=3 => self.issue(random, met),
            4..=7 => self.edit(random, met),
            8..=11 => self.rotate(random, met),
            12 | 13 => self.suspend_key(random),
            14 => self.change_tenant(random),
            _ => self.leak(random),
        }
    }

    /// Issues a key, or imports one.
    fn issue(&mut self, random: &mut Random, met: &mut Met) -> Result<(), String> {
        let mut wish = self.wish(random, None);
        let host = random.pick(&self.hosts);
        let policy = &self.policies[host.policy].0;
        let (tenant, record) = random.pick(&self.tenants);
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            return Ok(());
        }
        let grants;
        let networks = wish.networks.as_ref().and_then(Option::as_deref);
        (wish.granters, grants) = self.granters(host, &wish.shares, networks, random);
        let request = grants.iter().fold(new_key(&wish), keyway::NewKey::granted_by);
        let (number, secret, now) = (self.keys.len(), self.secrets, self.now);
        let (expected, made) = if random.one_in(4) {
            let (imported, text) = import(request, wish.enabled != Some(false), random);
            (
                self.rules.import(policy, &host.ring, tenant, &wish, now, number, secret),
                host.authority.import(record, imported, time(now)).map(|record| (record, text)),
            )
        } else {
            wish.enabled = None;
            let made = host.authority.issue(record, request, time(now), random);
            (
                self.rules.issue(policy, &host.ring, tenant, &wish, now, number, secret),
                made.map(|(record, token)| (record, token.reveal().as_bytes().to_vec())),
            )
        };
        count(&wish.granters, &expected, met);
        let Some((key, (record, text))) = both(expected, made)? else { return Ok(()) };
        self.keep(&key, &record, text)?;
        self.keys.push((key, record));
        Ok(())
    }

    fn edit(&mut self, random: &mut Random, met: &mut Met) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let (key, record) = &self.keys[at];
        let mut wish = self.wish(random, Some(key));
        let host = random.pick(&self.hosts);
        let policy = &self.policies[host.policy].0;
        let (tenant, tenant_record) = self.tenant_for(key, random);
        if policy.tiers.iter().all(|tier| tier.name != tenant.tier) {
            return Ok(());
        }
        let mut shares = key.shares.clone();
        shares.extend(wish.shares.clone());
        let networks = wish.networks.clone().unwrap_or_else(|| key.networks.clone());
        let grants;
        (wish.granters, grants) = self.granters(host, &shares, networks.as_deref(), random);
        let edit = grants.iter().fold(key_edit(&wish), keyway::KeyEdit::granted_by);
        let expected = self.rules.edit(policy, &host.ring, key, tenant, &wish, self.now);
        let made = host.authority.edit(record, tenant_record, edit, time(self.now));
        count(&wish.granters, &expected, met);
        let Some((key, record)) = both(expected, made)? else { return Ok(()) };
        same_record(&key, &record)?;
        self.keys[at] = (key, record);
        Ok(())
    }

    fn rotate(&mut self, random: &mut Random, met: &mut Met) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let (key, record) = &self.keys[at];
        let host = random.pick(&self.hosts);
        let policy = &self.policies[host.policy].0;
        let (tenant, tenant_record) = self.tenant_for(key, random);
        let lasts = *random.pick(&[0, 60_000, DAY, 2 * DAY, 30 * DAY, 30 * DAY + 1]);
        let grace_period =
            *random.pick(&[GracePeriod::None, GracePeriod::For(lasts), GracePeriod::UntilFirstUse]);
        let asked = translate::grace_period(grace_period);
        let (granters, grants) = self.granters(host, &key.shares, key.networks.as_deref(), random);
        let bound = grants.into_iter().reduce(|left, right| left.meet(&right));
        let secret = self.secrets;
        let expected = self.rules.rotate(
            policy,
            &host.ring,
            key,
            tenant,
            grace_period,
            &granters,
            self.now,
            secret,
        );
        let made = host.authority.rotate(
            record,
            tenant_record,
            asked,
            bound.as_ref(),
            time(self.now),
            random,
        );
        count(&granters, &expected, met);
        let Some((key, (record, token))) = both(expected, made)? else { return Ok(()) };
        self.keep(&key, &record, token.reveal().as_bytes().to_vec())?;
        self.keys[at] = (key, record);
        Ok(())
    }

    fn suspend_key(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let host = random.pick(&self.hosts);
        let until = *random.pick(&[None, Some(self.now), Some(self.now + DAY)]);
        let suspends = random.one_in(3);
        let (key, record) = &mut self.keys[at];
        let made = host.authority.suspend_key(record, suspends.then(|| suspension(until)));
        if made.is_ok() != host.ring.seals.contains(&key.sealed) {
            return Err(format!("{key:?} is suspended: {made:?}"));
        }
        if let Ok(made) = made {
            *record = made;
            key.suspension = suspends.then_some(naive::Suspension(until));
            key.write(&host.ring);
        }
        Ok(())
    }

    fn change_tenant(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.tenants.len());
        let host = random.pick(&self.hosts);
        let policy = &self.policies[host.policy].0;
        let until = *random.pick(&[None, Some(self.now), Some(self.now + DAY)]);
        let suspends = random.one_in(3);
        let moves = random.one_in(2);
        let tier = random.pick(&policy.tiers).name.clone();
        let (tenant, record) = &mut self.tenants[at];
        let made = if moves {
            host.authority.set_tier(record, &tier)
        } else {
            host.authority.suspend_tenant(record, suspends.then(|| suspension(until)))
        };
        if made.is_ok() != host.ring.seals.contains(&tenant.sealed) {
            return Err(format!("{tenant:?} is changed: {made:?}"));
        }
        if let Ok(made) = made {
            *record = made;
            tenant.write(&host.ring);
            if moves {
                tenant.tier = tier;
            } else {
                tenant.suspension = suspends.then_some(naive::Suspension(until));
            }
        }
        Ok(())
    }

    fn leak(&mut self, random: &mut Random) -> Result<(), String> {
        let at = random.below(self.keys.len());
        let host = random.pick(&self.hosts);
        let (policy, built) = &self.policies[host.policy];
        let floor = self.names(host.policy, random, false);
        let quarantines = !random.one_in(8);
        let response = if quarantines {
            LeakResponse::Quarantine(built.catalog().set(&floor).expect("declared"))
        } else {
            LeakResponse::Suspend
        };
        let (key, record) = &mut self.keys[at];
        let made = match host.authority.respond_to_leak(record, "it was found", response) {
            Err(_) if !host.ring.seals.contains(&key.sealed) => return Ok(()),
            made => made.map_err(|error| error.to_string())?,
        };
        let mut expected = key.clone();
        let changes = if quarantines {
            self.rules.quarantine(policy, &mut expected, &floor)
        } else {
            let old = expected.suspension.replace(naive::Suspension(None));
            old.is_none_or(|old| old.0.is_some())
        };
        if made.is_some() != changes || !host.ring.seals.contains(&key.sealed) {
            return Err(format!("{key:?} is changed by a leak: {}", made.is_some()));
        }
        if let Some(made) = made {
            expected.write(&host.ring);
            same_record(&expected, &made)?;
            (*key, *record) = (expected, made);
        }
        Ok(())
    }

    /// Records a new secret.
    fn keep(&mut self, key: &Key, record: &KeyRecord, text: Vec<u8>) -> Result<(), String> {
        same_record(key, record)?;
        self.secrets = key.secret + 1;
        let token = Token {
            key: key.number,
            secret: key.secret,
            slot: key.slot,
            foreign: key.imported,
            shape: Shape::Whole,
        };
        self.tokens.push((token, text));
        Ok(())
    }
}

/// Counts a change by granters with limits, and one that is refused for nothing but their limits.
fn count(granters: &[Granter], expected: &Result<Key, BTreeSet<Refusal>>, met: &mut Met) {
    let is_limit = |reason: &Refusal| {
        matches!(
            reason,
            Refusal::UndeclaredOrAbove { above: true, .. } | Refusal::NetworksAboveGranter
        )
    };
    match expected {
        Ok(_) if granters.iter().any(Granter::is_limited) => met.count(Limit::GranterPassesOn),
        Err(reasons) if reasons.iter().all(is_limit) => met.count(Limit::GranterRefuses),
        _ => {}
    }
}
