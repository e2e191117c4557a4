//! No secret of a token and no pepper is in any text that the library produces.
//!
//! Secrets and peppers are passed through every public type and every operation. The resulting texts are
//! searched for any eight consecutive characters of a secret: verbatim, in base64, in hex, and as the list
//! of its bytes.

use core::fmt::{Debug, Display};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use crate::support::{
    FaultyStore, HOUR, block_on,
    overheard::{RevealKnown as _, known_pepper},
    policy,
    windows::windows,
};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use keyway::{
    GracePeriod, ImportedKey, KeyEdit, KeyId, KeyRecord, Keyring, LeakResponse, MemoryStore,
    NewKey, Pepper, Peppers, TenantId, Timestamp,
    audit::{AuditEvent, AuditSink},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::{Authority, InsecureSeededRng, Seals, TokenFormat, bearer_token, decide},
    record::{Labels, Suspension, TenantRecord},
    scope::Scope,
    store::{AnyLookup, AnyStore, KeyCursor, KeyLookup, KeyQuery, KeyStore, KeyUse, StoreError},
    time::ManualClock,
    verifier::{Freshness, Verifier},
};
use sha2::Sha512;

const PEPPER: &[u8; 32] = b"kQ7vXz2mWp9sLb4tRc6yHd8fJg3nTa5u";
const OLDER: &[u8; 32] = b"Zx8cVb3nMq5wEr7tYu1iOp9aSd2fGh4j";

/// Another system's pepper, one of its tokens, and the digest that it stored.
const FOREIGN_PEPPER: &[u8; 32] = b"Gw5hTy9nUj2mKi7bLo4vPq1cZs8xRd3f";
const FOREIGN: &str = "sk_live_Vb6nM1qW8eR3tY5uI0oPaS9dF2gH7jKl";

fn foreign_format() -> ForeignFormat {
    let format = ForeignFormat::whole_token(ForeignHash::Sha512).prefix("sk_live_").unwrap();
    format.keyed(FOREIGN_PEPPER).unwrap()
}

