//! **Round trip.** A record is read equal to how it was written, together with its last use.

use alloc::{format, string::String, vec::Vec};
use core::time::Duration;

use super::{
    expect::made,
    issuer::{KINDS, at, kind, long_scopes, longest_tier},
    stage::Stage,
};
use crate::{
    authority::{GracePeriod, KeyEdit, NewKey},
    grant::{Networks, Resources},
    rate::Rate,
    record::{Exceptions, KeyRecord, Labels, Owner, Suspension, TenantId, TenantRecord},
    store::KeyStore,
    time::Timestamp,
};

/// A key is read with every field that was written: with each optional field alone, with all of them, and
/// with none. A last use that the written key already had is read too.
pub(super) async fn keys_come_back_whole<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let labels = || made(Labels::new([("team", "billing"), ("empty", "")]));
    let requests = [
        ("without any option", NewKey::named("n")),
        ("with scopes", NewKey::named("n").scopes(["reporting", "operator.read"])),
        ("with labels", NewKey::named("n").labels(labels())),
        ("with resources", NewKey::named("n").resources(&kind(1), resources())),
        ("with networks", NewKey::named("n").networks(networks())),
        ("with a start", NewKey::named("n").not_before(at(1))),
        ("with an end", NewKey::named("n").expires_at(at(2))),
        ("with an issuer", made(NewKey::named("n").created_by("Ada"))),
        ("with an owner", NewKey::named("n").owner(owner("ann"))),
        ("with attributes", NewKey::named("n").attributes(labels())),
        (
            "with every option",
            made(NewKey::named("n").scopes(["operator"]).labels(labels()).created_by("Ada"))
                .resources(&kind(0), Resources::All)
                .resources(&kind(1), resources())
                .networks(networks())
                .owner(owner("ann"))
                .attributes(labels())
                .not_before(at(3))
                .expires_at(at(4)),
        ),
    ];
    for (what, request) in requests {
        let key = stage.issuer.issue(&tenant, request, at(0));
        stage.insert_key(&key, &tenant).await;
        stage.expect_key(&format!("after inserting a key {what}"), &key, &tenant).await;
    }
    // An imported key, or one from another store, already has a last use.
    let used = stage.issuer.key(&tenant, "used").with_last_used(Some(at(60_000)));
    stage.insert_key(&used, &tenant).await;
    stage.expect_key("after inserting a key that was used before", &used, &tenant).await;
}

fn resources() -> Resources {
    made(Resources::only(["press-1", "press-2"]))
}

fn owner(id: &str) -> Owner {
    made(Owner::stored(id))
}

fn networks() -> Networks {
    made(Networks::only(["192.0.2.0/24", "2001:db8::/32"]))
}

