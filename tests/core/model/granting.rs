//! The steps that a granter may bound: issue, import, edit and rotate.

use crate::support::block_on;

use super::{
    history::{History, SCOPES, TENANTS},
    naive_model::{
        draw,
        naive::{Block, DAY, GracePeriod, Granter, Shares, Time, Wish},
        random::Random,
        translate::{self, import, key_edit, new_key},
    },
    steps::{self, MINUTE, Outcome, any_scopes, key, scopes, soon, tenant_for, version},
};

/// Issues a key, or imports one.
pub(super) fn issue(history: &mut History, random: &mut Random) -> Outcome {
    let name = *random.pick(&TENANTS);
    let wish = Wish {
        scopes: Some(scopes(random)),
        from: random.one_in(5).then(|| Some(soon(history, random))),
        end: random.one_in(2).then(|| Some(soon(history, random))),
        enabled: random.one_in(4).then_some(false),
        children: None,
        shares: draw::shares(&history.service.policy.kinds, random),
        networks: Some(draw::networks(random)),
        granters: Vec::new(),
    };
    let networks = wish.networks.as_ref().and_then(Option::as_deref);
    let wish = Wish { granters: granters(history, (&wish.shares, networks), random), ..wish };
    let (number, secret) = (history.keys.len(), history.tokens.len());
    let handle = history.handle(name, &wish.granters);
    if random.one_in(4) {
        let (request, text) = import(new_key(&wish), wish.enabled != Some(false), random);
        let imported = block_on(handle.import(request)).map(|record| {
            history.keys.push((record.id(), name));
            history.keep_text(number, &record, String::from_utf8(text).unwrap());
        });
        let expected = history.service.import(name, &wish, number, secret);
        return history.same(&format!("import {number} to {name}: {wish:?}"), imported, &expected);
    }
    let issued = block_on(handle.issue(new_key(&wish))).map(|issued| {
        history.keys.push((issued.key.id(), name));
        history.keep(number, &issued.key, issued.token);
    });
    let expected = history.service.issue(name, &wish, number, secret);
    history.same(&format!("issue {number} to {name}: {wish:?}"), issued, &expected)
}

pub(super) fn edit(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, owner)) = key(history, random) else { return Ok(()) };
    let name = tenant_for(owner, random);
    let version = version(history, number, random);
    let soon = |random: &mut Random| random.one_in(2).then(|| steps::soon(history, random));
    let wish = Wish {
        scopes: random.one_in(2).then(|| scopes(random)),
        from: random.one_in(5).then(|| soon(random)),
        end: random.one_in(3).then(|| soon(random)),
        enabled: random.one_in(3).then(|| random.one_in(2)),
        children: None,
        shares: if random.one_in(3) {
            draw::shares(&history.service.policy.kinds, random)
        } else {
            Shares::new()
        },
        networks: random.one_in(4).then(|| draw::networks(random)),
        granters: granters_of(history, number, random),
    };
    let handle = history.handle(name, &wish.granters);
    let edited = block_on(handle.edit(id, version, key_edit(&wish))).map(drop);
    let expected = history.service.edit(name, number, version, &wish);
    history.same(&format!("edit {number} of {name} at {version}: {wish:?}"), edited, &expected)
}

pub(super) fn rotate(history: &mut History, random: &mut Random) -> Outcome {
    let Some((number, id, name)) = key(history, random) else { return Ok(()) };
    let version = version(history, number, random);
    let lasts = Time::try_from(random.below(100)).unwrap() * MINUTE;
    let grace_period = *random.pick(&[
        GracePeriod::None,
        GracePeriod::UntilFirstUse,
        GracePeriod::UntilFirstUse,
        GracePeriod::For(lasts),
        GracePeriod::For(30 * DAY + 1_000),
    ]);
    let asked = translate::grace_period(grace_period);
    let (granters, secret) = (granters_of(history, number, random), history.tokens.len());
    let rotated = block_on(history.handle(name, &granters).rotate(id, version, asked));
    let rotated = rotated.map(|rotated| history.keep(number, &rotated.key, rotated.token));
    let expected = history.service.rotate(name, number, version, grace_period, &granters, secret);
    let what = format!("rotate {number} at {version}, {grace_period:?}, {granters:?}");
    history.same(&what, rotated, &expected)
}

/// Returns the granters of a change to the key.
fn granters_of(history: &History, number: usize, random: &mut Random) -> Vec<Granter> {
    let none = Shares::new();
    let key = history.service.keys.get(&number);
    let limits = key.map_or((&none, None), |key| (&key.shares, key.networks.as_deref()));
    granters(history, limits, random)
}

/// Returns the granters of a change after which the key may have these shares and networks.
fn granters(
    history: &History,
    limits: (&Shares, Option<&[Block]>),
    random: &mut Random,
) -> Vec<Granter> {
    let many = *random.pick(&[0, 0, 0, 1, 2]);
    let granter = |random: &mut Random| {
        let scopes = if random.one_in(2) { all_scopes() } else { any_scopes(random) };
        draw::granter(scopes, &history.service.policy.kinds, limits, random)
    };
    (0..many).map(|_| granter(random)).collect()
}

fn all_scopes() -> Vec<String> {
    SCOPES.map(String::from).into()
}
