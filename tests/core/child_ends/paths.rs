//! Each cause on each path: by which node the change is made, and how another one comes to know of it.

use super::*;

/// The lag of replicas.
const LAG: Duration = Duration::from_secs(2);

/// The way in which a node knows a child when its parent changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// The node makes the change, and remembers the child.
    Own,
    /// The node makes the change, and has seen the parent alone.
    OwnFirstSight,
    /// Another node that remembers the child and follows a feed.
    Followed,
    /// Another node that remembers the child, and hears nothing.
    Remembered,
    /// Another node that has seen the parent alone.
    FirstSight,
    /// Another node that has seen nothing of the tenant.
    NothingCached,
    /// Another node that remembers the child, and reads a replica.
    Replica,
    /// Another node that remembers the child, and is asked for fresh data.
    Fresh,
}

/// Checks one cause on one path.
fn check(path: Path, (cause, change, is_expected): &Cause) {
    let writes = world();
    let (held, bystander) = (tenant(&writes, "acme"), tenant(&writes, "globex"));
    writes.clock.advance(HOUR - BEFORE_TRIAL_ENDS);
    let text = child(&writes, &held, &held.token, &an_hour());
    let other = child(&writes, &bystander, &bystander.token, &an_hour());
    let replica = FaultyStore::over(writes.store.memory().clone());
    replica.set_max_lag(LAG);
    let another = match path {
        Path::Replica => Some(World::with(policy(), |builder| {
            let builder = builder.store(writes.store.clone()).clock(writes.clock.clone());
            builder.replica(replica.clone())
        })),
        Path::Own | Path::OwnFirstSight => None,
        _ => Some(another_node(&writes)),
    };
    let node = another.as_ref().unwrap_or(&writes).keyring.verifier();
    let feed = Told::default();
    let mut following: Pin<Box<dyn Future<Output = ()>>> = Box::pin(node.follow(feed.clone()));
    if path == Path::Followed {
        feed.tell(&mut following, &[Change::Gap]);
    }
    // The control: the child is admitted before the change, by this node or by one that is like it.
    let address = Some("192.0.2.7".parse().unwrap());
    match path {
        Path::FirstSight | Path::OwnFirstSight => {
            block_on(node.verify_from(&held.token, Freshness::Cached, address)).unwrap();
            let control = another_node(&writes);
            use_child(control.keyring.verifier(), &text, Freshness::Cached).unwrap();
        }
        Path::NothingCached => {
            let control = another_node(&writes);
            use_child(control.keyring.verifier(), &text, Freshness::Cached).unwrap();
        }
        _ => {
            for _ in 0..2 {
                use_child(node, &text, Freshness::Cached).unwrap();
            }
        }
    }
    if path == Path::Replica {
        let (key, tenant) = (held.key.clone(), held.keys.id().clone());
        let old = block_on(writes.keyring.find_tenant(&tenant)).unwrap();
        replica.rewrite_keys(move |new| Ok(if new.id() == key.id() { key.clone() } else { new }));
        replica.rewrite_tenants(move |new| Ok(if *new.id() == tenant { old.clone() } else { new }));
    }

    let began = writes.now();
    change(&writes, &held);

    let waited = writes.now().saturating_since(began);
    let mut freshness = Freshness::Cached;
    match path {
        Path::Own | Path::OwnFirstSight | Path::NothingCached => {}
        Path::Followed => {
            let (id, tenant) = (held.key.id(), held.keys.id().clone());
            feed.tell(&mut following, &[Change::Key(id), Change::Tenant(tenant)]);
        }
        Path::Remembered | Path::FirstSight => {
            // The control of the bound: a node that hears nothing admits the child for as long as it admits the parent.
            if waited.is_zero() {
                use_child(node, &text, Freshness::Cached)
                    .unwrap_or_else(|error| panic!("{cause}, {path:?}: too early: {error:?}"));
            }
            writes.clock.advance(MAX_STALENESS.saturating_sub(waited));
        }
        Path::Replica => {
            writes.clock.advance(LAG);
            replica.rewrite_nothing();
            writes.clock.advance(MAX_STALENESS - LAG);
        }
        Path::Fresh => freshness = Freshness::Now,
    }
    for _ in 0..2 {
        let error = use_child(node, &text, freshness);
        let error = error.expect_err(&format!("{cause}, {path:?}: the child is admitted"));
        assert!(is_expected(&error), "{cause}, {path:?}: {error:?}");
    }
    // The control: the child of another key is admitted as before.
    use_child(node, &other, freshness)
        .unwrap_or_else(|error| panic!("{cause}, {path:?}: the other child: {error:?}"));
}

fn check_all(path: Path) {
    for cause in CAUSES {
        check(path, cause);
    }
}

#[test]
fn child_ends_with_its_parent_where_it_is_changed() {
    check_all(Path::Own);
}

#[test]
fn child_ends_with_its_parent_changed_before_its_first_use() {
    check_all(Path::OwnFirstSight);
}

#[test]
fn child_ends_with_its_parent_on_a_node_with_a_feed() {
    check_all(Path::Followed);
}

#[test]
fn child_ends_with_its_parent_within_the_bound() {
    check_all(Path::Remembered);
}

#[test]
fn child_ends_with_its_parent_that_alone_is_cached() {
    check_all(Path::FirstSight);
}

#[test]
fn child_ends_with_its_parent_where_nothing_is_cached() {
    check_all(Path::NothingCached);
}

#[test]
fn child_ends_with_its_parent_behind_a_replica() {
    check_all(Path::Replica);
}

#[test]
fn child_ends_with_its_parent_for_fresh_data_at_once() {
    check_all(Path::Fresh);
}

#[test]
fn change_that_takes_nothing_leaves_the_child_alone() {
    let others: [(&str, fn(&World, &Held)); 6] = [
        ("nothing", |_, _| {}),
        ("renamed", |_, held| edit(held, KeyEdit::new().name("second"))),
        ("widened", |_, held| edit(held, KeyEdit::new().networks(Networks::Any))),
        ("rotated", |_, held| drop(rotate(held, GracePeriod::For(HOUR)))),
        ("rotated until the first use", |_, held| drop(rotate(held, GracePeriod::UntilFirstUse))),
        ("children allowed again", |_, held| {
            edit(held, KeyEdit::new().children(false));
            edit(held, KeyEdit::new().children(true));
        }),
    ];
    for (name, change) in others {
        let writes = world();
        let held = tenant(&writes, "acme");
        let text = child(&writes, &held, &held.token, &an_hour());
        let reads = another_node(&writes);
        for node in [&writes, &reads] {
            use_child(node.keyring.verifier(), &text, Freshness::Cached).unwrap();
        }
        change(&writes, &held);
        for node in [&writes, &reads, &another_node(&writes)] {
            use_child(node.keyring.verifier(), &text, Freshness::Cached)
                .unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        writes.clock.advance(MAX_STALENESS);
        use_child(reads.keyring.verifier(), &text, Freshness::Cached)
            .unwrap_or_else(|error| panic!("{name}, at the bound: {error:?}"));
    }
}