fn foreign_digest() -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(FOREIGN_PEPPER).unwrap();
    mac.update(FOREIGN.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn imported() -> ImportedKey {
    let digest = ForeignDigest::from_bytes(&foreign_digest()).unwrap();
    ImportedKey::new(&foreign_format(), digest, request()).unwrap()
}

/// All texts that were produced, with their origins.
#[derive(Clone, Default)]
struct Texts(Arc<Mutex<Vec<(String, String)>>>);

impl Texts {
    fn add(&self, from: &str, text: String) {
        self.0.lock().unwrap().push((from.into(), text));
    }

    fn debug(&self, from: &str, value: &impl Debug) {
        self.add(from, format!("{value:?}"));
        self.add(from, format!("{value:#?}"));
    }

    fn both(&self, from: &str, value: &(impl Debug + Display)) {
        self.debug(from, value);
        self.add(from, value.to_string());
    }

    fn error(&self, from: &str, error: &(impl core::error::Error + 'static)) {
        self.both(from, error);
        let mut cause = error.source();
        while let Some(error) = cause {
            self.add(from, format!("{error:?} {error:#?} {error}"));
            cause = error.source();
        }
    }

    fn json(&self, from: &str, value: &impl serde::Serialize) {
        self.add(from, serde_json::to_string(value).unwrap());
    }

    fn outcome<T: Debug, E: core::error::Error + 'static>(&self, from: &str, of: &Result<T, E>) {
        match of {
            Ok(value) => self.debug(from, value),
            Err(error) => self.error(from, error),
        }
    }

    /// Returns the texts that contain any of the `needles`.
    fn leaks(&self, needles: &BTreeSet<String>) -> Vec<(String, String)> {
        let texts = self.0.lock().unwrap();
        let leaks = |text: &str| needles.iter().any(|needle| text.contains(needle));
        texts.iter().filter(|(_, text)| leaks(text)).cloned().collect()
    }
}

impl AuditSink for Texts {
    fn record(&self, event: &AuditEvent<'_>) {
        self.debug("an audit event", event);
    }
}

/// Returns the secret part of a token of issuer `mm` and environment `live`.
fn secret(token: &str) -> &str {
    &token["mm_live_".len() + 16..][..32]
}

fn pepper() -> Pepper {
    known_pepper(PEPPER);
    Pepper::from_bytes(PEPPER).unwrap().in_slot(1).unwrap()
}

fn peppers() -> Peppers {
    known_pepper(OLDER);
    let older = Pepper::from_bytes(OLDER).unwrap();
    Peppers::new(pepper()).retiring(older).unwrap()
}

/// Passes secrets through everything. Returns all tokens.
fn drive(texts: &Texts) -> Vec<String> {
    let mut tokens = Vec::new();
    peppers_and_their_errors(texts);
    pure_layer(texts, &mut tokens);
    block_on(keyring_and_verifier(texts, &mut tokens));
    imports_and_their_errors(texts);
    block_on(imported_keys(texts));
    tokens
}

fn peppers_and_their_errors(texts: &Texts) {
    texts.debug("Pepper", &pepper());
    texts.debug("Peppers", &peppers());
    let text = core::str::from_utf8(PEPPER).unwrap();
    let errors = [
        Pepper::from_bytes(&PEPPER[..31]).unwrap_err(),
        Pepper::from_bytes(&PEPPER.repeat(3)).unwrap_err(),
        Pepper::from_base64(&text.replace('k', "!")).unwrap_err(),
        Pepper::from_base64(&Base64::encode_string(&PEPPER[..20])).unwrap_err(),
        pepper().in_slot(62).unwrap_err(),
        Peppers::new(pepper()).retired(pepper()).unwrap_err(),
        Pepper::from_env("KEYWAY_NO_SUCH_PEPPER").unwrap_err(),
    ];
    for error in errors {
        texts.error("ConfigError", &error);
    }
}

fn pure_layer(texts: &Texts, tokens: &mut Vec<String>) {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut rng = InsecureSeededRng::new(1);
    let authority = Authority::new(policy(), "live", &peppers()).unwrap();
    texts.debug("Authority", &authority);
    texts.debug("TokenFormat", authority.format());
    texts.debug("Seals", authority.seals());
    texts.debug("Seals", &Seals::new("mm", "live", &peppers()));
    texts.debug("Policy", authority.policy());
    texts.add("scanner_regex", authority.format().scanner_regex());

    let format = TokenFormat::new("mm", "live", &peppers()).unwrap();
    let minted = format.mint(&mut rng).unwrap();
    texts.debug("Minted", &minted);
    texts.debug("OneTimeToken", &minted.token);
    tokens.push(minted.token.reveal_known().to_string());

    let tenant = authority.create_tenant("acme".parse().unwrap(), "advanced", now);
    let tenant = tenant.unwrap();
    let (key, token) = authority.issue(&tenant, request(), now, &mut rng).unwrap();
    texts.debug("OneTimeToken", &token);
    let token = token.reveal_known();
    let claim = authority.check(token.as_bytes()).unwrap();
    texts.debug("CheckedToken", &claim);
    let resolved = Arc::new(authority.resolve(&key, &tenant).unwrap());
    texts.debug("ResolvedKey", &resolved);
    texts.debug("Principal", &decide(&claim, &resolved, now).unwrap());
    let rotated = authority.rotate(&key, &tenant, GracePeriod::UntilFirstUse, None, now, &mut rng);
    let (rotated, successor) = rotated.unwrap();
    texts.debug("OneTimeToken", &successor);
    let successor = successor.reveal_known();
    let alone = Arc::new(authority.resolve(&key, &tenant).unwrap());
    let newer = authority.check(successor.as_bytes()).unwrap();
    texts.error("Denial", &decide(&newer, &alone, now).unwrap_err());
    records(texts, &rotated, &tenant);

    for damaged in [&token[1..], &token[..63], &format!("{}x", &token[..63])] {
        let rejection = authority.check(damaged.as_bytes()).unwrap_err();
        texts.error("Rejection", &rejection);
    }
    // A token where another type is expected.
    texts.error("InvalidField", &token.parse::<KeyId>().unwrap_err());
    texts.error("InvalidField", &token.parse::<Timestamp>().unwrap_err());
    let spaced = format!("{} {}", &token[..40], &token[40..]);
    texts.error("InvalidField", &spaced.parse::<Scope>().unwrap_err());
    texts.error("InvalidField", &token.repeat(3).parse::<TenantId>().unwrap_err());
    texts.error("InvalidField", &Suspension::permanent(token.repeat(9)).unwrap_err());
    texts.error("InvalidField", &Labels::new([(token.repeat(9), "")]).unwrap_err());
    texts.error("CredentialError", &bearer_token(token.as_bytes()).unwrap_err());
    texts.error("RecordError", &KeyRecord::decode(token.as_bytes()).unwrap_err());
    texts.error("RecordError", &TenantRecord::decode(token.as_bytes()).unwrap_err());
    tokens.extend([token.to_string(), successor.to_string()]);
}

fn imports_and_their_errors(texts: &Texts) {
    let digest = foreign_digest();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    texts.debug("ForeignDigest", &ForeignDigest::from_bytes(&digest).unwrap());
    texts.debug("ForeignFormat", &foreign_format());
    texts.debug("ImportedKey", &imported());
    for error in [
        ForeignDigest::from_hex(&hex[1..]).unwrap_err(),
        ForeignDigest::from_hex(&hex[2..]).unwrap_err(),
        ForeignDigest::from_base64(&hex[1..]).unwrap_err(),
        ForeignDigest::from_bytes(&digest[1..]).unwrap_err(),
    ] {
        texts.error("ImportError", &error);
    }
    let digest = || ForeignDigest::from_bytes(&digest).unwrap();
    let other = ForeignFormat::whole_token(ForeignHash::Sha256);
    texts.error("ImportError", &ImportedKey::new(&other, digest(), request()).unwrap_err());
    let public = ImportedKey::with_public_part(&foreign_format(), FOREIGN, digest(), request());
    texts.error("ImportError", &public.unwrap_err());
    let masked = imported().masked(FOREIGN.repeat(9));
    texts.error("InvalidField", &masked.unwrap_err());
}

async fn imported_keys(texts: &Texts) {
    let store = FaultyStore::over(MemoryStore::new());
    let builder = Keyring::builder(policy(), peppers())
        .environment("live")
        .store(store.clone())
        .audit(texts.clone())
        .accept_imported(foreign_format());
    texts.debug("KeyringBuilder", &builder);
    let keyring = builder.build().unwrap();
    let acme = keyring.create_empty_tenant("acme", "advanced").await.unwrap();
    let builder = Verifier::builder(policy(), peppers()).accept_imported(foreign_format());
    texts.debug("VerifierBuilder", &builder);
    let authority = Authority::new(policy(), "live", &peppers()).unwrap();
    let authority = authority.accept_imported(foreign_format()).unwrap();
    texts.debug("Authority", &authority);
    texts.debug("claims", &authority.claims(FOREIGN.as_bytes()));

    texts.outcome("import", &acme.import(imported().masked(FOREIGN).unwrap()).await);
    texts.outcome("import", &acme.import(imported()).await);
    texts.outcome("import", &acme.import(imported()).await);
    texts.outcome("verify", &keyring.verify(FOREIGN).await);
    texts.outcome("verify", &keyring.verify(&FOREIGN[..39]).await);
    texts.outcome("describe", &keyring.describe(FOREIGN).await);
    texts.json("Description", &keyring.describe(FOREIGN).await.unwrap());
    texts.outcome("search", &acme.search(FOREIGN).await);
    texts.outcome("report", &keyring.report_leak(FOREIGN, "seen", LeakResponse::Suspend).await);
    texts.outcome("verify", &keyring.verify(FOREIGN).await);
    store.set_down(true);
    texts.outcome("verify", &keyring.verify_as_of(FOREIGN, Freshness::Now).await);
    store.set_down(false);
    texts.outcome("revoke", &keyring.revoke(FOREIGN).await);
    texts.outcome("verify", &keyring.verify(FOREIGN).await);
}

fn request() -> NewKey {
    let labels = Labels::new([("team", "billing")]).unwrap();
    NewKey::named("canary").scopes(["operator"]).labels(labels)
}

fn records(texts: &Texts, key: &KeyRecord, tenant: &TenantRecord) {
    texts.debug("KeyRecord", key);
    texts.json("KeyRecord", key);
    texts.debug("TenantRecord", tenant);
    texts.json("TenantId", tenant.id());
    texts.json("KeyId", &key.id());
    texts.json("Labels", key.labels());
    texts.json("Scope", &key.scopes());
    texts.json("Timestamp", &key.created_at());
    texts.json("Suspension", &key.suspension());
    texts.debug("KeyCursor", &KeyCursor::of(key));
    let at = key.created_at();
    texts.debug("KeyUse", &KeyUse { id: key.id(), at });
}

async fn keyring_and_verifier(texts: &Texts, tokens: &mut Vec<String>) {
    let memory = MemoryStore::new();
    let store = FaultyStore::over(memory.clone());
    let clock = ManualClock::at("2026-01-01T00:00:00Z".parse().unwrap());
    let builder = Keyring::builder(policy(), peppers())
        .environment("live")
        .store(store.clone())
        .clock(clock.clone())
        .rng(InsecureSeededRng::new(2))
        .audit(texts.clone());
    texts.debug("KeyringBuilder", &builder);
    let keyring = builder.build().unwrap();
    let builder = Verifier::builder(policy(), peppers())
        .environment("live")
        .lookup(memory.clone())
        .clock(clock.clone());
    texts.debug("VerifierBuilder", &builder);
    texts.debug("Verifier", &builder.build().unwrap());
    texts.debug("AnyStore", &AnyStore::new(memory.clone()));
    texts.debug("AnyLookup", &AnyLookup::new(memory.clone()));

    let created = keyring.create_tenant_with("acme", "advanced", request());
    let (acme, issued) = created.await.unwrap();
    texts.debug("Keyring", &keyring);
    texts.debug("TenantKeys", &acme);
    texts.debug("IssuedKey", &issued);
    let id = issued.key.id();
    let token = issued.token.reveal_known();
    tokens.push(token.to_string());

    // A caller in every situation.
    texts.outcome("verify", &keyring.verify(&*token).await);
    let header = format!("Bearer {}", &*token);
    texts.outcome("verify", &keyring.verify_authorization(Some(&header)).await);
    let header = format!("Basic {}", &*token);
    texts.outcome("verify", &keyring.verify_authorization(Some(&header)).await);
    let manager = keyring.requirement(["manager"]).unwrap();
    texts.debug("Requirement", &manager);
    let missing = keyring.verify(&*token).await.unwrap().require(&manager);
    texts.outcome("require", &missing);
    let forged = format!("{}x", &token[..63]);
    texts.outcome("verify", &keyring.verify(&forged).await);
    texts.outcome("describe", &keyring.describe(&*token).await);
    let description = keyring.describe(&*token).await.unwrap();
    texts.json("Description", &description);
    texts.outcome("find by token", &acme.find_by_token(&*token).await);
    texts.outcome("search", &acme.search(&token).await);
    texts.outcome("list", &acme.list(&KeyQuery::all()).await);
    texts.debug("KeyQuery", &KeyQuery::all().containing("canary"));
    texts.debug("NewKey", &request());
    texts.debug("KeyEdit", &KeyEdit::new().name("canary").scopes(["erp"]));

    // Every change, and every refusal of a change.
    let edit = KeyEdit::new().expires_at(issued.key.created_at().checked_add(24 * HOUR));
    texts.outcome("edit", &acme.edit(id, 1, edit).await);
    texts.outcome("edit", &acme.edit(id, 1, KeyEdit::new()).await);
    texts.outcome("issue", &acme.issue(request().scopes(["none"])).await);
    let rotated = acme.rotate(id, 2, GracePeriod::UntilFirstUse).await.unwrap();
    texts.debug("IssuedKey", &rotated);
    let successor = rotated.token.reveal_known();
    tokens.push(successor.to_string());
    texts.outcome("verify", &keyring.verify(&*successor).await);
    texts.outcome("verify", &keyring.verify(&*token).await);
    texts.outcome("disable", &acme.disable(id).await);
    texts.outcome("verify", &keyring.verify(&*successor).await);
    texts.outcome("enable", &acme.enable(id).await);
    texts.outcome("report", &keyring.report_leak(&*successor, "seen", LeakResponse::Suspend).await);
    let floor = LeakResponse::Quarantine(policy().catalog().all());
    texts.outcome("report", &keyring.report_leak(&*successor, "seen", floor).await);
    texts.outcome("report", &keyring.report_leak(&token[..40], "seen", floor).await);
    texts.outcome("resume", &keyring.resume_key(id).await);
    let ban = Suspension::permanent("unpaid").unwrap();
    texts.outcome("suspend", &keyring.suspend_key(id, ban.clone()).await);
    texts.outcome("suspend", &keyring.suspend_tenant(acme.id(), ban).await);
    texts.outcome("describe", &keyring.describe(&*successor).await);
    texts.json("Description", &keyring.describe(&*successor).await.unwrap());
    texts.outcome("resume", &keyring.resume_tenant(acme.id()).await);
    texts.outcome("tier", &keyring.set_tier(acme.id(), "lite").await);
    texts.outcome("tier", &keyring.set_tier(acme.id(), "gold").await);
    texts.outcome("issue", &acme.issue(NewKey::named("more")).await);
    texts.outcome("tenants", &keyring.tenants(None, 9).await);
    texts.outcome("flush", &keyring.flush_uses().await);
    texts.outcome("reseal", &keyring.reseal(None, |_| {}).await);
    texts.outcome("create", &keyring.create_tenant("acme", "lite").await);
    texts.outcome("lookup", &memory.lookup(id).await);
    texts.outcome("keys", &memory.keys(acme.id(), &KeyQuery::all()).await);
    texts.debug("MemoryStore", &memory);

    // Errors of the store.
    store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "operator", "manager")));
    let now = Freshness::Now;
    texts.outcome("verify", &keyring.verify_as_of(&*successor, now).await);
    texts.outcome("find", &acme.find(id).await);
    store.rewrite_keys(|_| KeyRecord::decode(b"").map_err(StoreError::from));
    texts.outcome("verify", &keyring.verify_as_of(&*successor, now).await);
    store.rewrite_nothing();
    store.set_down(true);
    texts.outcome("verify", &keyring.verify_as_of(&*successor, now).await);
    texts.outcome("revoke", &keyring.revoke(&*successor).await);
    store.set_down(false);
    texts.outcome("revoke", &keyring.revoke(&*successor).await);
    texts.outcome("verify", &keyring.verify(&*successor).await);
    texts.outcome("describe", &keyring.describe(&*successor).await);
    texts.outcome("delete", &keyring.delete_tenant(acme.id()).await);
}

