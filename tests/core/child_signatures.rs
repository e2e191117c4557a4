//! A child is accepted with the one signature that its parent's private key makes, and with no other.

use core::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use keyway::{GracePeriod, VerifyError, children::NewChild};
use sha2::{Digest as _, Sha256, Sha512};

use crate::{
    child_parent::{
        PURPOSE, Parent, hkdf, hmac, parts_of, policy_with_children, present, spell, world,
    },
    support::{DAY, World, overheard::RevealKnown as _},
};

const SECOND: Duration = Duration::from_secs(1);

/// The order of the group, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// Every encoding of a point whose order is at most 8. The last six are not canonical.
const SMALL: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

fn unhex(text: &str) -> [u8; 32] {
    let byte = |place: usize| u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap();
    core::array::from_fn(byte)
}

/// Adds two little-endian numbers. Returns `None` if the sum has more than 256 bits.
fn add(left: [u8; 32], right: [u8; 32]) -> Option<[u8; 32]> {
    let mut carry = 0;
    let mut sum = [0; 32];
    for (place, digit) in sum.iter_mut().enumerate() {
        let of_place = u16::from(left[place]) + u16::from(right[place]) + carry;
        *digit = of_place.to_le_bytes()[0];
        carry = of_place >> 8;
    }
    (carry == 0).then_some(sum)
}

/// Returns `left - right`, modulo 2^256.
fn subtract(left: [u8; 32], right: [u8; 32]) -> [u8; 32] {
    let complement = right.map(|byte| !byte);
    let mut carry = 1;
    core::array::from_fn(|place| {
        let of_place = u16::from(left[place]) + u16::from(complement[place]) + carry;
        carry = of_place >> 8;
        of_place.to_le_bytes()[0]
    })
}

/// The halves of a signature.
fn halves(signature: [u8; 64]) -> ([u8; 32], [u8; 32]) {
    (signature[..32].try_into().unwrap(), signature[32..].try_into().unwrap())
}

/// Presents a child with each of the signatures, one per second. Returns their number.
fn refuse_all(
    world: &World,
    prefix: &str,
    caveats: &[u8],
    others: Vec<(String, Vec<u8>)>,
) -> usize {
    for (name, signature) in &others {
        world.clock.advance(SECOND);
        let outcome = present(world, spell(prefix, caveats, signature));
        assert!(matches!(outcome, Err(VerifyError::Rejected)), "{name}: {outcome:?}");
    }
    others.len()
}

#[test]
fn altered_signature_of_a_child_is_refused() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let child = parent.mint(world.after(30 * DAY));
    let (caveats, signature) = parts_of(&child);
    let (r, s) = halves(signature);
    let join = |r: [u8; 32], s: [u8; 32]| [r, s].concat();
    let mut others: Vec<(String, Vec<u8>)> = Vec::new();
    let mut other = |name: &str, bytes: Vec<u8>| others.push((name.to_string(), bytes));
    other("all zeros", vec![0; 64]);
    other("all ones", vec![0xff; 64]);
    other("R alone", join(r, [0; 32]));
    other("S alone", join([0; 32], s));
    other("halves exchanged", join(s, r));
    other("R twice", join(r, r));
    other("S twice", join(s, s));
    other("minus S", join(r, subtract(ORDER, s)));
    other(
        "S and minus R",
        join(core::array::from_fn(|n| r[n] ^ if n == 31 { 0x80 } else { 0 }), s),
    );
    let mut more = s;
    let mut times = 0;
    while let Some(sum) = add(more, ORDER) {
        (more, times) = (sum, times + 1);
        other(&format!("S and {times} times the order"), join(r, more));
    }
    assert!(times >= 14, "{times} numbers are the same modulo the order");
    let mut one = [0; 32];
    one[0] = 1;
    for bit in [0x20, 0x40, 0x80] {
        let mut high = s;
        high[31] |= bit;
        other(&format!("S with the bit {bit:x}"), join(r, high));
    }
    for (number, small) in SMALL.iter().enumerate() {
        let small = unhex(small);
        other(&format!("R of small order {number}"), join(small, s));
        other(&format!("R of small order {number}, S is 0"), join(small, [0; 32]));
        other(&format!("R of small order {number}, S is 1"), join(small, one));
        other(&format!("R of small order {number}, S is the order"), join(small, ORDER));
        other(&format!("R, and S of the point {number}"), join(r, small));
    }
    for place in 0..64 {
        let mut edit = signature.to_vec();
        edit[place] ^= 1 << (place % 8);
        other(&format!("one bit of byte {place}"), edit);
    }
    let (_, of_another) = parts_of(&parent.mint(world.after(29 * DAY)));
    let [first, second] = <[_; 2]>::from(halves(of_another));
    other("that of another child", of_another.to_vec());
    other("R of another child", join(first, s));
    other("S of another child", join(r, second));
    let tried = refuse_all(&world, &parent.prefix, &caveats, others);
    assert!(tried >= 160, "{tried} signatures");
    assert!(present(&world, &child).is_ok());
}

