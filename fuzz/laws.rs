//! The laws that hold for every input, one per target.
//!
//! Each law takes the function under test, so that it can also be tested with a faulty one. It returns
//! whether the input was accepted. The fuzz targets and the replay of the corpus share the laws.

#[cfg(feature = "children")]
use std::collections::BTreeMap;
use std::{convert::Infallible, sync::LazyLock};

use keyway::{
    ConfigError, ImportedKey, KeyId, KeyRecord, Keyring, MemoryStore, NewKey, Pepper, Policy,
    ScopeCatalog, Timestamp, VerifyError,
    audit::Rejection,
    import::{ForeignDigest, ForeignFormat, ForeignHash, ImportError},
    lowlevel::{Authority, CredentialError, Seals, TokenFormat, bearer_token},
    record::{Labels, TenantRecord},
    scope::{Scope, ScopeSet},
};
#[cfg(feature = "children")]
use keyway::{
    children::{ChildMinter, NewChild},
    grant::{Networks, Resources},
    time::ManualClock,
    verifier::Freshness,
};
use rand_core::{TryCryptoRng, TryRng};

/// A token is accepted only if it is equal, byte for byte, to one that was minted.
///
/// The input is presented unchanged, and again as edits of a minted token: pairs of an index and the bits to
/// flip there.
pub(crate) fn token(data: &[u8], check: impl Fn(&[u8]) -> Result<(), Rejection>) -> bool {
    let is_accepted = |presented: &[u8]| {
        let answer = check(presented);
        let is_minted = presented == MINTED.token.as_bytes();
        assert_eq!(answer.is_ok(), is_minted, "{}", presented.escape_ascii());
        let prefix = MINTED.format.prefix().as_bytes();
        let has_shape = presented.len() == MINTED.token.len() && presented.starts_with(prefix);
        assert_eq!(has_shape, answer != Err(Rejection::Malformed));
        is_minted
    };
    let mut edited = MINTED.token.as_bytes().to_vec();
    for edit in data.chunks_exact(2) {
        let place = usize::from(edit[0]) % edited.len();
        edited[place] ^= edit[1];
    }
    is_accepted(&edited);
    is_accepted(data)
}

pub(crate) fn check(presented: &[u8]) -> Result<(), Rejection> {
    MINTED.format.check(presented).map(drop)
}

/// A policy that can be read satisfies the invariants of policies, whatever it was read from.
pub(crate) fn policy(data: &[u8], ceiling: impl Fn(&Policy, &str) -> Option<ScopeSet>) -> bool {
    let policy: Policy = match serde_json::from_slice(data) {
        Ok(policy) => policy,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return false;
        }
    };
    TokenFormat::new(policy.issuer(), "live", &pepper().into()).unwrap();
    let catalog = policy.catalog();
    let scopes: Vec<&Scope> = catalog.iter().map(|(scope, _)| scope).collect();
    assert!(scopes.len() <= ScopeCatalog::MAX_SCOPES);
    assert!(scopes.is_sorted_by(|left, right| left < right));
    for scope in &scopes {
        let set = catalog.set([scope]).unwrap();
        assert!(catalog.all().covers(set) && !catalog.none().covers(set));
        // No two scopes are equal in the order: none is both above and below another.
        assert_eq!(catalog.text(set), scope.as_str());
        if let Some((above, _)) = scope.as_str().rsplit_once('.')
            && let Ok(above) = catalog.set([above])
        {
            assert!(above.covers(set));
        }
    }
    let kinds: Vec<&str> = catalog.resources().map(|(kind, _)| kind).collect();
    for (index, kind) in kinds.iter().enumerate() {
        assert_eq!(catalog.resource(kind).unwrap().name(), *kind);
        // No two kinds have one name.
        assert!(!kinds[..index].contains(kind));
    }
    assert!(!policy.tiers().is_empty());
    for tier in policy.tiers() {
        assert_eq!(policy.tier(&tier.name), Some(tier));
        assert!(catalog.all().covers(ceiling(&policy, &tier.name).unwrap()));
    }
    for pair in policy.tiers().windows(2) {
        let [lower, higher] = pair else { continue };
        assert!(lower.keys <= higher.keys);
        let ceiling = |name: &str| ceiling(&policy, name).unwrap();
        assert!(ceiling(&higher.name).covers(ceiling(&lower.name)));
        let lifetime = |tier: &keyway::Tier| tier.max_lifetime.unwrap_or(std::time::Duration::MAX);
        assert!(lifetime(lower) <= lifetime(higher));
    }
    true
}

