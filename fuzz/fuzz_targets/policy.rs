#![no_main]

use keyway::Policy;
use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::policy(data, |policy, tier| {
        if is_planted() && tier.bytes().any(|byte| !byte.is_ascii_lowercase()) {
            return None;
        }
        Policy::ceiling(policy, tier)
    });
});
