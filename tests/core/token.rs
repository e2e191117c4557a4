//! The token format: the tokens that are minted, and those that are rejected.

use core::{convert::Infallible, error::Error};
use std::{collections::BTreeSet, fs, path::Path};

use crate::support::{
    overheard::RevealKnown as _,
    random::{Constant, Failing, Seeded},
};
use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    ConfigError, KeyId, Pepper, Peppers,
    audit::Rejection,
    lowlevel::{InsecureSeededRng, MintError, TokenFormat},
};
use rand_core::{TryCryptoRng, TryRng};
use sha2::Sha256;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

fn pepper(byte: u8, slot: u8) -> Pepper {
    let pepper = Pepper::from_bytes(&[byte; 32]).unwrap();
    pepper.in_slot(slot).unwrap()
}

fn format_under(peppers: impl Into<Peppers>) -> TokenFormat {
    TokenFormat::new("mm", "live", &peppers.into()).unwrap()
}

/// Returns the format of all vectors.
fn format() -> TokenFormat {
    format_under(pepper(7, 0))
}

fn mint(format: &TokenFormat, seed: u64) -> String {
    let minted = format.mint(&mut Seeded::new(seed)).unwrap();
    minted.token.reveal_known().to_string()
}

fn vector(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/token");
    fs::read(folder.join(name).with_extension("txt")).unwrap()
}

fn valid() -> Vec<u8> {
    vector("valid")
}

/// Returns the MAC of the design's formula, computed by the `hmac` crate alone.
fn mac(pepper: &[u8], issuer: &str, environment: &str, message: &[u8]) -> [u8; 32] {
    let hmac = |key: &[u8], message: &[u8]| -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.update(message);
        mac.finalize().into_bytes().into()
    };
    let domain = format!("keyway/v1/token\0{issuer}\0{environment}");
    hmac(&hmac(pepper, domain.as_bytes()), message)
}

/// Returns a token of `mm` and `live` with this message and the tag that belongs to it.
fn tagged(pepper: &[u8], message: &[u8]) -> Vec<u8> {
    assert_eq!(message.len(), 48);
    let mac = mac(pepper, "mm", "live", message);
    let tag = Base64UrlUnpadded::encode_string(&mac[..6]);
    [b"mm_live_", message, tag.as_bytes()].concat()
}

fn is_alphanumeric(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_alphanumeric)
}

// Minting

#[test]
fn a_minted_token_is_accepted_and_names_its_key() {
    let format = format();
    let minted = format.mint(&mut Seeded::new(1)).unwrap();
    let id = minted.id;
    let claim = format.check(minted.token.reveal_known().as_bytes()).unwrap();
    assert_eq!(claim.id(), id);
}

#[test]
fn a_token_is_its_prefix_its_id_and_40_more_letters_and_digits() {
    let minted = format().mint(&mut Seeded::new(1)).unwrap();
    let id = minted.id;
    let text = minted.token.reveal_known();
    assert_eq!((format().prefix(), format().token_len()), ("mm_live_", text.len()));
    let body = text.strip_prefix("mm_live_").unwrap();
    assert_eq!(body.len(), 56);
    assert!(body.starts_with(id.as_str()));
    assert!(is_alphanumeric(body.as_bytes()));
}

#[test]
fn the_tag_is_the_start_of_an_hmac_over_id_and_secret() {
    for seed in 0..20 {
        let text = mint(&format(), seed);
        let message = &text.as_bytes()["mm_live_".len()..][..48];
        assert_eq!(text.as_bytes(), tagged(&[7; 32], message));
    }
}

#[test]
fn a_token_made_by_the_formula_alone_is_accepted() {
    let message = (0_u64..10_000)
        .map(|number| format!("A00000000000000bcccccccccccc{number:020}"))
        .find(|message| is_alphanumeric(&tagged(&[7; 32], message.as_bytes())[8..]))
        .unwrap();
    let token = tagged(&[7; 32], message.as_bytes());
    let claim = format().check(&token).unwrap();
    assert_eq!(claim.id().as_str(), "A00000000000000b");
}

