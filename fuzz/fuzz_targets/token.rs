#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::token(data, |presented| {
        if is_planted() {
            // The high bit of a byte does not count.
            let careless: Vec<u8> = presented.iter().map(|byte| byte & 0x7f).collect();
            return laws::check(&careless);
        }
        laws::check(presented)
    });
});
