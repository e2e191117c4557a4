//! A parent whose private key a test derives itself, so that it can sign what no minter makes.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use ed25519_dalek::{Signer as _, SigningKey};
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    KeyRecord, NewKey, Policy, Principal, TenantKeys, Tier, Timestamp, VerifyError,
    children::{ChildMinter, NewChild, Place},
    grant::ResourceDeclaration,
    keyring::KeyringBuilder,
    lowlevel::InsecureSeededRng,
    verifier::{Freshness, Verifier},
};
use sha2::Sha256;

use crate::support::{DAY, World, block_on, catalog, overheard::RevealKnown as _};

/// The longest lifetime of a child, which the clock of a test may use up.
pub(crate) const LIFETIME: core::time::Duration = DAY.saturating_mul(31);
/// The text before everything that is signed.
pub(crate) const PURPOSE: &[u8] = b"keyway/v1/child\0";
/// The address from which all children are presented.
pub(crate) const ADDRESS: &str = "192.0.2.7";

/// Returns a policy with children, and with two kinds of resources.
pub(crate) fn policy_with_children() -> Policy {
    let kinds = ["machine", "project"].map(|name| ResourceDeclaration::new(name, "for tests"));
    let catalog = catalog().with_resources(kinds).unwrap();
    let policy = Policy::new("mm", catalog, [Tier::new("advanced", 5)]).unwrap();
    policy.with_children(LIFETIME).unwrap()
}

/// Creates a world with children. Its ids and secrets are the same in every run, so that no two parents share a
/// counter of wrong signatures by chance.
pub(crate) fn world() -> World {
    world_with(|builder| builder)
}

pub(crate) fn world_with(change: impl FnOnce(KeyringBuilder) -> KeyringBuilder) -> World {
    // The recorder of the tests starts to listen with the policy of the other worlds.
    drop(crate::support::policy());
    World::with(policy_with_children(), |builder| change(builder.rng(InsecureSeededRng::new(17))))
}

/// A key that has children.
pub(crate) struct Parent {
    pub(crate) keys: TenantKeys,
    pub(crate) key: KeyRecord,
    pub(crate) token: String,
    /// The text with which all of its children begin.
    pub(crate) prefix: String,
}

impl Parent {
    pub(crate) fn of(world: &World, tenant: &str) -> Self {
        let request = NewKey::named("parent").scopes(["reporting"]).children(true);
        let created = block_on(world.keyring.create_tenant_with(tenant, "advanced", request));
        let (keys, issued) = created.unwrap();
        let prefix = world.keyring.child_prefix(&issued.key).unwrap();
        let token = issued.token.reveal_known().to_string();
        Self { keys, key: issued.key, token, prefix }
    }

    pub(crate) fn minter(&self) -> ChildMinter {
        ChildMinter::new(&self.token, &self.prefix).unwrap()
    }

    /// Mints a child that ends at `end`.
    pub(crate) fn mint(&self, end: Timestamp) -> String {
        self.mint_as(NewChild::until(end))
    }

    pub(crate) fn mint_as(&self, request: NewChild) -> String {
        self.minter().mint_at(&request, Timestamp::MIN).unwrap().reveal_known().to_string()
    }

    /// Returns the prefix with the id, and the secret.
    pub(crate) fn parts(&self) -> (&str, &str) {
        let (public, rest) = self.token.split_at(self.token.len() - 40);
        (public, &rest[..32])
    }

    /// Derives the private key as the documentation says, without keyway.
    pub(crate) fn signing_key(&self) -> SigningKey {
        let (public, secret) = self.parts();
        SigningKey::from_bytes(&hkdf(secret.as_bytes(), &[PURPOSE, public.as_bytes()].concat()))
    }

    /// Signs these caveats under this child prefix.
    pub(crate) fn sign_under(&self, prefix: &str, caveats: &[u8]) -> [u8; 64] {
        let message = [PURPOSE, prefix.as_bytes(), caveats].concat();
        self.signing_key().sign(&message).to_bytes()
    }

    /// Returns the child with these caveats, whatever they are, and with a right signature.
    pub(crate) fn sign(&self, caveats: &[u8]) -> String {
        spell(&self.prefix, caveats, &self.sign_under(&self.prefix, caveats))
    }
}

/// Returns the text of a child.
pub(crate) fn spell(prefix: &str, caveats: &[u8], signature: &[u8]) -> String {
    let payload = Base64UrlUnpadded::encode_string(&[caveats, signature].concat());
    [prefix, &payload].concat()
}

/// Returns the caveats and the signature of a child.
pub(crate) fn parts_of(child: &str) -> (Vec<u8>, [u8; 64]) {
    let (_, payload) = child.split_once('~').unwrap();
    let payload = Base64UrlUnpadded::decode_vec(payload).unwrap();
    let (caveats, signature) = payload.split_last_chunk().unwrap();
    (caveats.to_vec(), *signature)
}

/// Returns one caveat: its kind, its length and its value.
pub(crate) fn caveat(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], value].concat()
}

/// Returns the caveat of the end.
pub(crate) fn until(end: Timestamp) -> Vec<u8> {
    caveat(1, &end.as_millis().to_be_bytes())
}

pub(crate) fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Returns the first 32 bytes of HKDF-SHA256 without salt.
pub(crate) fn hkdf(input: &[u8], info: &[u8]) -> [u8; 32] {
    hmac(&hmac(&[0; 32], input), &[info, &[1]].concat())
}

/// Returns a place that has a name of each kind.
pub(crate) fn place() -> Place {
    Place::new().host("api").route("GET /events").checks_operations()
}

/// Presents a text to the verifier of a keyring.
pub(crate) fn present(world: &World, text: impl AsRef<[u8]>) -> Result<Principal, VerifyError> {
    present_to(world.keyring.verifier(), text, Freshness::Cached)
}

pub(crate) fn present_to(
    verifier: &Verifier,
    text: impl AsRef<[u8]>,
    freshness: Freshness,
) -> Result<Principal, VerifyError> {
    let address = ADDRESS.parse().unwrap();
    block_on(verifier.verify_at(text, freshness, Some(address), &place()))
}
