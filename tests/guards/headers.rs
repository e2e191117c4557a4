//! Replays tests/vectors/headers.txt, which describes its own format.

use core::time::Duration;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use crate::support::overheard::RevealKnown as _;
use keyway::{
    GracePeriod, Guard, Keyring, KeyringError, MemoryStore, NewKey, Pepper, Policy, ScopeCatalog,
    Tier, Timestamp,
    audit::{AuditEvent, AuditKind, AuditSink, Rejection},
    http::Response,
    lowlevel::InsecureSeededRng,
    record::Suspension,
    scope::ScopeDeclaration,
    time::ManualClock,
};

const VECTORS: &str = include_str!("../vectors/headers.txt");

type Headers = Vec<(String, Vec<u8>)>;

/// One request and its expected outcome.
#[derive(Debug)]
struct Case {
    status: u16,
    outcome: &'static str,
    what: &'static str,
    fields: Headers,
}

/// Returns the keys that the file names, and all its cases.
fn read(text: &'static str) -> (BTreeMap<&'static str, &'static str>, Vec<Case>) {
    let mut keys = BTreeMap::new();
    let mut cases = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_else(|| panic!("too few columns: {line}"));
        match next() {
            "key" => {
                let (name, token) = (next(), next());
                assert!(keys.insert(name, token).is_none(), "{line}");
            }
            "case" => {
                let status = next().parse().unwrap();
                let (outcome, what) = (next(), next());
                let fields = columns.map(field).collect();
                cases.push(Case { status, outcome, what, fields });
            }
            _ => panic!("neither a key nor a case: {line}"),
        }
    }
    (keys, cases)
}

fn field(text: &str) -> (String, Vec<u8>) {
    let (name, value) = text.split_once(": ").unwrap();
    let mut bytes = value.bytes();
    let mut value = Vec::new();
    while let Some(byte) = bytes.next() {
        assert!((b' '..=b'~').contains(&byte), "{text}");
        value.push(if byte == b'\\' {
            assert_eq!(bytes.next(), Some(b'x'), "{text}");
            let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
            u8::try_from(digit() << 4 | digit()).unwrap()
        } else {
            byte
        });
    }
    (name.into(), value)
}

/// The reason that the audit received for the last refusal.
#[derive(Clone, Default)]
struct Last(Arc<Mutex<&'static str>>);

impl AuditSink for Last {
    fn record(&self, event: &AuditEvent<'_>) {
        *self.0.lock().unwrap() = match event.kind {
            AuditKind::Rejected(Rejection::Malformed) => "malformed",
            AuditKind::Rejected(Rejection::Forged) => "forged",
            AuditKind::Rejected(Rejection::Unknown) => "unknown",
            AuditKind::Rejected(Rejection::WrongSecret) => "wrong-secret",
            AuditKind::Inactive(state) => state.as_str(),
            _ => "",
        };
    }
}

struct Service {
    guard: Guard,
    clock: ManualClock,
    last: Last,
    keys: BTreeMap<&'static str, String>,
}

impl Service {
    fn new() -> Self {
        let catalog = ScopeCatalog::new([ScopeDeclaration::new("read", "")]).unwrap();
        let policy = Policy::new("mm", catalog, [Tier::new("free", 20)]).unwrap();
        let now: Timestamp = "2026-11-22T09:00:00Z".parse().unwrap();
        let clock = ManualClock::at(now);
        let last = Last::default();
        let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32]).unwrap())
            .environment("live")
            .store(MemoryStore::new())
            .clock(clock.clone())
            .rng(InsecureSeededRng::new(15))
            .audit(last.clone())
            .build()
            .unwrap();
        let keys = pollster::block_on(keys(&keyring, now)).unwrap();
        clock.advance(Duration::from_secs(3_600));
        let guard = Guard::new(&keyring).key_header("x-api-key").unwrap();
        Self { guard, clock, last, keys }
    }

    /// Returns status and outcome, with the names that the file uses.
    fn outcome(&self, fields: &Headers) -> (u16, &'static str) {
        let fields: Vec<(&str, &[u8])> =
            fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        *self.last.0.lock().unwrap() = "";
        // The audit receives only a limited number of refusals of forged tokens per second.
        self.clock.advance(Duration::from_secs(1));
        match pollster::block_on(self.guard.admit(&fields[..])) {
            Ok(_) => (200, "admitted"),
            Err(answer) => (answer.status(), self.refusal(&answer)),
        }
    }

    /// Names the refusal by its problem type, and by the audit's reason where several reasons share a type.
    fn refusal(&self, answer: &Response) -> &'static str {
        let body: serde_json::Value = serde_json::from_str(answer.body()).unwrap();
        let kind = body["type"].as_str().unwrap().rsplit_once('#').unwrap().1;
        let last = *self.last.0.lock().unwrap();
        match (kind, body["detail"].as_str().unwrap()) {
            ("missing-credential", _) => "missing",
            ("invalid-token", _) => last,
            ("inactive-key", _) if body["state"] == last => last,
            ("invalid-request", "more than one credential was presented") => "several",
            ("invalid-request", "the credential is longer than any API key") => "too-long",
            ("invalid-request", detail) if detail.contains("cannot be read") => "unreadable",
            other => panic!("{other:?}"),
        }
    }

    /// Returns the cases whose outcome is not the expected one.
    fn failures(&self, cases: &[Case]) -> Vec<String> {
        let failure = |case: &Case| {
            let outcome = self.outcome(&case.fields);
            let expected = (case.status, case.outcome);
            (outcome != expected).then(|| format!("{}: {outcome:?}, not {expected:?}", case.what))
        };
        cases.iter().filter_map(failure).collect()
    }
}