#[test]
fn right_tag_that_is_not_alphanumeric_is_rejected() {
    for sign in *b"-_" {
        let token = (0_u64..10_000)
            .map(|number| format!("A00000000000000bcccccccccccc{number:020}"))
            .map(|message| tagged(&[7; 32], message.as_bytes()))
            .find(|token| token[56..].contains(&sign))
            .unwrap();
        assert_eq!(format().check(&token).unwrap_err(), Rejection::Forged);
    }
}

#[test]
fn issuer_and_environment_of_every_length_give_tokens() {
    for issuer in ["a", "a1", "abcdefghijklmnop"] {
        for environment in ["b", "b2", "abcdefgh"] {
            let format = TokenFormat::new(issuer, environment, &pepper(7, 0).into()).unwrap();
            let text = mint(&format, 1);
            assert!(text.starts_with(&format!("{issuer}_{environment}_")));
            assert!(format.check(text.as_bytes()).is_ok(), "{text}");
        }
    }
}

#[test]
fn the_first_character_of_an_id_names_the_slot() {
    for (slot, character) in (0..).zip(ALPHABET) {
        let minted = format_under(pepper(7, slot)).mint(&mut Seeded::new(1)).unwrap();
        assert_eq!(minted.id.as_bytes()[0], *character);
        assert_eq!(minted.id.slot(), slot);
    }
}

#[test]
fn each_of_62_slots_checks_its_own_tokens() {
    let mut ring = Peppers::new(pepper(100, 0));
    for slot in 1..62 {
        ring = ring.retired(pepper(100 + slot, slot)).unwrap();
    }
    let format = format_under(ring);
    for slot in 0..62 {
        let own = mint(&format_under(pepper(100 + slot, slot)), 1);
        assert!(format.check(own.as_bytes()).is_ok(), "slot {slot}");
        let foreign = mint(&format_under(pepper(99, slot)), 1);
        assert!(format.check(foreign.as_bytes()).is_err(), "slot {slot}");
    }
}

#[test]
fn all_letters_and_digits_are_about_equally_frequent() {
    let format = format();
    let mut rng = Seeded::new(1);
    let mut counts = [0_u32; 256];
    for _ in 0..600 {
        let text = format.mint(&mut rng).unwrap().token.reveal_known();
        // Id and secret, without the slot.
        for byte in &text.as_bytes()[9..56] {
            counts[usize::from(*byte)] += 1;
        }
    }
    // 28,200 characters: 455 of each are expected, with a standard deviation of 21.
    for byte in 0..=u8::MAX {
        let count = counts[usize::from(byte)];
        if ALPHABET.contains(&byte) {
            assert!((350..560).contains(&count), "{count} of {byte}");
        } else {
            assert_eq!(count, 0, "{byte}");
        }
    }
}

#[test]
fn all_letters_and_digits_occur_in_tags() {
    let format = format();
    let mut rng = Seeded::new(2);
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let text = format.mint(&mut rng).unwrap().token.reveal_known();
        seen.extend(text.as_bytes()[56..].iter().copied());
    }
    assert_eq!(seen, BTreeSet::from(*ALPHABET));
}

#[test]
fn the_scanner_regex_is_that_of_the_documentation() {
    assert_eq!(format().scanner_regex(), r"\bmm_live_[0-9A-Za-z]{56}\b");
}

#[test]
fn token_is_found_in_pasted_text() {
    let format = format();
    let token = String::from_utf8(valid()).unwrap();
    for pasted in [
        token.clone(),
        format!("  {token}\n"),
        format!("Authorization: Bearer {token}"),
        format!("{{\"key\":\"{token}\"}}"),
        format!("mm_live_key={token}"),
        format!("mm_live_ {} mm_live_{token}", &token[..24]),
    ] {
        assert_eq!(format.find_in(&pasted), Some(&*token), "{pasted}");
    }
}

#[test]
fn find_in_matches_part_of_a_secret_but_not_an_id() {
    let format = format();
    let token = String::from_utf8(valid()).unwrap();
    assert_eq!(format.find_in(&token[..25]), Some(&token[..25]));
    for public in [&token[..24], "mm_live_7Kf3…r8Mu", "mm_live_", "reports", ""] {
        assert_eq!(format.find_in(public), None, "{public}");
    }
}

