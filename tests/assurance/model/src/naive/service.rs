//! A naive service: the tenants and keys in its store, and the operations on them.
//!
//! An operation with several reasons for a refusal reports the first one in the order of [`Refusal`].

use std::collections::{BTreeMap, BTreeSet};

use super::super::fault::Fault;
use super::{
    Address, Answer, GracePeriod, Granter, Key, Names, Policy, Refusal, Ring, Rules, Share, Tenant,
    Time, Token, Wish,
};

const MINUTE: Time = 60_000;

/// A service with its store.
pub struct Service {
    pub rules: Rules,
    pub policy: Policy,
    pub ring: Ring,
    pub now: Time,
    /// By name.
    pub tenants: BTreeMap<String, Tenant>,
    /// By number.
    pub keys: BTreeMap<usize, Key>,
    /// The minutes of the last uses that the service has noted, by number of the key.
    noted: BTreeMap<usize, Time>,
    /// The last uses in the store.
    used: BTreeMap<usize, Time>,
}

/// The result of a successful verification.
#[derive(Debug, PartialEq, Eq)]
pub struct Caller {
    pub key: usize,
    pub tenant: String,
    pub previous: bool,
    pub scopes: Names,
    /// The resources of each kind that the policy declares.
    pub shares: Vec<Share>,
}

impl Service {
    pub fn new(rules: Rules, policy: Policy, ring: Ring, now: Time) -> Self {
        Self {
            rules,
            policy,
            ring,
            now,
            tenants: BTreeMap::new(),
            keys: BTreeMap::new(),
            noted: BTreeMap::new(),
            used: BTreeMap::new(),
        }
    }

    pub fn create_tenant(&mut self, name: &str, tier: &str) -> Result<(), Refusal> {
        if self.tenants.contains_key(name) {
            return Err(Refusal::TenantExists);
        }
        let tenant = Tenant {
            name: name.into(),
            tier: tier.into(),
            suspension: None,
            sealed: self.ring.current,
            version: 1,
        };
        self.tenants.insert(name.into(), tenant);
        Ok(())
    }

    pub fn delete_tenant(&mut self, name: &str) -> Result<(), Refusal> {
        self.tenants.remove(name).ok_or(Refusal::NoTenant)?;
        if !self.rules.has(Fault::DeletedTenantsKeepKeys) {
            self.keys.retain(|_, key| key.tenant != name);
        }
        Ok(())
    }

