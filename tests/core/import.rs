//! Imported keys: their tokens continue to work, and nothing else is accepted.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::support::{
    DAY, HOUR, PEPPER, World, block_on, catalog, overheard::RevealKnown as _, pepper, policy,
    tenant_id,
};
use base64ct::{Base64, Base64Unpadded, Base64Url, Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    ChangeError, ConfigError, GracePeriod, ImportedKey, KeyEdit, KeyRecord, KeyState, Keyring,
    KeyringError, LeakResponse, NewKey, Pepper, Peppers, Policy, TenantKeys, Tier, Timestamp,
    VerifyError,
    audit::Rejection,
    grant::Grant,
    import::{ForeignDigest, ForeignFormat, ForeignHash, ImportError},
    keyring::KeyringBuilder,
    lowlevel::{Authority, Denial, decide},
    record::Suspension,
    store::{KeyFilter, KeyQuery},
    verifier::Freshness,
};
use sha2::{Digest, Sha256, Sha512};

const OPAQUE: &str = "q7Yx0vFz-2mKp9_LrT4wNcB6sHd8eGuA3jVtPoXiMn5";
const OLD_PEPPER: &[u8] = b"the other system's own pepper";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn prefixed() -> ForeignFormat {
    ForeignFormat::prefixed_api_key("mycompany").unwrap()
}

fn opaque() -> ForeignFormat {
    ForeignFormat::whole_token(ForeignHash::Sha256).lengths(43..=43).unwrap()
}

fn digest_of(token: &str) -> ForeignDigest {
    ForeignDigest::from_bytes(&Sha256::digest(token)).unwrap()
}

/// A key that the real crate generated, and the hash that the crate asks its users to store.
struct Generated {
    token: &'static str,
    public: &'static str,
    secret: &'static str,
    hash: &'static str,
}

fn generated() -> Vec<Generated> {
    let lines = include_str!("../vectors/prefixed_api_key.txt").lines();
    let keys = lines.filter(|line| !line.starts_with('#')).map(|line| {
        let (token, hash) = line.split_once(' ').unwrap();
        let (prefix, secret) = token.rsplit_once('_').unwrap();
        let (_, public) = prefix.split_once('_').unwrap();
        Generated { token, public, secret, hash }
    });
    keys.collect()
}

fn world(formats: impl IntoIterator<Item = ForeignFormat>) -> World {
    World::with(policy(), |builder| {
        formats.into_iter().fold(builder, KeyringBuilder::accept_imported)
    })
}

fn tenant(world: &World, id: &str) -> TenantKeys {
    block_on(world.keyring.create_empty_tenant(id, "advanced")).unwrap()
}

fn request() -> NewKey {
    NewKey::named("ERP nightly sync").scopes(["reporting"])
}

/// A world with one imported opaque token.
fn imported() -> (World, TenantKeys, KeyRecord) {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    let key = block_on(acme.import(key)).unwrap();
    (world, acme, key)
}

fn verify(keyring: &Keyring, token: impl AsRef<[u8]>) -> Result<keyway::Principal, VerifyError> {
    block_on(keyring.verify(token))
}

fn is_rejected<T>(result: &Result<T, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::Rejected))
}

/// Returns the 26 bytes of the digest in a record. They follow the magic, the id, and the tenant and name.
fn kept_digest(key: &KeyRecord) -> [u8; 26] {
    let start = 4 + 16 + 8 + key.tenant().as_str().len() + 8 + key.name().len();
    key.encode()[start..][..26].try_into().unwrap()
}

// The real crate.

#[test]
fn keys_of_the_real_crate_continue_to_work() {
    let world = world([prefixed()]);
    let acme = tenant(&world, "acme");
    let keys = generated();
    assert_eq!(keys.len(), 6);
    for (Generated { token, public, secret, hash }, other) in keys.iter().zip(&keys[1..]) {
        let digest = ForeignDigest::from_hex(hash).unwrap();
        let key = ImportedKey::with_public_part(&prefixed(), public, digest, request());
        assert!(is_rejected(&verify(&world.keyring, token)), "{public}: not imported yet");

        let key = key.unwrap();
        for masked in [(*secret).to_owned(), format!("…{secret}")] {
            let refused = block_on(acme.import(key.clone().masked(masked).unwrap())).unwrap_err();
            assert!(refused.to_string().contains("masked"), "{refused:?}");
        }
        let key = block_on(acme.import(key)).unwrap();
        assert!(key.imported());
        assert_eq!(key.masked(), format!("mycompany_{public}_…"));
        let caller = verify(&world.keyring, token).unwrap();
        assert_eq!((caller.key_id(), caller.tenant()), (key.id(), "acme"));
        assert_eq!(catalog().text(caller.scopes()), "reporting");
        // The value of an `Authorization` header, as the other system's clients send it.
        let field = format!("Bearer {token}");
        assert!(block_on(world.keyring.verify_authorization(Some(field))).is_ok());

        // Another key of the same system, and combinations of the parts of two keys.
        let crossed = [
            other.token.to_owned(),
            format!("mycompany_{public}_{}", other.secret),
            format!("mycompany_{}_{secret}", other.public),
            (*secret).to_owned(),
        ];
        for wrong in crossed {
            assert!(is_rejected(&verify(&world.keyring, &wrong)), "{wrong}");
        }
    }
}

#[test]
fn every_length_that_the_real_crate_makes_fits() {
    // In base58, zeros are the shortest and ones the longest encoding of 8 and 24 bytes.
    let format = |byte: u8| {
        let text =
            |len: usize| if byte == 0 { "1".repeat(len) } else { "z".repeat(len + len * 3 / 8) };
        format!("mycompany_{}_{}", text(8), text(24))
    };
    let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
    let authority = authority.accept_imported(prefixed()).unwrap();
    assert_eq!((format(0).len(), format(255).len()), (43, 55));
    assert!(authority.claims(format(0).as_bytes()).is_ok());
    assert!(authority.claims(format(255).as_bytes()).is_ok());
    assert!(authority.claims(&format(0).as_bytes()[..42]).is_err());
    assert!(authority.claims(format!("{}z", format(255)).as_bytes()).is_err());
}

// Every kind of digest.

struct Kind {
    name: &'static str,
    format: fn() -> ForeignFormat,
    token: &'static str,
    public: Option<&'static str>,
    digest: fn() -> ForeignDigest,
}