// Randomness

#[test]
fn same_randomness_gives_the_same_token() {
    assert_eq!(mint(&format(), 5), mint(&format(), 5));
    assert_ne!(mint(&format(), 5), mint(&format(), 6));
}

#[test]
fn one_rng_never_gives_the_same_token_twice() {
    let format = format();
    let mut rng = Seeded::new(5);
    let tokens: BTreeSet<String> =
        (0..100).map(|_| format.mint(&mut rng).unwrap().token.reveal_known().to_string()).collect();
    assert_eq!(tokens.len(), 100);
}

#[test]
fn failing_rng_gives_an_error_with_its_cause() {
    let mut rng = Failing { left: 0, rng: Seeded::new(1) };
    let error = format().mint(&mut rng).unwrap_err();
    assert_eq!(error.to_string(), "the source of randomness failed");
    assert_eq!(error.source().unwrap().to_string(), "the device is gone");
}

#[test]
fn rng_that_fails_midway_gives_no_token() {
    let format = format();
    let (seed, calls) = (0..1_000)
        .map(|seed| {
            let mut rng = Failing { left: 1_000, rng: Seeded::new(seed) };
            format.mint(&mut rng).unwrap();
            (seed, 1_000 - rng.left)
        })
        .find(|(_, calls)| *calls > 1)
        .unwrap();
    let attempt = |left| {
        let rng = Seeded::new(seed);
        format.mint(&mut Failing { left, rng })
    };
    assert!(matches!(attempt(calls - 1), Err(MintError::Randomness(_))));
    assert!(attempt(calls).is_ok());
}

#[test]
fn repeating_rng_gives_no_token() {
    let format = format();
    let id = format.mint(&mut Seeded::new(1)).unwrap().id;
    for byte in 0..=u8::MAX {
        let minted = format.mint(&mut Constant(byte));
        assert!(matches!(minted, Err(MintError::Stuck)), "{byte}");
        let minted = format.mint_successor(id, &mut Constant(byte));
        assert!(matches!(minted, Err(MintError::Stuck)), "{byte}");
    }
}

/// A generator whose bytes are letters and digits in base64url, except for its first `useless` fills.
struct Letters {
    useless: usize,
    seed: usize,
    calls: usize,
}

impl TryRng for Letters {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("minting fills buffers")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("minting fills buffers")
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), Infallible> {
        self.calls += 1;
        if self.calls <= self.useless {
            into.fill(0xff);
        } else {
            let characters = ALPHABET.iter().cycle().skip(self.seed).step_by(5);
            let text: Vec<u8> = characters.take(into.len() / 3 * 4).copied().collect();
            Base64UrlUnpadded::decode(&text, into).unwrap();
        }
        Ok(())
    }
}

impl TryCryptoRng for Letters {}

#[test]
fn rng_is_read_once_unless_characters_are_unusable() {
    let format = format();
    let calls = |seed| {
        let mut rng = Letters { useless: 0, seed, calls: 0 };
        format.mint(&mut rng).unwrap();
        rng.calls
    };
    // One in four tags is not alphanumeric, and needs another secret.
    assert!((0..40).filter(|seed| calls(*seed) == 1).count() >= 20);
}

#[test]
fn rng_is_read_at_most_64_times() {
    let mint = |useless| format().mint(&mut Letters { useless, seed: 0, calls: 0 });
    assert!(mint(63).is_ok());
    assert!(matches!(mint(64), Err(MintError::Stuck)));
}

// Successors

#[test]
fn a_successor_keeps_the_id_and_has_another_secret() {
    let format = format();
    let mut rng = Seeded::new(1);
    let first = format.mint(&mut rng).unwrap();
    let second = format.mint_successor(first.id, &mut rng).unwrap();
    assert_eq!(second.id, first.id);
    let (first, second) = (first.token.reveal_known(), second.token.reveal_known());
    assert_eq!(first[..24], second[..24]);
    assert_ne!(first[24..56], second[24..56]);
    assert!(format.check(first.as_bytes()).is_ok());
    assert!(format.check(second.as_bytes()).is_ok());
}

