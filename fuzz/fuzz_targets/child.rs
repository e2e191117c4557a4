#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../laws.rs"]
#[allow(dead_code, reason = "each target uses its own law")]
mod laws;
#[path = "../planted.rs"]
mod planted;

use planted::is_planted;

fuzz_target!(|data: &[u8]| {
    laws::child(data, |presented| {
        if is_planted() {
            // Fault: the 60th byte is ignored.
            let mut careless = presented.to_vec();
            if let Some((byte, right)) =
                careless.get_mut(59).zip(laws::FAMILY.child.bytes().nth(59))
            {
                *byte = right;
            }
            return laws::presents(&careless);
        }
        laws::presents(presented)
    });
});
