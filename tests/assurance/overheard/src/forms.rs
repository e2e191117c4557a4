//! The forms in which a secret may be written.

use std::collections::HashSet;

const WIDTH: usize = 8;
const BITS: u32 = 24;

/// All runs of eight characters of the secrets.
#[derive(Default)]
pub struct Windows {
    all: HashSet<u64>,
    /// A bit for each hash of a window, which rules out most text quickly.
    bits: Vec<u64>,
}

fn place(window: u64) -> usize {
    (window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS)) as usize
}

impl Windows {
    pub fn add(&mut self, text: &[u8]) {
        self.all.extend(text.array_windows::<WIDTH>().map(|window| u64::from_ne_bytes(*window)));
    }

    pub fn remove(&mut self, text: &[u8]) {
        for window in text.array_windows::<WIDTH>() {
            self.all.remove(&u64::from_ne_bytes(*window));
        }
    }

    pub fn index(&mut self) {
        self.bits = vec![0; 1 << (BITS - 6)];
        for window in &self.all {
            self.bits[place(*window) / 64] |= 1 << (place(*window) % 64);
        }
    }

    pub fn count(&self, text: &[u8]) -> usize {
        let windows = text.array_windows::<WIDTH>().map(|window| u64::from_ne_bytes(*window));
        let may_be =
            |window: &u64| self.bits[place(*window) / 64] >> (place(*window) % 64) & 1 == 1;
        windows.filter(may_be).filter(|window| self.all.contains(window)).count()
    }
}

/// Adds `secret` in base64 and base64url, for each offset in a group of three bytes.
pub fn base64_windows(secret: &[u8], mut add: impl FnMut(&[u8])) {
    for last in [*b"+/", *b"-_"] {
        let alphabet: Vec<u8> =
            (b'A'..=b'Z').chain(b'a'..=b'z').chain(b'0'..=b'9').chain(last).collect();
        for start in 0..3.min(secret.len()) {
            let groups = secret[start..].chunks_exact(3).map(|group| {
                group.iter().fold(0_usize, |word, byte| word << 8 | usize::from(*byte))
            });
            let text: Vec<u8> = groups
                .flat_map(|word| [18, 12, 6, 0].map(|shift| alphabet[word >> shift & 63]))
                .collect();
            add(&text);
        }
    }
}

/// Returns the bytes that are in `line` as hexadecimal digits, from the first or the second digit on, and as
/// decimal numbers with commas between them.
pub fn numbers(line: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for digits in line.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= 2 * WIDTH)
    {
        for start in 0..2 {
            let pairs = digits[start..].as_chunks::<2>().0.iter();
            found.push(pairs.map(|[high, low]| value(*high) << 4 | value(*low)).collect());
        }
    }
    for list in line.split(|byte| !byte.is_ascii_digit() && !b", ".contains(byte)) {
        if list.len() >= 2 * WIDTH {
            let numbers = list.split(|byte| *byte == b',').map(|number| {
                let text = str::from_utf8(number.trim_ascii()).unwrap_or_default();
                // A number that is not a byte becomes 0, which ends a run: no secret has a zero byte.
                text.parse().unwrap_or(0)
            });
            found.push(numbers.collect());
        }
    }
    found
}

fn value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_nothing_else_is() {
        let secret = b"Vb6nM1qW8eR3tY5uI0oPaS9dF2gH7jKl";
        let mut windows = Windows::default();
        windows.add(secret);
        base64_windows(secret, |text| windows.add(text));
        windows.index();
        let count = |line: &str| {
            let line = line.as_bytes();
            windows.count(line) + numbers(line).iter().map(|it| windows.count(it)).sum::<usize>()
        };
        let hex: String = secret[5..15].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(count("got qW8eR3tY, "), 1);
        assert_eq!(count(&format!("0{hex}")), 3);
        assert_eq!(count(&hex.to_uppercase()), 3);
        assert_eq!(count(&format!("{:?}", &secret[3..12])), 2);
        // Base64 of the text before and after it is found as well.
        assert!(count("YeVb6nM1qW8eR3tY5u") > 0 && count("bk0xcVc4ZVIzdFk1") > 0);
        assert_eq!(count("qW8eR3t Y5uI0oP, 0011223344556677, 1, 2, 3, 4, 5, 6, 7, 8"), 0);
    }
}