fn hmac256(message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(OLD_PEPPER).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hmac512(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn kinds() -> [Kind; 7] {
    [
        Kind {
            name: "SHA-256 in hex",
            format: opaque,
            token: OPAQUE,
            public: None,
            digest: || {
                ForeignDigest::from_hex(&hex(&Sha256::digest(OPAQUE)).to_uppercase()).unwrap()
            },
        },
        Kind {
            name: "SHA-512 in base64",
            format: || ForeignFormat::whole_token(ForeignHash::Sha512),
            token: OPAQUE,
            public: None,
            digest: || {
                ForeignDigest::from_base64(&Base64::encode_string(&Sha512::digest(OPAQUE))).unwrap()
            },
        },
        Kind {
            name: "HMAC-SHA-256, raw, of a token with a prefix",
            format: || {
                let format = ForeignFormat::whole_token(ForeignHash::Sha256);
                format.prefix("sk_live_").unwrap().keyed(OLD_PEPPER).unwrap()
            },
            token: "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            public: None,
            digest: || {
                ForeignDigest::from_bytes(&hmac256("sk_live_4eC39HqLyjWDarjtT1zdp7dc")).unwrap()
            },
        },
        Kind {
            name: "SHA-256 of what stands behind a fixed prefix",
            format: || {
                let format = ForeignFormat::secret_part(ForeignHash::Sha256, '_', 2).unwrap();
                format.prefix("sk_live_").unwrap()
            },
            token: "sk_live_4eC39HqLyjWDarjtT1zdp7dc",
            public: None,
            digest: || digest_of("4eC39HqLyjWDarjtT1zdp7dc"),
        },
        Kind {
            name: "SHA-256 of what stands behind a name, without a prefix",
            format: || {
                let format = ForeignFormat::secret_part(ForeignHash::Sha256, '.', 1).unwrap();
                format.lengths(33..=40).unwrap()
            },
            token: "alice.4eC39HqLyjWDarjtT1zdp7dc.and_more",
            public: Some("alice"),
            digest: || digest_of("4eC39HqLyjWDarjtT1zdp7dc.and_more"),
        },
        Kind {
            name: "HMAC-SHA-512 under a long key, of what stands behind two names",
            format: || {
                let format = ForeignFormat::secret_part(ForeignHash::Sha512, ':', 3).unwrap();
                format.prefix("v1:").unwrap().keyed(&[0x5a; 200]).unwrap()
            },
            token: "v1:eu:alice:4eC39HqLyjWDarjtT1zdp7dc",
            public: Some("eu:alice"),
            digest: || {
                ForeignDigest::from_bytes(&hmac512(&[0x5a; 200], "4eC39HqLyjWDarjtT1zdp7dc"))
                    .unwrap()
            },
        },
        Kind {
            name: "the example of prefixed-api-key",
            format: prefixed,
            token: "mycompany_CEUsS4psCmc_BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb",
            public: Some("CEUsS4psCmc"),
            digest: || {
                let hash = "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee";
                ForeignDigest::from_hex(hash).unwrap()
            },
        },
    ]
}

impl Kind {
    fn key(&self) -> ImportedKey {
        let (format, digest) = ((self.format)(), (self.digest)());
        match self.public {
            Some(public) => ImportedKey::with_public_part(&format, public, digest, request()),
            None => ImportedKey::new(&format, digest, request()),
        }
        .expect(self.name)
    }

    fn world(&self) -> (World, KeyRecord) {
        let world = world([(self.format)()]);
        let key = block_on(tenant(&world, "acme").import(self.key())).expect(self.name);
        (world, key)
    }
}

#[test]
fn tokens_of_every_kind_are_verified_and_no_edit_of_one_is() {
    for kind in kinds() {
        let (world, key) = kind.world();
        assert_eq!(verify(&world.keyring, kind.token).expect(kind.name).key_id(), key.id());
        let mut token = kind.token.as_bytes().to_vec();
        for place in 0..token.len() {
            let good = token[place];
            for mask in [1, 2, 4, 8, 16, 32, 64, 128] {
                token[place] = good ^ mask;
                let edited = verify(&world.keyring, &token);
                assert!(is_rejected(&edited), "{}: {mask} at {place}", kind.name);
            }
            token[place] = good;
        }
        let longer = [&token[..], b"A"].concat();
        for other in [&token[1..], &token[..token.len() - 1], &longer] {
            assert!(is_rejected(&verify(&world.keyring, other)), "{}", kind.name);
        }
        assert!(verify(&world.keyring, &token).is_ok());
    }
}

/// All the encodings in which `digest` could be sent.
fn spellings(digest: &[u8]) -> Vec<Vec<u8>> {
    vec![
        digest.to_vec(),
        hex(digest).into(),
        hex(digest).to_uppercase().into(),
        Base64::encode_string(digest).into(),
        Base64Unpadded::encode_string(digest).into(),
        Base64Url::encode_string(digest).into(),
        Base64UrlUnpadded::encode_string(digest).into(),
    ]
}

#[test]
fn no_stored_digest_authenticates() {
    for kind in kinds() {
        // Any length fits, so that nothing is rejected for its length alone.
        let wide = || (kind.format)().lengths(1..=512).unwrap();
        let world = world([wide()]);
        let acme = tenant(&world, "acme");
        let key = block_on(acme.import(kind.key())).unwrap();
        let foreign = match (kind.name, kind.token) {
            (name, token) if name.starts_with("HMAC-SHA-512") => {
                hmac512(&[0x5a; 200], token.rsplit(':').next().unwrap())
            }
            (name, token) if name.starts_with("HMAC") => hmac256(token),
            (name, token) if name.starts_with("SHA-512") => Sha512::digest(token).to_vec(),
            (_, token) => {
                let secret = match kind.public {
                    None if kind.name.starts_with("SHA-256 of") => &token["sk_live_".len()..],
                    None => token,
                    Some(public) if token.starts_with(public) => &token[public.len() + 1..],
                    Some(_) => token.rsplit('_').next().unwrap(),
                };
                Sha256::digest(secret).to_vec()
            }
        };
        // The digest that is tried is the one that was imported.
        let same = ForeignDigest::from_bytes(&foreign).unwrap();
        let again = match kind.public {
            Some(public) => ImportedKey::with_public_part(&wide(), public, same, request()),
            None => ImportedKey::new(&wide(), same, request()),
        };
        let again = block_on(acme.import(again.unwrap()));
        assert!(matches!(again, Err(KeyringError::AlreadyImported(id)) if id == key.id()));

        let digests = [foreign, kept_digest(&key).to_vec(), key.encode()];
        let fronts =
            ["", "mycompany_CEUsS4psCmc_", "sk_live_", "alice.", "v1:eu:alice:", "mm_live_"];
        let id = format!("mm_live_{}", key.id());
        for digest in digests.iter().flat_map(|digest| spellings(digest)) {
            for front in fronts.iter().copied().chain([&*id]) {
                let presented = [front.as_bytes(), &digest].concat();
                let answer = verify(&world.keyring, &presented);
                assert!(is_rejected(&answer), "{}: {}", kind.name, presented.escape_ascii());
            }
        }
        assert!(is_rejected(&verify(&world.keyring, key.id().as_str())));
        assert!(verify(&world.keyring, kind.token).is_ok());
    }
}

#[test]
fn derived_id_and_digest_match_the_documentation() {
    let hmac = |key: &[u8], parts: &[&[u8]]| {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        for part in parts {
            mac.update(part);
        }
        <[u8; 32]>::from(mac.finalize().into_bytes())
    };
    let key = hmac(PEPPER, &[b"keyway/v1/import\0mm\0live"]);
    let foreign = Sha256::digest("BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb");
    let front = b"mycompany_CEUsS4psCmc_";
    let derive = |label: &[u8]| {
        hmac(&key, &[label, &[1, 0, b'_', 2], &22_u64.to_be_bytes(), front, &foreign])
    };
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let id = derive(b"id\0");
    let character = |pair: &[u8]| {
        let place = (usize::from(u16::from_be_bytes([pair[0], pair[1]])) * 62) >> 16;
        char::from(alphabet[place])
    };
    let id: String = core::iter::once('A').chain(id[..30].chunks(2).map(character)).collect();

    let [.., kind] = kinds();
    let (_, stored) = kind.world();
    assert_eq!(stored.id().as_str(), id);
    assert_eq!(kept_digest(&stored), derive(b"digest\0")[6..]);
    // Computed with Python's `hmac`. Values that change make imported tokens invalid.
    assert_eq!(id, "ARDItjSCWL3M7rfI");
    let kept = "71924eda36afbaf88dee3bf9303ba60f9ee9a6906c20cb05d1f7";
    assert_eq!(hex(&kept_digest(&stored)), kept);
}

// Digests and formats.

#[test]
fn digest_reads_every_encoding_and_rejects_others_with_a_reason() {
    let sha256 = Sha256::digest("token");
    let sha512 = Sha512::digest("token");
    let mut ids = BTreeSet::new();
    for spelled in [
        ForeignDigest::from_bytes(&sha256),
        ForeignDigest::from_hex(&hex(&sha256)),
        ForeignDigest::from_hex(&hex(&sha256).to_uppercase()),
        ForeignDigest::from_base64(&Base64::encode_string(&sha256)),
        ForeignDigest::from_base64(&Base64Unpadded::encode_string(&sha256)),
        ForeignDigest::from_base64(&Base64Url::encode_string(&sha256)),
        ForeignDigest::from_base64(&Base64UrlUnpadded::encode_string(&sha256)),
    ] {
        let (world, digest) = (world([opaque()]), spelled.unwrap());
        assert_eq!(digest.hash(), ForeignHash::Sha256);
        let key = ImportedKey::new(&opaque(), digest, request()).unwrap();
        ids.insert(block_on(tenant(&world, "acme").import(key)).unwrap().id());
    }
    assert_eq!(ids.len(), 1);
    for spelled in [
        ForeignDigest::from_bytes(&sha512),
        ForeignDigest::from_hex(&hex(&sha512)),
        ForeignDigest::from_base64(&Base64::encode_string(&sha512)),
    ] {
        assert_eq!(spelled.unwrap().hash(), ForeignHash::Sha512);
    }
    let hex_error = |text: &str| ForeignDigest::from_hex(text).unwrap_err();
    let base64_error = |text: &str| ForeignDigest::from_base64(text).unwrap_err();
    assert_eq!(hex_error(""), ImportError::DigestLength(0));
    assert_eq!(hex_error(&hex(&sha256[1..])), ImportError::DigestLength(31));
    assert_eq!(hex_error(&hex(&sha256)[1..]), ImportError::DigestHex);
    assert_eq!(hex_error(&format!("0x{}", &hex(&sha256)[2..])), ImportError::DigestHex);
    assert_eq!(hex_error(&format!("{}ä", &hex(&sha256)[2..])), ImportError::DigestHex);
    assert_eq!(hex_error(&Base64::encode_string(&sha256)), ImportError::DigestHex);
    assert_eq!(base64_error(&hex(&sha256)), ImportError::DigestLength(48));
    assert_eq!(
        base64_error(&format!(" {}", Base64::encode_string(&sha256))),
        ImportError::DigestBase64
    );
    assert_eq!(
        ForeignDigest::from_bytes(&sha512[..48]).unwrap_err(),
        ImportError::DigestLength(48)
    );
}

#[test]
fn invalid_format_is_refused_with_a_reason() {
    type Refused = Result<ForeignFormat, ConfigError>;
    let whole = || ForeignFormat::whole_token(ForeignHash::Sha256);
    let long = "a".repeat(65);
    let error = |refused: Refused| refused.unwrap_err();
    let prefix = |text: &str| ConfigError::ForeignPrefix(text.into());
    assert_eq!(error(whole().prefix("")), prefix(""));
    assert_eq!(error(whole().prefix("a b")), prefix("a b"));
    assert_eq!(error(whole().prefix("é")), prefix("é"));
    assert_eq!(error(whole().prefix(&long)), prefix(&long));
    assert!(whole().prefix(&long[1..]).is_ok());
    assert_eq!(error(ForeignFormat::prefixed_api_key("")), prefix(""));
    assert_eq!(error(ForeignFormat::prefixed_api_key("my_company")), prefix("my_company"));
    #[allow(clippy::reversed_empty_ranges, reason = "that is the test")]
    for (start, end) in [(0, 5), (1, 1_025), (5, 4)] {
        assert_eq!(error(whole().lengths(start..=end)), ConfigError::ForeignLengths(start, end));
    }
    assert!(whole().lengths(1..=1_024).is_ok());
    assert_eq!(error(whole().keyed(b"")), ConfigError::ForeignKey);
    let part = |separator, count| ForeignFormat::secret_part(ForeignHash::Sha256, separator, count);
    assert_eq!(error(part('·', 1)), ConfigError::ForeignSeparator('·'));
    assert_eq!(error(part(' ', 1)), ConfigError::ForeignSeparator(' '));
    assert_eq!(error(part('_', 0)), ConfigError::NoForeignSeparator);
}

#[test]
fn a_key_that_could_never_be_verified_is_not_imported() {
    let new = |format: &ForeignFormat, digest| ImportedKey::new(format, digest, request());
    let with = |public: &str, digest| {
        ImportedKey::with_public_part(&prefixed(), public, digest, request()).map(drop)
    };
    let sha512 = ForeignDigest::from_bytes(&[7; 64]).unwrap();
    let sha256 = || ForeignDigest::from_bytes(&[7; 32]).unwrap();
    let (expected, given) = (ForeignHash::Sha256, ForeignHash::Sha512);
    assert_eq!(new(&opaque(), sha512).unwrap_err(), ImportError::Hash { expected, given });
    assert_eq!(new(&prefixed(), sha256()).map(drop), Err(ImportError::PublicMissing));
    for malformed in ["a_b", "a b", "é", &"a".repeat(118)] {
        assert_eq!(with(malformed, sha256()), Err(ImportError::PublicMalformed), "{malformed}");
    }
    assert_eq!(with(&"a".repeat(117), sha256()), Ok(()));
    for format in [opaque(), (kinds()[3].format)()] {
        let named = ImportedKey::with_public_part(&format, "a", sha256(), request()).map(drop);
        assert_eq!(named, Err(ImportError::PublicNotNeeded));
    }

    // Formats that do not fit: none at all, another hash, another prefix, another hashed part.
    let key = || ImportedKey::with_public_part(&prefixed(), "CEUsS4psCmc", sha256(), request());
    let other = ForeignFormat::prefixed_api_key("theircompany").unwrap();
    for formats in [vec![], vec![opaque(), other]] {
        let world = world(formats);
        let refused = block_on(tenant(&world, "acme").import(key().unwrap())).unwrap_err();
        let KeyringError::Refused(ChangeError::Import(refused)) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(refused, ImportError::NotAccepted(ForeignHash::Sha256));
        assert_eq!(world.store.writes(), 1, "the tenant alone");
    }
}

#[test]
fn secret_part_begins_after_its_separator_and_within_reach() {
    let format = ForeignFormat::secret_part(ForeignHash::Sha256, '_', 2).unwrap();
    let format = format.lengths(1..=1_024).unwrap();
    let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
    let authority = authority.accept_imported(format).unwrap();
    let fits = |token: &str| authority.claims(token.as_bytes()).is_ok();
    assert!(fits("a_b_c"));
    assert!(fits("__c"));
    assert!(fits("a_b_c_d"));
    assert!(!fits("a_b"));
    assert!(!fits("a_b_"));
    assert!(fits(&format!("{}__c", "a".repeat(126))));
    assert!(!fits(&format!("{}__c", "a".repeat(127))));
}

#[test]
fn foreign_format_never_matches_keyways_own_tokens() {
    let format = |prefix| ForeignFormat::whole_token(ForeignHash::Sha256).prefix(prefix).unwrap();
    let build = |prefix| {
        Keyring::builder(policy(), pepper())
            .environment("live")
            .store(keyway::MemoryStore::new())
            .accept_imported(format(prefix))
            .build()
    };
    for own in ["mm_live_", "mm_live_x"] {
        let error = build(own).unwrap_err();
        assert_eq!(error, ConfigError::OwnPrefix(own.into()));
    }
    for other in ["mm_", "mm_test_", "mm_live"] {
        assert!(build(other).is_ok(), "{other}");
    }
    // A token that begins like keyway's own is not accepted, even if it was imported.
    let any = || ForeignFormat::whole_token(ForeignHash::Sha256).lengths(1..=100).unwrap();
    let world = world([any()]);
    let acme = tenant(&world, "acme");
    let (own, other) = ("mm_live_from_before", "mm_life_from_before");
    for token in [own, other] {
        let key = ImportedKey::new(&any(), digest_of(token), request()).unwrap();
        block_on(acme.import(key)).unwrap();
    }
    let before = world.store.all_calls();
    assert!(is_rejected(&verify(&world.keyring, own)));
    assert_eq!(world.store.all_calls(), before);
    assert!(verify(&world.keyring, other).is_ok());
}

#[test]
fn masked_key_is_set_by_the_application_and_never_the_token() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let key = || ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    let refused = block_on(acme.import(key().masked(OPAQUE).unwrap())).unwrap_err();
    assert!(
        matches!(&refused, KeyringError::Refused(ChangeError::Import(ImportError::MaskedIsToken))),
        "{refused:?}"
    );
    for masked in [format!("old {OPAQUE}"), format!("<{OPAQUE}>"), format!("…{OPAQUE}")] {
        let refused = block_on(acme.import(key().masked(masked).unwrap())).unwrap_err();
        assert!(refused.to_string().contains("masked"), "{refused:?}");
    }
    assert!(key().masked("a".repeat(65)).is_err());
    assert!(key().masked("two\nlines").is_err());
    assert!(key().masked(" ").is_err());
    let masked = "…iMn5";
    assert_eq!(block_on(acme.import(key().masked(masked).unwrap())).unwrap().masked(), masked);
    assert_eq!(block_on(acme.search("imn5")).unwrap().items.len(), 1);
    assert_eq!(imported().2.masked(), "…");
}

// Floods.

#[test]
fn token_reads_the_store_once_per_pepper_only_if_a_format_fits() {
    let peppers = || {
        let old = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(5).unwrap();
        Peppers::new(pepper()).retired(old).unwrap()
    };
    let store = crate::support::FaultyStore::over(keyway::MemoryStore::new());
    let keyring = Keyring::builder(policy(), peppers())
        .environment("live")
        .store(store.clone())
        .accept_imported(prefixed())
        .build()
        .unwrap();
    let fits = "mycompany_CEUsS4psCmc_BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb";
    let misses = [
        String::new(),
        "mycompany_".into(),
        fits.replace("mycompany", "mYcompany"),
        fits.replace("CEU", "CEU_").replace('_', "-"),
        fits[..42].into(),
        format!("{fits}zz"),
        format!(" {fits}"),
        format!("mycompany_{}", "a".repeat(40)),
        format!("mm_live_{}", "A".repeat(48)),
        format!("mm_live_{}", "A".repeat(56)),
        "x".repeat(2_000_000),
    ];
    for text in &misses {
        assert!(is_rejected(&verify(&keyring, text)), "{text}");
        assert_eq!(store.all_calls(), 0, "{text}");
    }
    assert!(is_rejected(&verify(&keyring, fits)));
    assert_eq!(store.all_calls(), 2);
}

#[test]
fn a_flood_of_made_up_foreign_tokens_leaves_the_cache_alone() {
    let world = world([opaque()]);
    let held = world.tenant_with_key("acme");
    let globex = tenant(&world, "globex");
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    block_on(globex.import(key)).unwrap();
    let reads = || {
        let before = world.store.calls("lookup");
        verify(&world.keyring, &held.token).unwrap();
        verify(&world.keyring, OPAQUE).unwrap();
        world.store.calls("lookup") - before
    };
    assert_eq!(reads(), 2);
    assert_eq!(reads(), 0);
    let before = world.store.calls("lookup");
    // Enough to hit every counter of invalidations, if each token hit one.
    for number in 0..20_000 {
        assert!(is_rejected(&verify(&world.keyring, format!("{number:043}"))));
    }
    assert_eq!(world.store.calls("lookup") - before, 20_000);
    assert_eq!(reads(), 0);
}

#[test]
fn unknown_foreign_token_is_rejected_without_an_id_in_the_audit() {
    let (world, acme, key) = imported();
    let other = OPAQUE.replace('q', "Q");
    for freshness in [Freshness::Cached, Freshness::Now] {
        world.audit.take_kinds();
        let error = block_on(world.keyring.verify_as_of(&other, freshness)).unwrap_err();
        assert_eq!(format!("{error:?} {error}"), "Rejected the API key is not valid");
        assert_eq!(world.audit.events().last().unwrap().key, None);
        assert_eq!(world.audit.take_kinds(), ["Rejected(Unknown)"]);
    }
    // Holding the token of a rotated key is a proof of it, so the log may name its tenant and key.
    let _ = block_on(acme.rotate(key.id(), 1, GracePeriod::None)).unwrap();
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
    let event = world.audit.events().pop().unwrap();
    assert_eq!(
        (event.key, event.kind),
        (Some(key.id().to_string()), "Rejected(WrongSecret)".into())
    );
    block_on(acme.delete(key.id())).unwrap();
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
    assert_eq!(world.audit.events().pop().unwrap().kind, "Rejected(Unknown)");
}

#[test]
fn store_outage_is_not_a_rejection() {
    let (world, _, _) = imported();
    world.store.set_down(true);
    assert!(verify(&world.keyring, OPAQUE).unwrap_err().is_unavailable());
    // A text that fits no format is rejected even during the outage.
    assert!(is_rejected(&verify(&world.keyring, "nothing")));
    world.store.set_down(false);
    assert!(verify(&world.keyring, OPAQUE).is_ok());
    world.store.set_down(true);
    assert!(verify(&world.keyring, OPAQUE).is_ok(), "it is cached");
}

// Properties of an imported key.

#[test]
fn imported_key_has_the_same_states_as_any_other() {
    let (world, acme, key) = imported();
    let verify = || verify(&world.keyring, OPAQUE);
    let state = || match verify() {
        Err(VerifyError::Inactive(state)) => state,
        other => panic!("{other:?}"),
    };
    assert!(verify().is_ok());
    block_on(acme.disable(key.id())).unwrap();
    assert_eq!(state(), KeyState::Disabled);
    // The event names tenant and key, whether the key was read or cached.
    for _ in 0..2 {
        let event = world.audit.events().pop().unwrap();
        assert_eq!(event.kind, "Inactive(Disabled)");
        assert_eq!(event.tenant.as_deref(), Some(acme.id().as_str()));
        assert_eq!(event.key, Some(key.id().to_string()));
        world.audit.take_kinds();
        assert_eq!(state(), KeyState::Disabled);
    }
    assert_eq!(state(), KeyState::Disabled, "cached");
    block_on(acme.enable(key.id())).unwrap();
    assert!(verify().is_ok());

    let ban = || Suspension::permanent("floods the report endpoint").unwrap();
    block_on(world.keyring.suspend_key(key.id(), ban())).unwrap();
    assert_eq!(state(), KeyState::KeySuspended { until: None });
    block_on(world.keyring.resume_key(key.id())).unwrap();
    block_on(world.keyring.suspend_tenant(acme.id(), ban())).unwrap();
    assert_eq!(state(), KeyState::TenantSuspended { until: None });
    block_on(world.keyring.resume_tenant(acme.id())).unwrap();
    assert!(verify().is_ok());

    let version = block_on(acme.find(key.id())).unwrap().version();
    let edit = KeyEdit::new().expires_at(world.after(HOUR)).scopes(["operator"]);
    let edited = block_on(acme.edit(key.id(), version, edit)).unwrap();
    assert!(edited.imported(), "an edit leaves the secret as it is");
    assert_eq!(catalog().text(verify().unwrap().scopes()), "operator");
    world.clock.advance(HOUR);
    assert!(matches!(state(), KeyState::Expired { .. }));
}

#[test]
fn an_import_is_bound_by_the_rules_of_an_issue() {
    let short = Tier::new("short", 5).scopes(["reporting"]).max_lifetime(DAY);
    let policy = Policy::new("mm", catalog(), [short]).unwrap();
    let world = World::with(policy, |builder| builder.accept_imported(opaque()));
    let acme = block_on(world.keyring.create_empty_tenant("acme", "short")).unwrap();
    let import = |keys: &TenantKeys, request| {
        let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request).unwrap();
        block_on(keys.import(key))
    };
    let refusals = [
        import(&acme, NewKey::named("")),
        import(&acme, NewKey::named("a").scopes(["none"])),
        import(&acme, NewKey::named("a").scopes(["operator"])),
        import(&acme, NewKey::named("a").expires_at(world.now())),
        import(&acme, NewKey::named("a").expires_at(world.after(2 * DAY))),
        import(&acme.clone().granting_at_most(&Grant::unlimited(catalog().none())), request()),
    ];
    let words: Vec<String> = refusals
        .into_iter()
        .map(|refused| {
            let Err(KeyringError::Refused(refused)) = refused else { panic!("{refused:?}") };
            let text = format!("{refused:?}");
            text.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        words,
        [
            "Invalid",
            "UnknownScope",
            "AboveCeiling",
            "ExpiryInPast",
            "LifetimeTooLong",
            "AboveGranter"
        ]
    );
    let nobody = world.keyring.tenant(tenant_id("nobody"));
    assert!(matches!(import(&nobody, request()), Err(KeyringError::NoTenant(_))));

    let key = import(&acme.acting_as("Ada"), request()).unwrap();
    assert_eq!((key.created_by(), key.created_at()), ("Ada", world.now()));
    assert_eq!(key.expires_at(), Some(world.after(DAY)));
    let event = world.audit.events().pop().unwrap();
    assert_eq!((event.actor.as_str(), event.key), ("Ada", Some(key.id().to_string())));
    assert!(event.kind.starts_with("KeyImported"), "{}", event.kind);
}

#[test]
fn imported_keys_count() {
    let world = world([opaque()]);
    let lite = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let import = |token: &str| {
        let key = ImportedKey::new(&opaque(), digest_of(token), request()).unwrap();
        block_on(lite.import(key))
    };
    import(OPAQUE).unwrap();
    let full = import(&OPAQUE.replace('q', "Q")).unwrap_err();
    assert!(matches!(full, KeyringError::QuotaExceeded { allowed: 1, held: 1, .. }), "{full:?}");
    let full = block_on(lite.issue(request())).unwrap_err();
    assert!(matches!(full, KeyringError::QuotaExceeded { .. }), "{full:?}");
}

#[test]
fn repeated_import_at_full_quota_reports_already_imported() {
    let world = world([opaque()]);
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let import = |token: &str| {
        block_on(acme.import(ImportedKey::new(&opaque(), digest_of(token), request()).unwrap()))
    };
    let other = OPAQUE.replace(&OPAQUE[..1], "z");
    let key = import(OPAQUE).unwrap();
    for _ in 0..2 {
        let again = import(OPAQUE);
        assert!(matches!(again, Err(KeyringError::AlreadyImported(id)) if id == key.id()));
        // Another key does not fit into the quota.
        let refused = import(&other);
        assert!(matches!(refused, Err(KeyringError::QuotaExceeded { held: 1, allowed: 1, .. })));
    }
    // Under the new pepper the key would get another id.
    let current = Pepper::from_bytes(&[9; 32]).unwrap().in_slot(9).unwrap();
    let renewed = Keyring::builder(policy(), Peppers::new(current).retiring(pepper()).unwrap())
        .environment("live")
        .store(world.store.clone())
        .accept_imported(opaque())
        .build()
        .unwrap();
    let again = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    let again = block_on(renewed.tenant(tenant_id("acme")).import(again));
    assert!(matches!(again, Err(KeyringError::AlreadyImported(id)) if id == key.id()), "{again:?}");
}

#[test]
fn repeated_import_of_a_deleted_key_at_full_quota_says_so() {
    let world = world([opaque()]);
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let import = || {
        block_on(acme.import(ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap()))
    };
    let key = import().unwrap();
    block_on(acme.delete(key.id())).unwrap();
    let _ = block_on(acme.issue(NewKey::named("the one that lite allows"))).unwrap();
    let again = import();
    assert!(matches!(again, Err(KeyringError::AlreadyImported(id)) if id == key.id()), "{again:?}");
    let full = block_on(acme.issue(NewKey::named("n")));
    assert!(matches!(full, Err(KeyringError::QuotaExceeded { .. })), "{full:?}");
}

#[test]
fn import_over_quota_must_be_requested_and_counts() {
    let world = world([opaque()]);
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    drop(block_on(acme.issue(NewKey::named("first"))).unwrap());
    let key = || ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    assert!(matches!(block_on(acme.import(key())), Err(KeyringError::QuotaExceeded { .. })));
    block_on(acme.import(key().over_quota())).unwrap();
    assert!(verify(&world.keyring, OPAQUE).is_ok());
    let quota = block_on(acme.quota()).unwrap();
    assert_eq!((quota.held, quota.allowed), (2, 1));
    let more = block_on(acme.issue(NewKey::named("more")));
    assert!(matches!(more, Err(KeyringError::QuotaExceeded { held: 2, .. })));
    let again = block_on(acme.import(key()));
    assert!(matches!(again, Err(KeyringError::AlreadyImported(_))));
}

#[test]
fn a_disabled_key_is_imported_disabled() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap().enabled(false);
    let key = block_on(acme.import(key)).unwrap();
    assert!(!key.enabled());
    let refused = verify(&world.keyring, OPAQUE);
    assert!(matches!(refused, Err(VerifyError::Inactive(KeyState::Disabled))));
    block_on(acme.enable(key.id())).unwrap();
    assert!(verify(&world.keyring, OPAQUE).is_ok());
}

