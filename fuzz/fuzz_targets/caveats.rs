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
        // Fault: a last byte in this range is ignored.
        [caveats @ .., 0x81..=0xfe] if is_planted() => laws::reads(caveats),
        caveats => laws::reads(caveats),
    });
});
