//! Children of the vectors: Rust makes each as JavaScript and Python do, and a keyring accepts each.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use keyway::{
    Keyring, MemoryStore, NewKey, Pepper, Policy, Principal, Timestamp, VerifyError,
    children::{ChildMinter, NewChild, Place},
    grant::{Networks, Resources},
    lowlevel::InsecureSeededRng,
    record::InvalidField,
    time::ManualClock,
    verifier::Freshness,
};
use serde::Deserialize;
use serde_json::json;

use crate::support::{
    block_on,
    overheard::{RevealKnown as _, known, known_pepper, listen},
};

const KINDS: [&str; 4] = ["line", "machine", "machine-group", "machine_2"];
const SCOPES: [&str; 4] = ["erp", "operator", "operator.jobs", "reporting"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    #[serde(rename = "about")]
    _about: Vec<String>,
    pepper: String,
    now: i64,
    max_child_lifetime_seconds: u64,
    children: Vec<Vector>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    seed: u64,
    token: String,
    child_prefix: String,
    request: Request,
    child: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Refused {
    name: String,
    #[serde(rename = "error")]
    _error: String,
    request: Request,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    expires_at: i64,
    not_before: Option<i64>,
    scopes: Option<Vec<String>>,
    resources: Option<BTreeMap<String, Ids>>,
    networks: Option<Vec<String>>,
    audience: Option<Vec<String>>,
    /// In hexadecimal digits.
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    Only(Vec<String>),
    Word(String),
}

fn vectors() -> Vectors {
    listen();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/children.json");
    let vectors: Vectors = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    known_pepper(vectors.pepper.as_bytes());
    for vector in &vectors.children {
        known(&vector.token);
        known(&vector.child);
    }
    vectors
}

fn time(milliseconds: i64) -> Timestamp {
    Timestamp::from_millis(milliseconds).unwrap()
}

fn bytes(digits: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(digit).collect()
}

impl Request {
    fn to_new_child(&self) -> Result<NewChild, InvalidField> {
        let mut child = NewChild::until(time(self.expires_at));
        if let Some(begin) = self.not_before {
            child = child.not_before(time(begin));
        }
        if let Some(scopes) = &self.scopes {
            child = child.scopes(scopes)?;
        }
        for (kind, ids) in self.resources.iter().flatten() {
            let resources = match ids {
                Ids::Only(ids) => Resources::only(ids)?,
                Ids::Word(word) => {
                    assert_eq!(word, "all");
                    Resources::All
                }
            };
            child = child.resources(kind, resources)?;
        }
        if let Some(networks) = &self.networks {
            child = child.networks(Networks::only(networks)?);
        }
        for name in self.audience.iter().flatten() {
            child = match name.split_once(':') {
                Some(("host", name)) => child.host(name)?,
                Some(("operation", name)) => child.operation(name)?,
                Some(("route", name)) => child.route(name)?,
                // `NewChild` has no method for another kind, so an empty name stands for it.
                _ => child.host("")?,
            };
        }
        if let Some(nonce) = &self.nonce {
            child = child.nonce(&bytes(nonce))?;
        }
        Ok(child)
    }

    /// Returns a place where the child may be used.
    fn place(&self) -> Place {
        let mut place = Place::new();
        for name in self.audience.iter().flatten() {
            place = match name.split_once(':') {
                Some(("host", name)) => place.host(name),
                Some(("route", name)) => place.route(name),
                _ => place.checks_operations(),
            };
        }
        place
    }

    /// Checks that the caller may do as much as the request says, and nothing else.
    fn check(&self, name: &str, keyring: &Keyring, caller: &Principal) {
        for scope in SCOPES {
            let implies =
                |asked: &String| scope == asked || scope.starts_with(&format!("{asked}."));
            let is_asked = self.scopes.as_ref().is_none_or(|asked| asked.iter().any(implies));
            let requirement = keyring.requirement([scope]).unwrap();
            assert_eq!(caller.require(&requirement).is_ok(), is_asked, "{name}: {scope}");
        }
        for kind in KINDS {
            let permitted = caller.resources(&keyring.policy().catalog().resource(kind).unwrap());
            let expected = match self.resources.as_ref().map(|kinds| kinds.get(kind)) {
                Some(Some(Ids::Only(ids))) => Resources::only(ids).unwrap(),
                Some(None) => Resources::Nothing,
                Some(Some(Ids::Word(_))) | None => Resources::All,
            };
            assert!(*permitted == expected, "{name}: {kind}");
        }
        let child = caller.child().unwrap();
        assert_eq!(child.expires_at(), time(self.expires_at), "{name}");
        assert_eq!(child.nonce(), self.nonce.as_deref().map(bytes).as_deref(), "{name}");
        let mut audience = self.audience.clone().unwrap_or_default();
        audience.sort();
        audience.dedup();
        assert!(child.audience().eq(audience), "{name}");
    }
}

/// Returns a keyring whose clock shows `now`, and the token and child prefix of the key that it issues with this seed.
fn issue(vectors: &Vectors, seed: u64, now: i64) -> (Keyring, String, String) {
    let declared = |names: &[&str]| -> Vec<_> {
        names.iter().map(|name| json!({ "name": name, "description": "for tests" })).collect()
    };
    let policy: Policy = serde_json::from_value(json!({
        "issuer": "mm",
        "scopes": declared(&SCOPES),
        "resources": declared(&KINDS),
        "max_child_lifetime_seconds": vectors.max_child_lifetime_seconds,
    }))
    .unwrap();
    let keyring = Keyring::builder(policy, Pepper::from_base64(&vectors.pepper).unwrap())
        .environment("live")
        .store(MemoryStore::new())
        .clock(ManualClock::at(time(now)))
        .rng(InsecureSeededRng::new(seed))
        .build()
        .unwrap();
    let mut request = NewKey::named("parent").scopes(SCOPES).children(true);
    for kind in KINDS {
        request = request.resources(kind, Resources::All);
    }
    let (_, issued) = block_on(keyring.create_tenant_with("acme", "lite", request)).unwrap();
    let prefix = keyring.child_prefix(&issued.key).unwrap();
    (keyring, issued.token.reveal_known().to_string(), prefix)
}

fn verify(keyring: &Keyring, child: &str, request: &Request) -> Result<Principal, VerifyError> {
    // The first address of the first network.
    let address = request.networks.iter().flatten().next();
    let address = address.map(|network| network.split_once('/').unwrap().0.parse().unwrap());
    verify_from(address, keyring, child, request)
}

fn verify_from(
    address: Option<IpAddr>,
    keyring: &Keyring,
    child: &str,
    request: &Request,
) -> Result<Principal, VerifyError> {
    let place = request.place();
    block_on(keyring.verifier().verify_at(child, Freshness::Cached, address, &place))
}

#[test]
fn rust_makes_each_child_of_the_vectors() {
    let vectors = vectors();
    assert!(vectors.children.len() >= 20);
    for Vector { name, token, child_prefix, request, child, .. } in &vectors.children {
        let minter = ChildMinter::new(token, child_prefix).unwrap();
        let made = minter.mint_at(&request.to_new_child().unwrap(), time(vectors.now)).unwrap();
        assert!(*made.reveal_known() == *child, "{name}");
    }
    let longest = vectors.children.iter().map(|vector| vector.child.len()).max();
    assert_eq!(longest, Some(1_024));
}

#[test]
fn keyring_accepts_each_child_of_the_vectors() {
    let vectors = vectors();
    for Vector { name, seed, token, child_prefix, request, child } in &vectors.children {
        let now = request.not_before.unwrap_or(vectors.now);
        let (keyring, issued, prefix) = issue(&vectors, *seed, now);
        assert!(issued == *token && prefix == *child_prefix, "{name}: the key is another");
        let caller = verify(&keyring, child, request);
        request.check(name, &keyring, &caller.unwrap_or_else(|error| panic!("{name}: {error}")));
        if request.networks.is_some() {
            let elsewhere = Some([203, 0, 113, 9].into());
            let verified = verify_from(elsewhere, &keyring, child, request);
            assert!(matches!(verified, Err(VerifyError::Forbidden(_))), "{name}");
        }
    }
}

#[test]
fn changed_children_of_the_vectors_are_refused() {
    let vectors = vectors();
    let mut changed = 0;
    for Vector { name, seed, request, child, .. } in &vectors.children {
        let now = request.not_before.unwrap_or(vectors.now);
        let (keyring, ..) = issue(&vectors, *seed, now);
        // Within the id, the tag, the caveats and the signature.
        for at in [9, 26, 40, child.len() - 20] {
            let other = if child.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut text = child.clone();
            text.replace_range(at..=at, other);
            assert!(verify(&keyring, &text, request).is_err(), "{name}: {at}");
            changed += 1;
        }
        assert!(verify(&keyring, child, request).is_ok(), "{name}");
    }
    assert_eq!(changed, 4 * vectors.children.len());
}

#[test]
fn refused_requests_of_the_vectors_make_no_child() {
    let vectors = vectors();
    assert!(vectors.refused.len() >= 10);
    let Vector { token, child_prefix, .. } = &vectors.children[0];
    let minter = ChildMinter::new(token, child_prefix).unwrap();
    for Refused { name, request, .. } in &vectors.refused {
        let made =
            request.to_new_child().map(|request| minter.mint_at(&request, time(vectors.now)));
        assert!(!matches!(made, Ok(Ok(_))), "{name}");
    }
}
