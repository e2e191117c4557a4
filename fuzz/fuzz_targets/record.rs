#![no_main]

use keyway::KeyRecord;
use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::record(data, |bytes| match bytes {
        [bytes @ .., last] if is_planted() && *last >= 0x80 => KeyRecord::decode(bytes).ok(),
        bytes => KeyRecord::decode(bytes).ok(),
    });
});