/// Creates a key in each of the states that the file names.
async fn keys(
    keyring: &Keyring,
    now: Timestamp,
) -> Result<BTreeMap<&'static str, String>, KeyringError> {
    let mut keys = BTreeMap::new();
    let after = |hours: u64| now.checked_add(Duration::from_secs(3_600 * hours)).unwrap();
    for tenant in ["acme", "globex"] {
        keyring.create_empty_tenant(tenant, "free").await?;
    }
    let acme = keyring.tenant("acme".parse().unwrap());
    let globex = keyring.tenant("globex".parse().unwrap());
    let new = || NewKey::named("k");
    for (name, tenant, request) in [
        ("active", &acme, new()),
        ("other", &acme, new()),
        ("disabled", &acme, new()),
        ("suspended", &acme, new()),
        ("expired", &acme, new().expires_at(after(1))),
        ("not_yet_valid", &acme, new().not_before(after(2))),
        ("wrong-secret", &acme, new()),
        ("unknown", &acme, new()),
        ("tenant_suspended", &globex, new()),
    ] {
        let issued = tenant.issue(request).await?;
        let id = issued.key.id();
        keys.insert(name, issued.token.reveal_known().to_string());
        match name {
            "disabled" => drop(tenant.disable(id).await?),
            "suspended" => {
                let ban = Suspension::permanent("a ban").unwrap();
                keyring.suspend_key(id, ban).await?;
            }
            "wrong-secret" => {
                drop(tenant.rotate(id, issued.key.version(), GracePeriod::None).await?);
            }
            "unknown" => tenant.delete(id).await?,
            _ => {}
        }
    }
    let ban = Suspension::permanent("a ban").unwrap();
    keyring.suspend_tenant(globex.id(), ban).await?;
    Ok(keys)
}

#[test]
fn every_case_has_its_expected_outcome() {
    let service = Service::new();
    let (keys, cases) = read(VECTORS);
    for (name, token) in &service.keys {
        assert_eq!(keys.get(name), Some(&&**token), "{name}");
    }
    let failures = service.failures(&cases);
    println!("figure {} = 0 of {} cases otherwise than they say", failures.len(), cases.len());
    println!("figure {} >= 500 cases in tests/vectors/headers.txt", cases.len());
    for outcome in cases.iter().map(|case| case.outcome).collect::<BTreeSet<_>>() {
        let many = cases.iter().filter(|case| case.outcome == outcome).count();
        println!("{many} {outcome}");
    }
    assert_eq!(failures, [""; 0]);
    let texts: BTreeSet<_> = cases.iter().map(|case| &case.fields).collect();
    assert_eq!(texts.len(), cases.len(), "two cases are the same");
    assert!(cases.len() >= 500, "{}", cases.len());
}

#[test]
fn case_with_another_expected_outcome_fails() {
    let service = Service::new();
    let (_, mut cases) = read(VECTORS);
    let many = cases.len();
    for case in &mut cases {
        case.outcome = if case.outcome == "forged" { "malformed" } else { "forged" };
    }
    let failed = service.failures(&cases).len();
    println!("control {failed} = {many} noticed where each says something else");
    assert_eq!(failed, many);
}
