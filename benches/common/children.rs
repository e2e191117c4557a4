//! The cost of children: of one that was seen before, and of one that was not.

use std::{hint::black_box, time::Duration};

use getrandom::SysRng;
use keyway::{
    Keyring, MemoryStore, NewKey, Policy,
    children::{NewChild, Place},
    verifier::{Freshness, Verifier},
};
use stats_alloc::Region;

use crate::{ALLOCATOR, pepper, policy, ready, report::Report, two_compressions};

const HOUR: Duration = Duration::from_secs(3_600);

/// Measures children of a cached key.
pub(crate) fn cases(report: &mut Report) {
    let policy: Policy = policy().with_children(HOUR * 24).unwrap();
    let keyring = Keyring::builder(policy, pepper())
        .environment("live")
        .store(MemoryStore::new())
        .max_staleness(HOUR * 24)
        .build()
        .unwrap();
    let request = NewKey::named("dashboard").scopes(["reporting", "manager"]).children(true);
    let created = keyring.create_tenant_with("acme", "advanced", request);
    let (_, issued) = pollster::block_on(created).unwrap();
    let minter = keyring.child_minter(&issued.token).unwrap();
    let verifier = keyring.verifier().clone();
    let child = |number: u64| {
        let request = NewChild::lasting(HOUR).scopes(["reporting"]).unwrap();
        let request = request.nonce(&number.to_be_bytes()).unwrap();
        String::clone(&minter.mint(&request).unwrap().reveal())
    };

    let token = String::clone(&issued.token.reveal());
    pollster::block_on(keyring.verify(&token)).unwrap();
    let known = child(0);
    println!("     children of {} bytes", known.len());
    report.case("child_hot", 6.0, 500, two_compressions, || verify(&verifier, &known));
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        verify(&verifier, &known);
    }
    report.limit("alloc", "child_hot", region.change().allocations, 0);

    // Each child is verified once. No limit is set: it is the time of an Ed25519 signature.
    let rounds = report.rounds(201);
    let mut rows = Vec::new();
    for round in 0..rounds as u64 {
        let children: Vec<String> = (1..=20).map(|number| child(round * 20 + number)).collect();
        let below = seconds(20, |_| two_compressions());
        rows.push((below, seconds(20, |number| verify(&verifier, &children[number]))));
    }
    report.rows("child_first", f64::INFINITY, &rows);

    // The policy adds a public key to the minting of a key.
    let authority =
        keyway::lowlevel::Authority::new(keyring.policy().clone(), "live", &pepper().into());
    let (authority, now) = (authority.unwrap(), "2026-11-30T12:00:00Z".parse().unwrap());
    let tenant = authority.create_tenant("acme".parse().unwrap(), "lite", now).unwrap();
    report.case("issue_with_public_key", f64::INFINITY, 20, two_compressions, || {
        let issued = authority.issue(&tenant, NewKey::named("a key"), now, &mut SysRng);
        drop(black_box(issued.unwrap()));
    });
}

fn verify(verifier: &Verifier, child: &str) {
    let place = Place::new();
    let caller = verifier.verify_at(black_box(child), Freshness::Cached, None, &place);
    drop(black_box(ready(caller).unwrap()));
}

fn seconds(times: usize, mut work: impl FnMut(usize)) -> f64 {
    let start = std::time::Instant::now();
    (0..times).for_each(&mut work);
    start.elapsed().as_secs_f64() / 20.0
}
