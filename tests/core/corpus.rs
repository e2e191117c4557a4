//! Replays the corpus of the fuzz targets, and shows that each law can fail.
//!
//! The name of a file begins with the expected result: `accepted-` or `refused-`. Files that begin with
//! `any-` were found by fuzzing and must only not panic.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use keyway::{KeyRecord, Policy};

#[path = "../../fuzz/laws.rs"]
mod laws;

/// Returns the files of a target, and whether each must be accepted.
fn corpus(target: &str) -> Vec<(String, Option<bool>, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let expected = match name.split_once('-') {
                Some(("accepted", _)) => Some(true),
                Some(("refused", _)) => Some(false),
                _ => None,
            };
            (name, expected, fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Returns the files for which `law` fails or returns the wrong result.
fn failures(target: &str, law: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let corpus = corpus(target);
    for expected in [true, false] {
        let files = corpus.iter().filter(|(_, is, _)| *is == Some(expected));
        assert!(files.count() > 0, "{target} has no file that is accepted: {expected}");
    }
    corpus
        .into_iter()
        .filter(|(_, expected, data)| {
            let outcome = catch_unwind(AssertUnwindSafe(|| law(data)));
            outcome.map_or(true, |is| expected.is_some_and(|expected| is != expected))
        })
        .map(|(name, _, _)| name)
        .collect()
}

#[test]
fn every_law_holds_for_its_corpus() {
    let none = [""; 0];
    assert_eq!(failures("token", |data| laws::token(data, laws::check)), none);
    assert_eq!(failures("policy", |data| laws::policy(data, Policy::ceiling)), none);
    assert_eq!(failures("scope_text", |data| laws::scope_text(data, laws::parse)), none);
    let decode = |bytes: &[u8]| KeyRecord::decode(bytes).ok();
    assert_eq!(failures("record", |data| laws::record(data, decode)), none);
    assert_eq!(failures("authorization", |data| laws::authorization(data, laws::verify)), none);
    let import = |data: &[u8]| laws::import_digest(data, laws::digest, laws::claims);
    assert_eq!(failures("import_digest", import), none);
}

#[cfg(feature = "http")]
#[test]
fn the_law_of_requests_holds_and_can_fail() {
    assert_eq!(failures("request", |data| laws::request(data, laws::admit)), [""; 0]);

    // Takes the first of several credentials.
    let admit = |fields: &[(&str, &[u8])]| {
        let one = |name: &str| {
            let is_it = |field: &&(&str, &[u8])| field.0.eq_ignore_ascii_case(name);
            fields.iter().find(is_it).copied()
        };
        let first = one("authorization").or_else(|| one("x-api-key"));
        laws::admit(&first.into_iter().collect::<Vec<_>>())
    };
    assert_ne!(failures("request", |data| laws::request(data, admit)), [""; 0]);

    // Repeats the credential in the refusal.
    let admit = |fields: &[(&str, &[u8])]| {
        laws::admit(fields).map_err(|(status, body)| {
            let sent = fields.first().map(|(_, value)| String::from_utf8_lossy(value));
            (status, body + &sent.unwrap_or_default())
        })
    };
    assert_ne!(failures("request", |data| laws::request(data, admit)), [""; 0]);
}

#[cfg(feature = "children")]
#[test]
fn the_laws_of_children_hold_and_can_fail() {
    assert_eq!(failures("caveats", |data| laws::caveats(data, laws::reads)), [""; 0]);
    assert_eq!(failures("child", |data| laws::child(data, laws::presents)), [""; 0]);

    // Reads caveats up to the first that is not read.
    let reads = |caveats: &[u8]| {
        let is_short = caveats.len() < 30;
        let begin = if is_short { 0 } else { caveats.len() };
        (begin..=caveats.len()).any(|end| laws::reads(&caveats[..end]))
    };
    assert_ne!(failures("caveats", |data| laws::caveats(data, reads)), [""; 0]);

    // Ignores the bits of the last character that encode nothing, and padding.
    let presents = |text: &[u8]| {
        let unpadded = text.strip_suffix(b"=").unwrap_or(text);
        laws::presents(unpadded)
    };
    assert_ne!(failures("child", |data| laws::child(data, presents)), [""; 0]);
}

#[test]
fn every_law_fails_for_a_planted_fault() {
    // Compares only the beginning of the tag.
    let check = |presented: &[u8]| {
        let mut presented = presented.to_vec();
        if let Some(last) = presented.last_mut() {
            *last = *laws::MINTED.token.as_bytes().last().unwrap();
        }
        laws::check(&presented)
    };
    assert_ne!(failures("token", |data| laws::token(data, check)), [""; 0]);

    // Gives the lowest tier every scope.
    let ceiling = |policy: &Policy, tier: &str| {
        let is_lowest = policy.tiers().first().is_some_and(|lowest| lowest.name == tier);
        let all = policy.catalog().all();
        if is_lowest { Some(all) } else { policy.ceiling(tier) }
    };
    assert_ne!(failures("policy", |data| laws::policy(data, ceiling)), [""; 0]);

    // Ignores unknown names.
    let parse = |catalog: &keyway::ScopeCatalog, text: &str| {
        let known = |name: &&str| catalog.iter().any(|(scope, _)| scope.as_str() == *name);
        catalog.set(text.split(' ').filter(known))
    };
    assert_ne!(failures("scope_text", |data| laws::scope_text(data, parse)), [""; 0]);

    // Ignores bytes after the record.
    let decode =
        |bytes: &[u8]| (0..=bytes.len()).find_map(|end| KeyRecord::decode(&bytes[..end]).ok());
    assert_ne!(failures("record", |data| laws::record(data, decode)), [""; 0]);

    // Trims white space around the token.
    let verify = |value: &[u8]| laws::verify(value.trim_ascii());
    assert_ne!(failures("authorization", |data| laws::authorization(data, verify)), [""; 0]);

    // Trims white space around a digest. Below, the short part of a token is ignored.
    let read = |text: &str| laws::digest(text.trim());
    let import = |data: &[u8]| laws::import_digest(data, read, laws::claims);
    assert_ne!(failures("import_digest", import), [""; 0]);
    let claims = |presented: &[u8]| {
        let mut presented = presented.to_vec();
        if let Some((place, short)) = presented.get_mut(10..21).zip(laws::FOREIGN.get(10..21)) {
            place.copy_from_slice(short.as_bytes());
        }
        laws::claims(&presented)
    };
    let import = |data: &[u8]| laws::import_digest(data, laws::digest, claims);
    assert_ne!(failures("import_digest", import), [""; 0]);
}