#[test]
#[allow(clippy::too_many_lines, reason = "a list of cases")]
fn signature_by_another_key_or_of_another_text_is_refused() {
    let world = world();
    let (parent, sibling) = (Parent::of(&world, "acme"), Parent::of(&world, "globex"));
    let child = parent.mint(world.after(30 * DAY));
    let (caveats, right) = parts_of(&child);
    let (public, secret) = parent.parts();
    let body = public.strip_prefix("mm_live_").unwrap();
    let tag = parent.prefix.strip_prefix(public).unwrap();
    let prefix = &*parent.prefix;
    let mut others: Vec<(String, Vec<u8>)> = Vec::new();

    // Other texts under the right key.
    let key = parent.signing_key();
    let texts: Vec<(&str, Vec<u8>)> = vec![
        ("the prefix of another key", [PURPOSE, sibling.prefix.as_bytes(), &caveats].concat()),
        ("no purpose", [prefix.as_bytes(), &caveats].concat()),
        ("no prefix", [PURPOSE, &caveats].concat()),
        ("nothing but the caveats", caveats.clone()),
        ("the prefix without its tag", [PURPOSE, public.as_bytes(), &caveats].concat()),
        (
            "the prefix without its mark",
            [PURPOSE, &prefix.as_bytes()[..prefix.len() - 1], &caveats].concat(),
        ),
        (
            "another issuer",
            [PURPOSE, b"nn_live_", body.as_bytes(), tag.as_bytes(), &caveats].concat(),
        ),
        ("another environment", {
            [PURPOSE, b"mm_test_", body.as_bytes(), tag.as_bytes(), &caveats].concat()
        }),
        ("a purpose without its zero", [b"keyway/v1/child", prefix.as_bytes(), &caveats].concat()),
        ("the purpose of tags", {
            [&b"keyway/v1/child tag\0"[..], prefix.as_bytes(), &caveats].concat()
        }),
        (
            "the purpose of tokens",
            [&b"keyway/v1/token\0"[..], prefix.as_bytes(), &caveats].concat(),
        ),
        ("the purpose of seals", [&b"keyway/v1/seal\0"[..], prefix.as_bytes(), &caveats].concat()),
        ("another version", [&b"keyway/v2/child\0"[..], prefix.as_bytes(), &caveats].concat()),
        ("the purpose twice", [PURPOSE, PURPOSE, prefix.as_bytes(), &caveats].concat()),
        ("a length between", [PURPOSE, prefix.as_bytes(), &[11], &caveats].concat()),
        ("the text of the payload", [PURPOSE, child.as_bytes()].concat()),
        ("nothing", Vec::new()),
    ];
    for (name, text) in texts {
        others.push((name.into(), key.sign(&text).to_bytes().to_vec()));
        others.push((
            format!("{name}, as SHA-512"),
            key.sign(&Sha512::digest(&text)).to_bytes().to_vec(),
        ));
    }
    let message = [PURPOSE, prefix.as_bytes(), &caveats].concat();
    others.push((
        "the hash of the text".into(),
        key.sign(&Sha512::digest(&message)).to_bytes().to_vec(),
    ));

    // Other keys for the right text.
    let bytes = secret.as_bytes();
    let with = |purpose: &[u8], public: &[u8]| [purpose, public].concat();
    let keys: Vec<(&str, [u8; 32])> = vec![
        ("the key of another parent", sibling.signing_key().to_bytes()),
        ("the secret", bytes.try_into().unwrap()),
        ("the hash of the secret", Sha256::digest(bytes).into()),
        ("the hash of the token", Sha256::digest(&parent.token).into()),
        ("derived without an info", hkdf(bytes, b"")),
        ("derived for the purpose alone", hkdf(bytes, PURPOSE)),
        ("derived for the prefix alone", hkdf(bytes, public.as_bytes())),
        ("derived for the id alone", hkdf(bytes, &with(PURPOSE, body.as_bytes()))),
        ("derived for the child prefix", hkdf(bytes, &with(PURPOSE, prefix.as_bytes()))),
        ("derived for another key", hkdf(bytes, &with(PURPOSE, sibling.parts().0.as_bytes()))),
        (
            "derived for another issuer",
            hkdf(bytes, &with(PURPOSE, format!("nn_live_{body}").as_bytes())),
        ),
        ("derived for another environment", {
            hkdf(bytes, &with(PURPOSE, format!("mm_test_{body}").as_bytes()))
        }),
        ("derived for another purpose", {
            hkdf(bytes, &with(b"keyway/v1/token\0", public.as_bytes()))
        }),
        ("derived from the whole token", {
            hkdf(parent.token.as_bytes(), &with(PURPOSE, public.as_bytes()))
        }),
        ("derived from secret and tag", {
            let rest = &parent.token.as_bytes()[public.len()..];
            hkdf(rest, &with(PURPOSE, public.as_bytes()))
        }),
        ("extracted and not expanded", hmac(&[0; 32], bytes)),
        ("expanded and not extracted", {
            hmac(bytes, &[PURPOSE, public.as_bytes(), &[1]].concat())
        }),
        ("the second block", {
            let info = [PURPOSE, public.as_bytes()].concat();
            let first = hkdf(bytes, &info);
            hmac(&hmac(&[0; 32], bytes), &[&first, &*info, &[2]].concat())
        }),
    ];
    for (name, seed) in keys {
        let signature = SigningKey::from_bytes(&seed).sign(&message);
        others.push((name.into(), signature.to_bytes().to_vec()));
    }
    assert!(others.iter().all(|(_, signature)| signature[..] != right[..]));
    let tried = refuse_all(&world, prefix, &caveats, others);
    assert!(tried >= 50, "{tried} signatures");

    // The control: the right key and the right text.
    assert_eq!(key.sign(&message).to_bytes(), right);
    assert!(present(&world, &child).is_ok());
}

