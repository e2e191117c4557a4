#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::authorization(data, |value| match value {
        [value @ .., b'\t'] if is_planted() => laws::verify(value),
        value => laws::verify(value),
    });
});
