//! Audit events as events of `tracing`.

use core::fmt;

use tracing::{
    Level, event,
    field::{DisplayValue, display},
};

use super::{AuditEvent, AuditKind, AuditSink, KeyLimits, Noise, Refusal};
use crate::{
    authority::LeakResponse, record::Exceptions, scope::Scope, text::OneLine, token::Rejection,
};

/// The target of each event, for filters.
const TARGET: &str = "keyway::audit";

/// A sink that writes each audit event as one event of `tracing`, with the target `keyway::audit`.
///
/// The field `kind` is one word, such as `key_issued`. The fields `at`, `actor`, `tenant`, `key` and `child` are those
/// of [`AuditEvent`]. Each further field of the kind is one by its own name, such as `scopes` or `refusal`. A change of
/// exceptions has the fields `exceptions_before` and `exceptions`. A field
/// without a value is left out. Control characters are escaped.
///
/// | level | events |
/// |---|---|
/// | `ERROR` | tampered records, unknown tiers, a store that does not respond, also to a change |
/// | `WARN` | leak reports, unknown scopes, lost uses |
/// | `INFO` | every other change, done or refused; refused requests of known keys; numbers of suppressed events; gaps of the feed |
/// | `DEBUG` | requests that prove nothing, of which [anyone can send any number](Noise) |
///
/// ```
/// use keyway::{Keyring, MemoryStore, Pepper, Policy, audit::TracingSink};
///
/// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
/// let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
///     .environment("live")
///     .store(MemoryStore::new())
///     .audit(TracingSink)
///     .build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingSink;

impl AuditSink for TracingSink {
    fn record(&self, event: &AuditEvent<'_>) {
        let details = Details::of(&event.kind);
        // Each level needs a call site of its own, because `tracing` fixes the level of a call site.
        macro_rules! event_of {
            ($level:expr) => {
                event!(
                    target: TARGET,
                    $level,
                    kind = event.kind.as_str(),
                    at = ?event.at,
                    actor = line(Some(event.actor).filter(|actor| !actor.is_empty())),
                    tenant = line(event.tenant),
                    key = event.key.map(display),
                    child = event.child.map(display),
                    tier = line(details.tier),
                    from = line(details.from),
                    to = line(details.to),
                    exceptions_before = details.exceptions.map(|[before, _]| display(before)),
                    exceptions = details.exceptions.map(|[_, after]| display(after)),
                    owner = line(details.owner),
                    reason = line(details.reason),
                    scopes = details.scopes.map(|scopes| display(Names(scopes))),
                    limits = details.limits.as_ref().map(|limits| display(limits)),
                    enabled = details.enabled,
                    response = details.response,
                    change = details.change,
                    refusal = details.refusal,
                    detail = line(details.detail),
                    resource = details.resource,
                    rejection = details.rejection,
                    state = details.state,
                    noise = details.noise,
                    count = details.count,
                    retry_after_ms = details.retry_after_ms,
                )
            };
        }
        match level(event) {
            Level::ERROR => event_of!(Level::ERROR),
            Level::WARN => event_of!(Level::WARN),
            Level::DEBUG => event_of!(Level::DEBUG),
            _ => event_of!(Level::INFO),
        }
    }
}

fn level(event: &AuditEvent<'_>) -> Level {
    match event.kind {
        AuditKind::Tampered
        | AuditKind::UnknownTier(_)
        | AuditKind::Unavailable
        | AuditKind::ChangeRefused { refusal: Refusal::Unavailable, .. } => Level::ERROR,
        AuditKind::LeakReported { .. } | AuditKind::UnknownScopes(_) | AuditKind::UsesLost(_) => {
            Level::WARN
        }
        // Without an id, the token was not minted here.
        AuditKind::Rejected(_) if event.key.is_none() => Level::DEBUG,
        AuditKind::Missing | AuditKind::BadRequest => Level::DEBUG,
        _ => Level::INFO,
    }
}