#[test]
fn child_of_another_service_is_refused() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let end = world.after(DAY);
    let elsewhere = |issuer: &str, environment: &str, pepper: &[u8]| {
        let policy = keyway::Policy::new(
            issuer,
            policy_with_children().catalog().clone(),
            [keyway::Tier::new("advanced", 5)],
        );
        let policy = policy.unwrap().with_children(30 * DAY).unwrap();
        let other = keyway::Keyring::builder(policy, keyway::Pepper::from_bytes(pepper).unwrap())
            .environment(environment)
            .store(world.store.memory().clone())
            .clock(world.clock.clone())
            .build()
            .unwrap();
        let request = keyway::NewKey::named("k").children(true);
        let tenant = format!("{issuer} {environment} {}", pepper[0]);
        let created = other.create_tenant_with(&tenant, "advanced", request);
        let (_, issued) = crate::support::block_on(created).unwrap();
        let minter = other.child_minter(&issued.token).unwrap();
        minter.mint_at(&NewChild::until(end), world.now()).unwrap().reveal_known().to_string()
    };
    let mine = crate::support::PEPPER;
    let of_issuer = elsewhere("nn", "live", mine);
    let of_environment = elsewhere("mm", "test", mine);
    for child in [
        of_issuer.replacen("nn", "mm", 1),
        of_environment.replacen("test", "live", 1),
        of_issuer,
        of_environment,
        elsewhere("mm", "live", &[9; 32]),
    ] {
        let outcome = present(&world, &child);
        assert!(matches!(outcome, Err(VerifyError::Rejected)), "{outcome:?}");
    }
    // The control: a key of this service in the same store.
    assert!(present(&world, elsewhere("mm", "live", mine)).is_ok());
    assert!(present(&world, parent.mint(end)).is_ok());
}

#[test]
fn child_of_a_former_secret_is_refused() {
    let world = world();
    let parent = Parent::of(&world, "acme");
    let end = world.after(DAY);
    let child = parent.mint(end);
    assert!(present(&world, &child).is_ok());
    let rotated = parent.keys.rotate(parent.key.id(), parent.key.version(), GracePeriod::None);
    let rotated = crate::support::block_on(rotated).unwrap();
    assert!(matches!(present(&world, &child), Err(VerifyError::Rejected)));
    let minter = world.keyring.child_minter(&rotated.token).unwrap();
    let child = minter.mint_at(&NewChild::until(end), world.now()).unwrap().reveal_known();
    assert!(present(&world, &*child).is_ok());
    crate::support::overheard::known(&rotated.token.reveal_known());
}
