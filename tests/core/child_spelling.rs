//! A child has one spelling: every edit, every other encoding and every other form of its caveats is refused.

use core::time::Duration;
use std::collections::BTreeSet;

use base64ct::{Base64Unpadded, Encoding as _};
use keyway::{VerifyError, children::NewChild, grant::OutsideGrant};

use crate::{
    child_parent::{Parent, caveat, parts_of, present, spell, until, world},
    support::{
        DAY, World,
        figures::{figure, none},
    },
};

/// A second in the life of a world. In each of them the signatures of 20 children may be wrong.
const SECOND: Duration = Duration::from_secs(1);

/// One line of `tests/vectors/children-spelling.txt`.
struct Vector {
    name: String,
    is_read: bool,
    caveats: Vec<u8>,
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("../vectors/children-spelling.txt").lines();
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let vectors = lines.map(|line| {
        let [outcome, name, caveats] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line} has no three columns");
        };
        let is_read = match outcome {
            "read" => true,
            "refused" => false,
            _ => panic!("{line} has no outcome"),
        };
        Vector { name: name.into(), is_read, caveats: unescaped(caveats) }
    });
    vectors.collect()
}

/// Returns the bytes of a text in which `\xhh` stands for one byte.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(byte, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    bytes
}

/// Returns whether a child was read and its signature was found right. The caveats may still forbid this use.
fn is_read(world: &World, text: impl AsRef<[u8]>, name: &str) -> bool {
    match present(world, text) {
        Ok(_) | Err(VerifyError::Forbidden(OutsideGrant::Network)) => true,
        Err(VerifyError::Rejected) => false,
        Err(error) => panic!("{name}: {error:?}"),
    }
}

#[test]
fn child_caveats_are_read_as_the_vectors_say() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let vectors = vectors();
    let mut names = BTreeSet::new();
    let mut otherwise = Vec::new();
    for Vector { name, is_read: expected, caveats } in &vectors {
        assert!(names.insert(name), "{name} occurs twice");
        let child = parent.sign(caveats);
        assert!(child.len() <= 1_024, "{name} is refused for its length");
        let before = world.store.all_calls();
        let outcome = is_read(&world, &child, name);
        // A child whose signature is wrong makes the verifier read its parent again.
        let by_its_signature = !outcome && world.store.all_calls() > before;
        if outcome != *expected || by_its_signature {
            otherwise.push(name);
        }
        world.clock.advance(SECOND);
    }
    let refused = vectors.iter().filter(|vector| !vector.is_read).count();
    let name = format!("of {} caveats of children read otherwise than they say", vectors.len());
    none(otherwise.len(), &name);
    figure(refused, ">=", 300, "refused cases in tests/vectors/children-spelling.txt");
    assert_eq!(otherwise, [""; 0]);
    assert!(refused >= 300, "{refused} cases");
}

/// The control: the same children are refused for a wrong signature, and then the parent is read again.
#[test]
fn child_vectors_show_what_refuses_a_child() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    for Vector { name, caveats, .. } in vectors().into_iter().filter(|vector| vector.is_read) {
        assert!(is_read(&world, parent.sign(&caveats), &name));
        let mut signature = parent.sign_under(&parent.prefix, &caveats);
        signature[0] ^= 1;
        let before = world.store.all_calls();
        assert!(!is_read(&world, spell(&parent.prefix, &caveats, &signature), &name), "{name}");
        assert!(world.store.all_calls() > before, "{name}");
        world.clock.advance(SECOND);
    }
}

/// Returns a child whose payload has this remainder modulo 3, and a character that only base64url has.
fn base(world: &World, parent: &Parent, remainder: usize) -> String {
    let bytes = (remainder + 2) % 3 + 1;
    let of_nonce = |number: u8| {
        let nonce = vec![number; bytes];
        parent.mint_as(NewChild::until(world.after(30 * DAY)).nonce(&nonce).unwrap())
    };
    let is_it = |child: &String| {
        let (_, payload) = child.split_once('~').unwrap();
        payload.contains(['-', '_'])
    };
    let child = (0..=u8::MAX).map(of_nonce).find(is_it).unwrap();
    let (caveats, signature) = parts_of(&child);
    assert_eq!((caveats.len() + signature.len()) % 3, remainder);
    child
}

/// Presents all edits. Returns how many there were.
fn refuse_all(world: &World, child: &str, edits: Vec<(String, Vec<u8>)>) -> usize {
    let edits: Vec<_> = edits.into_iter().filter(|(_, edit)| edit != child.as_bytes()).collect();
    for (name, edit) in &edits {
        assert!(!is_read(world, edit, name), "{name}: {}", edit.escape_ascii());
        world.clock.advance(SECOND);
    }
    // The child itself is accepted.
    assert!(present(world, child).is_ok());
    edits.len()
}

