#![no_main]

use keyway::record::KeyRecord;
use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;

fuzz_target!(|data: &[u8]| {
    laws::record(data, |bytes| KeyRecord::decode(bytes).ok());
});
