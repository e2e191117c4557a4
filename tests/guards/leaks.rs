//! Reports of leaked keys: who may report, the effect on keys, and the response.

use std::thread;

use crate::support::{
    Held, World, block_on, catalog, gives_away, overheard::RevealKnown as _, policy,
};
use axum::body::Body;
use base64ct::{Base64, Encoding};
use http::Request;
use keyway::{
    ConfigError, GracePeriod, ImportedKey, KeyEdit, KeyRecord, KeyringError, LeakResponse, NewKey,
    Policy, ScopeCatalog, Tier, VerifyError,
    http::{
        Response, Routes,
        axum::leak_reports,
        leak::{LeakReports, SigningKeys},
        problem::ProblemTypes,
    },
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    record::Suspension,
    scope::{ScopeDeclaration, ScopeSet},
    store::StoreError,
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::ServiceExt;

const IDENTIFIER: &str = "github-public-key-identifier";
const SIGNATURE: &str = "github-public-key-signature";
const REASON: &str = "its token was found in public";

// The reporter.

fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

/// Returns the public half of `key` as a list holds it: `SubjectPublicKeyInfo` (RFC 5480) in PEM.
fn pem(key: &SigningKey) -> String {
    let mut der = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\
        \x3d\x03\x01\x07\x03\x42\x00"
        .to_vec();
    der.extend_from_slice(key.verifying_key().to_sec1_point(false).as_bytes());
    let text = Base64::encode_string(&der);
    let (first, second) = text.split_at(64);
    format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
}

fn listed(identifier: &str, key: &SigningKey, is_current: bool) -> Value {
    json!({ "key_identifier": identifier, "key": pem(key), "is_current": is_current })
}

fn list(keys: &[Value]) -> String {
    json!({ "public_keys": keys }).to_string()
}

/// Returns the initial list of all tests, except those of the list itself.
fn keys() -> SigningKeys {
    let list = list(&[listed("old", &signing_key(1), false), listed("now", &signing_key(2), true)]);
    SigningKeys::from_json(list).unwrap()
}

fn sign(key: &SigningKey, body: &[u8]) -> String {
    let signature: Signature = key.sign(body);
    Base64::encode_string(signature.to_der().as_bytes())
}

/// The headers and the body of a report.
#[derive(Clone)]
struct Report {
    fields: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Report {
    /// Creates a genuine report with this body.
    fn of(body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = sign(&signing_key(2), &body);
        Self {
            fields: vec![(IDENTIFIER, b"now".to_vec()), (SIGNATURE, signature.into_bytes())],
            body,
        }
    }

    /// Creates a genuine report of these tokens.
    fn tokens<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let findings: Vec<_> = tokens
            .into_iter()
            .map(|token| {
                json!({
                    "token": token.as_ref(),
                    "type": "mm_api_key",
                    "url": "https://example.com/repository",
                    "source": "commit",
                })
            })
            .collect();
        Self::of(Value::from(findings).to_string())
    }

    fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.retain(|(other, _)| *other != name);
        self.fields.push((name, value.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(other, _)| *other != name);
        self
    }

    fn sent(&self, reports: &LeakReports) -> Response {
        let fields: Vec<_> = self.fields.iter().map(|(name, value)| (*name, &**value)).collect();
        block_on(reports.handle(&fields[..], &self.body))
    }

    fn request(self) -> Request<Body> {
        let fields = self.fields.into_iter();
        let post = fields.fold(Request::post("/leaks"), |post, (name, value)| {
            post.header(name, http::HeaderValue::from_bytes(&value).unwrap())
        });
        post.body(Body::from(self.body)).unwrap()
    }
}

fn reports(world: &World, response: LeakResponse) -> LeakReports {
    LeakReports::new(&world.keyring, response, &keys())
}

fn floor(world: &World, names: &[&str]) -> LeakResponse {
    LeakResponse::Quarantine(world.keyring.policy().catalog().set(names).unwrap())
}

fn field<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    answer.headers().find(|(other, _)| *other == name).map(|(_, value)| value)
}

/// Returns the labels of a response, which must be feedback.
fn labels(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status(), 200, "{}", answer.body());
    assert_eq!(field(answer, "content-type"), Some("application/json"));
    let feedback: Vec<Value> = serde_json::from_str(answer.body()).unwrap();
    feedback.iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
}