#[test]
fn every_edit_of_a_child_is_refused() {
    /// Characters of each class: of base64url, of the standard alphabet, and of neither.
    const CHARACTERS: &[u8] = b"A0_+/=%~. \n\0\x80";

    let world = world();
    let parent = Parent::of(&world, "acme");
    let child = base(&world, &parent, 1);
    let text = child.as_bytes();
    let mut edits = Vec::new();
    for place in 0..=text.len() {
        let (before, rest) = text.split_at(place);
        edits.push((format!("cut off at {place}"), before.to_vec()));
        edits.push((format!("begun at {place}"), rest.to_vec()));
        for character in CHARACTERS {
            let shown = character.escape_ascii();
            let inserted = [before, &[*character], rest].concat();
            edits.push((format!("{shown} inserted at {place}"), inserted));
            if let [_, behind @ ..] = rest {
                let replaced = [before, &[*character], behind].concat();
                edits.push((format!("{shown} in place {place}"), replaced));
            }
        }
        if let [byte, behind @ ..] = rest {
            edits.push((format!("place {place} deleted"), [before, behind].concat()));
            let doubled = [before, &[*byte, *byte], behind].concat();
            edits.push((format!("place {place} doubled"), doubled));
            let other = [before, &[byte ^ 0x20], behind].concat();
            edits.push((format!("the other case in place {place}"), other));
            let high = [before, &[byte | 0x80], behind].concat();
            edits.push((format!("the high bit in place {place}"), high));
        }
        if let [one, two, behind @ ..] = rest {
            let exchanged = [before, &[*two, *one], behind].concat();
            edits.push((format!("places {place} and the next exchanged"), exchanged));
        }
    }
    let tried = refuse_all(&world, &child, edits);
    assert!(tried >= 3_000, "{tried} edits");
}

#[test]
fn every_other_encoding_of_a_child_is_refused() {
    let world = world();
    let (parent, other) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
    let mut tried = 0;
    for remainder in 0..3 {
        let child = base(&world, &parent, remainder);
        let mut edits = encodings(&parent, &other, &child);
        edits.extend(trailing_bits(&child, remainder));
        tried += refuse_all(&world, &child, edits);
    }
    assert!(tried >= 150, "{tried} encodings");
}

fn encodings(parent: &Parent, other: &Parent, child: &str) -> Vec<(String, Vec<u8>)> {
    let (head, payload) = child.split_at(parent.prefix.len());
    let (caveats, signature) = parts_of(child);
    let bytes = [&caveats[..], &signature].concat();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let in_json =
        |text: &str| text.bytes().map(|byte| format!("\\u{byte:04x}")).collect::<String>();
    let of_payload = |name: &str, other: String| (name.to_string(), [head, &other].concat());
    let whole = |name: &str, text: String| (name.to_string(), text);
    let mut edits = vec![
        of_payload("padding", [payload, "="].concat()),
        of_payload("two pads", [payload, "=="].concat()),
        of_payload("three pads", [payload, "==="].concat()),
        of_payload("escaped pads", [payload, "%3D"].concat()),
        of_payload("the standard alphabet", Base64Unpadded::encode_string(&bytes)),
        of_payload("the first character of the standard alphabet", payload.replacen('-', "+", 1)),
        of_payload("the last character of the standard alphabet", payload.replacen('_', "/", 1)),
        of_payload("hexadecimal", hex(&bytes)),
        of_payload("base64 of base64", Base64Unpadded::encode_string(payload.as_bytes())),
        of_payload("the payload twice", payload.repeat(2)),
        of_payload("the payload in upper case", payload.to_uppercase()),
        of_payload("the payload in lower case", payload.to_lowercase()),
        of_payload("the payload reversed", payload.chars().rev().collect()),
        of_payload("a mark more", ["~", payload].concat()),
        of_payload("a mark behind", [payload, "~"].concat()),
        whole("the signature in front", spell(head, &signature, &caveats)),
        whole("no signature", spell(head, &caveats, &[])),
        whole("a signature without its end", spell(head, &caveats, &signature[..63])),
        whole("a zero byte behind the signature", spell(head, &bytes, &[0])),
        whole(
            "a zero byte before the signature",
            spell(head, &caveats, &[&[0][..], &signature].concat()),
        ),
        whole("the signature twice", spell(head, &bytes, &signature)),
        whole("the caveats twice", spell(head, &caveats.repeat(2), &signature)),
        whole("an escaped mark", child.replacen('~', "%7E", 1)),
        whole("an escaped mark in lower case", child.replacen('~', "%7e", 1)),
        whole("a dot for the mark", child.replacen('~', ".", 1)),
        whole("no mark", child.replacen('~', "", 1)),
        whole("upper case", child.to_uppercase()),
        whole("lower case", child.to_lowercase()),
        whole("twice", child.repeat(2)),
        whole("twice with a comma", [child, child].join(",")),
        whole("twice with a space", [child, child].join(" ")),
        whole("the prefix twice", [head, child].concat()),
        whole("the prefix alone", head.into()),
        whole("the payload alone", payload.into()),
        whole("hexadecimal as a whole", hex(child.as_bytes())),
        whole("base64 as a whole", Base64Unpadded::encode_string(child.as_bytes())),
        whole("escapes of JSON", in_json(child)),
        whole("the other parent's prefix", [&other.prefix, payload].concat()),
        whole("the tag of the other parent", {
            let (public, _) = parent.parts();
            let tag = &other.prefix[other.prefix.len() - 9..];
            [public, tag, payload].concat()
        }),
        whole("the parent's token before the payload", [&parent.token, "~", payload].concat()),
        whole("the parent's token in place of the prefix", [&parent.token, payload].concat()),
        whole("the scheme in front", ["Bearer ", child].concat()),
        whole("the scheme of secrets in front", ["secret-token:", child].concat()),
    ];
    for space in [" ", "\t", "\n", "\r\n", "\0", "\u{a0}", "\u{200b}", "\u{feff}", "\"", "'"] {
        let shown = space.escape_unicode();
        edits.push((format!("{shown} in front"), [space, child].concat()));
        edits.push((format!("{shown} behind"), [child, space].concat()));
        edits.push((format!("{shown} around"), [space, child, space].concat()));
        edits.push((format!("{shown} behind the mark"), [head, space, payload].concat()));
        let (first, second) = payload.split_at(payload.len() / 2);
        edits.push((format!("{shown} inside"), [head, first, space, second].concat()));
    }
    edits.into_iter().map(|(name, text)| (name, text.into_bytes())).collect()
}

