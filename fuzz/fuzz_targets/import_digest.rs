#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    let read = |text: &str| match text.strip_suffix(|end| ('g'..='z').contains(&end)) {
        Some(text) if is_planted() => laws::digest(text),
        _ => laws::digest(text),
    };
    laws::import_digest(data, read, laws::claims);
});