/// Returns the name of the problem type.
fn problem(answer: &Response) -> String {
    assert_eq!(field(answer, "content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(problem["status"], answer.status());
    problem["type"].as_str().unwrap().split_once('#').unwrap().1.to_owned()
}

fn stored(world: &World, held: &Held) -> KeyRecord {
    let keys = world.keyring.tenant(held.keys.id().clone());
    block_on(keys.find(held.key.id())).unwrap()
}

/// Returns the scopes of the key at its next use, or the reason why it cannot be used.
fn next_use(world: &World, token: &str) -> String {
    match block_on(world.keyring.verify(token)) {
        Ok(caller) => world.keyring.policy().catalog().text(caller.scopes()),
        Err(error) => error.to_string(),
    }
}

fn held_with(world: &World, id: &str, scopes: &[&str]) -> Held {
    let request = NewKey::named("first").scopes(scopes.iter().copied());
    let created = block_on(world.keyring.create_tenant_with(id, "advanced", request));
    let (keys, issued) = created.unwrap();
    Held { keys, key: issued.key, token: issued.token.reveal_known().to_string() }
}

const SUSPENDED: &str = "the API key cannot be used: suspended";

// The effect on keys.

#[test]
fn genuine_report_gets_the_configured_response() {
    let world = World::new();
    let cases = [
        (LeakResponse::Suspend, SUSPENDED),
        (floor(&world, &["operator.read", "reporting"]), "operator.read reporting"),
        (floor(&world, &[]), ""),
        (LeakResponse::Quarantine(catalog().all()), "erp operator"),
        (LeakResponse::ReportOnly, "erp operator"),
    ];
    for (number, (response, expected)) in cases.into_iter().enumerate() {
        let held = held_with(&world, &format!("tenant {number}"), &["operator", "erp"]);
        assert_eq!(next_use(&world, &held.token), "erp operator");
        world.audit.take_kinds();
        let answer = Report::tokens([&held.token]).sent(&reports(&world, response));
        assert_eq!(labels(&answer), ["true_positive"]);
        assert_eq!(next_use(&world, &held.token), expected, "{response:?}");
        let told = format!("LeakReported {{ reason: {REASON:?}, response: {response:?} }}");
        assert_eq!(world.audit.take_kinds()[0], told);
    }
}

#[test]
fn the_audit_names_actor_reason_and_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let keyring = world.keyring.acting_as("secret scanning");
    let reports = LeakReports::new(&keyring, LeakResponse::Suspend, &keys());
    let reports = reports.reason("GitHub found it").unwrap();
    Report::tokens([&held.token]).sent(&reports);
    let event = world.audit.events().pop().unwrap();
    assert_eq!(event.actor, "secret scanning");
    assert_eq!(event.tenant.as_deref(), Some("acme"));
    assert_eq!(event.key, Some(held.key.id().to_string()));
    assert_eq!(event.kind, "LeakReported { reason: \"GitHub found it\", response: Suspend }");
    assert_eq!(stored(&world, &held).suspension().unwrap().reason(), "GitHub found it");
    for reason in ["", "two\nlines", &"long".repeat(200)] {
        assert!(reports.reason(reason).is_err(), "{reason}");
    }
}

#[test]
fn key_in_any_state_is_handled() {
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    let ban = || Suspension::until(world.after(crate::support::HOUR), "cool down").unwrap();
    let disabled = world.tenant_with_key("disabled");
    block_on(disabled.keys.disable(disabled.key.id())).unwrap();
    let suspended = world.tenant_with_key("suspended");
    block_on(world.keyring.suspend_key(suspended.key.id(), ban())).unwrap();
    let banned = world.tenant_with_key("banned");
    block_on(world.keyring.suspend_tenant(banned.keys.id(), ban())).unwrap();
    let expired = world.tenant_with_key("expired");
    let edit = KeyEdit::new().expires_at(world.after(crate::support::HOUR));
    block_on(expired.keys.edit(expired.key.id(), 1, edit)).unwrap();
    world.clock.advance(crate::support::HOUR);
    for held in [disabled, suspended, banned, expired] {
        let answer = Report::tokens([&held.token]).sent(&reports);
        assert_eq!(labels(&answer), ["true_positive"]);
        let suspension = stored(&world, &held).suspension().cloned().unwrap();
        assert_eq!((suspension.end(), suspension.reason()), (None, REASON));
    }
}

#[test]
fn repeated_report_writes_nothing_and_is_audited_again() {
    let world = World::new();
    for response in [LeakResponse::Suspend, floor(&world, &["reporting"]), LeakResponse::ReportOnly]
    {
        let held = held_with(&world, &format!("{response:?}"), &["operator", "erp"]);
        let (reports, report) = (reports(&world, response), Report::tokens([&held.token]));
        let first = report.sent(&reports);
        let (key, writes) = (stored(&world, &held), world.store.writes());
        world.audit.take_kinds();
        assert_eq!(report.sent(&reports), first);
        assert_eq!(stored(&world, &held), key);
        assert_eq!(world.store.writes(), writes);
        assert_eq!(world.audit.take_kinds().len(), 1);
    }
}

#[test]
fn permanent_suspension_by_an_operator_keeps_its_reason() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let ban = Suspension::permanent("fraud").unwrap();
    block_on(world.keyring.suspend_key(held.key.id(), ban)).unwrap();
    for response in [LeakResponse::Suspend, floor(&world, &[]), LeakResponse::ReportOnly] {
        Report::tokens([&held.token]).sent(&reports(&world, response));
        let key = stored(&world, &held);
        assert_eq!(key.suspension().map(Suspension::reason), Some("fraud"));
        assert_eq!(key.suspension().and_then(Suspension::end), None);
    }
}

#[test]
fn a_rotated_key_is_out_of_reach_of_the_old_report() {
    let world = World::new();
    let held = held_with(&world, "acme", &["operator"]);
    let reports = reports(&world, floor(&world, &["operator.read"]));
    let report = Report::tokens([&held.token]);
    report.sent(&reports);
    let rotated = block_on(held.keys.rotate(held.key.id(), 2, GracePeriod::None)).unwrap();
    let edit = KeyEdit::new().scopes(["operator"]);
    block_on(held.keys.edit(held.key.id(), 3, edit)).unwrap();
    let token = rotated.token.reveal_known();
    // The finding is a token of this system, even though the token is no longer valid.
    assert_eq!(labels(&report.sent(&reports)), ["true_positive"]);
    assert_eq!(next_use(&world, &token), "operator");
    assert_eq!(stored(&world, &held).version(), 4);
}

