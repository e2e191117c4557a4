#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;

fuzz_target!(|data: &[u8]| {
    laws::request(data, laws::admit);
});
