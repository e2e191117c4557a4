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
            // What is no ASCII is dropped at the end of a value.
            let careless = fields.iter().map(|(name, value)| match value.split_last() {
                Some((0x80.., value)) => (*name, value),
                _ => (*name, *value),
            });
            return laws::admit(&careless.collect::<Vec<_>>());
        }
        laws::admit(fields)
    });
});