#[test]
fn repeated_report_undoes_later_decisions_on_the_same_secret() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let report = Report::tokens([&held.token]);
    report.sent(&reports);
    block_on(world.keyring.resume_key(held.key.id())).unwrap();
    assert_eq!(next_use(&world, &held.token), "reporting");
    report.sent(&reports);
    assert_eq!(next_use(&world, &held.token), SUSPENDED);
}

#[test]
fn previous_secret_counts_during_its_grace_period() {
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    for (waits, expected) in [(0, SUSPENDED), (2, "reporting")] {
        let held = world.tenant_with_key(&format!("{waits} hours"));
        let grace_period = GracePeriod::For(crate::support::HOUR);
        let rotated = block_on(held.keys.rotate(held.key.id(), 1, grace_period)).unwrap();
        world.clock.advance(waits * crate::support::HOUR);
        let answer = Report::tokens([&held.token]).sent(&reports);
        assert_eq!(labels(&answer), ["true_positive"]);
        assert_eq!(next_use(&world, &rotated.token.reveal_known()), expected);
    }
}

#[test]
fn keys_of_another_system_are_handled() {
    const FOREIGN: &str = "legacy_0123456789abcdefghij";
    let format = || {
        let format = ForeignFormat::whole_token(ForeignHash::Sha256).prefix("legacy_").unwrap();
        format.lengths(FOREIGN.len()..=FOREIGN.len()).unwrap()
    };
    let world = World::with(policy(), |builder| builder.accept_imported(format()));
    let digest = ForeignDigest::from_bytes(&Sha256::digest(FOREIGN)).unwrap();
    let acme = block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let request = NewKey::named("from before").scopes(["reporting"]);
    let imported = ImportedKey::new(&format(), digest, request).unwrap();
    block_on(acme.import(imported)).unwrap();
    assert_eq!(next_use(&world, FOREIGN), "reporting");
    let other = FOREIGN.replace('j', "k");
    let answer = Report::tokens([FOREIGN, &other]).sent(&reports(&world, LeakResponse::Suspend));
    assert_eq!(labels(&answer), ["true_positive", "false_positive"]);
    assert_eq!(next_use(&world, FOREIGN), SUSPENDED);
}

#[test]
fn the_tenant_can_rotate_a_key_in_quarantine() {
    let world = World::new();
    let held = held_with(&world, "acme", &["operator"]);
    Report::tokens([&held.token]).sent(&reports(&world, floor(&world, &["operator.read"])));
    let rotated = block_on(held.keys.rotate(held.key.id(), 2, GracePeriod::None)).unwrap();
    assert_eq!(next_use(&world, &rotated.token.reveal_known()), "operator.read");
    assert_eq!(next_use(&world, &held.token), "the API key is not valid");
}

// Quarantine can only narrow scopes.

const NAMES: [&str; 6] =
    ["erp", "manager", "operator", "operator.jobs", "operator.read", "reporting"];

fn chosen(mask: u8) -> Vec<&'static str> {
    let chosen = NAMES.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1);
    chosen.map(|(_, name)| *name).collect()
}

/// Returns the scopes below each scope, written out by hand.
fn below(name: &str) -> &'static [&'static str] {
    match name {
        "operator" => &["operator", "operator.jobs", "operator.read"],
        "erp" => &["erp", "reporting"],
        "operator.jobs" => &["operator.jobs"],
        "operator.read" => &["operator.read"],
        "manager" => &["manager"],
        _ => &["reporting"],
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn quarantine_keeps_what_is_in_both(granted in 0_u8..64, floors in proptest::collection::vec(0_u8..64, 1..4)) {
        let world = World::new();
        let held = held_with(&world, "acme", &chosen(granted));
        let holds = |mask: u8, name: &str| chosen(mask).iter().any(|top| below(top).contains(&name));
        let mut applied = Vec::new();
        for floor_mask in floors {
            applied.push(floor_mask);
            let response = floor(&world, &chosen(floor_mask));
            let key = block_on(world.keyring.report_leak(&held.token, "seen", response)).unwrap();
            let caller = block_on(world.keyring.verify(&held.token)).unwrap();
            for name in NAMES {
                let expected = holds(granted, name) && applied.iter().all(|mask| holds(*mask, name));
                let requirement = world.keyring.requirement([name]).unwrap();
                prop_assert_eq!(caller.require(&requirement).is_ok(), expected, "{}", name);
            }
            let seals = block_on(held.keys.find(key.id()));
            prop_assert_eq!(seals.unwrap(), key);
        }
    }
}

#[test]
fn quarantine_removes_names_that_the_catalog_lacks() {
    let declare = |name| ScopeDeclaration::new(name, "for tests");
    let smaller = ScopeCatalog::new([declare("operator.read"), declare("reporting")]).unwrap();
    let smaller = Policy::new("mm", smaller, [Tier::new("advanced", 5)]).unwrap();
    let world = World::new();
    let held = held_with(&world, "acme", &["operator", "reporting"]);
    let node = world.another_node_with(smaller, |builder| builder);
    let everything = LeakResponse::Quarantine(node.keyring.policy().catalog().all());
    let key = block_on(node.keyring.report_leak(&held.token, "seen", everything)).unwrap();
    let names: Vec<_> = key.scopes().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["reporting"]);
    world.clock.advance(crate::support::MAX_STALENESS);
    assert_eq!(next_use(&world, &held.token), "reporting");
}