/// A key is read with every change that was written. It is disabled and enabled, suspended permanently, for a
/// while and no longer, and rotated in every way. Then every option is removed again.
pub(super) async fn changed_keys_come_back_whole<S: KeyStore>(store: &S) {
    let (stage, tenant) = Stage::with_tenant(store).await;
    let authority = stage.issuer.authority();
    let edit = |key: &KeyRecord, edit| made(authority.edit(key, &tenant, edit, at(0)));
    let suspend = |key: &KeyRecord, suspension| made(authority.suspend_key(key, suspension));
    let rotate = |key: &KeyRecord, grace_period| {
        made(authority.rotate(key, &tenant, grace_period, None, at(5), &mut stage.issuer.rng())).0
    };
    let labels = made(Labels::new([("team", "billing")]));
    let request = NewKey::named("n").scopes(["operator"]).labels(labels).expires_at(at(9));
    let mut key = stage.issuer.issue(&tenant, request, at(0));
    stage.insert_key(&key, &tenant).await;

    let changes: [(&str, Change<'_>); 13] = [
        ("it was switched off", &|key| edit(key, KeyEdit::new().enabled(false))),
        ("it was switched on", &|key| edit(key, KeyEdit::new().enabled(true))),
        ("it was suspended", &|key| suspend(key, Some(made(Suspension::permanent("spam"))))),
        ("its suspension got an end", &|key| {
            suspend(key, Some(made(Suspension::until(at(7), "spam"))))
        }),
        ("it was resumed", &|key| suspend(key, None)),
        ("it was rotated with a grace period", &|key| {
            rotate(key, GracePeriod::For(Duration::from_secs(60)))
        }),
        ("it was rotated again until the first use", &|key| {
            rotate(key, GracePeriod::UntilFirstUse)
        }),
        ("it was rotated without grace period", &|key| rotate(key, GracePeriod::None)),
        ("it was limited to resources", &|key| {
            edit(key, KeyEdit::new().resources(&kind(0), resources()))
        }),
        ("it was limited to networks", &|key| edit(key, KeyEdit::new().networks(networks()))),
        ("it got an owner and attributes", &|key| {
            let attributes = made(Labels::new([("plan", "gold")]));
            edit(key, KeyEdit::new().owner(owner("ann")).attributes(attributes))
        }),
        ("it lost its options", &|key| {
            let none = KeyEdit::new().scopes([""; 0]).labels(Labels::default());
            let none = none.owner(None).attributes(Labels::default());
            let none = none.resources(&kind(0), Resources::Nothing).networks(Networks::Any);
            edit(key, none.expires_at(None).not_before(None))
        }),
        ("it got them again", &|key| {
            let all = KeyEdit::new().name("m").scopes(["reporting"]).not_before(at(1));
            edit(key, all.expires_at(at(2)))
        }),
    ];
    for (what, change) in changes {
        key = change(&key);
        stage.update_key(&key).await;
        stage.expect_key(&format!("after {what}"), &key, &tenant).await;
    }
}

/// Returns the next version of a key.
type Change<'c> = &'c dyn Fn(&KeyRecord) -> KeyRecord;

/// A tenant is read with every field: on each tier, suspended permanently, suspended for a while, and not
/// suspended, with exceptions and with disabled owners.
pub(super) async fn tenants_come_back_whole<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let authority = stage.issuer.authority();
    let mut tenant = stage.issuer.tenant_at("acme", "lite", at(-1));
    stage.insert_tenant(&tenant, None).await;
    stage.expect_tenant("after it was inserted", &tenant).await;

    let permanent = made(Suspension::permanent("unpaid"));
    let for_now = made(Suspension::until(at(5), "unpaid"));
    for suspension in [Some(permanent), Some(for_now), None] {
        tenant = made(authority.suspend_tenant(&tenant, suspension));
        stage.update_tenant(&tenant).await;
        stage.expect_tenant("after it was changed", &tenant).await;
    }
    tenant = made(authority.set_tier(&tenant, "advanced"));
    stage.update_tenant(&tenant).await;
    stage.expect_tenant("on another tier", &tenant).await;

    let rate = Rate { requests: 1, per_seconds: u32::MAX };
    let all = Exceptions::new().keys(7).rate(None).tenant_rate(rate).max_lifetime(None);
    for exceptions in [all.scopes(["reporting"]), Exceptions::new().all_scopes(), Exceptions::new()]
    {
        tenant = made(authority.set_exceptions(&tenant, exceptions));
        stage.update_tenant(&tenant).await;
        stage.expect_tenant("with other exceptions", &tenant).await;
    }
    for (id, enabled) in [("b", false), ("a", false), ("b", true)] {
        tenant = made(authority.switch_owner(&tenant, &owner(id), enabled));
        stage.update_tenant(&tenant).await;
        stage.expect_tenant("with other disabled owners", &tenant).await;
    }
}

/// Every text is read at its maximum length, in characters of four bytes where they are allowed.
pub(super) async fn the_longest_texts_come_back<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let long = |characters| "🗝".repeat(characters);
    let id = long(TenantId::MAX_LEN / 4);
    let tenant = stage.issuer.tenant_at(&id, &longest_tier(), at(0));
    stage.insert_tenant(&tenant, None).await;
    let reason = made(Suspension::permanent(long(Suspension::MAX_REASON_LEN)));
    let tenant = made(stage.issuer.authority().suspend_tenant(&tenant, Some(reason.clone())));
    stage.update_tenant(&tenant).await;
    stage.expect_tenant("with long texts", &tenant).await;
    let exceptions = Exceptions::new().scopes(long_scopes());
    let mut tenant = made(stage.issuer.authority().set_exceptions(&tenant, exceptions));
    let longest = |number: usize| owner(&format!("{number:04}{}", long(Owner::MAX_LEN / 4 - 1)));
    // Sealed once, since each of a thousand changes would seal all owners before it again.
    tenant.disabled_owners = (0..TenantRecord::MAX_DISABLED_OWNERS).map(longest).collect();
    stage.issuer.authority().seals().seal_tenant(&mut tenant);
    stage.update_tenant(&tenant).await;
    stage.expect_tenant("with as much as a record can hold", &tenant).await;

    let label = |number: usize| {
        let name = format!("{number:02}{}", long(Labels::MAX_NAME_LEN - 2));
        (name, long(Labels::MAX_VALUE_LEN))
    };
    let request = NewKey::named(long(KeyRecord::MAX_NAME_LEN))
        .scopes(long_scopes())
        .labels(made(Labels::new((0..Labels::MAX).map(label))))
        .owner(owner(&long(Owner::MAX_LEN / 4)))
        .attributes(made(Labels::new((0..Labels::MAX).map(label))))
        .created_by(long(NewKey::MAX_ACTOR_LEN));
    let id = |number: usize| format!("{number:03}{}", "🏭".repeat(15));
    let ids = || made(Resources::only((0..Resources::MAX_IDS).map(id)));
    let request =
        (0..KINDS).fold(made(request), |request, number| request.resources(&kind(number), ids()));
    let network = |number: usize| format!("2001:db8:{:x}::/48", 2 * number);
    let request = request.networks(made(Networks::only((0..Networks::MAX).map(network))));
    let key = stage.issuer.issue(&tenant, request, at(0));
    stage.insert_key(&key, &tenant).await;
    stage.expect_key("after inserting a key of long texts", &key, &tenant).await;
    let key = made(stage.issuer.authority().suspend_key(&key, Some(reason)));
    stage.update_key(&key).await;
    stage.expect_key("after suspending a key with a long reason", &key, &tenant).await;
}

