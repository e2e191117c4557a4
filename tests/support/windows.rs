//! The search terms for a secret.

use std::collections::BTreeSet;

use base64ct::{Base64, Base64UrlUnpadded, Encoding};

/// Returns every eight consecutive characters of each form in which `secret` could be written.
pub(crate) fn windows(secret: &[u8]) -> BTreeSet<String> {
    let mut needles = BTreeSet::new();
    let mut add = |text: &str, width: usize| {
        for window in text.as_bytes().windows(width) {
            needles.insert(String::from_utf8_lossy(window).into_owned());
        }
    };
    if secret.is_ascii() {
        add(&String::from_utf8_lossy(secret), 8);
    }
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    add(&hex, 8);
    add(&hex.to_uppercase(), 8);
    // A base64 group may start at any of three bytes.
    for start in 0..3 {
        add(Base64::encode_string(&secret[start..]).trim_end_matches('='), 8);
        add(&Base64UrlUnpadded::encode_string(&secret[start..]), 8);
    }
    for bytes in secret.windows(4) {
        let list = |separator: &str| {
            let numbers: Vec<_> = bytes.iter().map(ToString::to_string).collect();
            numbers.join(separator)
        };
        needles.extend([list(", "), list(",")]);
    }
    needles
}