/// A text of scopes is read as one set, which has one canonical text. Sets form a lattice.
///
/// Each line of the input is one text.
pub(crate) fn scope_text(
    data: &[u8],
    parse: impl Fn(&ScopeCatalog, &str) -> Result<ScopeSet, ConfigError>,
) -> bool {
    let catalog = POLICY.catalog();
    let Ok(text) = str::from_utf8(data) else {
        return false;
    };
    let mut sets = Vec::new();
    for text in text.lines() {
        let names = || text.split(' ').filter(|name| !name.is_empty());
        let Ok(set) = parse(catalog, text) else {
            let is_declared = |name| catalog.iter().any(|(scope, _)| scope.as_str() == name);
            assert!(!names().all(is_declared), "{text:?}");
            continue;
        };
        for name in names() {
            assert!(set.covers(catalog.set([name]).unwrap()), "{name}");
        }
        let canonical = catalog.text(set);
        assert_eq!(parse(catalog, &canonical).unwrap(), set);
        // The names are maximal and sorted, and each was in the text.
        let maximal: Vec<&str> = canonical.split_terminator(' ').collect();
        assert!(maximal.is_sorted_by(|left, right| left < right));
        for name in &maximal {
            assert!(names().any(|given| given == *name), "{name} in {text:?}");
            let others = maximal.iter().filter(|other| *other != name);
            let name = catalog.set([name]).unwrap();
            assert!(!catalog.set(others).unwrap().covers(name));
        }
        sets.push(set);
        if sets.len() == 4 {
            break;
        }
    }
    for (x, y) in sets.iter().flat_map(|x| sets.iter().map(move |y| (*x, *y))) {
        assert_eq!(x.join(y), y.join(x));
        assert_eq!(x.meet(y), y.meet(x));
        assert_eq!(x.join(x.meet(y)), x);
        assert_eq!(x.covers(y), x.join(y) == x);
        assert_eq!(x.covers(y), x.meet(y) == y);
    }
    !sets.is_empty()
}

pub(crate) fn parse(catalog: &ScopeCatalog, text: &str) -> Result<ScopeSet, ConfigError> {
    catalog.parse(text)
}

/// Bytes that decode as a record are exactly the bytes that the record encodes to.
pub(crate) fn record(data: &[u8], decode: impl Fn(&[u8]) -> Option<KeyRecord>) -> bool {
    let tenant = TenantRecord::decode(data).ok();
    if let Some(tenant) = &tenant {
        assert_eq!(tenant.encode(), data);
    }
    let Some(key) = decode(data) else {
        return tenant.is_some();
    };
    assert!(tenant.is_none());
    let encoded = key.encode();
    assert!(encoded == data, "{}", encoded.escape_ascii());
    assert_eq!(decode(&encoded), Some(key.clone()));
    // A seal cannot be made without the pepper, so only the record that was issued here is sealed.
    let is_sealed = SEALED.seals.check_key(&key).is_ok();
    assert_eq!(is_sealed, encoded == SEALED.record);
    true
}