#[test]
fn no_secret_of_a_token_is_in_any_text() {
    let texts = Texts::default();
    let tokens = drive(&texts);
    assert!(texts.0.lock().unwrap().len() > 150);
    assert_eq!(tokens.len(), 5);
    for token in tokens {
        assert_eq!(texts.leaks(&windows(secret(&token).as_bytes())), []);
    }
}

#[test]
fn nothing_of_a_foreign_token_is_in_any_text() {
    let texts = Texts::default();
    drive(&texts);
    let secret = &FOREIGN["sk_live_".len()..];
    for hidden in [secret.as_bytes(), FOREIGN_PEPPER, &foreign_digest()] {
        assert_eq!(texts.leaks(&windows(hidden)), []);
    }
    // The control: a masked key that contains the secret was set by the caller.
    let masked = imported().masked(format!("…{}", &FOREIGN[20..])).unwrap();
    texts.debug("ImportedKey", &masked);
    assert!(!texts.leaks(&windows(secret.as_bytes())).is_empty());
}

#[test]
fn no_pepper_is_in_any_text() {
    let texts = Texts::default();
    drive(&texts);
    for pepper in [PEPPER, OLDER] {
        assert_eq!(texts.leaks(&windows(pepper)), []);
    }
}

#[test]
fn no_digest_and_no_seal_is_in_any_text() {
    let texts = Texts::default();
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let authority = Authority::new(policy(), "live", &peppers()).unwrap();
    let tenant = authority.create_tenant("acme".parse().unwrap(), "advanced", now).unwrap();
    let issued = authority.issue(&tenant, request(), now, &mut InsecureSeededRng::new(3));
    let (key, token) = issued.unwrap();
    let claim = authority.check(token.reveal_known().as_bytes()).unwrap();
    let resolved = Arc::new(authority.resolve(&key, &tenant).unwrap());
    records(&texts, &key, &tenant);
    texts.debug("CheckedToken", &claim);
    texts.debug("ResolvedKey", &resolved);
    texts.debug("Principal", &decide(&claim, &resolved, now).unwrap());

    let bytes = key.encode();
    // Magic, id, and the texts `acme` and `canary` with their lengths precede the digest.
    let digest = &bytes[4 + 16 + 12 + 14..][..26];
    let seal = &bytes[bytes.len() - 32..];
    assert_eq!(texts.leaks(&windows(digest)), []);
    assert_eq!(texts.leaks(&windows(seal)), []);
}

#[test]
fn planted_secret_is_found_in_every_encoding() {
    let planted = secret("mm_live_BcHGSmq6VWw5Ht2NcQ8rT1yLpZx4vKd7sJf0gUaBeWoXiMn3E9k7Qw2R");
    let needles = windows(planted.as_bytes());
    let hex: String = planted.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms = [
        planted.to_string(),
        planted[20..28].to_string(),
        format!("the token mm_live_…{planted} is not valid"),
        hex.clone(),
        hex.to_uppercase(),
        Base64::encode_string(planted.as_bytes()),
        Base64::encode_string(format!("ab{planted}").as_bytes()),
        Base64UrlUnpadded::encode_string(planted.as_bytes()),
        format!("{:?}", planted.as_bytes()),
        serde_json::to_string(planted.as_bytes()).unwrap(),
    ];
    let texts = Texts::default();
    drive(&texts);
    assert_eq!(texts.leaks(&needles), []);
    for (number, form) in forms.into_iter().enumerate() {
        texts.add("planted", form.clone());
        assert_eq!(texts.leaks(&needles).len(), number + 1, "{form}");
    }
}
