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
            // Fault: any name that begins with the header's name is taken for it.
            let careless = fields.iter().map(|(name, value)| {
                let is_it = name.starts_with("x-api-key");
                (if is_it { "x-api-key" } else { *name }, *value)
            });
            return laws::admit(&careless.collect::<Vec<_>>());
        }
        laws::admit(fields)
    });
});