/// A header is accepted only if it holds the minted token after the scheme. No header makes a verification
/// unavailable or a record tampered with.
///
/// The input is presented unchanged, and again as edits of an accepted header.
pub(crate) fn authorization(
    data: &[u8],
    verify: impl Fn(&[u8]) -> Result<(), VerifyError>,
) -> bool {
    let is_accepted = |value: &[u8]| {
        let answer = verify(value);
        let token = bearer_token(value);
        match (&answer, token) {
            (Ok(()), Ok(token)) => assert_eq!(token, SERVICE.issued.as_bytes()),
            (Err(VerifyError::Rejected), Ok(token)) => assert_ne!(token, SERVICE.issued.as_bytes()),
            (Err(VerifyError::Missing), Err(CredentialError::Missing))
            | (Err(VerifyError::BadRequest), Err(CredentialError::Unreadable)) => {}
            (answer, _) => panic!("{answer:?} to {}", value.escape_ascii()),
        }
        if let Ok(token) = token {
            let scheme = value.strip_suffix(token).unwrap().to_ascii_lowercase();
            let scheme = scheme.strip_suffix(b"secret-token:").unwrap_or(&scheme);
            assert_eq!(scheme.trim_ascii_end(), b"bearer");
        }
        answer.is_ok()
    };
    let mut edited = format!("Bearer {}", SERVICE.issued).into_bytes();
    for edit in data.chunks_exact(2) {
        let place = usize::from(edit[0]) % edited.len();
        edited[place] ^= edit[1];
    }
    is_accepted(&edited);
    is_accepted(data)
}

pub(crate) fn verify(value: &[u8]) -> Result<(), VerifyError> {
    pollster::block_on(SERVICE.keyring.verify_authorization(Some(value))).map(drop)
}

/// A request is admitted exactly if it presents one key, once and unaltered. No rejection repeats anything
/// from the request.
///
/// Each line of the input is a header. `admit` returns the status and body of the rejection.
#[cfg(feature = "http")]
pub(crate) fn request(
    data: &[u8],
    admit: impl Fn(&[(&str, &[u8])]) -> Result<(), (u16, String)>,
) -> bool {
    let mut fields: Vec<(&str, &[u8])> = Vec::new();
    for line in data.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let Ok(name) = str::from_utf8(&line[..colon]) else { continue };
        // Trimmed, as a server passes it on.
        fields.push((name, line[colon + 1..].trim_ascii()));
    }
    let named = |name: &'static str| {
        let is_it = move |field: &&(&str, &[u8])| field.0.eq_ignore_ascii_case(name);
        fields.iter().filter(is_it).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    let (authorization, own) = (named("authorization"), named("x-api-key"));
    let is_issued = |token: &[u8]| token == SERVICE.issued.as_bytes();
    let is_bearer = |value: &[u8]| bearer_token(value).is_ok_and(is_issued);
    let own_token = |value: &[u8]| is_issued(value.strip_prefix(b"secret-token:").unwrap_or(value));
    let expected = match (&*authorization, &*own) {
        ([one], [] | [b""]) => is_bearer(one),
        ([], [one]) => own_token(one),
        // The `Authorization` header has another scheme, so it is not an API key.
        ([other], [one]) => bearer_token(other) == Err(CredentialError::Missing) && own_token(one),
        _ => false,
    };
    match admit(&fields) {
        Ok(()) => assert!(expected, "{}", data.escape_ascii()),
        Err((status, body)) => {
            assert!(!expected, "{}", data.escape_ascii());
            assert!([400, 401].contains(&status), "{status}");
            let values = fields.iter().map(|(_, value)| *value).filter(|value| value.len() >= 8);
            for value in values.filter_map(|value| str::from_utf8(value).ok()) {
                // The request may contain words of the response itself.
                let is_ours = REFUSALS.iter().any(|refusal| refusal.contains(value));
                assert!(is_ours || !body.contains(value), "{value:?} is repeated");
            }
        }
    }
    expected
}

/// The texts of rejections.
#[cfg(feature = "http")]
static REFUSALS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let requests: [&[(&str, &[u8])]; 5] = [
        &[],
        &[("authorization", b"Bearer x")],
        &[("authorization", b"Bearer")],
        &[("authorization", b"Bearer x"), ("x-api-key", b"x")],
        &[("authorization", &[b'x'; 2_000]), ("x-api-key", &[b'x'; 2_000])],
    ];
    requests.iter().filter_map(|fields| admit(fields).err()).map(|(_, body)| body).collect()
});

