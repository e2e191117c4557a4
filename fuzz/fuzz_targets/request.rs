#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::request(data, |fields| {
        if is_planted() {
            let careless = |value| <[u8]>::strip_suffix(value, b",").unwrap_or(value);
            let fields = fields.iter().map(|(name, value)| (*name, careless(value)));
            return laws::admit(&fields.collect::<Vec<_>>());
        }
        laws::admit(fields)
    });
});
