#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::token(data, |presented| {
        if is_planted() {
            // Fault: the 45th byte is ignored.
            let mut careless = presented.to_vec();
            if let Some((byte, right)) =
                careless.get_mut(44).zip(laws::MINTED.token.bytes().nth(44))
            {
                *byte = right;
            }
            return laws::check(&careless);
        }
        laws::check(presented)
    });
});
