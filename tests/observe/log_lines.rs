//! External input can neither begin a line of a log nor control the terminal that shows the log, wherever the
//! input is read.

use std::{
    io,
    sync::{Arc, Mutex},
};

use keyway::{
    Guard, KeyId, KeyRecord, NewKey, Pepper, Policy, TenantId, Timestamp,
    audit::{AuditEvent, AuditSink, TracingSink},
    import::{ForeignDigest, ForeignFormat, ForeignHash},
    lowlevel::Authority,
    record::{Labels, Suspension, TenantRecord},
    scope::Scope,
    store::{KeyLookup, StoreError, StoredKey},
};
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use crate::support::{
    World, block_on, chain,
    overheard::{self, Ear},
    pepper,
};

/// The text after each control character, which distinguishes it from other control characters.
const MARK: &str = "hostile";

const CONTROLS: [char; 9] =
    ['\0', '\t', '\n', '\r', '\u{8}', '\u{1b}', '\u{7f}', '\u{85}', '\u{9b}'];

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the log of `work`. The text is also added to the overheard logs.
fn logged(work: impl FnOnce()) -> String {
    let log = Log::default();
    let subscriber = registry().with(Ear(log.clone()));
    tracing::subscriber::with_default(subscriber, work);
    let bytes = log.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    overheard::heard(&text);
    text
}

/// Returns every control character of the input that is in the log unescaped.
fn controls_in(log: &str) -> Vec<char> {
    let is_ours = |(at, control): &(usize, char)| {
        let behind = log.get(at + control.len_utf8()..).unwrap();
        *control != '\n' && *control != '\t' || behind.starts_with(MARK)
    };
    let controls = log.char_indices().filter(|(_, character)| character.is_control());
    controls.filter(is_ours).map(|(_, control)| control).collect()
}