#[test]
fn floor_of_another_catalog_leaves_nothing() {
    let other = ScopeCatalog::new([ScopeDeclaration::new("reporting", "for tests")]).unwrap();
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let set: ScopeSet = other.all();
    let key =
        block_on(world.keyring.report_leak(&held.token, "seen", LeakResponse::Quarantine(set)));
    assert_eq!(key.unwrap().scopes(), []);
    assert_eq!(next_use(&world, &held.token), "");
}

#[test]
fn concurrent_grant_does_not_outlast_the_quarantine() {
    let world = World::new();
    let node = world.another_node();
    let held = held_with(&world, "acme", &["operator"]);
    let response = floor(&world, &["operator.read"]);
    node.store.hold("update_key");
    thread::scope(|scope| {
        let report =
            scope.spawn(|| block_on(node.keyring.report_leak(&held.token, "seen", response)));
        node.store.await_call("update_key");
        let edit = KeyEdit::new().scopes(["operator", "manager"]).name("renamed");
        block_on(held.keys.edit(held.key.id(), 1, edit)).unwrap();
        node.store.release("update_key");
        let key = report.join().unwrap().unwrap();
        assert_eq!((key.name(), key.version()), ("renamed", 3));
        let names: Vec<_> = key.scopes().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["operator.read"]);
    });
    // An edit that was based on the key before the quarantine fails with a conflict.
    let late = block_on(held.keys.edit(held.key.id(), 2, KeyEdit::new().scopes(["operator"])));
    assert!(matches!(late, Err(KeyringError::Conflict)), "{late:?}");
}

#[test]
fn key_deleted_during_a_report_needs_no_response() {
    let world = World::new();
    let node = world.another_node();
    let held = world.tenant_with_key("acme");
    node.store.hold("update_key");
    thread::scope(|scope| {
        let report = scope.spawn(|| {
            block_on(node.keyring.report_leak(&held.token, "seen", LeakResponse::Suspend))
        });
        node.store.await_call("update_key");
        block_on(held.keys.delete(held.key.id())).unwrap();
        node.store.release("update_key");
        assert!(matches!(report.join().unwrap(), Err(KeyringError::Rejected)));
    });
    assert!(node.audit.kinds().is_empty(), "{:?}", node.audit.kinds());
}

// Permission to report.

/// Returns all reports that are not signed by a current key over the body as sent.
fn forgeries(genuine: &Report) -> Vec<(&'static str, Report)> {
    let body = &genuine.body;
    let signature = sign(&signing_key(2), body);
    let der = Base64::decode_vec(&signature).unwrap();
    let encode = Base64::encode_string;
    let mut damaged = der.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let raw: Signature = signing_key(2).sign(body);
    let twice = |name: &'static str| {
        let mut report = genuine.clone();
        let field = report.fields.iter().find(|(other, _)| *other == name).cloned();
        report.fields.extend(field);
        report
    };
    let mut altered = genuine.clone();
    *altered.body.last_mut().unwrap() = b' ';
    let mut longer = genuine.clone();
    longer.body.push(b'\n');
    let genuine = || genuine.clone();
    let zeros = b"\x30\x06\x02\x01\x00\x02\x01\x00";
    vec![
        ("no identifier", genuine().without(IDENTIFIER)),
        ("no signature", genuine().without(SIGNATURE)),
        ("no fields", genuine().without(IDENTIFIER).without(SIGNATURE)),
        ("two identifiers", twice(IDENTIFIER)),
        ("two signatures", twice(SIGNATURE)),
        ("unknown identifier", genuine().with(IDENTIFIER, "later")),
        ("empty identifier", genuine().with(IDENTIFIER, "")),
        ("identifier that is no text", genuine().with(IDENTIFIER, *b"now\xff")),
        ("another key", genuine().with(SIGNATURE, sign(&signing_key(3), body))),
        (
            "key that is not current",
            genuine().with(IDENTIFIER, "old").with(SIGNATURE, sign(&signing_key(1), body)),
        ),
        ("current key by the name of an old one", genuine().with(IDENTIFIER, "old")),
        ("signature of another body", genuine().with(SIGNATURE, sign(&signing_key(2), b"[]"))),
        ("damaged signature", genuine().with(SIGNATURE, encode(&damaged))),
        ("cut signature", genuine().with(SIGNATURE, encode(&der[..der.len() - 1]))),
        ("longer signature", genuine().with(SIGNATURE, encode(&[&*der, b"\0"].concat()))),
        ("signature that is not DER", genuine().with(SIGNATURE, encode(&raw.to_bytes()))),
        ("signature of zeros", genuine().with(SIGNATURE, encode(zeros))),
        ("not base64", genuine().with(SIGNATURE, "not base64!")),
        ("signature that is no text", genuine().with(SIGNATURE, *b"\xff\xfe")),
        ("empty signature", genuine().with(SIGNATURE, "")),
        ("huge signature", genuine().with(SIGNATURE, "A".repeat(100_000))),
        ("altered body", altered),
        ("longer body", longer),
    ]
}