#[cfg(feature = "http")]
pub(crate) fn admit(fields: &[(&str, &[u8])]) -> Result<(), (u16, String)> {
    static GUARD: LazyLock<keyway::Guard> = LazyLock::new(|| {
        let guard = keyway::Guard::new(&SERVICE.keyring).key_header("x-api-key").unwrap();
        guard.touches_no("machine").unwrap()
    });
    let admission = pollster::block_on(GUARD.admit(fields));
    admission.map(drop).map_err(|answer| (answer.status(), answer.into_body()))
}

/// A text is read as exactly the digest that it encodes. A token leads to an imported key exactly if it is
/// the token that was imported.
///
/// The input is read unchanged. It is also presented as a token, unchanged and again as edits of an imported
/// token.
pub(crate) fn import_digest(
    data: &[u8],
    read_hex: impl Fn(&str) -> Result<ForeignDigest, ImportError>,
    claims: impl Fn(&[u8]) -> Vec<KeyId>,
) -> bool {
    let is_digest = |bytes: &Vec<u8>| [32, 64].contains(&bytes.len());
    let mut is_read = false;
    let mut is_same = |read: Option<ForeignDigest>, expected: Option<Vec<u8>>| {
        let expected = expected.filter(is_digest);
        is_read |= read.is_some();
        let expected = expected.map(|bytes| ForeignDigest::from_bytes(&bytes).unwrap());
        assert_eq!(read.map(import), expected.map(import));
    };
    is_same(ForeignDigest::from_bytes(data).ok(), Some(data.to_vec()));
    if let Ok(text) = str::from_utf8(data) {
        is_same(read_hex(text).ok(), from_hex(text));
        is_same(ForeignDigest::from_base64(text).ok(), from_base64(text));
    }

    let is_accepted = |presented: &[u8]| {
        let ids = claims(presented);
        let rest = presented.strip_prefix(b"mycompany_").unwrap_or_default();
        let secret = rest.iter().position(|byte| *byte == b'_').filter(|place| *place < 118);
        let is_prefixed = secret.is_some_and(|place| place + 1 < rest.len())
            && (43..=55).contains(&presented.len());
        let is_opaque = presented.len() == 40;
        let fits = match presented {
            [b'm', b'm', b'_', b'l', b'i', b'v', b'e', b'_', ..] => 0,
            _ => usize::from(is_prefixed) + usize::from(is_opaque),
        };
        assert_eq!(ids.len(), fits, "{}", presented.escape_ascii());
        let is_token = presented == FOREIGN.as_bytes();
        assert_eq!(ids.contains(&IMPORTING.imported), is_token, "{}", presented.escape_ascii());
        is_token
    };
    let mut edited = FOREIGN.as_bytes().to_vec();
    for edit in data.chunks_exact(2) {
        let place = usize::from(edit[0]) % edited.len();
        edited[place] ^= edit[1];
    }
    is_accepted(&edited);
    is_accepted(data) || is_read
}

/// Caveats are read exactly if a minter that is asked for what they say encodes them to the same bytes. So no two
/// encodings are read as the same caveats.
///
/// The input is the caveats of a child. `reads` returns whether a child with them is read, which is signed with the
/// right private key.
#[cfg(feature = "children")]
pub(crate) fn caveats(data: &[u8], reads: impl Fn(&[u8]) -> bool) -> bool {
    let is_read = reads(data);
    let encoded = encoded_again(data);
    let is_same = encoded.as_deref() == Some(data);
    assert_eq!(is_read, is_same, "{} as {encoded:?}", data.escape_ascii());
    is_read
}

/// Returns whether a child with these caveats and a right signature is read.
#[cfg(feature = "children")]
pub(crate) fn reads(caveats: &[u8]) -> bool {
    use ed25519_dalek::Signer as _;

    let message = [b"keyway/v1/child\0", FAMILY.prefix().as_bytes(), caveats].concat();
    let signature = FAMILY.key.sign(&message).to_bytes();
    presents([FAMILY.prefix(), &to_base64(&[caveats, &signature].concat())].concat().as_bytes())
}