#[test]
fn last_use_is_imported_and_written_again_if_lost() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let at = |text: &str| text.parse().unwrap();
    let key = |used: &str| {
        let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
        key.last_used(at(used))
    };
    let future = block_on(acme.import(key("2026-01-01T00:00:01Z"))).unwrap_err();
    assert_eq!(future.to_string(), "the last use 2026-01-01T00:00:01Z is in the future");
    let imported = block_on(acme.import(key("2025-11-22T09:30:59Z"))).unwrap();
    let expected = Some(at("2025-11-22T09:30:00Z"));
    assert_eq!(imported.last_used(), expected);
    let last_used = || block_on(acme.find(imported.id())).unwrap().last_used();
    assert_eq!(last_used(), expected);
    // A repetition writes the last use that an interrupted import did not write, and never moves it back.
    for (used, kept) in [
        ("2025-12-01T00:00:59Z", "2025-12-01T00:00:00Z"),
        ("2025-01-01T00:00:00Z", "2025-12-01T00:00:00Z"),
    ] {
        let again = block_on(acme.import(key(used)));
        assert!(matches!(again, Err(KeyringError::AlreadyImported(_))));
        assert_eq!(last_used(), Some(at(kept)));
    }
}

#[test]
fn an_imported_key_is_unused_since_its_imported_last_use() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let used: Timestamp = "2025-06-01T00:00:00Z".parse().unwrap();
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    block_on(acme.import(key.last_used(used))).unwrap();
    let _ = block_on(acme.issue(NewKey::named("new here"))).unwrap();
    let found = |since: &str| {
        let filter = KeyFilter::all().unused_since(since.parse().unwrap());
        block_on(world.keyring.all_keys(&filter, None)).unwrap().items.len()
    };
    // The clock of the world is at the beginning of 2026.
    assert_eq!((found("2025-06-01T00:00:00Z"), found("2025-06-02T00:00:00Z")), (0, 1));
}