#[test]
fn forged_reports_change_nothing_and_get_one_response() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let genuine = Report::tokens([&*held.token, "theirs", &"long".repeat(1_000)]);
    let calls = world.store.all_calls();
    world.audit.take_kinds();
    let expected = Report::of("[]").without(SIGNATURE).sent(&reports);
    assert_eq!((expected.status(), &*problem(&expected)), (403, "leak-report-rejected"));
    for (name, forged) in forgeries(&genuine) {
        assert_eq!(forged.sent(&reports), expected, "{name}");
    }
    assert_eq!(world.store.all_calls(), calls);
    assert!(world.audit.kinds().is_empty());
    assert_eq!(next_use(&world, &held.token), "reporting");
    // The control: the same report, unchanged.
    assert_eq!(labels(&genuine.sent(&reports))[0], "true_positive");
    assert_eq!(next_use(&world, &held.token), SUSPENDED);
}

#[test]
fn header_names_are_read_in_any_case() {
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    for upper in [true, false] {
        let report = Report::of("[]");
        let fields: Vec<_> = report
            .fields
            .iter()
            .map(|(name, value)| {
                let name = if upper { name.to_uppercase() } else { (*name).to_owned() };
                (name, value)
            })
            .collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (&**name, &***value)).collect();
        let answer = block_on(reports.handle(&fields[..], &report.body));
        assert_eq!((answer.status(), answer.body()), (200, "[]"));
    }
}

#[test]
fn both_signatures_of_a_body_are_accepted() {
    // Both (r, s) and (r, -s) are valid, and not every signer takes the smaller s.
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    let signature: Signature = signing_key(2).sign(b"[]");
    let (r, s) = signature.split_scalars();
    let other = Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    assert_ne!(signature, other);
    for signature in [signature, other] {
        let text = Base64::encode_string(signature.to_der().as_bytes());
        assert_eq!(Report::of("[]").with(SIGNATURE, text).sent(&reports).status(), 200);
    }
}

/// The example in GitHub's documentation of the partner program, with its key as GitHub listed it.
#[test]
fn githubs_own_example_is_genuine() {
    let world = World::new();
    let identifier = "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c";
    let list = json!({ "public_keys": [
        {
            "key_identifier": "90a421169f0a406205f1563a953312f0be898d3c7b6c06b681aa86a874555f4a",
            "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE9MJJHnMfn2+H4xL4YaPDA4RpJqUq\nkCmRCBnYERxZanmcpzQSXs1X/AljlKkbJ8qpVIW4clayyef9gWhFbNHWAA==\n-----END PUBLIC KEY-----\n",
            "is_current": false,
        },
        {
            "key_identifier": identifier,
            "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n",
            "is_current": true,
        },
    ] });
    let keys = SigningKeys::from_json(list.to_string()).unwrap();
    let reports = LeakReports::new(&world.keyring, LeakResponse::Suspend, &keys);
    let report = Report {
        fields: vec![
            (IDENTIFIER, identifier.into()),
            (
                SIGNATURE,
                b"MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg=="
                    .to_vec(),
            ),
        ],
        body: br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#
            .to_vec(),
    };
    let answer = report.sent(&reports);
    // The SHA-256 of `some_token`, computed with another program.
    assert_eq!(
        answer.body(),
        r#"[{"token_hash":"9a45520a1213f15016d2d768b5fb3d904492a44ee274b44d4de8803e00fb536a","token_type":"some_type","label":"false_positive"}]"#
    );
    let later = Report { body: [&*report.body, b"\n"].concat(), ..report };
    assert_eq!(later.sent(&reports).status(), 403);
}

// The list of keys.

#[test]
fn a_list_that_is_replaced_counts_at_once_for_all_clones() {
    let world = World::new();
    let keys = keys();
    let reports = LeakReports::new(&world.keyring, LeakResponse::Suspend, &keys);
    let old = Report::of("[]");
    let new = old.clone().with(IDENTIFIER, "next").with(SIGNATURE, sign(&signing_key(4), b"[]"));
    let statuses = || (old.sent(&reports).status(), new.sent(&reports).status());
    assert_eq!(statuses(), (200, 403));
    let both = [listed("now", &signing_key(2), true), listed("next", &signing_key(4), true)];
    keys.clone().replace(list(&both)).unwrap();
    assert_eq!(statuses(), (200, 200));
    let [mut retired, next] = both;
    retired["is_current"] = false.into();
    keys.replace(list(&[retired, next])).unwrap();
    assert_eq!(statuses(), (403, 200));
    assert!(keys.replace("{}").is_err());
    assert_eq!(statuses(), (403, 200));
}