/// Returns whether a text is a child whose signature is right. It may be used at another time, or elsewhere.
#[cfg(feature = "children")]
pub(crate) fn presents(text: &[u8]) -> bool {
    // In each second a few wrong signatures are checked.
    FAMILY.clock.advance(std::time::Duration::from_secs(1));
    let verifier = FAMILY.keyring.verifier();
    let place = keyway::children::Place::new();
    match pollster::block_on(verifier.verify_at(text, Freshness::Cached, None, &place)) {
        Ok(_) | Err(VerifyError::Inactive(_) | VerifyError::Forbidden(_)) => true,
        Err(VerifyError::Rejected) => false,
        Err(error) => panic!("{error:?} to {}", text.escape_ascii()),
    }
}

/// Asks a minter for what the caveats say, whatever their order, and returns the caveats of its child.
#[cfg(feature = "children")]
fn encoded_again(mut data: &[u8]) -> Option<Vec<u8>> {
    let mut values: BTreeMap<u8, &[u8]> = BTreeMap::new();
    while let Some(([kind, long, short], rest)) = data.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(u16::from_be_bytes([*long, *short]).into())?;
        values.insert(*kind, value);
        data = rest;
    }
    let time = |value: &[u8]| Timestamp::from_millis(i64::from_be_bytes(value.try_into().ok()?));
    let mut request = NewChild::until(time(values.remove(&1)?)?);
    for (kind, value) in values {
        let lines = || str::from_utf8(value).ok().map(|text| text.split('\n'));
        request = match kind {
            2 => request.not_before(time(value)?),
            3 => request.scopes(lines()?).ok()?,
            4 => {
                let mut kinds: BTreeMap<&str, Option<Vec<&str>>> = BTreeMap::new();
                for line in lines()? {
                    match line.split_once('\t') {
                        None => drop(kinds.insert(line, None)),
                        Some((kind, id)) => {
                            kinds
                                .entry(kind)
                                .or_insert_with(|| Some(Vec::new()))
                                .as_mut()?
                                .push(id);
                        }
                    }
                }
                for (kind, ids) in kinds {
                    let resources = ids.map_or(Ok(Resources::All), Resources::only).ok()?;
                    request = request.resources(kind, resources).ok()?;
                }
                request
            }
            5 => request.networks(Networks::only(lines()?).ok()?),
            6 => {
                for line in lines()? {
                    request = match line.split_once(':')? {
                        ("host", name) => request.host(name),
                        ("operation", name) => request.operation(name),
                        ("route", name) => request.route(name),
                        _ => return None,
                    }
                    .ok()?;
                }
                request
            }
            7 => request.nonce(value).ok()?,
            _ => return None,
        };
    }
    let child = FAMILY.minter.mint_at(&request, Timestamp::MIN).ok()?.reveal();
    let mut payload = from_base64(child.strip_prefix(FAMILY.prefix())?)?;
    payload.truncate(payload.len().checked_sub(64)?);
    Some(payload)
}

/// A text is accepted only if it is equal, byte for byte, to the child that was minted.
///
/// The input is presented unchanged, and again as edits of the child: pairs of an index and the bits to flip there.
#[cfg(feature = "children")]
pub(crate) fn child(data: &[u8], presents: impl Fn(&[u8]) -> bool) -> bool {
    let is_accepted = |presented: &[u8]| {
        let is_minted = presented == FAMILY.child.as_bytes();
        assert_eq!(presents(presented), is_minted, "{}", presented.escape_ascii());
        is_minted
    };
    let mut edited = FAMILY.child.as_bytes().to_vec();
    for edit in data.chunks_exact(2) {
        let place = usize::from(edit[0]) % edited.len();
        edited[place] ^= edit[1];
    }
    is_accepted(&edited);
    is_accepted(data)
}

pub(crate) fn digest(text: &str) -> Result<ForeignDigest, ImportError> {
    ForeignDigest::from_hex(text)
}