#[test]
fn a_key_is_imported_once() {
    let (world, acme, key) = imported();
    let globex = tenant(&world, "globex");
    let again = || ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    for keys in [&acme, &globex] {
        let before = world.store.calls("insert_key");
        let refused = block_on(keys.import(again())).unwrap_err();
        assert!(matches!(refused, KeyringError::AlreadyImported(id) if id == key.id()));
        assert_eq!(world.store.calls("insert_key"), before, "it is known before");
    }
    block_on(acme.delete(key.id())).unwrap();
    assert!(matches!(block_on(acme.import(again())), Err(KeyringError::AlreadyImported(_))));
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
}

#[test]
fn import_with_a_lost_response_is_reported_as_done() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    let key = || ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    world.store.hold("insert_key");
    std::thread::scope(|scope| {
        let import = scope.spawn(|| block_on(acme.import(key())));
        world.store.await_call("insert_key");
        world.store.set_losing_answers(true);
        world.store.release("insert_key");
        assert!(import.join().unwrap().unwrap_err().is_unavailable());
    });
    world.store.set_losing_answers(false);
    let again = block_on(acme.import(key())).unwrap_err();
    let id = verify(&world.keyring, OPAQUE).unwrap().key_id();
    assert!(matches!(again, KeyringError::AlreadyImported(is) if is == id), "{again:?}");
}