/// Returns the texts that differ from `child` only in bits of the last character that encode nothing.
fn trailing_bits(child: &str, remainder: usize) -> Vec<(String, Vec<u8>)> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    let (last, rest) = child.as_bytes().split_last().unwrap();
    let value = ALPHABET.iter().position(|letter| letter == last).unwrap();
    let unused = [1, 16, 4][remainder];
    assert_eq!(value % unused, 0);
    let with_bits = |bits: usize| {
        let text = [rest, &[ALPHABET[value + bits]]].concat();
        (format!("trailing bits {bits}"), text)
    };
    (1..unused).map(with_bits).collect()
}

/// The control: a reader that ignores the rules of base64url accepts some of the encodings.
#[test]
fn lenient_reader_accepts_other_encodings() {
    let world = world();
    let (parent, other) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
    let child = base(&world, &parent, 1);
    let head = parent.prefix.as_bytes();
    let lenient = |edit: &[u8]| {
        let payload = edit.trim_ascii().strip_prefix(head)?;
        let kept = payload.iter().filter(|byte| !byte.is_ascii_whitespace() && **byte != b'=');
        let url = kept.map(|byte| match byte {
            b'+' => b'-',
            b'/' => b'_',
            byte => *byte,
        });
        let mut text = [head, &url.collect::<Vec<u8>>()].concat();
        // All children of this remainder end with a character whose last four bits are zero.
        *text.last_mut()? = *child.as_bytes().last()?;
        present(&world, text).ok()
    };
    let mut edits = encodings(&parent, &other, &child);
    edits.extend(trailing_bits(&child, 1));
    let mut accepted = Vec::new();
    for (name, edit) in &edits {
        world.clock.advance(SECOND);
        if lenient(edit).is_some() {
            accepted.push(&**name);
        }
    }
    for name in ["padding", "the standard alphabet", "trailing bits 15", "\\u{a} inside"] {
        assert!(accepted.contains(&name), "{name} is not among {accepted:?}");
    }
}

#[test]
fn child_is_read_up_to_1024_bytes() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let with_scopes = |len: usize| {
        let names: Vec<_> = (0..7).map(|number| format!("{number}{}", "s".repeat(99))).collect();
        let list = names.join("\n");
        let caveats = [until(world.after(DAY)), caveat(3, &list.as_bytes()[..len])].concat();
        parent.sign(&caveats)
    };
    let mut lengths = BTreeSet::new();
    for len in 600..=700 {
        let child = with_scopes(len);
        let is_cut_at_a_newline = len % 101 == 0;
        let is_short = child.len() <= 1_024;
        let expected = is_short && !is_cut_at_a_newline;
        assert_eq!(is_read(&world, &child, "long"), expected, "{len}: {}", child.len());
        lengths.insert(is_short);
    }
    assert_eq!(lengths, BTreeSet::from([false, true]));
}