#[test]
fn a_list_that_cannot_be_taken_says_why() {
    let now = || listed("now", &signing_key(2), true);
    let with_key = |key: &str| json!({ "key_identifier": "now", "key": key, "is_current": true });
    let unmarked = json!({ "key_identifier": "now", "key": pem(&signing_key(2)) });
    let p384 = "-----BEGIN PUBLIC KEY-----\nMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEAAAA\n-----END PUBLIC KEY-----\n";
    let off_curve = {
        let mut der =
            Base64::decode_vec(&pem(&signing_key(2)).lines().collect::<Vec<_>>()[1..3].concat())
                .unwrap();
        *der.last_mut().unwrap() ^= 1;
        let text = Base64::encode_string(&der);
        format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n{}\n-----END PUBLIC KEY-----\n",
            &text[..64],
            &text[64..]
        )
    };
    let cases = [
        ("not JSON".to_owned(), "the list of signing keys cannot be read: expected ident"),
        ("{}".to_owned(), "the list of signing keys cannot be read: missing field `public_keys`"),
        (list(&[unmarked]), "the list of signing keys cannot be read: missing field `is_current`"),
        (list(&[]), "no signing key in the list is current"),
        (list(&[listed("old", &signing_key(1), false)]), "no signing key in the list is current"),
        (list(&[now(), now()]), "the signing key `now` is listed twice"),
        (list(&[with_key("")]), "the signing key `now` is not a P-256 key in PEM"),
        (list(&[with_key(p384)]), "the signing key `now` is not a P-256 key in PEM"),
        (list(&[with_key(&off_curve)]), "the signing key `now` is not a P-256 key in PEM"),
    ];
    for (list, expected) in cases {
        let error: ConfigError = SigningKeys::from_json(&list).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{list}: {error}");
    }
    // A key that is not current need not be readable, and unknown members are not an error.
    let mut ignored = with_key(p384);
    ignored["is_current"] = false.into();
    ignored["created_at"] = "2026-01-01".into();
    assert!(SigningKeys::from_json(list(&[ignored, now()])).is_ok());
}

// The contents of reports.

#[test]
fn signed_body_that_is_not_a_report_is_refused() {
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    let deep = "[".repeat(10_000);
    let bodies: [&[u8]; 10] = [
        b"",
        b"not JSON",
        b"{}",
        b"null",
        b"[1]",
        b"[{}]",
        br#"[{"token":"t"}]"#,
        br#"[{"token":1,"type":"t"}]"#,
        b"[{\"token\":\"\xff\",\"type\":\"t\"}]",
        deep.as_bytes(),
    ];
    let calls = world.store.all_calls();
    for body in bodies {
        let answer = Report::of(body).sent(&reports);
        let name = String::from_utf8_lossy(body);
        assert_eq!(
            (answer.status(), &*problem(&answer)),
            (400, "leak-report-unreadable"),
            "{name}"
        );
    }
    assert_eq!(world.store.all_calls(), calls);
}

#[test]
fn unknown_members_are_ignored_and_escapes_are_read() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let (first, rest) = held.token.split_at(1);
    let escaped = format!("\\u{:04x}{rest}", first.as_bytes()[0]);
    let body = format!(r#" [ {{"novelty":{{"a":[1]}},"type":"t\"ype","token":"{escaped}"}} ] "#);
    let answer = Report::of(body).sent(&reports(&world, LeakResponse::Suspend));
    assert_eq!(labels(&answer), ["true_positive"]);
    let feedback: Value = serde_json::from_str(answer.body()).unwrap();
    assert_eq!(feedback[0]["token_type"], "t\"ype");
    assert_eq!(next_use(&world, &held.token), SUSPENDED);
}

#[test]
fn a_report_has_limits() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let made_up = |count: usize| (0..count).map(|number| format!("mm_live_{number:056}"));
    let too_many = made_up(LeakReports::MAX_TOKENS).chain([held.token.clone()]);
    let answer = Report::tokens(too_many).sent(&reports);
    assert_eq!((answer.status(), &*problem(&answer)), (413, "leak-report-too-large"));
    assert_eq!(answer, reports.too_large());
    assert_eq!(next_use(&world, &held.token), "reporting");

    let body_of = |len: usize| {
        let mut body = Report::tokens([&held.token]).body;
        body.resize(len, b' ');
        body
    };
    let answer = Report::of(body_of(LeakReports::MAX_BODY_LEN + 1)).sent(&reports);
    assert_eq!(answer, reports.too_large());
    assert_eq!(next_use(&world, &held.token), "reporting");

    let calls = world.store.all_calls();
    let enough = made_up(LeakReports::MAX_TOKENS - 1).chain([held.token.clone()]);
    let answer = Report::tokens(enough).sent(&reports);
    assert_eq!(labels(&answer).iter().filter(|label| *label == "true_positive").count(), 1);
    // Forged tokens are refused by their tags, without a read of the store.
    assert_eq!(world.store.all_calls(), calls + 2);
    assert_eq!(Report::of(body_of(LeakReports::MAX_BODY_LEN)).sent(&reports).status(), 200);
}

#[test]
fn incomplete_or_foreign_token_changes_nothing() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let token = &held.token;
    // The id is public, so an id with another secret proves nothing.
    let other = world.tenant_with_key("globex").token;
    let wrong_secret = format!("{}{}", &token[..24], &other[24..]);
    let made_up = [
        wrong_secret,
        token[..token.len() - 1].to_owned(),
        token[..40].to_owned(),
        format!("{token}A"),
        format!(" {token}"),
        format!("key={token}"),
        token.to_lowercase(),
        token.replace("mm_live", "mm_test"),
        held.key.id().to_string(),
        held.key.masked().to_owned(),
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        String::new(),
        "ü\u{0}".to_owned(),
    ];
    world.audit.take_kinds();
    let calls = world.store.all_calls();
    let answer = Report::tokens(&made_up).sent(&reports(&world, LeakResponse::Suspend));
    assert_eq!(labels(&answer), ["false_positive"; 13]);
    assert_eq!(world.store.all_calls(), calls);
    assert!(world.audit.kinds().is_empty());
    assert_eq!(next_use(&world, token), "reporting");
    assert_eq!(next_use(&world, &other), "reporting");
}