/// The fields that only some kinds have.
#[derive(Default)]
struct Details<'e> {
    tier: Option<&'e str>,
    from: Option<&'e str>,
    to: Option<&'e str>,
    exceptions: Option<[&'e Exceptions; 2]>,
    owner: Option<&'e str>,
    reason: Option<&'e str>,
    scopes: Option<&'e [Scope]>,
    limits: Option<KeyLimits<'e>>,
    enabled: Option<bool>,
    response: Option<&'static str>,
    change: Option<&'static str>,
    refusal: Option<&'static str>,
    detail: Option<&'e str>,
    resource: Option<&'e str>,
    rejection: Option<&'static str>,
    state: Option<&'static str>,
    noise: Option<&'static str>,
    count: Option<u64>,
    retry_after_ms: Option<u64>,
}

impl<'e> Details<'e> {
    fn granted(&mut self, scopes: &'e [Scope], limits: KeyLimits<'e>) {
        self.scopes = Some(scopes);
        self.limits = Some(limits).filter(|limits| !limits.is_empty());
    }

    fn of(kind: &AuditKind<'e>) -> Self {
        let mut details = Self::default();
        match *kind {
            AuditKind::TenantCreated { tier } | AuditKind::UnknownTier(tier) => {
                details.tier = Some(tier);
            }
            AuditKind::TierChanged { from, to } => {
                (details.from, details.to) = (Some(from), Some(to));
            }
            AuditKind::ExceptionsChanged { from, to } => details.exceptions = Some([from, to]),
            AuditKind::OwnerDisabled { owner } | AuditKind::OwnerEnabled { owner } => {
                details.owner = Some(owner);
            }
            AuditKind::TenantSuspended { reason } | AuditKind::KeySuspended { reason } => {
                details.reason = Some(reason);
            }
            AuditKind::KeyIssued { scopes, limits } | AuditKind::KeyImported { scopes, limits } => {
                details.granted(scopes, limits);
            }
            AuditKind::Forbidden { scopes } | AuditKind::UnknownScopes(scopes) => {
                details.scopes = Some(scopes);
            }
            AuditKind::KeyEdited { scopes, limits, enabled } => {
                details.granted(scopes, limits);
                details.enabled = Some(enabled);
            }
            AuditKind::OtherResource { kind } => details.resource = Some(kind),
            AuditKind::LeakReported { reason, response } => {
                details.reason = Some(reason);
                details.response = Some(response_word(response));
            }
            AuditKind::ChangeRefused { change, refusal, detail } => {
                details.change = Some(change.as_str());
                details.refusal = Some(refusal_word(refusal));
                details.detail = Some(detail);
            }
            AuditKind::Rejected(rejection) => details.rejection = Some(rejection_word(rejection)),
            AuditKind::Inactive(state) => details.state = Some(state.as_str()),
            AuditKind::Limited { retry_after } => {
                details.retry_after_ms = u64::try_from(retry_after.as_millis()).ok();
            }
            AuditKind::Suppressed { noise, count } => {
                (details.noise, details.count) = (Some(noise_word(noise)), Some(count));
            }
            AuditKind::UsesLost(count) => details.count = Some(count),
            AuditKind::TenantResumed
            | AuditKind::TenantDeleted
            | AuditKind::KeyRotated
            | AuditKind::GracePeriodEnded
            | AuditKind::KeyResumed
            | AuditKind::KeyDeleted
            | AuditKind::KeyRevoked
            | AuditKind::Missing
            | AuditKind::BadRequest
            | AuditKind::OtherNetwork
            | AuditKind::OtherAudience
            | AuditKind::Tampered
            | AuditKind::Unavailable
            | AuditKind::FeedGap => {}
        }
        details
    }
}

fn line(text: Option<&str>) -> Option<DisplayValue<OneLine<'_>>> {
    text.map(|text| display(OneLine(text)))
}

/// Writes scopes with spaces between them. The name of a scope holds neither a space nor a control character.
struct Names<'e>(&'e [Scope]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}", scope.as_str())?;
        }
        Ok(())
    }
}