#[test]
fn a_successor_is_minted_under_the_pepper_of_its_id() {
    let old = format_under(pepper(7, 0));
    let id = old.mint(&mut Seeded::new(1)).unwrap().id;
    let ring = Peppers::new(pepper(8, 1)).retired(pepper(7, 0)).unwrap();
    let minted = format_under(ring).mint_successor(id, &mut Seeded::new(2));
    let text = minted.unwrap().token.reveal_known();
    assert!(old.check(text.as_bytes()).is_ok());
}

#[test]
fn there_is_no_successor_without_the_pepper_of_the_id() {
    let id = format().mint(&mut Seeded::new(1)).unwrap().id;
    let minted = format_under(pepper(7, 1)).mint_successor(id, &mut Seeded::new(2));
    let error = minted.unwrap_err();
    assert!(matches!(error, MintError::NoPepper));
    assert_eq!(error.to_string(), "there is no pepper in the key's slot");
}

// Peppers

#[test]
fn older_peppers_tokens_are_accepted_while_in_the_ring() {
    let token = mint(&format_under(pepper(7, 0)), 1);
    let new = || Peppers::new(pepper(8, 1));
    let accepted = |ring| format_under(ring).check(token.as_bytes()).is_ok();
    assert!(accepted(new().retiring(pepper(7, 0)).unwrap()));
    assert!(accepted(new().retired(pepper(7, 0)).unwrap()));
    assert!(!accepted(new()));
}

#[test]
fn another_pepper_in_the_slot_rejects_earlier_tokens() {
    let token = mint(&format_under(pepper(7, 0)), 1);
    let check = |byte| format_under(pepper(byte, 0)).check(token.as_bytes());
    assert_eq!(check(8).unwrap_err(), Rejection::Forged);
    assert!(check(7).is_ok());
}

#[test]
fn the_slot_of_a_token_cannot_be_exchanged() {
    let token = mint(&format_under(pepper(7, 0)), 1);
    let moved = token.replacen("mm_live_A", "mm_live_B", 1);
    let ring = Peppers::new(pepper(7, 0)).retiring(pepper(7, 1)).unwrap();
    let format = format_under(ring);
    assert!(format.check(token.as_bytes()).is_ok());
    assert_eq!(format.check(moved.as_bytes()).unwrap_err(), Rejection::Forged);
}

#[test]
fn public_pepper_accepts_other_applications_tokens() {
    let token = mint(&format_under(Pepper::public()), 1);
    assert!(format_under(Pepper::public()).check(token.as_bytes()).is_ok());
    assert!(format().check(token.as_bytes()).is_err());
}

#[test]
fn public_pepper_still_requires_a_valid_id() {
    let public = b"keyway/v1/public pepper: no secret";
    let format = format_under(Pepper::public());
    let check = |id: &[u8; 16]| {
        let token = (0_u64..10_000)
            .map(|number| [&id[..], format!("{number:032}").as_bytes()].concat())
            .map(|message| tagged(public, &message))
            .find(|token| is_alphanumeric(&token[56..]))
            .unwrap();
        format.check(&token).map(|claim| claim.id().to_string())
    };
    assert_eq!(check(b"A00000000000000b"), Ok("A00000000000000b".into()));
    for id in [b"A0000000000000-b", b"A00000000000000\0", b"A00000000000000\xff"] {
        assert_eq!(check(id), Err(Rejection::Forged));
    }
}

// Rejection

#[test]
fn the_valid_vector_is_accepted() {
    assert!(format().check(&valid()).is_ok());
}

#[test]
fn every_other_vector_is_rejected() {
    let format = format();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/token");
    let mut refused = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if path.extension().is_some_and(|kind| kind == "txt") && name != "valid" {
            let token = fs::read(&path).unwrap();
            assert!(format.check(&token).is_err(), "{name} was accepted");
            refused += 1;
        }
    }
    assert!(refused >= 40, "only {refused} vectors were found");
}

#[test]
fn token_of_another_issuer_is_malformed() {
    let other = TokenFormat::new("mx", "live", &pepper(7, 0).into()).unwrap();
    let token = vector("own-token-of-another-issuer");
    assert!(other.check(&token).is_ok());
    assert_eq!(format().check(&token).unwrap_err(), Rejection::Malformed);
}