#[test]
fn own_foreign_and_repeated_tokens_are_labeled_in_order() {
    let world = World::new();
    let reports = reports(&world, LeakResponse::Suspend);
    let [first, second, deleted, safe] =
        ["first", "second", "deleted", "safe"].map(|id| world.tenant_with_key(id));
    block_on(deleted.keys.delete(deleted.key.id())).unwrap();
    let tokens =
        ["theirs", &*first.token, &*first.token, &*second.token, "theirs", &*deleted.token];
    let updates = world.store.calls("update_key");
    world.audit.take_kinds();
    let answer = Report::tokens(tokens).sent(&reports);
    let (ours, theirs) = ("true_positive", "false_positive");
    assert_eq!(labels(&answer), [theirs, ours, ours, ours, theirs, ours]);
    assert_eq!(world.store.calls("update_key"), updates + 2);
    assert_eq!(world.audit.take_kinds().len(), 2);
    let feedback: Vec<Value> = serde_json::from_str(answer.body()).unwrap();
    for (token, item) in tokens.iter().zip(&feedback) {
        let hash = item["token_hash"].as_str().unwrap();
        let bytes = (0..64).step_by(2).map(|at| u8::from_str_radix(&hash[at..at + 2], 16).unwrap());
        assert!(bytes.eq(Sha256::digest(token)) && hash.len() == 64, "{hash}");
        assert_eq!(item["token_type"], "mm_api_key");
        assert_eq!(item.as_object().unwrap().len(), 3);
    }
    assert_eq!(next_use(&world, &first.token), SUSPENDED);
    assert_eq!(next_use(&world, &second.token), SUSPENDED);
    assert_eq!(next_use(&world, &safe.token), "reporting");
}

// Failures of the store.

fn is_unavailable(answer: &Response) -> bool {
    answer.status() == 503
        && problem(answer) == "unavailable"
        && field(answer, "retry-after").is_some_and(|after| after.parse::<u32>().is_ok())
}

#[test]
fn report_during_an_outage_gets_503_and_can_be_resent() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let report = Report::tokens(["theirs", &held.token]);
    for method in ["lookup", "update_key"] {
        world.store.fail(method);
        let answer = report.sent(&reports);
        assert!(is_unavailable(&answer), "{method}: {answer:?}");
        world.store.heal(method);
    }
    assert_eq!(next_use(&world, &held.token), "reporting");
    assert_eq!(labels(&report.sent(&reports)), ["false_positive", "true_positive"]);
    assert_eq!(next_use(&world, &held.token), SUSPENDED);
}

#[test]
fn lost_response_does_no_harm() {
    let world = World::new();
    let held = held_with(&world, "acme", &["operator"]);
    let reports = reports(&world, floor(&world, &["operator.read"]));
    let report = Report::tokens([&held.token]);
    world.store.hold("update_key");
    thread::scope(|scope| {
        let first = scope.spawn(|| report.sent(&reports));
        world.store.await_call("update_key");
        world.store.set_losing_answers(true);
        world.store.release("update_key");
        assert!(is_unavailable(&first.join().unwrap()));
    });
    world.store.set_losing_answers(false);
    assert_eq!(next_use(&world, &held.token), "operator.read");
    assert_eq!(labels(&report.sent(&reports)), ["true_positive"]);
    assert_eq!(stored(&world, &held).version(), 2);
}

#[test]
fn unreadable_record_does_not_stop_other_tokens() {
    let world = World::new();
    let bad: Vec<_> =
        (0..5).map(|number| world.tenant_with_key(&format!("bad {number}"))).collect();
    let good = world.tenant_with_key("good");
    let reports = reports(&world, LeakResponse::Suspend);
    let report = Report::tokens(bad.iter().map(|held| &held.token).chain([&good.token]));
    let ids: Vec<_> = bad.iter().map(|held| held.key.id()).collect();
    world.store.rewrite_keys(move |key| {
        if ids.contains(&key.id()) {
            return Err(StoreError::Corrupt(KeyRecord::decode(b"").unwrap_err()));
        }
        Ok(key)
    });
    assert!(is_unavailable(&report.sent(&reports)));
    assert_eq!(next_use(&world, &good.token), SUSPENDED);
    world.store.rewrite_nothing();
    assert_eq!(labels(&report.sent(&reports)), ["true_positive"; 6]);
    assert_eq!(next_use(&world, &bad[4].token), SUSPENDED);
}

#[test]
fn long_report_stops_after_a_few_failed_lookups() {
    let world = World::new();
    let tokens: Vec<_> =
        (0..10).map(|number| world.tenant_with_key(&format!("tenant {number}")).token).collect();
    let lookups = world.store.calls("lookup");
    world.store.set_down(true);
    assert!(is_unavailable(&Report::tokens(&tokens).sent(&reports(&world, LeakResponse::Suspend))));
    assert_eq!(world.store.calls("lookup"), lookups + 3);
}

