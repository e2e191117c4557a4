//! The steps of a history. Each is taken on both sides and compared.

use keyway::{
    KeyId, LeakResponse,
    record::Suspension,
    verifier::{Freshness, Verifier},
};

use crate::support::{block_on, tenant_id};

use super::{
    granting::{edit, issue, rotate},
    history::{History, KINDS, SCOPES, TENANTS},
    naive_model::{
        draw,
        naive::{self, DAY, Time, Wish},
        random::Random,
        translate::{self, inactive, span, suspension},
        world::times,
    },
};

pub(super) const MINUTE: Time = 60_000;

pub(super) type Outcome = Result<(), String>;
type Step = fn(&mut History, &mut Random) -> Outcome;

/// The steps, and how often each is taken.
const STEPS: [(usize, Step); 22] = [
    (3, create_tenant),
    (1, delete_tenant),
    (2, set_tier),
    (1, suspend_tenant),
    (1, resume_tenant),
    (8, issue),
    (5, edit),
    (5, rotate),
    (3, switch),
    (1, delete),
    (1, suspend_key),
    (1, resume_key),
    (12, verify),
    (1, describe),
    (2, report_leak),
    (1, revoke),
    (1, find),
    (5, advance),
    (1, change_pepper),
    (1, change_kinds),
    (1, reseal),
    (1, flush),
];

/// Takes a random step.
pub(super) fn step(history: &mut History, random: &mut Random) -> Outcome {
    let mut left = random.below(STEPS.iter().map(|(weight, _)| weight).sum());
    for (weight, step) in STEPS {
        match left.checked_sub(weight) {
            Some(rest) => left = rest,
            None => return step(history, random),
        }
    }
    Ok(())
}

/// Creates a tenant with a key, so that every history has a subject.
pub(super) fn create_first_tenant(history: &mut History) -> Outcome {
    create(history, "acme", "advanced", true)
}

fn create_tenant(history: &mut History, random: &mut Random) -> Outcome {
    let name = *random.pick(&TENANTS);
    create(history, name, tier(random), random.one_in(2))
}

fn create(history: &mut History, name: &'static str, tier: &str, with_key: bool) -> Outcome {
    let mut expected = history.service.create_tenant(name, tier);
    let created = if with_key {
        let (number, secret) = (history.keys.len(), history.tokens.len());
        expected =
            expected.and_then(|()| history.service.issue(name, &Wish::default(), number, secret));
        block_on(history.keyring.create_tenant(name, tier)).map(|(_, issued)| {
            history.keys.push((issued.key.id(), name));
            history.keep(number, &issued.key, issued.token);
        })
    } else {
        block_on(history.keyring.create_empty_tenant(name, tier)).map(drop)
    };
    history.same(&format!("create {name} on {tier}, with key: {with_key}"), created, &expected)
}

fn delete_tenant(history: &mut History, random: &mut Random) -> Outcome {
    let name = *random.pick(&TENANTS);
    let deleted = block_on(history.keyring.delete_tenant(&tenant_id(name)));
    let expected = history.service.delete_tenant(name);
    history.same(&format!("delete {name}"), deleted, &expected)
}

fn set_tier(history: &mut History, random: &mut Random) -> Outcome {
    let (name, tier) = (*random.pick(&TENANTS), tier(random));
    let changed = block_on(history.keyring.set_tier(&tenant_id(name), tier));
    let changed = changed.map(|change| (change.held, change.allowed));
    let expected = history.service.change_tenant(name, |tenant| tenant.tier = tier.into());
    let expected = expected.and_then(|()| history.service.quota(name));
    history.same(&format!("move {name} to {tier}"), changed, &expected)
}

fn suspend_tenant(history: &mut History, random: &mut Random) -> Outcome {
    let name = *random.pick(&TENANTS);
    let (until, suspension) = suspended(history, random);
    let made = block_on(history.keyring.suspend_tenant(&tenant_id(name), suspension)).map(drop);
    let expected = history.service.change_tenant(name, |tenant| tenant.suspension = Some(until));
    history.same(&format!("suspend {name}: {until:?}"), made, &expected)
}