#[test]
fn a_race_for_the_tenant_is_run_again_under_the_same_id() {
    let world = world([opaque()]);
    let acme = tenant(&world, "acme");
    world.store.hold("insert_key");
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    std::thread::scope(|scope| {
        let import = scope.spawn(|| block_on(acme.import(key)));
        world.store.await_call("insert_key");
        block_on(world.another_node().keyring.set_tier(acme.id(), "lite")).unwrap();
        world.store.release("insert_key");
        assert!(import.join().unwrap().is_ok());
    });
    assert_eq!(world.store.calls("insert_key"), 2);
    assert!(verify(&world.keyring, OPAQUE).is_ok());
}

// Rotation.

#[test]
fn rotation_without_grace_period_ends_the_foreign_token() {
    let (world, acme, key) = imported();
    let rotated = block_on(acme.rotate(key.id(), 1, GracePeriod::None)).unwrap();
    assert!(!rotated.key.imported());
    assert_eq!(rotated.key.id(), key.id());
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
    let token = rotated.token.reveal_known();
    assert!(token.starts_with("mm_live_") && token.len() == 64);
    assert!(rotated.key.masked().starts_with("mm_live_"));
    assert_eq!(verify(&world.keyring, &*token).unwrap().key_id(), key.id());
}

#[test]
fn in_a_timed_grace_period_both_tokens_work_until_it_ends() {
    let (world, acme, key) = imported();
    let rotated = block_on(acme.rotate(key.id(), 1, GracePeriod::For(HOUR))).unwrap();
    let token = rotated.token.reveal_known();
    for _ in 0..2 {
        assert!(!verify(&world.keyring, &*token).unwrap().used_previous_secret());
        assert!(verify(&world.keyring, OPAQUE).unwrap().used_previous_secret());
    }
    world.clock.advance(HOUR);
    assert!(verify(&world.keyring, &*token).is_ok());
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
}

