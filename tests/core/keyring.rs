//! Operations of operators, tenants and holders on keys, in every state that a key can have.

use std::{sync::Barrier, thread};

use crate::support::{
    DAY, HOUR, Held, World, block_on, catalog, overheard::RevealKnown as _, policy, tenant_id,
};
use keyway::{
    ChangeError, GracePeriod, KeyEdit, KeyRecord, KeyState, Keyring, KeyringError, LeakResponse,
    NewKey, Policy, TenantKeys, Tier, VerifyError,
    grant::Grant,
    lowlevel::InsecureSeededRng,
    record::Suspension,
    scope::ScopeSet,
    store::{KeyQuery, KeyStore},
    verifier::{Freshness, Verifier},
};

// Every state and every operation.

const STATES: [(&str, fn(&World, &mut Held)); 8] = [
    ("active", |_, _| {}),
    ("disabled", |_, held| {
        block_on(held.keys.disable(held.key.id())).unwrap();
    }),
    ("suspended", |world, held| {
        block_on(world.keyring.suspend_key(held.key.id(), ban())).unwrap();
    }),
    ("tenant suspended", |world, held| {
        block_on(world.keyring.suspend_tenant(held.keys.id(), ban())).unwrap();
    }),
    ("not yet valid", |world, held| {
        edit(held, KeyEdit::new().not_before(world.after(HOUR)));
    }),
    ("expired", |world, held| {
        edit(held, KeyEdit::new().expires_at(world.after(HOUR)));
        world.clock.advance(HOUR);
    }),
    // The token of `held` is the old one.
    ("in a grace period", |_, held| {
        let grace_period = GracePeriod::For(HOUR);
        drop(block_on(held.keys.rotate(held.key.id(), held.key.version(), grace_period)).unwrap());
    }),
    ("deleted", |_, held| {
        block_on(held.keys.delete(held.key.id())).unwrap();
    }),
];

const OPERATIONS: [(&str, fn(&World, &Held) -> String); 15] = [
    ("verify", |world, held| verified(world, held)),
    ("describe", |world, held| match block_on(world.keyring.describe(&held.token)) {
        Ok(description) => description.state.to_string(),
        Err(error) => error.to_string(),
    }),
    ("revoke", |world, held| outcome(block_on(world.keyring.revoke(&held.token)))),
    ("find", |_, held| outcome(block_on(held.keys.find(held.key.id())))),
    ("list", |_, held| {
        let page = block_on(held.keys.list(&KeyQuery::all())).unwrap();
        page.items.len().to_string()
    }),
    ("search by token", |_, held| {
        block_on(held.keys.search(&held.token)).unwrap().items.len().to_string()
    }),
    ("find by token", |_, held| outcome(block_on(held.keys.find_by_token(&held.token)))),
    ("edit", |_, held| {
        let edit = KeyEdit::new().name("renamed");
        outcome(block_on(held.keys.edit(held.key.id(), version(held), edit)))
    }),
    ("enable", |_, held| outcome(block_on(held.keys.enable(held.key.id())))),
    ("disable", |_, held| outcome(block_on(held.keys.disable(held.key.id())))),
    ("rotate", |_, held| {
        let rotated = held.keys.rotate(held.key.id(), version(held), GracePeriod::None);
        outcome(block_on(rotated))
    }),
    ("delete", |_, held| outcome(block_on(held.keys.delete(held.key.id())))),
    ("suspend key", |world, held| {
        outcome(block_on(world.keyring.suspend_key(held.key.id(), ban())))
    }),
    ("resume key", |world, held| outcome(block_on(world.keyring.resume_key(held.key.id())))),
    ("report leak", |world, held| {
        outcome(block_on(world.keyring.report_leak(
            &held.token,
            "seen on a forum",
            LeakResponse::Suspend,
        )))
    }),
];

/// The outcome of each operation in each state, and the result of `verify` afterwards.
const TABLE: &str = "
state            | operation       | outcome                                                                       | afterwards
active           | verify          | verified                                                                      | verified
active           | describe        | active                                                                  | verified
active           | revoke          | done                                                                          | the API key is not valid
active           | find            | done                                                                          | verified
active           | list            | 1                                                                             | verified
active           | search by token | 1                                                                             | verified
active           | find by token   | done                                                                          | verified
active           | edit            | done                                                                          | verified
active           | enable          | done                                                                          | verified
active           | disable         | done                                                                          | the API key cannot be used: disabled
active           | rotate          | done                                                                          | the API key is not valid
active           | delete          | done                                                                          | the API key is not valid
active           | suspend key     | done                                                                          | the API key cannot be used: suspended
active           | resume key      | done                                                                          | verified
active           | report leak     | done                                                                          | the API key cannot be used: suspended
disabled         | verify          | the API key cannot be used: disabled                                    | the API key cannot be used: disabled
disabled         | describe        | disabled                                                                | the API key cannot be used: disabled
disabled         | revoke          | done                                                                          | the API key is not valid
disabled         | find            | done                                                                          | the API key cannot be used: disabled
disabled         | list            | 1                                                                             | the API key cannot be used: disabled
disabled         | search by token | 1                                                                             | the API key cannot be used: disabled
disabled         | find by token   | done                                                                          | the API key cannot be used: disabled
disabled         | edit            | done                                                                          | the API key cannot be used: disabled
disabled         | enable          | done                                                                          | verified
disabled         | disable         | done                                                                          | the API key cannot be used: disabled
disabled         | rotate          | done                                                                          | the API key is not valid
disabled         | delete          | done                                                                          | the API key is not valid
disabled         | suspend key     | done                                                                          | the API key cannot be used: suspended
disabled         | resume key      | done                                                                          | the API key cannot be used: disabled
disabled         | report leak     | done                                                                          | the API key cannot be used: suspended
suspended        | verify          | the API key cannot be used: suspended                                   | the API key cannot be used: suspended
suspended        | describe        | suspended                                                               | the API key cannot be used: suspended
suspended        | revoke          | done                                                                          | the API key is not valid
suspended        | find            | done                                                                          | the API key cannot be used: suspended
suspended        | list            | 1                                                                             | the API key cannot be used: suspended
suspended        | search by token | 1                                                                             | the API key cannot be used: suspended
suspended        | find by token   | done                                                                          | the API key cannot be used: suspended
suspended        | edit            | done                                                                          | the API key cannot be used: suspended
suspended        | enable          | done                                                                          | the API key cannot be used: suspended
suspended        | disable         | done                                                                          | the API key cannot be used: suspended
suspended        | rotate          | done                                                                          | the API key is not valid
suspended        | delete          | done                                                                          | the API key is not valid
suspended        | suspend key     | done                                                                          | the API key cannot be used: suspended
suspended        | resume key      | done                                                                          | verified
suspended        | report leak     | done                                                                          | the API key cannot be used: suspended
tenant suspended | verify          | the API key cannot be used: tenant suspended                           | the API key cannot be used: tenant suspended
tenant suspended | describe        | tenant suspended                                                       | the API key cannot be used: tenant suspended
tenant suspended | revoke          | done                                                                          | the API key is not valid
tenant suspended | find            | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | list            | 1                                                                             | the API key cannot be used: tenant suspended
tenant suspended | search by token | 1                                                                             | the API key cannot be used: tenant suspended
tenant suspended | find by token   | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | edit            | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | enable          | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | disable         | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | rotate          | done                                                                          | the API key is not valid
tenant suspended | delete          | done                                                                          | the API key is not valid
tenant suspended | suspend key     | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | resume key      | done                                                                          | the API key cannot be used: tenant suspended
tenant suspended | report leak     | done                                                                          | the API key cannot be used: tenant suspended
not yet valid    | verify          | the API key cannot be used: not yet valid                               | the API key cannot be used: not yet valid
not yet valid    | describe        | not yet valid                                                           | the API key cannot be used: not yet valid
not yet valid    | revoke          | done                                                                          | the API key is not valid
not yet valid    | find            | done                                                                          | the API key cannot be used: not yet valid
not yet valid    | list            | 1                                                                             | the API key cannot be used: not yet valid
not yet valid    | search by token | 1                                                                             | the API key cannot be used: not yet valid
not yet valid    | find by token   | done                                                                          | the API key cannot be used: not yet valid
not yet valid    | edit            | done                                                                          | the API key cannot be used: not yet valid
not yet valid    | enable          | done                                                                          | the API key cannot be used: not yet valid
not yet valid    | disable         | done                                                                          | the API key cannot be used: disabled
not yet valid    | rotate          | done                                                                          | the API key is not valid
not yet valid    | delete          | done                                                                          | the API key is not valid
not yet valid    | suspend key     | done                                                                          | the API key cannot be used: suspended
not yet valid    | resume key      | done                                                                          | the API key cannot be used: not yet valid
not yet valid    | report leak     | done                                                                          | the API key cannot be used: suspended
expired          | verify          | the API key cannot be used: expired                                    | the API key cannot be used: expired
expired          | describe        | expired                                                                | the API key cannot be used: expired
expired          | revoke          | done                                                                          | the API key is not valid
expired          | find            | done                                                                          | the API key cannot be used: expired
expired          | list            | 1                                                                             | the API key cannot be used: expired
expired          | search by token | 1                                                                             | the API key cannot be used: expired
expired          | find by token   | done                                                                          | the API key cannot be used: expired
expired          | edit            | done                                                                          | the API key cannot be used: expired
expired          | enable          | done                                                                          | the API key cannot be used: expired
expired          | disable         | done                                                                          | the API key cannot be used: disabled
expired          | rotate          | the key expired at 2026-01-01T01:00:00Z; move its expiry before it gets a new secret, or issue another key if its tier ended it | the API key cannot be used: expired
expired          | delete          | done                                                                          | the API key is not valid
expired          | suspend key     | done                                                                          | the API key cannot be used: suspended
expired          | resume key      | done                                                                          | the API key cannot be used: expired
expired          | report leak     | done                                                                          | the API key cannot be used: suspended
in a grace period     | verify          | verified                                                                      | verified
in a grace period     | describe        | active                                                                  | verified
in a grace period     | revoke          | done                                                                          | the API key is not valid
in a grace period     | find            | done                                                                          | verified
in a grace period     | list            | 1                                                                             | verified
in a grace period     | search by token | 1                                                                             | verified
in a grace period     | find by token   | done                                                                          | verified
in a grace period     | edit            | done                                                                          | verified
in a grace period     | enable          | done                                                                          | verified
in a grace period     | disable         | done                                                                          | the API key cannot be used: disabled
in a grace period     | rotate          | done                                                                          | the API key is not valid
in a grace period     | delete          | done                                                                          | the API key is not valid
in a grace period     | suspend key     | done                                                                          | the API key cannot be used: suspended
in a grace period     | resume key      | done                                                                          | verified
in a grace period     | report leak     | done                                                                          | the API key cannot be used: suspended
deleted          | verify          | the API key is not valid                                                      | the API key is not valid
deleted          | describe        | the token is not valid                                                        | the API key is not valid
deleted          | revoke          | the token is not valid                                                        | the API key is not valid
deleted          | find            | there is no such key                                                          | the API key is not valid
deleted          | list            | 0                                                                             | the API key is not valid
deleted          | search by token | 0                                                                             | the API key is not valid
deleted          | find by token   | there is no such key                                                          | the API key is not valid
deleted          | edit            | there is no such key                                                          | the API key is not valid
deleted          | enable          | there is no such key                                                          | the API key is not valid
deleted          | disable         | there is no such key                                                          | the API key is not valid
deleted          | rotate          | there is no such key                                                          | the API key is not valid
deleted          | delete          | there is no such key                                                          | the API key is not valid
deleted          | suspend key     | there is no such key                                                          | the API key is not valid
deleted          | resume key      | there is no such key                                                          | the API key is not valid
deleted          | report leak     | the token is not valid                                                        | the API key is not valid
";