/// Logs an error as an application would: its text, the texts of its causes, and its `Debug` text.
fn log_error(error: &(dyn core::error::Error + 'static)) {
    tracing::error!(error, chain = ?chain(error), debug = ?error, "refused: {error}");
}

fn log_outcome<T>(outcome: Result<T, impl core::error::Error + 'static>) {
    if let Err(error) = outcome {
        log_error(&error);
    }
}

struct Audit;

impl AuditSink for Audit {
    fn record(&self, event: &AuditEvent<'_>) {
        tracing::info!(?event, "audit");
        TracingSink.record(event);
    }
}

/// A store whose error holds this text.
struct Says(String);

impl KeyLookup for Says {
    async fn lookup(&self, _: KeyId) -> Result<Option<StoredKey>, StoreError> {
        Err(StoreError::unavailable(self.0.clone()))
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

/// Puts `text` into every header from which a credential may be read.
fn in_requests(guard: &Guard, text: &str, token: &str) {
    let values = [
        text.to_owned(),
        format!("Bearer {text}"),
        format!("Bearer {token}{text}"),
        format!("Bearer{text} {token}"),
        format!("Bearer mm_live_{text:A<56}"),
    ];
    for value in &values {
        for name in ["authorization", "x-api-key", text] {
            for also in [&[][..], &[("authorization", &b"Bearer x"[..])]] {
                let fields = [also, &[(name, value.as_bytes())]].concat();
                if let Err(answer) = block_on(guard.admit(&fields[..])) {
                    tracing::info!(?answer, "refused");
                }
            }
        }
    }
}

/// Puts `text` into every field that an administrator fills in.
fn in_changes(world: &World, text: &str, token: &str) {
    let keyring = world.keyring.acting_as(text);
    let held = world.tenant_with_key(&text.escape_default().to_string().replace('\\', "-"));
    let keys = held.keys.acting_as(text);
    log_outcome(block_on(keys.issue(NewKey::named(text))));
    log_outcome(block_on(keys.issue(NewKey::named("a").scopes([text]))));
    log_outcome(block_on(keys.issue(NewKey::named("a"))));
    log_outcome(NewKey::named("a").created_by(text));
    log_outcome(NewKey::named("a").idempotency_key(text));
    log_outcome(Labels::new([(text, "")]));
    log_outcome(Labels::new([("a", text)]));
    log_outcome(Suspension::permanent(text));
    log_outcome(block_on(keyring.create_empty_tenant(text, "lite")));
    log_outcome(block_on(keyring.create_empty_tenant("another", text)));
    log_outcome(block_on(keyring.set_tier(keys.id(), text)));
    log_outcome(block_on(keys.search(text)));
    log_outcome(block_on(keyring.describe(text)));
    log_outcome(block_on(keyring.verify(text)));
    let reported = keyring.report_leak(token, text, keyway::LeakResponse::ReportOnly);
    log_outcome(block_on(reported));
    log_outcome(keyring.requirement([text]));
}

/// Passes `text` to everything that parses text.
fn in_readers(text: &str) {
    log_outcome(text.parse::<TenantId>());
    log_outcome(text.parse::<KeyId>());
    log_outcome(text.parse::<Scope>());
    log_outcome(text.parse::<Timestamp>());
    log_outcome(KeyRecord::decode(text.as_bytes()));
    log_outcome(TenantRecord::decode(text.as_bytes()));
    log_outcome(Pepper::from_base64(text));
    log_outcome(Pepper::from_env(text.trim_matches('\0')));
    log_outcome(ForeignDigest::from_hex(text));
    log_outcome(ForeignDigest::from_base64(text));
    log_outcome(ForeignFormat::whole_token(ForeignHash::Sha256).prefix(text));
    log_outcome(ForeignFormat::prefixed_api_key(text));
    log_outcome(ForeignFormat::secret_part(ForeignHash::Sha256, text.chars().next().unwrap(), 1));
    log_outcome(Authority::new(crate::support::policy(), text, &pepper().into()));
    // `serde` itself reports members that a policy does not have.
    let quoted = serde_json::to_string(text).unwrap();
    for policy in [
        format!(r#"{{ "issuer": {quoted}, "scopes": [] }}"#),
        format!(r#"{{ "issuer": "mm", "scopes": [{{ "name": {quoted} }}] }}"#),
        format!(
            r#"{{ "issuer": "mm", "scopes": [{{ "name": "a", "description": "", "implies": [{quoted}] }}] }}"#
        ),
    ] {
        log_outcome(serde_json::from_str::<Policy>(&policy));
    }
}

#[test]
fn no_control_character_of_the_input_is_in_any_log_line() {
    let world = World::with(crate::support::policy(), |builder| builder.audit(Audit));
    let held = world.tenant_with_key("acme");
    let guard = Guard::new(&world.keyring).key_header("x-api-key").unwrap();
    for control in CONTROLS {
        let text = format!("{control}{MARK} text{control}{MARK}");
        let log = logged(|| {
            in_requests(&guard, &text, &held.token);
            in_changes(&world, &text, &held.token);
            in_readers(&text);
            let verifier = world.verifier(|builder| builder.lookup(Says(text.clone())));
            let fields = [("authorization", format!("Bearer {}", held.token).into_bytes())];
            let fields = [(fields[0].0, &*fields[0].1)];
            assert_eq!(
                block_on(Guard::new(&verifier).admit(&fields[..])).unwrap_err().status(),
                503
            );
        });
        assert!(log.matches(MARK).count() > 20 && log.lines().count() > 60, "{log}");
        let lines: Vec<_> = log.lines().filter(|line| !controls_in(line).is_empty()).collect();
        assert_eq!(controls_in(&log), [' '; 0], "{control:?}: {lines:?}");
    }
}

/// Derives `Debug` despite a secret, as an application does that keeps a token in its configuration.
#[derive(Debug)]
struct Careless<'t> {
    #[allow(dead_code, reason = "it is printed")]
    token: &'t str,
}

#[test]
fn secrets_in_careless_logs_are_overheard() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let careless = Careless { token: &held.token };
    let log = logged(|| {
        tracing::trace!(target: "planted", ?careless, "configured");
        tracing::trace!(target: "planted", pepper = ?crate::support::PEPPER, "configured");
        for control in CONTROLS {
            let named = format!("{control}{MARK}");
            tracing::trace!(target: "planted", "{named} planted {control}{MARK} planted ");
        }
    });
    assert!(crate::support::gives_away(&log, &held.token));
    for control in CONTROLS {
        assert!(controls_in(&log).contains(&control), "{control:?}");
    }
}
