//! The mistakes of a careless application with a token or a pepper, which the search must find.

use std::{hint::black_box, sync::Mutex};

use keyway::OneTimeToken;
use pollster::block_on;
use rand_core::TryRng;
use zeroize::Zeroize;

use crate::{
    host::Host,
    scenarios::{Scenario, named},
};

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "formatted",
        group: "a line that was made with `format!` and dropped",
        run: formatted,
    },
    Scenario { name: "logged", group: "a line that a log kept", run: logged },
    Scenario {
        name: "moved",
        group: "an array that was moved and wiped where it came to",
        run: moved,
    },
    Scenario { name: "grown", group: "a text that grew and was wiped then", run: grown },
    Scenario { name: "random", group: "random bytes that were not wiped", run: random },
    Scenario { name: "pepper", group: "a pepper that was copied", run: pepper },
];

fn with_text(host: &mut Host, careless: impl FnOnce(&str)) {
    let keyring = host.keyring();
    let created = block_on(keyring.create_tenant_with("acme", "advanced", named("first")));
    let token = created.expect("an empty store").1.token;
    if host.is_rehearsing() {
        host.reveal(token);
    } else {
        hand_over(token, careless);
    }
    host.finish(keyring);
}

#[inline(never)]
fn hand_over(token: OneTimeToken, careless: impl FnOnce(&str)) {
    careless(&token.reveal());
}

fn formatted(host: &mut Host) {
    with_text(host, |text| drop(black_box(format!("authorization: Bearer {text}"))));
}

fn logged(host: &mut Host) {
    static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
    with_text(host, |text| LOG.lock().expect("nobody else has it").push(format!("got {text}")));
}

fn moved(host: &mut Host) {
    with_text(host, |text| {
        let mut bytes = [0_u8; 64];
        bytes.copy_from_slice(text.as_bytes());
        let mut elsewhere = Box::new(carry(bytes));
        elsewhere.zeroize();
        black_box(&elsewhere);
    });
}

#[inline(never)]
fn carry(bytes: [u8; 64]) -> [u8; 64] {
    black_box(bytes)
}

fn grown(host: &mut Host) {
    with_text(host, |text| {
        let mut line = String::from(text);
        let _neighbour = black_box(String::from("what stands behind it on the heap"));
        line.push_str(&black_box(" and more than there was room for".repeat(9)));
        line.zeroize();
        black_box(&line);
    });
}

fn random(host: &mut Host) {
    let mut bytes = [0_u8; 48];
    let Ok(()) = host.rng().try_fill_bytes(&mut bytes);
    black_box(&bytes);
}

fn pepper(host: &mut Host) {
    let bytes = host.pepper_bytes();
    drop(black_box(bytes.to_vec()));
}