#[test]
fn every_operation_has_its_outcome_in_every_state() {
    assert_eq!(differences(TABLE), Vec::<String>::new());
}

#[test]
fn a_table_with_one_wrong_outcome_is_noticed() {
    let line = "suspended        | enable          |";
    let at = TABLE.find(line).expect("the line is there");
    let (head, tail) = TABLE.split_at(at);
    let wrong = tail.replacen("suspended", "active", 1);
    assert_eq!(differences(&format!("{head}{wrong}")).len(), 1);
}

/// Returns the lines of `table` that do not hold.
fn differences(table: &str) -> Vec<String> {
    let words =
        |line: &str| line.split('|').map(|cell| cell.trim().to_string()).collect::<Vec<_>>();
    let mut lines = table.lines().filter(|line| !line.is_empty()).map(words);
    lines.next();
    let mut differences = Vec::new();
    for (state, reach) in STATES {
        for (operation, perform) in OPERATIONS {
            let world = World::new();
            let mut held = world.tenant_with_key("acme");
            reach(&world, &mut held);
            let outcome = perform(&world, &held);
            let actual = [state, operation, &outcome, &verified(&world, &held)].map(String::from);
            let expected = lines.next().unwrap_or_default();
            if expected != actual {
                differences.push(format!("expected {expected:?}, and it is {actual:?}"));
            }
        }
    }
    differences.extend(lines.map(|line| format!("{line:?} is of nothing")));
    differences
}

fn outcome<T>(result: Result<T, KeyringError>) -> String {
    match result {
        Ok(_) => "done".into(),
        Err(error) => error.to_string(),
    }
}

fn verified(world: &World, held: &Held) -> String {
    match block_on(world.keyring.verify(&held.token)) {
        Ok(_) => "verified".into(),
        Err(error) => error.to_string(),
    }
}

fn ban() -> Suspension {
    Suspension::permanent("floods the report endpoint").unwrap()
}

fn version(held: &Held) -> u64 {
    block_on(held.keys.find(held.key.id())).map_or(0, |key| key.version())
}

fn edit(held: &mut Held, edit: KeyEdit) {
    let edited = block_on(held.keys.edit(held.key.id(), version(held), edit));
    held.key = edited.unwrap();
}

fn issue(keys: &TenantKeys, name: &str) -> Result<KeyRecord, KeyringError> {
    block_on(keys.issue(NewKey::named(name))).map(|issued| issued.key)
}

fn names(keys: &[KeyRecord]) -> Vec<&str> {
    keys.iter().map(KeyRecord::name).collect()
}

// The first matching state is reported.

#[test]
fn key_in_several_states_reports_the_first_in_order() {
    let world = World::new();
    let mut held = world.tenant_with_key("acme");
    edit(&mut held, KeyEdit::new().expires_at(world.after(HOUR)));
    block_on(held.keys.disable(held.key.id())).unwrap();
    block_on(world.keyring.suspend_key(held.key.id(), ban())).unwrap();
    block_on(world.keyring.suspend_tenant(held.keys.id(), ban())).unwrap();
    world.clock.advance(HOUR);

    assert!(verified(&world, &held).ends_with("tenant suspended"));
    block_on(world.keyring.resume_tenant(held.keys.id())).unwrap();
    assert!(verified(&world, &held).ends_with("suspended"));
    block_on(world.keyring.resume_key(held.key.id())).unwrap();
    assert!(verified(&world, &held).ends_with("disabled"));
    block_on(held.keys.enable(held.key.id())).unwrap();
    assert!(verified(&world, &held).ends_with("expired"));
    edit(&mut held, KeyEdit::new().expires_at(None));
    assert_eq!(verified(&world, &held), "verified");
}

#[test]
fn suspension_until_a_time_ends_automatically() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let end = world.after(HOUR);
    let ban = Suspension::until(end, "cool down").unwrap();
    block_on(world.keyring.suspend_key(held.key.id(), ban.clone())).unwrap();
    block_on(world.keyring.suspend_tenant(held.keys.id(), ban)).unwrap();
    world.clock.advance(HOUR - core::time::Duration::from_millis(1));
    assert!(verified(&world, &held).ends_with("tenant suspended"));
    world.clock.advance(core::time::Duration::from_millis(1));
    assert_eq!(verified(&world, &held), "verified");
}

#[test]
fn tenant_operations_do_not_lift_a_suspension() {
    let world = World::new();
    let mut held = world.tenant_with_key("acme");
    block_on(world.keyring.suspend_key(held.key.id(), ban())).unwrap();
    block_on(held.keys.disable(held.key.id())).unwrap();
    block_on(held.keys.enable(held.key.id())).unwrap();
    edit(&mut held, KeyEdit::new().enabled(true).name("innocent"));
    let rotated =
        block_on(held.keys.rotate(held.key.id(), held.key.version(), GracePeriod::UntilFirstUse));
    let token = rotated.unwrap().token.reveal_known();
    for token in [&held.token, &*token] {
        let verified = block_on(world.keyring.verify(token));
        assert!(matches!(verified, Err(VerifyError::Inactive(_))), "{verified:?}");
    }
    block_on(world.keyring.resume_key(held.key.id())).unwrap();
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
}