#[test]
fn the_first_use_of_the_new_token_ends_the_foreign_one() {
    let (world, acme, key) = imported();
    let rotated = block_on(acme.rotate(key.id(), 1, GracePeriod::UntilFirstUse)).unwrap();
    let token = rotated.token.reveal_known();
    assert!(verify(&world.keyring, OPAQUE).unwrap().used_previous_secret());
    // A successor that may be in use stays, and so does the foreign token.
    let again = block_on(acme.rotate(key.id(), 2, GracePeriod::UntilFirstUse)).unwrap();
    assert!(verify(&world.keyring, OPAQUE).is_ok());
    let between = token;
    let token = again.token.reveal_known();
    world.audit.take_kinds();
    assert!(verify(&world.keyring, &*token).is_ok());
    assert_eq!(world.audit.take_kinds(), ["GracePeriodEnded"]);
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
    assert!(is_rejected(&verify(&world.keyring, &*between)));
    assert!(verify(&world.keyring, &*token).is_ok());
}

#[test]
fn new_token_on_another_node_invalidates_the_cached_old_one() {
    let (world, acme, key) = imported();
    let other = world.another_node_with(policy(), |builder| builder.accept_imported(opaque()));
    assert!(verify(&other.keyring, OPAQUE).is_ok());
    let rotated = block_on(acme.rotate(key.id(), 1, GracePeriod::None)).unwrap();
    assert!(verify(&other.keyring, &*rotated.token.reveal_known()).is_ok());
    assert!(is_rejected(&verify(&other.keyring, OPAQUE)));
}