pub(crate) fn claims(presented: &[u8]) -> Vec<KeyId> {
    let claims = IMPORTING.authority.claims(presented).unwrap_or_default();
    claims.iter().map(keyway::lowlevel::CheckedToken::id).collect()
}

/// The example token of `prefixed-api-key`, and its hash.
pub(crate) const FOREIGN: &str = "mycompany_CEUsS4psCmc_BddpcwWyCT3EkDjHSSTRaSK1dxtuQgbjb";
const FOREIGN_HASH: &str = "0f01ab6e0833f280b73b2b618c16102d91c0b7c585d42a080d6e6603239a8bee";

/// Returns the key that a token with this digest leads to.
fn import(digest: ForeignDigest) -> KeyId {
    let format = ForeignFormat::whole_token(digest.hash());
    let request = ImportedKey::new(&format, digest, NewKey::named("k")).unwrap();
    let of_hash = IMPORTING.of_hash.iter().find(|(hash, _)| *hash == format.hash());
    let now = IMPORTING.tenant.created_at();
    of_hash.unwrap().1.import(&IMPORTING.tenant, request, now).unwrap().id()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    let byte = |[high, low]: &[u32; 2]| u8::try_from(high << 4 | low).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

/// Encodes RFC 4648, section 5, without padding.
#[cfg(feature = "children")]
fn to_base64(bytes: &[u8]) -> String {
    let bits: Vec<u8> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| {
        let value = (0..6).fold(0, |value, bit| value << 1 | bits.get(bit).copied().unwrap_or(0));
        char::from(match value {
            0..26 => b'A' + value,
            26..52 => b'a' + value - 26,
            52..62 => b'0' + value - 52,
            62 => b'-',
            _ => b'_',
        })
    };
    bits.chunks(6).map(digit).collect()
}

/// Decodes RFC 4648, sections 4 and 5, bit by bit.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if padding > 0 && (!text.len().is_multiple_of(4) || padding > 2) {
        return None;
    }
    let is_url = digits.contains(['-', '_']);
    let mut bits = Vec::new();
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' if !is_url => 62,
            b'/' if !is_url => 63,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let bytes = bits.chunks_exact(8);
    let rest = bytes.remainder();
    if rest.len() == 6 || rest.contains(&1) {
        return None;
    }
    Some(bytes.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | bit)).collect())
}

// The fixtures of the laws are the same in every run, since the corpus contains them. They are made in parts,
// so that a target links no more than it needs. The fuzzer inspects all linked code after every execution.

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../examples/machinemetrics.json")).unwrap()
});

/// A minted token that no store knows.
pub(crate) struct Minted {
    format: TokenFormat,
    pub(crate) token: String,
}

pub(crate) static MINTED: LazyLock<Minted> = LazyLock::new(|| {
    let format = TokenFormat::new("mm", "live", &pepper().into()).unwrap();
    let token = format.mint(&mut Counting(1)).unwrap().token.reveal();
    Minted { format, token: token.to_string() }
});

struct Sealed {
    seals: Seals,
    /// The bytes of an issued key's record.
    record: Vec<u8>,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let authority = authority();
    let labels = Labels::new([("site", "Halle 3"), ("team", "billing")]).unwrap();
    let request = NewKey::named("ERP nightly sync").scopes(["erp", "reporting"]).labels(labels);
    let tenant = tenant(&authority);
    let now = tenant.created_at();
    let (key, _) = authority.issue(&tenant, request, now, &mut Counting(2)).unwrap();
    Sealed { seals: Seals::new("mm", "live", &pepper().into()), record: key.encode() }
});

struct Service {
    keyring: Keyring,
    /// The token of the only key.
    issued: String,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let keyring = Keyring::builder(POLICY.clone(), pepper())
        .environment("live")
        .store(MemoryStore::new())
        .rng(Counting(3))
        .build()
        .unwrap();
    let issued = pollster::block_on(keyring.create_tenant("acme", "lite")).unwrap().1;
    Service { keyring, issued: issued.token.reveal().to_string() }
});