#[test]
fn a_leak_report_outlasts_a_suspension_that_would_have_ended() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let ban = Suspension::until(world.after(HOUR), "cool down").unwrap();
    block_on(world.keyring.suspend_key(held.key.id(), ban)).unwrap();
    block_on(world.keyring.report_leak(&held.token, "seen on a forum", LeakResponse::Suspend))
        .unwrap();
    world.clock.advance(2 * HOUR);
    assert!(verified(&world, &held).ends_with("suspended"));
}

#[test]
fn report_and_revoke_require_the_full_token() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let mut wrong = held.token.clone();
    let last = if wrong.pop() == Some('A') { 'B' } else { 'A' };
    wrong.push(last);
    for presented in [held.key.id().as_str(), held.key.masked(), &wrong, ""] {
        let report = block_on(world.keyring.report_leak(presented, "seen", LeakResponse::Suspend));
        assert!(matches!(report, Err(KeyringError::Rejected)), "{presented}");
        let revoked = block_on(world.keyring.revoke(presented));
        assert!(matches!(revoked, Err(KeyringError::Rejected)), "{presented}");
    }
    assert_eq!(verified(&world, &held), "verified");
    assert!(
        block_on(world.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend)).is_ok()
    );
}

// Quotas.

#[test]
fn lite_holds_one_key_and_advanced_five() {
    let world = World::new();
    for (tier, allowed) in [("lite", 1), ("advanced", 5)] {
        let keys = block_on(world.keyring.create_empty_tenant(tier, tier)).unwrap();
        for _ in 0..allowed {
            issue(&keys, "within").unwrap();
        }
        match issue(&keys, "one too many") {
            Err(KeyringError::QuotaExceeded { tenant, tier: on, allowed: said, held }) => {
                assert_eq!((tenant.as_str(), &*on, said, held), (tier, tier, allowed, allowed));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_first_key_counts() {
    let world = World::new();
    let (keys, first) = block_on(world.keyring.create_tenant("acme", "lite")).unwrap();
    assert_eq!(first.key.name(), "default");
    assert!(matches!(issue(&keys, "second"), Err(KeyringError::QuotaExceeded { .. })));
}

#[test]
fn a_key_counts_whatever_its_state_until_it_is_deleted() {
    for (state, reach) in STATES {
        let world = World::new();
        let mut held = world.tenant_with_key("acme");
        for _ in 0..4 {
            issue(&held.keys, "more").unwrap();
        }
        reach(&world, &mut held);
        let sixth = issue(&held.keys, "a sixth");
        if state == "deleted" {
            assert!(sixth.is_ok(), "{sixth:?}");
        } else {
            assert!(matches!(sixth, Err(KeyringError::QuotaExceeded { .. })), "{state}");
        }
    }
}

#[test]
fn downgrade_keeps_keys_reports_the_excess_and_blocks_new_ones() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for _ in 0..3 {
        issue(&held.keys, "more").unwrap();
    }
    let change = block_on(world.keyring.set_tier(held.keys.id(), "lite")).unwrap();
    assert_eq!((change.held, change.allowed, change.over()), (4, 1, 3));
    assert_eq!(change.tenant.tier(), "lite");
    let kept = block_on(held.keys.list(&KeyQuery::all())).unwrap().items;
    assert_eq!(kept.len(), 4);
    assert_eq!(verified(&world, &held), "verified");

    for key in kept {
        let refused = issue(&held.keys, "not yet");
        assert!(matches!(refused, Err(KeyringError::QuotaExceeded { .. })));
        block_on(held.keys.delete(key.id())).unwrap();
    }
    assert!(issue(&held.keys, "at last").is_ok());
}

#[test]
fn downgrade_narrows_scopes_and_upgrade_restores_them() {
    let world = World::new();
    let keys = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let request = NewKey::named("all").scopes(["operator", "manager"]);
    let token = block_on(keys.issue(request)).unwrap().token.reveal_known();
    let may = || catalog().text(block_on(world.keyring.verify(&*token)).unwrap().scopes());
    assert_eq!(may(), "manager operator");
    block_on(world.keyring.set_tier(keys.id(), "lite")).unwrap();
    assert_eq!(may(), "operator");
    block_on(world.keyring.set_tier(keys.id(), "advanced")).unwrap();
    assert_eq!(may(), "manager operator");
}

#[test]
fn issue_and_edit_with_scopes_above_the_tier_name_them() {
    let world = World::new();
    let keys = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let refused = block_on(keys.issue(NewKey::named("k").scopes(["manager", "erp"])));
    assert_eq!(outcome(refused), "tier `lite` does not allow scope `manager`");
    let issued = block_on(keys.issue(NewKey::named("k").scopes(["erp"]))).unwrap();
    let edit = KeyEdit::new().scopes(["manager"]);
    let refused = block_on(keys.edit(issued.key.id(), 1, edit));
    assert_eq!(outcome(refused), "tier `lite` does not allow scope `manager`");
}

#[test]
fn concurrent_issues_on_two_nodes_never_exceed_the_quota() {
    let world = World::new();
    let node = world.another_node();
    for round in 0..20 {
        let id = format!("acme-{round}");
        let keys = block_on(world.keyring.create_empty_tenant(&id, "advanced")).unwrap();
        let barrier = Barrier::new(8);
        let issued: usize = thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let keyring = if number % 2 == 0 { &world } else { &node };
                    let keys = keyring.keyring.tenant(keys.id().clone());
                    let barrier = &barrier;
                    scope.spawn(move || {
                        barrier.wait();
                        (0..3).filter(|_| issue(&keys, "raced").is_ok()).count()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(issued, 5);
        let stored = block_on(world.store.memory().count_keys(keys.id(), u32::MAX)).unwrap();
        assert_eq!(stored, 5);
    }
}

#[test]
fn key_issued_during_a_tier_change_counts_on_the_new_tier() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("insert_key");
    thread::scope(|scope| {
        let issuing = scope.spawn(|| issue(&held.keys, "second"));
        world.store.await_call("insert_key");
        block_on(world.keyring.set_tier(held.keys.id(), "lite")).unwrap();
        world.store.release("insert_key");
        let issued = issuing.join().unwrap();
        assert!(matches!(issued, Err(KeyringError::QuotaExceeded { allowed: 1, .. })));
    });
}

// Tenants.

#[test]
fn creating_an_existing_tenant_fails_and_changes_nothing() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let again = block_on(world.keyring.create_tenant("acme", "lite"));
    assert!(matches!(again, Err(KeyringError::TenantExists(id)) if id == *held.keys.id()));
    let tenant = block_on(world.keyring.find_tenant(held.keys.id())).unwrap();
    assert_eq!((tenant.tier(), tenant.version()), ("advanced", 1));
    let keys = block_on(held.keys.list(&KeyQuery::all())).unwrap().items;
    assert_eq!(keys, [held.key]);
}

#[test]
fn a_tenant_whose_first_key_cannot_be_granted_is_not_created() {
    let world = World::new();
    let requests = [
        NewKey::named("k").scopes(["manager"]),
        NewKey::named("k").scopes(["no.such.scope"]),
        NewKey::named(" "),
        NewKey::named("k").expires_at(world.now()),
    ];
    for request in requests {
        let created = block_on(world.keyring.create_tenant_with("acme", "lite", request));
        assert!(matches!(created, Err(KeyringError::Refused(_))), "{created:?}");
    }
    let found = block_on(world.keyring.find_tenant(&tenant_id("acme")));
    assert!(matches!(found, Err(KeyringError::NoTenant(_))));
    assert!(block_on(world.keyring.create_tenant("acme", "lite")).is_ok());
}

#[test]
fn tier_without_keys_allows_only_empty_tenants() {
    let policy = Policy::new("mm", catalog(), [Tier::new("none", 0)]).unwrap();
    let world = World::with(policy, |builder| builder);
    let created = block_on(world.keyring.create_tenant("acme", "none"));
    assert!(matches!(created, Err(KeyringError::QuotaExceeded { allowed: 0, .. })));
    let keys = block_on(world.keyring.create_empty_tenant("acme", "none")).unwrap();
    assert!(matches!(issue(&keys, "k"), Err(KeyringError::QuotaExceeded { .. })));
}

#[test]
fn an_unknown_tier_is_refused() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let created = block_on(world.keyring.create_tenant("globex", "gold"));
    assert_eq!(outcome(created), "the policy has no tier `gold`");
    let moved = block_on(world.keyring.set_tier(held.keys.id(), "Lite"));
    assert_eq!(outcome(moved), "the policy has no tier `Lite`");
}

#[test]
fn deleted_tenant_loses_its_keys_and_a_new_one_starts_empty() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    assert_eq!(verified(&world, &held), "verified");
    block_on(world.keyring.delete_tenant(held.keys.id())).unwrap();
    assert_eq!(verified(&world, &held), "the API key is not valid");
    assert!(matches!(issue(&held.keys, "k"), Err(KeyringError::NoTenant(_))));

    let keys = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    assert_eq!(verified(&world, &held), "the API key is not valid");
    assert_eq!(block_on(keys.list(&KeyQuery::all())).unwrap().items, []);
}

#[test]
fn tenants_are_listed_in_pages_in_the_order_of_their_ids() {
    let world = World::new();
    for id in ["b", "a", "c", "Z", "é"] {
        block_on(world.keyring.create_empty_tenant(id, "lite")).unwrap();
    }
    let (mut after, mut ids) = (None, Vec::new());
    loop {
        let page = block_on(world.keyring.tenants(after.as_ref(), 2)).unwrap();
        assert!(page.items.len() <= 2);
        ids.extend(page.items.iter().map(|tenant| tenant.id().to_string()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["Z", "a", "b", "c", "é"]);
}

// Versions.

#[test]
fn change_of_a_stale_version_is_a_conflict_and_changes_nothing() {
    let world = World::new();
    let mut held = world.tenant_with_key("acme");
    edit(&mut held, KeyEdit::new().name("second version"));
    let id = held.key.id();
    assert_eq!(held.key.version(), 2);
    for stale in [0, 1, 3, u64::MAX] {
        let edited = block_on(held.keys.edit(id, stale, KeyEdit::new().name("late")));
        assert!(matches!(edited, Err(KeyringError::Conflict)), "{stale}");
        let rotated = block_on(held.keys.rotate(id, stale, GracePeriod::None));
        assert!(matches!(rotated, Err(KeyringError::Conflict)), "{stale}");
    }
    assert_eq!(block_on(held.keys.find(id)).unwrap(), held.key);
    assert!(block_on(held.keys.edit(id, 2, KeyEdit::new().name("in time"))).is_ok());
}

#[test]
fn second_of_two_concurrent_edits_is_a_conflict() {
    let world = World::new();
    let node = world.another_node();
    let held = world.tenant_with_key("acme");
    let there = node.keyring.tenant(held.keys.id().clone());
    node.store.hold("update_key");
    thread::scope(|scope| {
        let late =
            scope.spawn(|| block_on(there.edit(held.key.id(), 1, KeyEdit::new().name("late"))));
        node.store.await_call("update_key");
        block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("first"))).unwrap();
        node.store.release("update_key");
        assert!(matches!(late.join().unwrap(), Err(KeyringError::Conflict)));
    });
    let key = block_on(held.keys.find(held.key.id())).unwrap();
    assert_eq!((key.name(), key.version()), ("first", 2));
}

#[test]
fn disable_succeeds_despite_a_concurrent_edit() {
    let world = World::new();
    let node = world.another_node();
    let held = world.tenant_with_key("acme");
    let there = node.keyring.tenant(held.keys.id().clone());
    node.store.hold("update_key");
    thread::scope(|scope| {
        let switching = scope.spawn(|| block_on(there.disable(held.key.id())));
        node.store.await_call("update_key");
        block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("renamed"))).unwrap();
        node.store.release("update_key");
        let key = switching.join().unwrap().unwrap();
        assert_eq!((key.name(), key.enabled(), key.version()), ("renamed", false, 3));
    });
}