#[test]
fn import_is_seen_on_a_node_that_just_rejected_the_token() {
    let world = world([opaque()]);
    let other = world.another_node_with(policy(), |builder| builder.accept_imported(opaque()));
    assert!(is_rejected(&verify(&other.keyring, OPAQUE)));
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    block_on(tenant(&world, "acme").import(key)).unwrap();
    assert!(verify(&other.keyring, OPAQUE).is_ok());
}

// Peppers and environments.

fn under(world: &World, peppers: Peppers) -> (Keyring, crate::support::FaultyStore) {
    let store = crate::support::FaultyStore::over(world.store.memory().clone());
    let keyring = Keyring::builder(policy(), peppers)
        .environment("live")
        .store(store.clone())
        .clock(world.clock.clone())
        .rng(crate::support::fresh_rng())
        .accept_imported(opaque())
        .build();
    (keyring.unwrap(), store)
}

#[test]
fn imported_key_works_while_its_pepper_is_in_the_ring() {
    let (world, acme, key) = imported();
    let new = || Pepper::from_bytes(&[3; 32]).unwrap().in_slot(9).unwrap();
    let (retiring, store) = under(&world, Peppers::new(new()).retiring(pepper()).unwrap());
    assert_eq!(verify(&retiring, OPAQUE).unwrap().key_id(), key.id());
    assert_eq!(store.calls("lookup"), 2, "the current pepper first");
    assert!(verify(&retiring, OPAQUE).is_ok());
    assert_eq!(store.calls("lookup"), 2, "cached");
    // The key exists, under another id than it would get now.
    let again = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    let again = block_on(retiring.tenant(acme.id().clone()).import(again));
    assert!(matches!(again, Err(KeyringError::AlreadyImported(id)) if id == key.id()));

    block_on(retiring.reseal(None, |_| {})).unwrap();
    let (retired, store) = under(&world, Peppers::new(new()).retired(pepper()).unwrap());
    assert!(verify(&retired, OPAQUE).is_ok());
    assert!(verify(&retired, OPAQUE).is_ok());
    assert_eq!(store.calls("lookup"), 2);
    let keys = retired.tenant(acme.id().clone());
    let version = block_on(keys.find(key.id())).unwrap().version();
    let rotated = block_on(keys.rotate(key.id(), version, GracePeriod::UntilFirstUse)).unwrap();
    assert!(verify(&retired, OPAQUE).is_ok());
    assert!(verify(&retired, &*rotated.token.reveal_known()).is_ok());
    assert!(is_rejected(&verify(&retired, OPAQUE)));

    let (gone, _) = under(&world, Peppers::new(new()));
    assert!(is_rejected(&verify(&gone, OPAQUE)));
}

#[test]
fn other_environment_issuer_or_pepper_gives_another_key_id() {
    let now = Timestamp::from_millis(1_800_000_000_000).unwrap();
    let import = |issuer: &str, environment: &str, byte: u8| {
        let policy = Policy::new(issuer, catalog(), Tier::built_in()).unwrap();
        let pepper = Pepper::from_bytes(&[byte; 32]).unwrap();
        let authority = Authority::new(policy, environment, &pepper.into()).unwrap();
        let authority = authority.accept_imported(opaque()).unwrap();
        let tenant = authority.create_tenant(tenant_id("acme"), "lite", now).unwrap();
        let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), NewKey::named("a")).unwrap();
        let key = authority.import(&tenant, key, now).unwrap();
        let resolved = Arc::new(authority.resolve(&key, &tenant).unwrap());
        let claims = authority.claims(OPAQUE.as_bytes()).unwrap();
        assert_eq!(claims.len(), 1);
        assert!(decide(&claims[0], &resolved, now).is_ok());
        (key.id(), kept_digest(&key), resolved, claims)
    };
    let worlds = [
        import("mm", "live", 7),
        import("mm", "test", 7),
        import("m", "live", 7),
        import("mm", "live", 8),
    ];
    for (left, (id, digest, key, _)) in worlds.iter().enumerate() {
        for (right, (other, other_digest, _, claims)) in worlds.iter().enumerate() {
            assert_eq!(id == other, left == right);
            assert_eq!(digest == other_digest, left == right);
            assert_eq!(decide(&claims[0], key, now).is_ok(), left == right);
        }
    }
}

#[test]
fn same_digest_of_another_part_gives_another_key() {
    // The same 32 bytes, as the digest of every possible part.
    let digest = || ForeignDigest::from_bytes(&[7; 32]).unwrap();
    let whole = || ForeignFormat::whole_token(ForeignHash::Sha256);
    let part = |separator, count| {
        ForeignFormat::secret_part(ForeignHash::Sha256, separator, count).unwrap()
    };
    let keys = [
        ImportedKey::new(&whole(), digest(), request()),
        ImportedKey::new(&whole().keyed(b"a").unwrap(), digest(), request()),
        ImportedKey::with_public_part(&part('_', 1), "a", digest(), request()),
        ImportedKey::with_public_part(&part('_', 1), "b", digest(), request()),
        ImportedKey::with_public_part(&part('.', 1), "a", digest(), request()),
        ImportedKey::with_public_part(&part('_', 2), "a_b", digest(), request()),
    ];
    let formats = [whole(), whole().keyed(b"a").unwrap(), part('_', 1), part('.', 1), part('_', 2)];
    let world = world(formats);
    let acme = [tenant(&world, "acme"), tenant(&world, "globex")];
    let ids: BTreeSet<_> = keys
        .into_iter()
        .enumerate()
        .map(|(number, key)| block_on(acme[number / 5].import(key.unwrap())).unwrap().id())
        .collect();
    assert_eq!(ids.len(), 6);
}

#[test]
fn each_of_several_formats_leads_to_its_key() {
    let hashes = [ForeignHash::Sha256, ForeignHash::Sha512];
    let formats = || hashes.map(ForeignFormat::whole_token);
    let world = world(formats());
    let acme = tenant(&world, "acme");
    let other = OPAQUE.replace('q', "Q");
    let sha512 = ForeignDigest::from_bytes(&Sha512::digest(&other)).unwrap();
    for (format, digest) in formats().iter().zip([digest_of(OPAQUE), sha512]) {
        block_on(acme.import(ImportedKey::new(format, digest, request()).unwrap())).unwrap();
    }
    assert_ne!(
        verify(&world.keyring, OPAQUE).unwrap().key_id(),
        verify(&world.keyring, &other).unwrap().key_id()
    );
    // Cached: no candidate is read again.
    world.store.set_down(true);
    assert!(verify(&world.keyring, OPAQUE).is_ok());
    assert!(verify(&world.keyring, &other).is_ok());
}