    pub fn change_tenant(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Tenant),
    ) -> Result<(), Refusal> {
        let tenant = self.tenants.get_mut(name).ok_or(Refusal::NoTenant)?;
        change(tenant);
        tenant.write(&self.ring);
        Ok(())
    }

    /// Returns how many keys the tenant holds, and how many its tier allows.
    pub fn quota(&self, name: &str) -> Result<(u32, u32), Refusal> {
        let tier = &self.tenants.get(name).ok_or(Refusal::NoTenant)?.tier;
        let tier = self.policy.tiers.iter().find(|other| other.name == *tier);
        let held = self.keys.values().filter(|key| key.tenant == name).count();
        Ok((u32::try_from(held).expect("few keys"), tier.map_or(0, |tier| tier.keys)))
    }

    /// Adds the key `number` with the secret `secret`. Both numbers are new.
    pub fn issue(
        &mut self,
        name: &str,
        wish: &Wish,
        number: usize,
        secret: usize,
    ) -> Result<(), Refusal> {
        let tenant = self.tenants.get(name).ok_or(Refusal::NoTenant)?;
        let (policy, ring, now) = (&self.policy, &self.ring, self.now);
        let issued = self.rules.issue(policy, ring, tenant, wish, now, number, secret);
        self.insert(name, issued.map_err(first)?)
    }

    /// Adds the key `number` for a token of another system.
    pub fn import(
        &mut self,
        name: &str,
        wish: &Wish,
        number: usize,
        secret: usize,
    ) -> Result<(), Refusal> {
        let tenant = self.tenants.get(name).ok_or(Refusal::NoTenant)?;
        let (policy, ring, now) = (&self.policy, &self.ring, self.now);
        let imported = self.rules.import(policy, ring, tenant, wish, now, number, secret);
        self.insert(name, imported.map_err(first)?)
    }

    fn insert(&mut self, name: &str, key: Key) -> Result<(), Refusal> {
        let (mut held, mut allowed) = self.quota(name)?;
        if self.rules.has(Fault::DisabledKeysDoNotCount) {
            let is_disabled = |key: &&Key| key.tenant == name && !key.enabled;
            held -= u32::try_from(self.keys.values().filter(is_disabled).count()).expect("few");
        }
        if self.rules.has(Fault::OneKeyTooMany) {
            allowed += 1;
        }
        if held >= allowed {
            return Err(Refusal::QuotaExceeded { allowed, held });
        }
        self.keys.insert(key.number, key);
        Ok(())
    }

    /// Returns the key, if the tenant holds it.
    pub fn find(&self, name: &str, number: usize) -> Result<&Key, Refusal> {
        self.keys.get(&number).filter(|key| key.tenant == name).ok_or(Refusal::NoKey)
    }

    /// Returns the key at this version, and its tenant.
    fn find_version(
        &self,
        name: &str,
        number: usize,
        version: u64,
    ) -> Result<(&Key, &Tenant), Refusal> {
        let key = self.find(name, number)?;
        if key.version != version {
            return Err(Refusal::Conflict);
        }
        Ok((key, self.tenants.get(name).ok_or(Refusal::NoTenant)?))
    }

    pub fn edit(
        &mut self,
        name: &str,
        number: usize,
        version: u64,
        wish: &Wish,
    ) -> Result<(), Refusal> {
        let (key, tenant) = self.find_version(name, number, version)?;
        let edited = self.rules.edit(&self.policy, &self.ring, key, tenant, wish, self.now);
        let edited = edited.map_err(first)?;
        self.keys.insert(number, edited);
        Ok(())
    }

    /// Enables or disables the key. A key that already is in that state is not changed.
    pub fn switch(&mut self, name: &str, number: usize, enabled: bool) -> Result<(), Refusal> {
        let key = self.find(name, number)?;
        let (version, wish) = (key.version, Wish { enabled: Some(enabled), ..Wish::default() });
        if key.enabled == enabled { Ok(()) } else { self.edit(name, number, version, &wish) }
    }

    pub fn rotate(
        &mut self,
        name: &str,
        number: usize,
        version: u64,
        grace_period: GracePeriod,
        granters: &[Granter],
        secret: usize,
    ) -> Result<(), Refusal> {
        let (key, tenant) = self.find_version(name, number, version)?;
        let (rules, policy, ring, now) = (self.rules, &self.policy, &self.ring, self.now);
        let rotated = rules.rotate(policy, ring, key, tenant, grace_period, granters, now, secret);
        let rotated = rotated.map_err(first)?;
        self.keys.insert(number, rotated);
        Ok(())
    }

    pub fn delete(&mut self, name: &str, number: usize) -> Result<(), Refusal> {
        self.find(name, number)?;
        self.keys.remove(&number);
        Ok(())
    }

    /// Changes a key of any tenant.
    pub fn change_key(
        &mut self,
        number: usize,
        change: impl FnOnce(&mut Key),
    ) -> Result<(), Refusal> {
        let key = self.keys.get_mut(&number).ok_or(Refusal::NoKey)?;
        change(key);
        key.write(&self.ring);
        Ok(())
    }

    /// Suspends the key of a leaked token permanently, unless it is.
    pub fn suspend_leaked(&mut self, token: &Token) -> Result<(), Refusal> {
        let number = self.prove(token)?.number;
        let is_permanent = |key: &Key| key.suspension.is_some_and(|old| old.0.is_none());
        if self.keys.get(&number).is_some_and(is_permanent) {
            return Ok(());
        }
        self.change_key(number, |key| key.suspension = Some(super::Suspension(None)))
    }

    /// Limits the key of a leaked token to the scopes in `floor`.
    pub fn quarantine(&mut self, token: &Token, floor: &[String]) -> Result<(), Refusal> {
        let mut key = self.prove(token)?.clone();
        if self.rules.quarantine(&self.policy, &mut key, floor) {
            key.write(&self.ring);
            self.keys.insert(key.number, key);
        }
        Ok(())
    }

    /// Deletes the key of the token.
    pub fn revoke(&mut self, token: &Token) -> Result<(), Refusal> {
        let number = self.prove(token)?.number;
        self.keys.remove(&number);
        Ok(())
    }

    /// Returns the key that the token proves.
    pub fn prove(&self, token: &Token) -> Result<&Key, Refusal> {
        let key = self.keys.get(&token.key).ok_or(Refusal::Rejected)?;
        let is_current = key.secret == token.secret;
        let is_proven = is_current || self.rules.is_previous(key, token.secret, self.now);
        if is_proven { Ok(key) } else { Err(Refusal::Rejected) }
    }

    /// Returns the reason why the key of the token does not work. `None` if it works.
    pub fn state(&self, token: &Token) -> Result<Option<Answer>, Refusal> {
        let key = self.prove(token)?;
        let tenant = self.tenants.get(&key.tenant).ok_or(Refusal::NoTenant)?;
        Ok(self.rules.inactive(&self.policy, key, tenant, self.now))
    }

    /// Verifies the token of a client with this address. Changes nothing.
    pub fn verify(&self, token: &Token, address: Option<&Address>) -> Result<Caller, Refusal> {
        if let Some(reason) = self.state(token)? {
            return Err(Refusal::Inactive(reason));
        }
        let key = self.prove(token)?;
        let tenant = self.tenants.get(&key.tenant).ok_or(Refusal::NoTenant)?;
        if let Some(outside) = self.rules.outside(&self.policy, key, address) {
            return Err(Refusal::Outside(outside));
        }
        let share = |kind: &String| self.rules.share(&key.shares, kind);
        Ok(Caller {
            key: key.number,
            tenant: key.tenant.clone(),
            previous: key.secret != token.secret,
            scopes: self.rules.scopes(&self.policy, key, tenant),
            shares: self.policy.kinds.iter().map(share).collect(),
        })
    }

    /// Verifies the token and notes the use.
    pub fn use_key(&mut self, token: &Token, address: Option<&Address>) -> Result<Caller, Refusal> {
        let caller = self.verify(token, address)?;
        self.noted.insert(caller.key, self.now.div_euclid(MINUTE) * MINUTE);
        if let Some(key) = self.keys.get_mut(&caller.key) {
            self.rules.first_use(&self.ring, key, token.secret, self.now);
        }
        Ok(caller)
    }

    /// Writes the noted uses into the store.
    pub fn flush(&mut self) {
        self.used.append(&mut self.noted);
    }

    pub fn last_used(&self, number: usize) -> Option<Time> {
        self.used.get(&number).copied()
    }

    /// Seals all records with the current pepper. Returns the number of those that were sealed with another one.
    pub fn reseal(&mut self) -> u64 {
        let (current, keeps) = (self.ring.current, self.rules.has(Fault::ResealingKeepsVersions));
        let tenants = self.tenants.values_mut().map(|of| (&mut of.sealed, &mut of.version));
        let keys = self.keys.values_mut().map(|of| (&mut of.sealed, &mut of.version));
        let mut resealed = 0;
        for (sealed, version) in tenants.chain(keys).filter(|(sealed, _)| **sealed != current) {
            *sealed = current;
            *version += u64::from(!keeps);
            resealed += 1;
        }
        resealed
    }
}

fn first(reasons: BTreeSet<Refusal>) -> Refusal {
    reasons.into_iter().next().expect("a refusal has a reason")
}