#[test]
fn switching_a_key_to_its_present_state_writes_nothing() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let before = world.store.writes();
    assert_eq!(block_on(held.keys.enable(held.key.id())).unwrap(), held.key);
    assert_eq!(world.store.writes(), before);
    let off = block_on(held.keys.disable(held.key.id())).unwrap();
    assert_eq!(world.store.writes(), before + 1);
    assert_eq!(block_on(held.keys.disable(held.key.id())).unwrap(), off);
    assert_eq!(world.store.writes(), before + 1);
    assert_eq!(off.version(), 2);
}

#[test]
fn leak_report_survives_a_concurrent_change() {
    let world = World::new();
    let node = world.another_node();
    let held = world.tenant_with_key("acme");
    node.store.hold("update_key");
    thread::scope(|scope| {
        let reporting = scope.spawn(|| {
            block_on(node.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend))
        });
        node.store.await_call("update_key");
        block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("renamed"))).unwrap();
        node.store.release("update_key");
        let key = reporting.join().unwrap().unwrap();
        assert_eq!((key.name(), key.version()), ("renamed", 3));
        assert!(key.suspension().is_some());
    });
}

/// A world in which keys of tier `short` live for at most 30 days, and keys of tier `long` without limit.
fn with_lifetimes() -> World {
    let limit = core::time::Duration::from_secs(30 * 86_400);
    let tiers =
        [Tier::new("short", 5).scopes(["reporting"]).max_lifetime(limit), Tier::new("long", 5)];
    let policy = Policy::new("mm", crate::support::policy().catalog().clone(), tiers).unwrap();
    World::with(policy, |builder| builder)
}

#[test]
fn downgrade_ends_keys_that_are_older_than_the_tier_allows() {
    let world = with_lifetimes();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "long")).unwrap();
    let issued = block_on(acme.issue(NewKey::named("old"))).unwrap();
    let (key, token) = (issued.key, issued.token.reveal_known());
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
    block_on(world.keyring.set_tier(acme.id(), "short")).unwrap();
    let end = world.after(30 * DAY);
    world.clock.advance(30 * DAY - core::time::Duration::from_millis(1));
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
    world.clock.advance(core::time::Duration::from_millis(1));
    let expired = KeyState::Expired { at: end };
    let refused = block_on(world.keyring.verify(&*token));
    assert!(matches!(refused, Err(VerifyError::Inactive(state)) if state == expired));
    assert_eq!(block_on(acme.state(&key)).unwrap(), expired);
    let described = block_on(world.keyring.describe(&*token)).unwrap();
    assert_eq!((described.state, described.effective_expiry), (expired, Some(end)));
    assert_eq!(described.key.expires_at(), None);
    world.clock.advance(5 * 365 * DAY);
    let rotated = block_on(acme.rotate(key.id(), 1, GracePeriod::None));
    assert!(matches!(rotated, Err(KeyringError::Refused(ChangeError::Expired(at))) if at == end));
    // Nothing was lost: the key is valid again once the limit is gone.
    block_on(world.keyring.set_tier(acme.id(), "long")).unwrap();
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
}

#[test]
fn preview_of_a_tier_lists_the_keys_that_it_narrows_and_ends() {
    let world = with_lifetimes();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "long")).unwrap();
    let issue = |request: NewKey| block_on(acme.issue(request)).unwrap().key;
    let endless = issue(NewKey::named("endless").scopes(["reporting"]));
    let end = world.after(30 * DAY);
    issue(NewKey::named("short").expires_at(world.after(DAY)));
    let later = issue(NewKey::named("later").scopes(["manager"]).expires_at(world.after(31 * DAY)));
    issue(NewKey::named("as long").expires_at(end));
    world.clock.advance(DAY);
    let preview = block_on(world.keyring.preview_tier(acme.id(), "short")).unwrap();
    let mut keys = preview.affected.clone();
    // Both were created at the same time, so their order is not defined.
    keys.sort_by(|left, right| left.name.cmp(&right.name));
    let affected: Vec<_> = keys
        .iter()
        .map(|key| (key.id, key.loses.iter().map(ToString::to_string).collect(), key.ends_at))
        .collect();
    let none: Vec<String> = Vec::new();
    let expected =
        [(endless.id(), none, Some(end)), (later.id(), vec!["manager".into()], Some(end))];
    assert_eq!(affected, expected);
    assert_eq!((preview.held, preview.terms.keys, preview.complete), (4, 5, true));
    assert_eq!((preview.tenant.tier(), &*preview.tier), ("long", "short"));
    // The preview changed nothing, and a move back takes nothing away.
    assert_eq!(block_on(world.keyring.find_tenant(acme.id())).unwrap().tier(), "long");
    block_on(world.keyring.set_tier(acme.id(), "short")).unwrap();
    let back = block_on(world.keyring.preview_tier(acme.id(), "long")).unwrap();
    assert_eq!(back.affected, []);
    let unknown = block_on(world.keyring.preview_tier(acme.id(), "none")).unwrap_err();
    assert_eq!(unknown.to_string(), "the policy has no tier `none`");
}