/// Texts are read as they were written. They contain white space at both ends, both forms of é, and
/// characters that a query language, an escape or a character set might interpret.
pub(super) async fn texts_come_back_as_they_were<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let texts = [
        " both ends ",
        "caf\u{e9}",
        "cafe\u{301}",
        "null NULL \\N",
        "\\ \\\\ \\' \\0 %00 \\u0000",
        "'quotes' \"and\" `more` $$ $1 ?1 :a @b",
        "'; DROP TABLE keys; --",
        "100 % _",
        "{\"json\": [1, 2]}",
        "<b>&amp;</b>",
        "日本語 עברית العربية हिन्दी",
        "👩\u{200d}🔧 İıßẞKſ",
        "\u{323af}\u{ffee}\u{fffd}",
    ];
    for (number, text) in texts.into_iter().enumerate() {
        let tenant = stage.issuer.tenant(text);
        stage.insert_tenant(&tenant, None).await;
        let tenant = stage.suspend(&tenant, text).await;
        stage.expect_tenant("with a strange text", &tenant).await;

        let labels = made(Labels::new([(text, text)]));
        let request = NewKey::named(text).labels(labels.clone()).attributes(labels);
        let request = made(request.owner(owner(text)).created_by(text));
        let key = stage.issuer.issue(&tenant, request, at(0));
        stage.insert_key(&key, &tenant).await;
        stage.expect_key(&format!("with text number {number}, {text:?}"), &key, &tenant).await;
    }
}

/// Times are read exactly: the first and the last possible time, times before and after 1970, and every
/// millisecond.
pub(super) async fn the_ends_of_time_come_back<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let millis = |millis| Timestamp::saturating_from_millis(millis);
    let times = [
        Timestamp::MIN,
        millis(Timestamp::MIN.as_millis() + 1),
        millis(-1_001),
        millis(-1),
        millis(0),
        millis(1),
        millis(999),
        millis(i64::from(i32::MAX) * 1_000 + 1_001),
        millis(i64::from(u32::MAX) * 1_000 + 1_001),
        millis(Timestamp::MAX.as_millis() - 1),
        Timestamp::MAX,
    ];
    let authority = stage.issuer.authority();
    for time in times {
        let mut tenant = stage.issuer.tenant_at(&format!("{time:?}"), "advanced", time);
        stage.insert_tenant(&tenant, None).await;
        let until = || made(Suspension::until(time, "for a while"));
        tenant = made(authority.suspend_tenant(&tenant, Some(until())));
        stage.update_tenant(&tenant).await;
        stage.expect_tenant("with a time at the end", &tenant).await;

        let request = NewKey::named("n").not_before(time);
        let mut key = stage.issuer.issue(&tenant, request, time);
        stage.insert_key(&key, &tenant).await;
        stage.expect_key(&format!("after inserting a key at {time:?}"), &key, &tenant).await;
        key = made(authority.suspend_key(&key, Some(until())));
        stage.update_key(&key).await;
        let rng = &mut stage.issuer.rng();
        key = made(authority.rotate(&key, &tenant, GracePeriod::UntilFirstUse, None, time, rng)).0;
        stage.update_key(&key).await;
        stage.expect_key(&format!("after rotating a key at {time:?}"), &key, &tenant).await;
        if time > Timestamp::MIN {
            let end = KeyEdit::new().not_before(None).expires_at(time);
            key = made(authority.edit(&key, &tenant, end, Timestamp::MIN));
            stage.update_key(&key).await;
            stage.expect_key(&format!("with a key that ends at {time:?}"), &key, &tenant).await;
        }
        stage.note_use(key.id, time).await;
        key = key.with_last_used(Some(time));
        stage.expect_key(&format!("after a use at {time:?}"), &key, &tenant).await;
    }
}

/// The first key of a tenant is read with every field too.
pub(super) async fn first_keys_come_back_whole<S: KeyStore>(store: &S) {
    let stage = Stage::new(store);
    let tenant = stage.issuer.tenant("acme");
    let long: String = "🗝".repeat(KeyRecord::MAX_NAME_LEN);
    let scopes: Vec<_> = long_scopes().collect();
    let request = made(NewKey::named(long).scopes(scopes).created_by("Ada"));
    let key = stage.issuer.issue(&tenant, request.not_before(at(1)), at(0));
    stage.insert_tenant(&tenant, Some(&key)).await;
    stage.expect_key("after inserting a tenant with it", &key, &tenant).await;
}