#[test]
fn token_of_another_environment_is_malformed() {
    let other = TokenFormat::new("mm", "test", &pepper(7, 0).into()).unwrap();
    let token = vector("own-token-of-another-environment");
    assert!(other.check(&token).is_ok());
    assert_eq!(format().check(&token).unwrap_err(), Rejection::Malformed);
}

#[test]
fn a_body_of_another_environment_is_forged() {
    let other = TokenFormat::new("mm", "test", &pepper(7, 0).into()).unwrap();
    let body = mint(&other, 1).replacen("test", "live", 1);
    assert_eq!(format().check(body.as_bytes()).unwrap_err(), Rejection::Forged);
}

#[test]
fn issuer_and_environment_do_not_run_into_each_other() {
    // Twenty rotations are 23 hours apart, so the previous secret is the oldest that lives.
    let one = TokenFormat::new("ab", "c", &pepper(7, 0).into()).unwrap();
    let other = TokenFormat::new("a", "bc", &pepper(7, 0).into()).unwrap();
    let body = mint(&one, 1).replacen("ab_c_", "a_bc_", 1);
    assert_eq!(other.check(body.as_bytes()).unwrap_err(), Rejection::Forged);
}

#[test]
fn wrong_prefix_is_malformed_and_wrong_body_is_forged() {
    let check = |name: &str| format().check(&vector(name)).unwrap_err();
    for name in ["empty", "too-short", "too-long", "wrong-issuer", "upper-cased"] {
        assert_eq!(check(name), Rejection::Malformed, "{name}");
    }
    for name in ["non-ascii", "embedded-nul", "lower-cased-body", "wrong-tag"] {
        assert_eq!(check(name), Rejection::Forged, "{name}");
    }
}

#[test]
fn token_with_a_changed_byte_is_rejected() {
    let (format, valid) = (format(), valid());
    for place in 0..valid.len() {
        for byte in 0..=u8::MAX {
            let mut edited = valid.clone();
            edited[place] = byte;
            let accepted = format.check(&edited).is_ok();
            assert_eq!(accepted, edited == valid, "{byte} in {place}");
        }
    }
}

#[test]
fn token_with_an_inserted_byte_is_rejected() {
    let (format, valid) = (format(), valid());
    for place in 0..=valid.len() {
        for byte in 0..=u8::MAX {
            let mut edited = valid.clone();
            edited.insert(place, byte);
            assert!(format.check(&edited).is_err(), "{byte} in {place}");
        }
    }
}

#[test]
fn token_without_one_byte_is_rejected() {
    let (format, valid) = (format(), valid());
    for place in 0..valid.len() {
        let mut edited = valid.clone();
        edited.remove(place);
        assert!(format.check(&edited).is_err(), "without {place}");
    }
}

#[test]
fn part_of_a_token_is_rejected() {
    let (format, valid) = (format(), valid());
    for start in 0..valid.len() {
        for end in start..=valid.len() {
            let whole = end - start == valid.len();
            assert_eq!(format.check(&valid[start..end]).is_ok(), whole);
        }
    }
}

#[test]
fn token_with_a_changed_case_is_rejected() {
    let (format, valid) = (format(), valid());
    let letters = |place: &usize| valid[*place].is_ascii_alphabetic();
    for place in (0..valid.len()).filter(letters) {
        let mut edited = valid.clone();
        edited[place] ^= 0x20;
        assert!(format.check(&edited).is_err(), "{place}");
    }
}

#[test]
fn token_with_exchanged_bytes_is_rejected() {
    let (format, valid) = (format(), valid());
    for place in 1..valid.len() {
        let mut edited = valid.clone();
        edited.swap(place - 1, place);
        assert_eq!(format.check(&edited).is_ok(), edited == valid, "{place}");
    }
}

// The parts

#[test]
fn issuer_has_1_to_16_lower_case_letters_and_digits() {
    let new = |issuer| TokenFormat::new(issuer, "live", &pepper(7, 0).into());
    for issuer in ["", "MM", "mM", "1m", "m_m", "m-m", "mü", " m", "m ", "m\0", "abcdefghijklmnopq"]
    {
        let error = new(issuer).unwrap_err();
        assert_eq!(error, ConfigError::Issuer(issuer.into()));
        let text = error.to_string();
        assert!(text.starts_with(&format!("`{}` ", issuer.escape_debug())), "{text}");
    }
    assert!(new("m1").is_ok());
}