#[test]
fn preview_of_a_tier_crosses_pages() {
    let limit = core::time::Duration::from_secs(86_400);
    let tiers = [Tier::new("short", 5_000).max_lifetime(limit), Tier::new("long", 5_000)];
    let policy = Policy::new("mm", crate::support::policy().catalog().clone(), tiers).unwrap();
    let world = World::with(policy, |builder| builder);
    let acme = block_on(world.keyring.create_empty_tenant("acme", "long")).unwrap();
    for number in 0..=keyway::store::KeyQuery::MAX_LIMIT {
        drop(block_on(acme.issue(NewKey::named(number.to_string()))).unwrap());
    }
    let preview = block_on(world.keyring.preview_tier(acme.id(), "short")).unwrap();
    assert_eq!(preview.affected.len(), keyway::store::KeyQuery::MAX_LIMIT + 1);
    assert!(preview.complete);
}

// Rotation.

#[test]
fn rotating_keeps_everything_but_the_secret() {
    let world = World::new();
    let mut held = world.tenant_with_key("acme");
    edit(&mut held, KeyEdit::new().expires_at(world.after(DAY)));
    world.clock.advance(HOUR);
    let rotated = block_on(held.keys.rotate(held.key.id(), 2, GracePeriod::None)).unwrap();
    let (old, new) = (&held.key, &rotated.key);
    assert_eq!(new.id(), old.id());
    assert_eq!((new.name(), new.scopes()), (old.name(), old.scopes()));
    assert_eq!(new.expires_at(), old.expires_at());
    assert_eq!(new.created_at(), old.created_at());
    assert_eq!(new.rotated_at(), Some(world.now()));
    assert_ne!(new.masked(), old.masked());
    let token = rotated.token.reveal_known();
    assert_ne!(*token, held.token);
    assert!(token.contains(old.id().as_str()));
}

#[test]
fn timed_grace_period_ends_on_time_and_not_with_a_first_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let rotated = block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::For(HOUR))).unwrap();
    let token = rotated.token.reveal_known();
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
    world.clock.advance(HOUR - core::time::Duration::from_millis(1));
    let caller = block_on(world.keyring.verify(&held.token)).unwrap();
    assert!(caller.used_previous_secret());
    world.clock.advance(core::time::Duration::from_millis(1));
    assert_eq!(verified(&world, &held), "the API key is not valid");
    assert!(block_on(world.keyring.verify(&*token)).is_ok());
}

#[test]
fn a_grace_period_never_outlives_the_key() {
    let world = World::new();
    let mut held = world.tenant_with_key("acme");
    edit(&mut held, KeyEdit::new().expires_at(world.after(HOUR)));
    drop(block_on(held.keys.rotate(held.key.id(), 2, GracePeriod::For(DAY))).unwrap());
    assert_eq!(verified(&world, &held), "verified");
    world.clock.advance(HOUR);
    assert!(verified(&world, &held).ends_with("expired"));
}

#[test]
fn a_grace_period_of_more_than_30_days_is_refused() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let longer = GracePeriod::MAX + core::time::Duration::from_millis(1);
    let refused = block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::For(longer)));
    let Err(KeyringError::Refused(ChangeError::GracePeriodTooLong(said))) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(said, longer);
    let longest = GracePeriod::For(GracePeriod::MAX);
    assert!(block_on(held.keys.rotate(held.key.id(), 1, longest)).is_ok());
}

/// Rotates the key of `held` from `version`, with a grace period until the first use.
fn rotated(held: &Held, version: u64) -> String {
    let rotated = block_on(held.keys.rotate(held.key.id(), version, GracePeriod::UntilFirstUse));
    rotated.unwrap().token.reveal_known().to_string()
}

#[test]
fn rotating_again_keeps_a_successor_that_may_be_in_use() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let second = rotated(&held, 1);
    // Used on a node that does not record first uses.
    world.clock.advance(23 * HOUR);
    let third = rotated(&held, 2);
    let verified = |token: &str| block_on(world.keyring.verify(token)).is_ok();
    assert!(verified(&held.token) && verified(&third));
    // The use of the newest secret ends both others.
    assert!(!verified(&held.token) && !verified(&second) && verified(&third));
}

#[test]
fn use_of_a_middle_secret_ends_the_oldest_alone() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let second = rotated(&held, 1);
    let third = rotated(&held, 2);
    world.audit.take_kinds();
    let caller = block_on(world.keyring.verify(&second)).unwrap();
    assert!(caller.used_previous_secret());
    assert_eq!(world.audit.take_kinds(), ["GracePeriodEnded"]);
    assert_eq!(verified(&world, &held), "the API key is not valid");
    for token in [&second, &third] {
        assert!(block_on(world.keyring.verify(token)).is_ok());
    }
    assert!(matches!(block_on(world.keyring.verify(&second)), Err(VerifyError::Rejected)));
}

#[test]
fn old_secret_ends_after_a_day_if_no_use_is_recorded() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let mut tokens = vec![held.token.clone()];
    // A rotation every 23 hours for two weeks, with nodes that do not record first uses.
    for version in 1..=14 {
        tokens.push(rotated(&held, version));
        world.clock.advance(23 * HOUR);
        let live = |token: &&String| block_on(held.keys.find_by_token(token)).is_ok();
        let accepted: Vec<&String> = tokens.iter().filter(live).collect();
        let newest: Vec<&String> = tokens.iter().rev().take(2).rev().collect();
        assert_eq!(accepted, newest, "after {version} rotations");
    }
}

#[test]
fn key_has_at_most_three_accepted_secrets() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let first = rotated(&held, 1);
    world.clock.advance(HOUR);
    let second = rotated(&held, 2);
    let again = |grace_period| block_on(held.keys.rotate(held.key.id(), 3, grace_period));
    let Err(KeyringError::Refused(ChangeError::TooManySecrets { ends })) =
        again(GracePeriod::UntilFirstUse)
    else {
        panic!("a fourth secret");
    };
    assert_eq!(ends, world.after(23 * HOUR));
    for token in [&held.token, &first, &second] {
        assert!(block_on(held.keys.find_by_token(token)).is_ok());
    }
    drop(again(GracePeriod::None).unwrap());
    for token in [&held.token, &first, &second] {
        assert!(block_on(held.keys.find_by_token(token)).is_err());
    }
}

// Lists and search.

#[test]
fn a_list_in_pages_gives_every_key_once_in_order_of_creation() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for number in 0..4 {
        world.clock.advance(HOUR);
        issue(&held.keys, &format!("number {number}")).unwrap();
    }
    for limit in 1..=6 {
        let (mut query, mut seen) = (KeyQuery::all().limit(limit), Vec::new());
        loop {
            let page = block_on(held.keys.list(&query)).unwrap();
            assert!(page.items.len() <= limit);
            seen.extend(page.items);
            match page.next {
                Some(next) => query = query.after(next),
                None => break,
            }
        }
        let expected = ["first", "number 0", "number 1", "number 2", "number 3"];
        assert_eq!(names(&seen), expected, "{limit} per page");
    }
}

#[test]
fn a_key_deleted_between_two_pages_hides_no_other() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    for number in 0..4 {
        world.clock.advance(HOUR);
        issue(&held.keys, &format!("number {number}")).unwrap();
    }
    let query = KeyQuery::all().limit(2);
    let page = block_on(held.keys.list(&query)).unwrap();
    for key in &page.items {
        block_on(held.keys.delete(key.id())).unwrap();
    }
    let rest = KeyQuery::all().after(page.next.expect("there is more"));
    let rest = block_on(held.keys.list(&rest)).unwrap();
    assert_eq!(names(&rest.items), ["number 1", "number 2", "number 3"]);
    assert_eq!(rest.next, None);
}