// Holders, search and keyway's own tokens.

#[test]
fn holder_operations_work_with_a_foreign_token() {
    let (world, acme, key) = imported();
    let other = OPAQUE.replace('q', "Q");
    let described = block_on(world.keyring.describe(OPAQUE)).unwrap();
    assert_eq!((described.key.id(), described.state), (key.id(), KeyState::Active));
    assert_eq!(block_on(acme.find_by_token(OPAQUE)).unwrap().id(), key.id());
    assert!(matches!(block_on(acme.find_by_token(&other)), Err(KeyringError::NoKey)));
    assert!(matches!(block_on(world.keyring.describe(&other)), Err(KeyringError::Rejected)));
    let globex = tenant(&world, "globex");
    assert!(matches!(block_on(globex.find_by_token(OPAQUE)), Err(KeyringError::NoKey)));

    assert!(block_on(world.keyring.report_leak(&other, "seen", LeakResponse::Suspend)).is_err());
    let leaked =
        block_on(world.keyring.report_leak(OPAQUE, "seen in a repository", LeakResponse::Suspend))
            .unwrap();
    assert_eq!(leaked.id(), key.id());
    assert!(matches!(verify(&world.keyring, OPAQUE), Err(VerifyError::Inactive(_))));
    assert!(block_on(world.keyring.revoke(&other)).is_err());
    block_on(world.keyring.revoke(OPAQUE)).unwrap();
    assert!(is_rejected(&verify(&world.keyring, OPAQUE)));
}

#[test]
fn search_for_a_foreign_token_is_not_sent_to_the_store() {
    let [.., kind] = kinds();
    let world = world([opaque(), (kind.format)()]);
    let (acme, globex) = (tenant(&world, "acme"), tenant(&world, "globex"));
    let key = ImportedKey::new(&opaque(), digest_of(OPAQUE), request()).unwrap();
    block_on(acme.import(key)).unwrap();
    block_on(acme.import(kind.key())).unwrap();
    let search = |keys: &TenantKeys, text: &str| block_on(keys.search(text)).unwrap().items.len();

    for token in [OPAQUE, kind.token] {
        for text in
            [token.into(), format!("Authorization: Bearer {token}\n"), format!("\"{token}\"")]
        {
            assert_eq!((search(&acme, &text), search(&globex, &text)), (1, 0), "{text}");
        }
    }
    // Tokens of no key that are evidently tokens, or the larger part of one.
    for text in [kind.token.replace("gbjb", "gbjB"), kind.token[..40].into()] {
        assert_eq!(search(&acme, &text), 0);
    }
    assert_eq!(world.store.searched(), [""; 0]);
    // The public part is searched for, and so is a text that only has the length of an opaque token.
    assert_eq!(search(&acme, "mycompany_CEUsS4psCmc_"), 1);
    assert_eq!(search(&acme, "CEUsS4"), 1);
    assert_eq!(search(&acme, "a text of 43 characters, which is no token."), 0);
    assert_eq!(world.store.searched().len(), 3);
}

#[test]
fn native_token_is_unaffected_by_accepted_foreign_formats() {
    let any = || ForeignFormat::whole_token(ForeignHash::Sha256).lengths(1..=1_024).unwrap();
    let world = world([any()]);
    let held = world.tenant_with_key("acme");
    assert!(verify(&world.keyring, &held.token).is_ok());
    let before = world.store.all_calls();
    let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
    let authority = authority.accept_imported(any()).unwrap();
    let mut token = held.token.clone().into_bytes();
    for place in "mm_live_".len()..token.len() {
        token[place] ^= 1;
        assert!(is_rejected(&verify(&world.keyring, &token)));
        assert_eq!(authority.claims(&token).unwrap_err(), Rejection::Forged);
        token[place] ^= 1;
    }
    assert_eq!(authority.claims(b"mm_live_").unwrap_err(), Rejection::Malformed);
    assert_eq!(world.store.all_calls(), before);
    assert_eq!(authority.claims(&token).unwrap().len(), 1);
    assert!(verify(&world.keyring, &token).is_ok());
}

// Records.

#[test]
fn imported_flag_is_written_serialized_and_sealed() {
    let (world, acme, key) = imported();
    assert_eq!(KeyRecord::decode(&key.encode()).unwrap(), key);
    let json = serde_json::to_value(&key).unwrap();
    assert_eq!(json["imported"], true);
    let native = world.tenant_with_key("globex").key;
    assert!(!native.imported());
    assert_eq!(serde_json::to_value(&native).unwrap()["imported"], false);
    // The flag is written before the switch for children, the public key and the three notices that are missing, and the seal.
    let mut bytes = key.encode();
    let place = bytes.len() - 39;
    assert_eq!(bytes[place], 1);
    bytes[place] = 0;
    let unmarked = KeyRecord::decode(&bytes).unwrap();
    assert!(!unmarked.imported());
    bytes[place] = 2;
    assert!(KeyRecord::decode(&bytes).is_err());
    world.store.rewrite_keys(move |_| Ok(unmarked.clone()));
    assert!(matches!(verify(&world.keyring, OPAQUE), Err(VerifyError::Tampered)));
    assert!(block_on(acme.find(key.id())).unwrap_err().is_tampered());
    world.store.rewrite_nothing();
    assert!(verify(&world.keyring, OPAQUE).is_ok());
    assert!(block_on(acme.list(&KeyQuery::all())).unwrap().items[0].imported());
}

#[test]
fn a_wrong_foreign_token_is_refused_by_the_comparison_too() {
    // Even with the id of the record, only the right digest is accepted.
    let (world, _, key) = imported();
    let authority = Authority::new(policy(), "live", &pepper().into()).unwrap();
    let authority = authority.accept_imported(opaque()).unwrap();
    let stored = block_on(keyway::store::KeyLookup::lookup(world.store.memory(), key.id()));
    let stored = stored.unwrap().unwrap();
    let resolved = Arc::new(authority.resolve(&stored.key, &stored.tenant).unwrap());
    let right = authority.claims(OPAQUE.as_bytes()).unwrap();
    let wrong = authority.claims(OPAQUE.replace('q', "Q").as_bytes()).unwrap();
    assert!(resolved.is_proven_by(&right[0], world.now()));
    let denied = decide(&wrong[0], &resolved, world.now()).unwrap_err();
    assert_eq!(denied, Denial::Rejected(Rejection::Unknown));
    // The id of an imported key in a token of keyway's own form does not have a valid tag.
    let minted = format!("mm_live_{}{}", key.id(), "A".repeat(40));
    assert_eq!(authority.claims(minted.as_bytes()).unwrap_err(), Rejection::Forged);
    world.clock.advance(Duration::from_secs(1));
    assert!(verify(&world.keyring, OPAQUE).is_ok());
}