fn resume_tenant(history: &mut History, random: &mut Random) -> Outcome {
    let name = *random.pick(&TENANTS);
    let resumed = block_on(history.keyring.resume_tenant(&tenant_id(name))).map(drop);
    let expected = history.service.change_tenant(name, |tenant| tenant.suspension = None);
    history.same(&format!("resume {name}"), resumed, &expected)
}

fn switch(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, name)) = key(history, random) else { return Ok(()) };
    let (handle, enables) = (history.handle(name, &[]), random.one_in(2));
    let switched = if enables { block_on(handle.enable(id)) } else { block_on(handle.disable(id)) };
    let expected = history.service.switch(name, number, enables);
    history.same(&format!("switch {number}: {enables}"), switched.map(drop), &expected)
}

fn delete(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, owner)) = key(history, random) else { return Ok(()) };
    let name = tenant_for(owner, random);
    let deleted = block_on(history.handle(name, &[]).delete(id));
    let expected = history.service.delete(name, number);
    history.same(&format!("delete {number} of {name}"), deleted, &expected)
}

fn suspend_key(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, _)) = key(history, random) else { return Ok(()) };
    let (until, suspension) = suspended(history, random);
    let made = block_on(history.keyring.suspend_key(id, suspension)).map(drop);
    let expected = history.service.change_key(number, |key| key.suspension = Some(until));
    history.same(&format!("suspend {number}: {until:?}"), made, &expected)
}

fn resume_key(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, _)) = key(history, random) else { return Ok(()) };
    let resumed = block_on(history.keyring.resume_key(id)).map(drop);
    let expected = history.service.change_key(number, |key| key.suspension = None);
    history.same(&format!("resume {number}"), resumed, &expected)
}

fn find(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, owner)) = key(history, random) else { return Ok(()) };
    let name = tenant_for(owner, random);
    let found = block_on(history.handle(name, &[]).find(id)).map(drop);
    let expected = history.service.find(name, number).map(drop);
    history.same(&format!("find {number} of {name}"), found, &expected)
}

fn verify(history: &mut History, random: &mut Random) -> Outcome {
    let Some((token, text)) = token(history, random) else { return Ok(()) };
    let freshness = if random.one_in(4) { Freshness::Now } else { Freshness::Cached };
    let key = history.service.keys.get(&token.key);
    let address = draw::address_for(key.and_then(|key| key.networks.as_deref()), random);
    let from = address.as_deref().map(translate::address);
    let node: &Verifier = history.keyring.as_ref();
    let verified = block_on(node.verify_from(&text, freshness, from));
    let verified = history.caller(verified);
    let expected = history.service.use_key(&token, address.as_ref());
    let what = format!("verify {token:?} from {from:?} as of {freshness:?}");
    history.same(&what, Ok(verified), &Ok(expected))
}

fn describe(history: &mut History, random: &mut Random) -> Outcome {
    let Some((token, text)) = token(history, random) else { return Ok(()) };
    let described = block_on(history.keyring.describe(&text));
    let described = described.map(|description| inactive(&description.state));
    let expected = history.service.state(&token);
    history.same(&format!("describe {token:?}"), described, &expected)
}

fn report_leak(history: &mut History, random: &mut Random) -> Outcome {
    let Some((token, text)) = token(history, random) else { return Ok(()) };
    let (response, expected) = match random.below(3) {
        0 => (LeakResponse::Suspend, history.service.suspend_leaked(&token)),
        1 => {
            let floor = any_scopes(random);
            let expected = history.service.quarantine(&token, &floor);
            let floor = history.keyring.policy().catalog().set(&floor).unwrap();
            (LeakResponse::Quarantine(floor), expected)
        }
        _ => (LeakResponse::ReportOnly, history.service.prove(&token).map(drop)),
    };
    let what = format!("report {token:?}: {response:?}");
    let reported = block_on(history.keyring.report_leak(&text, "seen", response)).map(drop);
    history.same(&what, reported, &expected)
}

fn revoke(history: &mut History, random: &mut Random) -> Outcome {
    let Some((token, text)) = token(history, random) else { return Ok(()) };
    let revoked = block_on(history.keyring.revoke(&text));
    let expected = history.service.revoke(&token);
    history.same(&format!("revoke {token:?}"), revoked, &expected)
}