#[test]
fn search_takes_every_character_literally() {
    let world = World::new();
    let keys = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    for name in ["100% off", "snake_case", "it's \"quoted\"", "🔑 café", "back\\slash"] {
        issue(&keys, name).unwrap();
    }
    let cases: [(&str, &[&str]); 16] = [
        ("%", &["100% off"]),
        ("0%", &["100% off"]),
        ("1%off", &[]),
        ("e_c", &["snake_case"]),
        ("s_ake", &[]),
        ("'", &["it's \"quoted\""]),
        ("\"q", &["it's \"quoted\""]),
        ("' OR '1'='1", &[]),
        ("🔑", &["🔑 café"]),
        ("fé", &["🔑 café"]),
        ("FÉ", &[]),
        ("SNAKE", &["snake_case"]),
        ("\\", &["back\\slash"]),
        ("\\%", &[]),
        (".*", &[]),
        ("\u{0}", &[]),
    ];
    for (text, expected) in cases {
        let found = block_on(keys.search(text)).unwrap().items;
        assert_eq!(names(&found), expected, "{text:?}");
    }
    assert_eq!(block_on(keys.search("")).unwrap().items.len(), 5);
}

#[test]
fn a_search_finds_by_any_part_of_id_and_masked_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    issue(&held.keys, "another").unwrap();
    let (id, masked) = (held.key.id(), held.key.masked());
    let middle: String = id.as_str().chars().skip(4).take(8).collect();
    let end: String = masked.chars().skip_while(|c| *c != '…').collect();
    for text in [id.as_str(), &middle, masked, &end] {
        let found = block_on(held.keys.search(text)).unwrap().items;
        assert_eq!(found, core::slice::from_ref(&held.key), "{text:?}");
    }
    assert_eq!(block_on(held.keys.search("mm_live_")).unwrap().items.len(), 2);
}

#[test]
fn search_for_a_full_token_also_finds_a_secret_in_grace_period() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let rotated = block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::For(HOUR))).unwrap();
    let (key, token) = (rotated.key, rotated.token.reveal_known());
    for token in [&held.token, &*token] {
        let found = block_on(held.keys.search(token)).unwrap().items;
        assert_eq!(found, core::slice::from_ref(&key));
    }
    world.clock.advance(HOUR);
    assert_eq!(block_on(held.keys.search(&held.token)).unwrap().items, []);
    assert_eq!(block_on(held.keys.search(&token)).unwrap().items, [key]);
}

#[test]
fn search_for_a_token_like_text_never_reaches_the_store() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let other = world.tenant_with_key("globex");
    let forged = format!("mm_live_{}", "A".repeat(56));
    for text in [&held.token, &other.token, &forged] {
        block_on(held.keys.search(text)).unwrap();
    }
    assert_eq!(world.store.searched(), Vec::<String>::new());
    block_on(held.keys.search("fir")).unwrap();
    assert_eq!(world.store.searched(), ["fir"]);
}

// A grant is limited to the granter's own scopes.

fn scopes(names: &[&str]) -> ScopeSet {
    catalog().set(names).unwrap()
}

#[test]
fn bounded_granter_cannot_issue_a_key_above_its_scopes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let clerk =
        held.keys.clone().granting_at_most(&Grant::unlimited(scopes(&["operator.read", "erp"])));
    let refused = block_on(clerk.issue(NewKey::named("k").scopes(["operator", "erp"])));
    assert_eq!(outcome(refused), "the granter does not hold scope `operator`");
    assert!(
        block_on(clerk.issue(NewKey::named("k").scopes(["operator.read", "reporting"]))).is_ok()
    );
    assert!(block_on(held.keys.issue(NewKey::named("k").scopes(["operator"]))).is_ok());
}

#[test]
fn bounded_granter_cannot_leave_an_edited_key_above_its_scopes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let issued = block_on(held.keys.issue(NewKey::named("strong").scopes(["operator"])));
    let strong = issued.unwrap().key.id();
    let clerk = held.keys.clone().granting_at_most(&Grant::unlimited(scopes(&["operator.read"])));

    let above = [
        KeyEdit::new().scopes(["operator"]),
        KeyEdit::new().name("mine"),
        KeyEdit::new().expires_at(world.after(HOUR)),
        KeyEdit::new().enabled(true),
        KeyEdit::new().enabled(false).name("mine"),
        KeyEdit::new(),
    ];
    for edit in above {
        let refused = block_on(clerk.edit(strong, 1, edit.clone()));
        let Err(KeyringError::Refused(ChangeError::AboveGranter(missing))) = refused else {
            panic!("{edit:?}: {refused:?}");
        };
        assert_eq!(missing.first().map(keyway::scope::Scope::as_str), Some("operator"));
    }
    // Removing scopes is always allowed, and every caller that edits keys may disable any key.
    block_on(clerk.edit(strong, 1, KeyEdit::new().enabled(false))).unwrap();
    let enabled = block_on(clerk.enable(strong));
    assert!(matches!(enabled, Err(KeyringError::Refused(ChangeError::AboveGranter(_)))));
    block_on(clerk.edit(strong, 2, KeyEdit::new().scopes(["operator.read"]))).unwrap();
    assert!(block_on(clerk.enable(strong)).is_ok());
}

#[test]
fn bounded_granter_cannot_rotate_a_key_above_its_scopes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let clerk = held.keys.clone().granting_at_most(&Grant::unlimited(scopes(&["operator.read"])));
    let refused = block_on(clerk.rotate(held.key.id(), 1, GracePeriod::None));
    assert_eq!(outcome(refused), "the granter does not hold scope `reporting`");
    assert_eq!(verified(&world, &held), "verified");
    let peer = held.keys.clone().granting_at_most(&Grant::unlimited(scopes(&["erp"])));
    assert!(block_on(peer.rotate(held.key.id(), 1, GracePeriod::None)).is_ok());
}

/// A node with the previous policy, which does not declare the scope `manager`.
fn node_of_the_old_policy(world: &World) -> World {
    let known = ["erp", "operator", "reporting"];
    let declared = known.map(|name| keyway::scope::ScopeDeclaration::new(name, ""));
    let catalog = keyway::ScopeCatalog::new(declared).unwrap();
    let tiers = [Tier::new("lite", 1), Tier::new("advanced", 5)];
    world.another_node_with(Policy::new("mm", catalog, tiers).unwrap(), |builder| builder)
}

#[test]
fn old_node_cannot_grant_scopes_that_only_a_new_node_knows() {
    let world = World::new();
    let old = node_of_the_old_policy(&world);
    let acme = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let key =
        block_on(acme.issue(NewKey::named("k").scopes(["manager", "reporting"]))).unwrap().key;
    let above = "the granter does not hold scope `manager`";
    let known = old.keyring.policy().catalog();
    for bound in [known.all(), known.set(["reporting"]).unwrap()] {
        let clerk =
            old.keyring.tenant(acme.id().clone()).granting_at_most(&Grant::unlimited(bound));
        let rotated = block_on(clerk.rotate(key.id(), 1, GracePeriod::None)).map(|_| ());
        assert_eq!(outcome(rotated), above);
        for edit in [
            KeyEdit::new().name("n"),
            KeyEdit::new().enabled(true),
            KeyEdit::new().expires_at(world.after(DAY)),
        ] {
            assert_eq!(outcome(block_on(clerk.edit(key.id(), 1, edit))), above);
        }
    }
    let clerk =
        old.keyring.tenant(acme.id().clone()).granting_at_most(&Grant::unlimited(known.all()));
    block_on(clerk.disable(key.id())).unwrap();
    assert_eq!(outcome(block_on(clerk.enable(key.id()))), above);
    let narrowed = KeyEdit::new().enabled(true).scopes(["reporting"]);
    let narrowed = block_on(clerk.edit(key.id(), 2, narrowed)).unwrap();
    let rotated = block_on(clerk.rotate(key.id(), 3, GracePeriod::None)).unwrap();
    let caller = block_on(world.keyring.verify(&*rotated.token.reveal_known())).unwrap();
    assert_eq!(world.keyring.policy().catalog().text(caller.scopes()), "reporting");
    assert_eq!(narrowed.scopes().len(), 1);
}

