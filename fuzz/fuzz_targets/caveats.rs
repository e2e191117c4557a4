#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::caveats(data, |caveats| match caveats {
        [caveats @ .., last] if is_planted() && *last >= 0x80 => laws::reads(caveats),
        caveats => laws::reads(caveats),
    });
});