#[test]
fn tampered_record_is_audited_and_left_unchanged() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    world.store.rewrite_keys(|key| Ok(crate::support::with_text(&key, "first", "other")));
    world.audit.take_kinds();
    let writes = world.store.writes();
    let answer = Report::tokens([&held.token]).sent(&reports(&world, LeakResponse::Suspend));
    assert_eq!(labels(&answer), ["true_positive"]);
    assert_eq!(world.audit.take_kinds(), ["Tampered"]);
    assert_eq!(world.store.writes(), writes);
    let verified = block_on(world.keyring.verify(&held.token));
    assert!(matches!(verified, Err(VerifyError::Tampered)), "{verified:?}");
}

// Secrets in responses.

/// Checks that no 8 characters of the secret half of `token` are in a text.
#[test]
fn no_response_holds_any_part_of_a_token() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let genuine = Report::tokens([&held.token]);
    let cut = Report::of(&genuine.body[..genuine.body.len() - 1]);
    let mut answers = vec![genuine.sent(&reports), cut.sent(&reports), reports.too_large()];
    answers.extend(forgeries(&genuine).iter().map(|(_, forged)| forged.sent(&reports)));
    world.store.set_down(true);
    answers.push(genuine.sent(&reports));
    assert!(answers.iter().any(|answer| answer.status() == 503));
    for answer in &answers {
        let text = format!("{answer:?}{reports:?}{:?}", world.audit.events());
        assert!(!gives_away(&text, &held.token), "{text}");
    }
    let control = format!("[{{\"token_raw\":\"{}\"}}]", &held.token[..33]);
    assert!(gives_away(&control, &held.token));
}

// The endpoint through axum.

fn router(reports: &LeakReports, world: &World) -> axum::Router {
    let routes = Routes::new(&world.keyring).route("/leaks", leak_reports(reports));
    let table = routes.table().unwrap().to_string();
    assert!(table.contains("POST") && table.contains("(signed leak report)"), "{table}");
    routes.build().unwrap()
}

fn sent(router: &axum::Router, request: Request<Body>) -> (u16, String) {
    let response = block_on(router.clone().oneshot(request)).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[test]
fn axum_endpoint_responds_alike() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    let router = router(&reports, &world);
    let genuine = Report::tokens([&held.token]);
    for (name, forged) in forgeries(&genuine) {
        let expected = forged.sent(&reports);
        let answer = sent(&router, forged.request());
        assert_eq!(answer, (expected.status(), expected.into_body()), "{name}");
    }
    let long = Report::of(vec![b' '; LeakReports::MAX_BODY_LEN + 1]);
    assert_eq!(sent(&router, long.request()).0, 413);
    // The limit is that of reports and not that of the framework's extractors.
    let full = Report::of(format!("[]{}", " ".repeat(LeakReports::MAX_BODY_LEN - 2)));
    assert_eq!(sent(&router, full.request()), (200, "[]".to_owned()));
    assert_eq!(next_use(&world, &held.token), "reporting");
    let (status, body) = sent(&router, genuine.request());
    assert!(status == 200 && body.contains("true_positive"), "{body}");
    assert_eq!(next_use(&world, &held.token), SUSPENDED);
    assert_eq!(sent(&router, Request::get("/leaks").body(Body::empty()).unwrap()).0, 405);
}

/// Checks that the link of a problem leads to a heading, and that its detail explains what to do.
#[test]
fn every_problem_is_explained() {
    let docs = include_str!("../../src/http/problem.rs");
    let headings: Vec<_> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("//! # "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let reports = reports(&world, LeakResponse::Suspend);
    world.store.set_down(true);
    let answers = [
        reports.too_large(),
        Report::of("{}").sent(&reports),
        Report::of("[]").without(SIGNATURE).sent(&reports),
        Report::tokens([&held.token]).sent(&reports),
    ];
    let details = ["1 MB", "JSON array", "not signed", "send it again"];
    for (answer, detail) in answers.iter().zip(details) {
        assert!(headings.contains(&problem(answer)), "{}", answer.body());
        assert!(answer.body().contains(detail), "{}", answer.body());
    }
    assert!(!headings.contains(&"leak-report".to_owned()));
}

#[test]
fn the_handles_can_be_shared_between_threads() {
    fn is_shared<T: Clone + Send + Sync + Unpin + 'static>() {}
    fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
    is_shared::<LeakReports>();
    is_shared::<SigningKeys>();
    is_error::<ConfigError>();
}

#[test]
fn problem_types_of_reports_are_those_of_the_application() {
    let world = World::new();
    let types = ProblemTypes::new("urn:example:").unwrap();
    let reports = reports(&world, LeakResponse::Suspend).problem_types(types);
    let answers = [
        (reports.too_large(), "urn:example:leak-report-too-large"),
        (Report::of("{}").sent(&reports), "urn:example:leak-report-unreadable"),
        (Report::of("[]").without(SIGNATURE).sent(&reports), "urn:example:leak-report-rejected"),
    ];
    for (answer, kind) in answers {
        assert!(answer.body().contains(&format!("\"type\":\"{kind}\"")), "{}", answer.body());
    }
}