fn response_word(response: LeakResponse) -> &'static str {
    match response {
        LeakResponse::Suspend => "suspend",
        LeakResponse::Quarantine(_) => "quarantine",
        LeakResponse::ReportOnly => "report_only",
    }
}

fn refusal_word(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound => "not_found",
        Refusal::Exists => "exists",
        Refusal::QuotaExceeded => "quota_exceeded",
        Refusal::Conflict => "conflict",
        Refusal::NotAllowed => "not_allowed",
        Refusal::Rejected => "rejected",
        Refusal::Unavailable => "unavailable",
    }
}

fn rejection_word(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Malformed => "malformed",
        Rejection::Forged => "forged",
        Rejection::Unknown => "unknown",
        Rejection::WrongSecret => "wrong_secret",
    }
}

fn noise_word(noise: Noise) -> &'static str {
    match noise {
        Noise::Missing => "missing",
        Noise::BadRequest => "bad_request",
        Noise::Malformed => "malformed",
        Noise::Forged => "forged",
        Noise::Unknown => "unknown",
        Noise::Unavailable => "unavailable",
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
    use core::time::Duration;
    use std::sync::Mutex;

    use tracing::{
        Event, Subscriber,
        field::{Field, Visit},
    };
    use tracing_subscriber::{
        Layer,
        layer::{Context, SubscriberExt as _},
    };

    use super::*;
    use crate::{audit::ChangeKind, decision::KeyState, time::Timestamp, token::ChildId};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<Entry>>>);

    type Entry = (&'static str, Level, Fields);

    #[derive(Default)]
    struct Fields(BTreeMap<&'static str, String>);

    impl Visit for Fields {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), alloc::format!("{value:?}"));
        }

        fn record_str(&mut self, field: &Field, value: &str) {
            self.0.insert(field.name(), value.into());
        }
    }

    impl<S: Subscriber> Layer<S> for Log {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut fields = Fields::default();
            event.record(&mut fields);
            let metadata = event.metadata();
            self.0.lock().unwrap().push((metadata.target(), *metadata.level(), fields));
        }
    }

    const KEY: &str = "A000000000000000";

    /// Returns the level, the kind and the further fields of the event that `kind` becomes.
    fn logged(kind: AuditKind<'_>, key: Option<&str>) -> (Level, String, String) {
        logged_of_child(kind, key, None)
    }

    /// Returns what [`logged`] does for a request with this child.
    fn logged_of_child(
        kind: AuditKind<'_>,
        key: Option<&str>,
        child: Option<ChildId>,
    ) -> (Level, String, String) {
        let log = Log::default();
        let key = key.map(|key| key.parse().unwrap());
        let event = AuditEvent {
            at: Timestamp::MIN,
            actor: "anna",
            tenant: Some("acme"),
            key,
            child,
            kind,
        };
        let subscriber = tracing_subscriber::registry().with(log.clone());
        tracing::subscriber::with_default(subscriber, || TracingSink.record(&event));
        let (target, level, mut fields) = log.0.lock().unwrap().remove(0);
        assert_eq!(target, TARGET);
        assert_eq!(fields.0.remove("at"), Some(alloc::format!("{:?}", Timestamp::MIN)));
        assert_eq!(fields.0.remove("actor").as_deref(), Some("anna"));
        assert_eq!(fields.0.remove("tenant").as_deref(), Some("acme"));
        assert_eq!(fields.0.remove("key"), key.map(|key| alloc::format!("{key}")));
        let kind = fields.0.remove("kind").unwrap();
        let rest = fields.0.iter().map(|(name, value)| alloc::format!("{name}={value}"));
        (level, kind, rest.collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn each_kind_has_its_level_and_its_fields_by_name() {
        let scopes = ["read", "write"].map(|name| name.parse::<Scope>().unwrap());
        let refused = |refusal| AuditKind::ChangeRefused {
            change: ChangeKind::IssueKey,
            refusal,
            detail: "no\nroom",
        };
        let expired = KeyState::Expired { at: Timestamp::MIN };
        let retry_after = Duration::from_millis(1_500);
        let flood = AuditKind::Suppressed { noise: Noise::BadRequest, count: 7 };
        let edited =
            AuditKind::KeyEdited { scopes: &scopes, limits: KeyLimits::default(), enabled: false };
        let leaked = AuditKind::LeakReported {
            reason: "on a\u{1b} page",
            response: LeakResponse::ReportOnly,
        };
        let table = [
            (AuditKind::TenantCreated { tier: "lite" }, Level::INFO, "tenant_created", "tier=lite"),
            (
                AuditKind::TierChanged { from: "a", to: "b" },
                Level::INFO,
                "tier_changed",
                "from=a to=b",
            ),
            (AuditKind::TenantDeleted, Level::INFO, "tenant_deleted", ""),
            (
                AuditKind::KeyIssued { scopes: &scopes, limits: KeyLimits::default() },
                Level::INFO,
                "key_issued",
                "scopes=read write",
            ),
            (edited, Level::INFO, "key_edited", "enabled=false scopes=read write"),
            (AuditKind::KeySuspended { reason: "r" }, Level::INFO, "key_suspended", "reason=r"),
            (leaked, Level::WARN, "leak_reported", r"reason=on a\u{1b} page response=report_only"),
            (
                refused(Refusal::QuotaExceeded),
                Level::INFO,
                "change_refused",
                r"change=issue_key detail=no\nroom refusal=quota_exceeded",
            ),
            (
                refused(Refusal::Unavailable),
                Level::ERROR,
                "change_refused",
                r"change=issue_key detail=no\nroom refusal=unavailable",
            ),
            (
                AuditKind::Rejected(Rejection::WrongSecret),
                Level::INFO,
                "rejected",
                "rejection=wrong_secret",
            ),
            (AuditKind::Inactive(expired), Level::INFO, "inactive", "state=expired"),
            (
                AuditKind::Forbidden { scopes: &scopes },
                Level::INFO,
                "forbidden",
                "scopes=read write",
            ),
            (AuditKind::Limited { retry_after }, Level::INFO, "limited", "retry_after_ms=1500"),
            (flood, Level::INFO, "suppressed", "count=7 noise=bad_request"),
            (AuditKind::Tampered, Level::ERROR, "tampered", ""),
            (AuditKind::UnknownScopes(&scopes), Level::WARN, "unknown_scopes", "scopes=read write"),
            (AuditKind::UnknownTier("gone"), Level::ERROR, "unknown_tier", "tier=gone"),
            (AuditKind::Unavailable, Level::ERROR, "unavailable", ""),
            (AuditKind::FeedGap, Level::INFO, "feed_gap", ""),
            (AuditKind::UsesLost(3), Level::WARN, "uses_lost", "count=3"),
        ];
        for (kind, level, word, fields) in table {
            assert_eq!(logged(kind, Some(KEY)), (level, word.into(), fields.into()), "{kind:?}");
        }
    }

    #[cfg(feature = "children")]
    #[test]
    fn child_is_a_field_of_its_own() {
        let child = ChildId::of(&[7; 32]);
        let (level, kind, fields) =
            logged_of_child(AuditKind::OtherAudience, Some(KEY), Some(child));
        assert_eq!((level, &*kind), (Level::INFO, "other_audience"));
        assert_eq!(fields, alloc::format!("child={child}"));
        assert_eq!(logged(AuditKind::OtherAudience, Some(KEY)).2, "");
    }

    #[test]
    fn requests_that_prove_nothing_are_debug_events() {
        let forged = AuditKind::Rejected(Rejection::Forged);
        for kind in [AuditKind::Missing, AuditKind::BadRequest, forged] {
            assert_eq!(logged(kind, None).0, Level::DEBUG, "{kind:?}");
        }
    }
}