/// Lets some time pass. It often ends exactly when the state of a key changes, or would without other changes.
fn advance(history: &mut History, random: &mut Random) -> Outcome {
    let (now, service) = (history.service.now, &history.service);
    let changes = service.keys.values().flat_map(|key| {
        service.tenants.get(&key.tenant).map(|tenant| times(key, tenant, now)).unwrap_or_default()
    });
    let changes: Vec<_> = changes.filter(|time| now < *time).map(|time| time - now).collect();
    let any = Time::try_from(random.next() % 6_000_000).unwrap();
    let mut millis = *random.pick(&[1, 999, 5_000, 59_999, any, DAY]);
    if !changes.is_empty() && random.one_in(2) {
        millis = *random.pick(&changes);
    }
    history.clock.advance(span(millis));
    history.service.now = history.now();
    history.log.push(format!("{millis} ms pass"));
    history.compare_all_tokens()
}

/// Opens the keyring with a new pepper. The uses that it has noted are flushed before.
fn change_pepper(history: &mut History, random: &mut Random) -> Outcome {
    flush(history, random)?;
    history.change_pepper();
    history.log.push("a new pepper".into());
    Ok(())
}

/// Opens the keyring with a policy that declares other kinds of resources.
fn change_kinds(history: &mut History, random: &mut Random) -> Outcome {
    flush(history, random)?;
    let kinds: Vec<&str> = KINDS.into_iter().filter(|_| !random.one_in(3)).collect();
    history.change_kinds(&kinds);
    history.log.push(format!("the kinds {kinds:?}"));
    Ok(())
}

fn reseal(history: &mut History, _: &mut Random) -> Outcome {
    let resealed = block_on(history.keyring.reseal(None, |_| {})).map(|done| done.changed);
    let expected = history.service.reseal();
    history.same("reseal", resealed, &Ok(expected))
}

fn flush(history: &mut History, _: &mut Random) -> Outcome {
    let flushed = block_on(history.keyring.flush_uses()).map(drop);
    history.service.flush();
    history.same("flush", flushed, &Ok(()))
}

/// Returns a random key with its number and tenant, which may be deleted.
pub(super) fn key(history: &History, random: &mut Random) -> Option<(usize, KeyId, &'static str)> {
    let number = random.below(history.keys.len().max(1));
    history.keys.get(number).map(|(id, name)| (number, *id, *name))
}

/// Returns a random token that was valid at some time.
fn token(history: &History, random: &mut Random) -> Option<(naive::Token, String)> {
    history.tokens.get(random.below(history.tokens.len().max(1))).cloned()
}

/// Returns the tenant `owner`, and sometimes any tenant.
pub(super) fn tenant_for(owner: &'static str, random: &mut Random) -> &'static str {
    let any = *random.pick(&TENANTS);
    if random.one_in(5) { any } else { owner }
}

/// Returns the present version of the key, and sometimes the one before.
pub(super) fn version(history: &History, number: usize, random: &mut Random) -> u64 {
    let version = history.service.keys.get(&number).map_or(1, |key| key.version);
    version - u64::from(random.one_in(10))
}

fn tier(random: &mut Random) -> &'static str {
    if random.one_in(2) { "lite" } else { "advanced" }
}

/// Returns scopes, and in half of all cases some that every tier allows.
pub(super) fn scopes(random: &mut Random) -> Vec<String> {
    if random.one_in(2) { vec!["reporting".into()] } else { any_scopes(random) }
}

pub(super) fn any_scopes(random: &mut Random) -> Vec<String> {
    SCOPES.into_iter().filter(|_| random.one_in(2)).map(String::from).collect()
}

/// Returns a time around now, or in the next days.
pub(super) fn soon(history: &History, random: &mut Random) -> Time {
    let minutes = match random.below(3) {
        0 => random.below(3),
        1 => 2 + random.below(99),
        _ => 5_001,
    };
    history.service.now + (Time::try_from(minutes).unwrap() - 1) * MINUTE
}

fn suspended(history: &History, random: &mut Random) -> (naive::Suspension, Suspension) {
    let until = random.one_in(2).then(|| soon(history, random));
    (naive::Suspension(until), suspension(until))
}