#[test]
fn every_further_bound_narrows() {
    let world = World::new();
    let tenant = block_on(world.keyring.create_empty_tenant("acme", "advanced")).unwrap();
    let keys = ["manager", "reporting"]
        .map(|scope| block_on(tenant.issue(NewKey::named(scope).scopes([scope]))).unwrap().key);
    // Neither set covers the other, so the test notices if one replaces the other.
    let (left, right) = (scopes(&["manager"]), scopes(&["reporting"]));
    for (first, second) in [(left, right), (right, left)] {
        let handle = tenant
            .clone()
            .granting_at_most(&Grant::unlimited(first))
            .granting_at_most(&Grant::unlimited(second));
        let single = tenant.clone().granting_at_most(&Grant::unlimited(first));
        for scope in ["manager", "reporting"] {
            let above = format!("the granter does not hold scope `{scope}`");
            let request = || NewKey::named("k").scopes([scope]);
            let issue =
                |handle: &TenantKeys, request| outcome(block_on(handle.issue(request)).map(|_| ()));
            assert_eq!(issue(&handle, request()), above);
            let twice = request()
                .granted_by(&Grant::unlimited(first))
                .granted_by(&Grant::unlimited(second));
            assert_eq!(issue(&tenant, twice), above);
            assert_eq!(issue(&single, request().granted_by(&Grant::unlimited(second))), above);
        }
        for key in &keys {
            let above = format!("the granter does not hold scope `{}`", key.name());
            let edit = |handle: &TenantKeys, edit| {
                let version = block_on(handle.find(key.id())).unwrap().version();
                outcome(block_on(handle.edit(key.id(), version, edit)).map(|_| ()))
            };
            let rename = || KeyEdit::new().name(key.name());
            assert_eq!(edit(&handle, rename()), above);
            assert_eq!(
                edit(
                    &tenant,
                    rename()
                        .granted_by(&Grant::unlimited(first))
                        .granted_by(&Grant::unlimited(second))
                ),
                above
            );
            assert_eq!(edit(&single, rename().granted_by(&Grant::unlimited(second))), above);
            let version = block_on(handle.find(key.id())).unwrap().version();
            let rotated = block_on(handle.rotate(key.id(), version, GracePeriod::None)).map(|_| ());
            assert_eq!(outcome(rotated), above);
        }
        // A repeated bound takes nothing away.
        let same = tenant
            .clone()
            .granting_at_most(&Grant::unlimited(first))
            .granting_at_most(&Grant::unlimited(first));
        let own = keys.iter().find(|key| first == scopes(&[key.name()])).unwrap();
        let version = block_on(same.find(own.id())).unwrap().version();
        let rename = KeyEdit::new()
            .name(own.name())
            .granted_by(&Grant::unlimited(first))
            .granted_by(&Grant::unlimited(first));
        assert!(block_on(same.edit(own.id(), version, rename)).is_ok());
    }
}

#[test]
fn granter_without_scopes_can_only_issue_keys_without_scopes() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let nobody = held.keys.clone().granting_at_most(&Grant::unlimited(catalog().none()));
    assert!(block_on(nobody.issue(NewKey::named("k").scopes(["reporting"]))).is_err());
    let issued = block_on(nobody.issue(NewKey::named("k"))).unwrap();
    assert_eq!(issued.key.scopes(), []);
}

#[test]
fn handle_bound_does_not_widen_the_bound_of_a_request() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let wide = held.keys.clone().granting_at_most(&Grant::unlimited(catalog().all()));
    let narrow = scopes(&["operator.read"]);

    let request = NewKey::named("k").scopes(["manager"]).granted_by(&Grant::unlimited(narrow));
    let refused = block_on(wide.issue(request));
    assert_eq!(outcome(refused), "the granter does not hold scope `manager`");
    let edit = KeyEdit::new().scopes(["manager"]).granted_by(&Grant::unlimited(narrow));
    let refused = block_on(wide.edit(held.key.id(), 1, edit));
    assert_eq!(outcome(refused), "the granter does not hold scope `manager`");

    let request =
        NewKey::named("k").scopes(["operator.read"]).granted_by(&Grant::unlimited(narrow));
    assert!(block_on(wide.issue(request)).is_ok());
}

#[test]
fn granter_of_another_catalog_grants_nothing() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let other = keyway::ScopeCatalog::new([keyway::scope::ScopeDeclaration::new(
        "reporting",
        "of another service",
    )]);
    let stranger = held.keys.clone().granting_at_most(&Grant::unlimited(other.unwrap().all()));
    assert!(block_on(stranger.issue(NewKey::named("k").scopes(["reporting"]))).is_err());
    assert!(block_on(stranger.rotate(held.key.id(), 1, GracePeriod::None)).is_err());
}

// Actors.

#[test]
fn actor_is_named_in_new_keys_and_in_audit_events() {
    let world = World::new();
    let alice = world.keyring.acting_as("alice@acme");
    let (keys, first) = block_on(alice.create_tenant("acme", "advanced")).unwrap();
    assert_eq!(first.key.created_by(), "alice@acme");
    let bob = keys.acting_as("bob@acme");
    let second = block_on(bob.issue(NewKey::named("second"))).unwrap();
    assert_eq!(second.key.created_by(), "bob@acme");
    block_on(bob.disable(second.key.id())).unwrap();
    block_on(bob.delete(second.key.id())).unwrap();
    block_on(alice.delete_tenant(bob.id())).unwrap();

    let told: Vec<_> = world
        .audit
        .events()
        .into_iter()
        .map(|event| {
            assert_eq!(event.tenant.as_deref(), Some("acme"));
            (event.actor, event.kind)
        })
        .collect();
    let expected = [
        ("alice@acme", "TenantCreated { tier: \"advanced\" }"),
        ("alice@acme", "KeyIssued { scopes: [], limits: \"\" }"),
        ("bob@acme", "KeyIssued { scopes: [], limits: \"\" }"),
        ("bob@acme", "KeyEdited { scopes: [], limits: \"\", enabled: false }"),
        ("bob@acme", "KeyDeleted"),
        ("alice@acme", "TenantDeleted"),
    ];
    assert_eq!(told, expected.map(|(who, what)| (who.into(), what.into())));
}

#[test]
fn acting_as_does_not_change_the_original_handle() {
    let world = World::new();
    let _alice = world.keyring.acting_as("alice");
    let (_, issued) = block_on(world.keyring.create_tenant("acme", "lite")).unwrap();
    assert_eq!(issued.key.created_by(), "");
}

#[test]
fn operator_changes_are_audit_events() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let (id, tenant) = (held.key.id(), held.keys.id());
    world.audit.take_kinds();
    let operator = world.keyring.acting_as("operator");
    block_on(operator.set_tier(tenant, "lite")).unwrap();
    block_on(operator.suspend_tenant(tenant, ban())).unwrap();
    block_on(operator.resume_tenant(tenant)).unwrap();
    block_on(operator.suspend_key(id, ban())).unwrap();
    block_on(operator.resume_key(id)).unwrap();
    block_on(operator.report_leak(&held.token, "seen", LeakResponse::Suspend)).unwrap();
    block_on(operator.revoke(&held.token)).unwrap();
    assert!(world.audit.events().iter().all(|event| event.actor == "operator"));
    assert_eq!(
        world.audit.kinds(),
        [
            "TierChanged { from: \"advanced\", to: \"lite\" }",
            "TenantSuspended { reason: \"floods the report endpoint\" }",
            "TenantResumed",
            "KeySuspended { reason: \"floods the report endpoint\" }",
            "KeyResumed",
            "LeakReported { reason: \"seen\", response: Suspend }",
            "KeyRevoked",
        ]
    );
}

#[test]
fn refused_changes_are_audited_as_refused() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.audit.take_kinds();
    let id = held.key.id();
    let _ = block_on(held.keys.edit(id, 9, KeyEdit::new().name("late")));
    let _ = block_on(held.keys.issue(NewKey::named("")));
    let _ = block_on(held.keys.rotate(id, 9, GracePeriod::None));
    let _ = block_on(world.keyring.set_tier(held.keys.id(), "gold"));
    world.store.set_down(true);
    let _ = block_on(held.keys.delete(id));
    let _ = block_on(world.keyring.delete_tenant(held.keys.id()));
    let kinds = world.audit.kinds();
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert!(kinds.iter().all(|kind| kind.starts_with("ChangeRefused")), "{kinds:?}");
}