/// A key with children, and one of them.
#[cfg(feature = "children")]
pub(crate) struct Family {
    keyring: Keyring,
    clock: ManualClock,
    minter: ChildMinter,
    /// The private key, derived as the documentation says.
    key: ed25519_dalek::SigningKey,
    pub(crate) child: String,
}

#[cfg(feature = "children")]
impl Family {
    fn prefix(&self) -> &str {
        self.minter.prefix()
    }
}

#[cfg(feature = "children")]
pub(crate) static FAMILY: LazyLock<Family> = LazyLock::new(|| {
    let day = std::time::Duration::from_secs(86_400);
    let now = Timestamp::from_millis(1_800_000_000_000).unwrap();
    let clock = ManualClock::at(now);
    let keyring = Keyring::builder(POLICY.clone().with_children(31 * day).unwrap(), pepper())
        .environment("live")
        .store(MemoryStore::new())
        .clock(clock.clone())
        .rng(Counting(4))
        .build()
        .unwrap();
    let request = NewKey::named("k").children(true);
    let created = keyring.create_tenant_with("acme", "lite", request);
    let token = pollster::block_on(created).unwrap().1.token;
    let minter = keyring.child_minter(&token).unwrap();
    let token = token.reveal();
    let (public, rest) = token.split_at(24);
    let info = [b"keyway/v1/child\0", public.as_bytes(), &[1]].concat();
    let key = hmac(&hmac(&[0; 32], &rest.as_bytes()[..32]), &info);
    let key = ed25519_dalek::SigningKey::from_bytes(&key);
    let end = Timestamp::from_millis(1_800_000_000_000 + 86_400_000).unwrap();
    let child = minter.mint_at(&NewChild::until(end), now).unwrap().reveal().to_string();
    Family { keyring, clock, minter, key, child }
});

#[cfg(feature = "children")]
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    use hmac::{KeyInit as _, Mac as _};

    let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

struct Importing {
    /// An authority that accepts foreign tokens of two formats.
    authority: Authority,
    tenant: TenantRecord,
    /// The key that [`FOREIGN`] was imported as.
    imported: KeyId,
    /// For each hash, an authority that accepts any token with a digest of that length.
    of_hash: [(ForeignHash, Authority); 2],
}

static IMPORTING: LazyLock<Importing> = LazyLock::new(|| {
    let prefixed = || ForeignFormat::prefixed_api_key("mycompany").unwrap();
    let opaque = ForeignFormat::whole_token(ForeignHash::Sha512).lengths(40..=40).unwrap();
    let tenant = tenant(&authority());
    let authority = self::authority().accept_imported(prefixed()).unwrap();
    let foreign = ForeignDigest::from_hex(FOREIGN_HASH).unwrap();
    let foreign = ImportedKey::with_public_part(
        &prefixed(),
        "CEUsS4psCmc",
        foreign,
        NewKey::named("ERP nightly sync"),
    );
    let authority = authority.accept_imported(opaque).unwrap();
    let imported = authority.import(&tenant, foreign.unwrap(), tenant.created_at()).unwrap().id();
    let of_hash = [ForeignHash::Sha256, ForeignHash::Sha512].map(|hash| {
        let accepts = self::authority().accept_imported(ForeignFormat::whole_token(hash));
        (hash, accepts.unwrap())
    });
    Importing { authority, tenant, imported, of_hash }
});

fn authority() -> Authority {
    Authority::new(POLICY.clone(), "live", &pepper().into()).unwrap()
}

fn tenant(authority: &Authority) -> TenantRecord {
    let now = Timestamp::from_millis(1_800_000_000_000).unwrap();
    authority.create_tenant("acme".parse().unwrap(), "lite", now).unwrap()
}

fn pepper() -> Pepper {
    Pepper::from_bytes(&[7; 32]).unwrap()
}

/// A generator of fixed numbers that look random (`SplitMix64`, Steele et al. 2014).
struct Counting(u64);

impl TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.try_next_u64().map(|number| (number >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Ok(mixed ^ mixed >> 31)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.try_next_u64()?.to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for Counting {}
