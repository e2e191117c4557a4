#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::scope_text(data, |catalog, text| {
        if is_planted() {
            return laws::parse(catalog, &text.replace(';', " "));
        }
        laws::parse(catalog, text)
    });
});