// Randomness.

#[test]
fn repeated_randomness_of_another_process_costs_a_second_draw() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let twin = |seed| {
        world.another_node_with(policy(), |builder| builder.rng(InsecureSeededRng::new(seed)))
    };
    let issue_at = |node: &World| {
        let keys = node.keyring.tenant(held.keys.id().clone());
        issue(&keys, "drawn").map(|key| key.id())
    };
    let first = issue_at(&twin(77)).unwrap();
    let second = issue_at(&twin(77)).unwrap();
    assert_ne!(first, second);
}

#[test]
fn stuck_source_of_randomness_issues_nothing() {
    struct Stuck;

    impl rand_core::TryRng for Stuck {
        type Error = core::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            Ok(0)
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            Ok(0)
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            bytes.fill(0);
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Stuck {}

    let world = World::with(policy(), |builder| builder.rng(Stuck));
    let created = block_on(world.keyring.create_tenant("acme", "lite"));
    assert_eq!(outcome(created), "the source of randomness repeats itself");
    assert_eq!(world.store.writes(), 0);
}

// Outages.

#[test]
fn an_outage_is_unavailable_with_its_cause_for_every_operation() {
    for (operation, perform) in OPERATIONS {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.store.set_down(true);
        if ["list", "search by token"].contains(&operation) {
            let listed = block_on(held.keys.list(&KeyQuery::all())).unwrap_err();
            assert!(listed.is_unavailable());
            continue;
        }
        let outcome = perform(&world, &held);
        assert!(
            outcome == "the store is not available"
                || outcome == "API keys cannot be verified at present",
            "{operation}: {outcome}"
        );
    }
    let world = World::new();
    world.store.set_down(true);
    let error = block_on(world.keyring.create_tenant("acme", "lite")).unwrap_err();
    assert_eq!(
        crate::support::chain(&error),
        ["the store is not available", "the store did not respond", "the test pulled the plug"]
    );
}

#[test]
fn write_with_a_lost_response_is_unavailable_but_takes_effect() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    assert_eq!(verified(&world, &held), "verified");
    let there = world.another_node();
    world.store.set_losing_answers(true);
    let deleted = block_on(held.keys.delete(held.key.id())).unwrap_err();
    assert!(deleted.is_unavailable());
    world.store.set_losing_answers(false);
    assert_eq!(verified(&there, &held), "the API key is not valid");
    assert_eq!(verified(&world, &held), "the API key is not valid");
}

// Tampering.

#[test]
fn tampered_key_is_not_shown_or_changed_and_is_audited() {
    type Change = fn(&Keyring, &Held) -> Result<(), KeyringError>;
    let changes: [(&str, Change); 8] = [
        ("find", |_, held| block_on(held.keys.find(held.key.id())).map(drop)),
        ("edit", |_, held| {
            block_on(held.keys.edit(held.key.id(), 1, KeyEdit::new().name("x"))).map(drop)
        }),
        ("disable", |_, held| block_on(held.keys.disable(held.key.id())).map(drop)),
        ("rotate", |_, held| {
            block_on(held.keys.rotate(held.key.id(), 1, GracePeriod::None)).map(drop)
        }),
        ("suspend", |keyring, held| block_on(keyring.suspend_key(held.key.id(), ban())).map(drop)),
        ("describe", |keyring, held| block_on(keyring.describe(&held.token)).map(drop)),
        ("report leak", |keyring, held| {
            block_on(keyring.report_leak(&held.token, "seen", LeakResponse::Suspend)).map(drop)
        }),
        ("find by token", |_, held| block_on(held.keys.find_by_token(&held.token)).map(drop)),
    ];
    for (name, change) in changes {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        world.audit.take_kinds();
        world.store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "reporting", "manager")));
        let writes = world.store.writes();
        let error = change(&world.keyring, &held).unwrap_err();
        assert!(error.is_tampered(), "{name}: {error:?}");
        assert_eq!(world.store.writes(), writes, "{name}");
        assert_eq!(world.audit.kinds(), ["Tampered"], "{name}");
        world.store.rewrite_nothing();
        assert!(change(&world.keyring, &held).is_ok(), "{name}");
    }
}

#[test]
fn a_tampered_tenant_gets_no_keys_and_no_changes() {
    let world = World::new();
    let (keys, _) = block_on(world.keyring.create_tenant("acme", "lite")).unwrap();
    world.store.rewrite_tenants(|tenant| {
        Ok(crate::support::tenant_with_text(&tenant, "lite", "advanced"))
    });
    assert!(issue(&keys, "second").unwrap_err().is_tampered());
    let moved = block_on(world.keyring.set_tier(keys.id(), "advanced"));
    assert!(moved.unwrap_err().is_tampered());
    let page = block_on(world.keyring.tenants(None, 9)).unwrap();
    assert_eq!((page.items.len(), page.broken.len()), (0, 1));
    assert_eq!(page.broken[0].tenant(), Some(keys.id()));
    world.store.rewrite_nothing();
    assert!(block_on(world.keyring.set_tier(keys.id(), "advanced")).is_ok());
}

#[test]
fn a_state_that_depends_on_a_tampered_tenant_is_not_described() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    block_on(world.keyring.suspend_tenant(held.keys.id(), ban())).unwrap();
    world.store.rewrite_tenants(|tenant| {
        let raised =
            crate::support::tenant_with_text(&tenant, "floods the report endpoint", "harmless");
        Ok(raised)
    });
    let described = block_on(world.keyring.describe(&held.token));
    assert!(described.is_err_and(|error| error.is_tampered()));
    let verified = block_on(world.keyring.verify_as_of(&held.token, Freshness::Now));
    assert!(matches!(verified, Err(VerifyError::Tampered)));
}

#[test]
fn quota_returns_held_and_allowed_keys() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let told = block_on(held.keys.quota()).unwrap();
    assert_eq!((told.tenant.id(), told.held, told.allowed), (held.keys.id(), 1, 5));

    // A policy without the tier allows no keys.
    let other = Policy::new("mm", catalog(), [Tier::new("lite", 1)]).unwrap();
    let there = world.another_node_with(other, |builder| builder);
    let told = block_on(there.keyring.tenant(held.keys.id().clone()).quota()).unwrap();
    assert_eq!((told.held, told.allowed), (1, 0));

    let nobody = block_on(world.keyring.tenant(tenant_id("nobody")).quota());
    assert!(nobody.is_err_and(|error| error.is_not_found()));
}

#[test]
fn state_of_a_key_is_returned_to_its_tenant_alone() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let state = |keys: &TenantKeys| block_on(keys.state(&held.key));
    assert_eq!(state(&held.keys).unwrap().as_str(), "active");
    block_on(world.keyring.suspend_tenant(held.keys.id(), ban())).unwrap();
    assert_eq!(state(&held.keys).unwrap().as_str(), "tenant_suspended");

    let other = world.tenant_with_key("beta");
    let error = state(&other.keys).unwrap_err();
    assert!(error.is_not_found() && !error.is_unavailable() && !error.is_tampered(), "{error}");
    world.store.set_down(true);
    let error = state(&held.keys).unwrap_err();
    assert!(error.is_unavailable() && !error.is_not_found(), "{error}");
}

#[test]
fn keyring_can_be_used_as_a_verifier() {
    fn verified(with: &impl AsRef<Verifier>, token: &str) -> bool {
        block_on(with.as_ref().verify(token)).is_ok()
    }
    let world = World::new();
    let held = world.tenant_with_key("acme");
    assert!(verified(&world.keyring, &held.token));
    assert!(verified(world.keyring.verifier(), &held.token));
    assert!(!verified(&world.keyring, "mm_live_"));
}

#[test]
fn second_of_two_concurrent_revocations_is_rejected() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.hold("delete_key");
    let late = thread::scope(|scope| {
        let late = scope.spawn(|| block_on(world.keyring.revoke(&held.token)));
        world.store.await_call("delete_key");
        block_on(world.another_node().keyring.revoke(&held.token)).unwrap();
        world.store.release("delete_key");
        late.join().unwrap()
    });
    assert!(matches!(late, Err(KeyringError::Rejected)), "{late:?}");
}