#[test]
fn environment_has_1_to_8_lower_case_letters_and_digits() {
    let new = |environment| TokenFormat::new("mm", environment, &pepper(7, 0).into());
    for environment in ["", "Live", "1", "li_ve", "li-ve", "é", "live\n", "abcdefghi"] {
        let error = new(environment).unwrap_err();
        assert_eq!(error, ConfigError::Environment(environment.into()));
    }
    assert!(new("v2").is_ok());
}

#[test]
fn an_id_has_16_letters_and_digits() {
    let id: KeyId = "A123456789abcDEF".parse().unwrap();
    assert_eq!(id.to_string(), "A123456789abcDEF");
    assert_eq!(format!("{id:?}"), "A123456789abcDEF");
    for text in [
        "",
        "A123456789abcDE",
        "A123456789abcDEFG",
        "A123456789abcDE-",
        "A123456789abcDE_",
        "A123456789abcDE ",
        "A123456789abcDE\0",
        "A123456789abcDé",
    ] {
        let error = text.parse::<KeyId>().unwrap_err();
        assert_eq!(error.to_string(), "the id of the key is not 16 letters and digits");
    }
}

#[test]
fn no_debug_text_holds_a_secret() {
    let format = format();
    let minted = format.mint(&mut Seeded::new(1)).unwrap();
    let mut texts = vec![format!("{format:?} {minted:?} {:?}", minted.token)];
    let token = minted.token.reveal_known();
    texts.push(format!("{:?}", format.check(token.as_bytes()).unwrap()));
    for text in texts {
        // Only the first four characters of the id and the last four of the tag may be shown.
        for part in token.as_bytes()[24..60].windows(4) {
            let part = str::from_utf8(part).unwrap();
            assert!(!text.contains(part), "{part} of {token:?} in {text}");
        }
    }
}

#[test]
fn seeded_rng_gives_one_sequence_for_any_reads() {
    let mut bytes = [0; 12];
    let mut source = InsecureSeededRng::new(5);
    for part in [0..4, 4..12] {
        source.try_fill_bytes(&mut bytes[part]).unwrap();
    }
    let mut source = InsecureSeededRng::new(5);
    assert_eq!(source.try_next_u32().unwrap().to_le_bytes(), bytes[..4]);
    assert_eq!(source.try_next_u64().unwrap().to_le_bytes(), bytes[4..]);
    assert_ne!(source.try_next_u32().unwrap().to_le_bytes(), bytes[..4]);
}

/// A prefix is compared in words of eight bytes. The same difference in two of them does not cancel out.
#[test]
fn prefix_that_differs_twice_is_rejected() {
    let format = TokenFormat::new("abcdefghijklmnop", "staging1", &pepper(7, 0).into()).unwrap();
    let token = mint(&format, 1).into_bytes();
    let prefix = format.prefix().len();
    for first in 0..prefix {
        for second in (first + 8..prefix).step_by(8) {
            let mut other = token.clone();
            other[first] ^= 1;
            other[second] ^= 1;
            assert_eq!(format.check(&other).unwrap_err(), Rejection::Malformed);
        }
    }
    assert!(format.check(&token).is_ok());
}

#[test]
fn invalid_id_character_is_found_in_both_halves() {
    let id = *valid().strip_prefix(b"mm_live_").unwrap().first_chunk::<16>().unwrap();
    let parsed = |id: &[u8; 16]| str::from_utf8(id).unwrap().parse::<KeyId>();
    assert!(parsed(&id).is_ok());
    for place in 0..8 {
        for wrong in [b'-', b'_', b' ', 0] {
            for places in [vec![place], vec![place + 8], vec![place, place + 8]] {
                let mut other = id;
                for place in &places {
                    other[*place] = wrong;
                }
                assert!(parsed(&other).is_err(), "{wrong} in {places:?}");
            }
        }
    }
}
