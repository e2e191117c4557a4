//! Reports of leaked keys, as GitHub's secret scanning sends them to its partners, and others after it.
//!
//! A scanner that finds a key in public posts a JSON array of `{"token", "type", "url", "source"}`, signed
//! with ECDSA over P-256 and SHA-256. [`LeakReports`] checks the signature over the body as it came, then
//! responds for every token that is one of a key, and answers with what GitHub takes as feedback. What to
//! tell GitHub to look for is [`TokenFormat::scanner_regex`](crate::token::TokenFormat::scanner_regex).
//!
//! ```
//! # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
//! use keyway::{
//!     authority::LeakResponse,
//!     http::leak::{LeakReports, SigningKeys},
//! };
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! # }"#)?;
//! # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//! #     .environment("live")
//! #     .store(MemoryStore::new())
//! #     .build()?;
//! // As `https://api.github.com/meta/public_keys/secret_scanning` gives them.
//! let list = br#"{ "public_keys": [{
//!     "key_identifier": "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
//!     "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n",
//!     "is_current": true
//! }] }"#;
//! let keys = SigningKeys::from_json(list)?;
//! let keyring = keyring.acting_as("secret scanning");
//! let reports = LeakReports::new(&keyring, LeakResponse::Suspend, &keys);
//!
//! // The handler of a route, with the fields and the body of a request:
//! let body = br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
//! let fields = [
//!     (
//!         "github-public-key-identifier",
//!         &b"bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c"[..],
//!     ),
//!     (
//!         "github-public-key-signature",
//!         b"MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
//!     ),
//! ];
//! let answer = reports.answer(&fields[..], body).await;
//! assert_eq!(answer.status(), 200);
//! assert!(answer.body().contains("false_positive"));
//!
//! // Once a day, and soon after reports are refused: the list as it is by now.
//! keys.replace(list)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! | outcome | status |
//! |---|--:|
//! | the report was seen to | 200, and the feedback |
//! | signed, but not of this format | 400 |
//! | no signature, or not that of a current key over this body | 403, one body for all |
//! | more than 1 MB or 1,000 tokens | 413 |
//! | the store did not answer for some token | 503 |
//!
//! # What a report can do
//!
//! A forged one costs a signature check and changes nothing. A genuine one can respond only for keys whose
//! full token it holds; see [`Keyring::report_leak`].
//!
//! A signature names no time, so who has seen a genuine report can send it again as long as its signing key
//! is current, and the response is given again. That undoes what an operator or tenant has decided since for
//! a key that still has the reported secret, and nothing else: after a rotation the token is no longer that
//! of a key. Rotate a leaked key before it gets its scopes back or is resumed, and without overlap.
//!
//! # What is not done here
//!
//! Fetching the list of keys, since this is no HTTP client, and limiting how often anybody may call.
//!
//! GitHub gives an answer 30 seconds, and does not say that it sends a report again after a 503 (it does not
//! for its other webhooks). Nothing of a report is kept here: a host that must not miss one keeps fields and
//! body and calls [`LeakReports::answer`] again, which finds done what was done. What was found where is in
//! the body, for hosts that notify a tenant.

mod keys;
mod report;

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, sync::Arc};
use core::fmt;

pub use self::keys::{SigningKeys, SigningKeysError};
use self::report::{Label, feedback};
use super::{
    Answer, Fields,
    answer::{UNAVAILABLE_RETRY, problem},
    problem::Problem,
};
use crate::{
    authority::LeakResponse,
    keyring::{Keyring, KeyringError},
    record::{InvalidField, Suspension},
    store::StoreError,
};

/// Answers reports of leaked keys. Cheap to clone.
#[derive(Clone)]
pub struct LeakReports(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    keyring: Keyring,
    response: LeakResponse,
    reason: String,
    keys: SigningKeys,
}

/// After so many tokens in a report for which the store had no answer, the others are not tried.
const MAX_OUTAGES: usize = 3;

impl LeakReports {
    /// The longest body that is read, in bytes.
    pub const MAX_BODY_LEN: usize = 1_000_000;
    /// The most tokens in one report.
    pub const MAX_TOKENS: usize = 1_000;

    /// Answers reports that one of `keys` has signed, and responds for each key of `keyring` that is in
    /// them.
    pub fn new(keyring: &Keyring, response: LeakResponse, keys: &SigningKeys) -> Self {
        Self(Arc::new(Inner {
            keyring: keyring.clone(),
            response,
            reason: "its token was found in public".to_owned(),
            keys: keys.clone(),
        }))
    }

    /// The same with another reason for the audit sink and, if keys are suspended, for their tenants.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless it is one line of 1 to 500 characters.
    pub fn reason(&self, reason: &str) -> Result<Self, InvalidField> {
        let reason = Suspension::for_good(reason)?.reason().to_owned();
        Ok(Self(Arc::new(Inner { reason, ..Inner::clone(&self.0) })))
    }

    /// The answer to a report with these header fields and this body, as it came. When it is given, what
    /// there is to do is done.
    pub async fn answer(&self, fields: &(impl Fields + ?Sized), body: &[u8]) -> Answer {
        if body.len() > Self::MAX_BODY_LEN {
            return Self::too_large();
        }
        if !self.0.keys.signed(fields, body) {
            return rejected();
        }
        let Some(findings) = report::read(body) else {
            return unreadable();
        };
        if findings.len() > Self::MAX_TOKENS {
            return Self::too_large();
        }
        let mut labels = BTreeMap::new();
        let (mut is_done, mut outages) = (true, 0);
        for finding in &findings {
            if labels.contains_key(&*finding.token) {
                continue;
            }
            match self.respond(&finding.token).await {
                Ok(label) => drop(labels.insert(&*finding.token, label)),
                Err(error) => {
                    is_done = false;
                    // Records that cannot be read do not keep the others from being seen to.
                    let is_record =
                        matches!(error, KeyringError::Unavailable(StoreError::Corrupt(_)));
                    outages += usize::from(!is_record);
                }
            }
            if outages == MAX_OUTAGES {
                break;
            }
        }
        if !is_done {
            return unavailable();
        }
        let label = |token: &str| labels.get(token).copied().unwrap_or(Label::FalsePositive);
        Answer::new(200).json("application/json", feedback(&findings, label))
    }

    /// The answer to a body longer than [`MAX_BODY_LEN`](Self::MAX_BODY_LEN), for an adapter that does not
    /// read on.
    pub fn too_large() -> Answer {
        Answer::problem(&Problem {
            detail: "a report has at most 1 MB and 1,000 tokens",
            ..problem(413, "leak-report-too-large", "The leak report is too large")
        })
    }

    async fn respond(&self, token: &str) -> Result<Label, KeyringError> {
        let Inner { keyring, response, reason, .. } = &*self.0;
        match keyring.report_leak(token, reason, *response).await {
            // A record with a broken seal cannot be changed, and its key is refused anyway.
            Ok(_) | Err(KeyringError::Refused(_)) => Ok(Label::TruePositive),
            // Its key is gone, or has another secret by now, but the scanner was right.
            Err(KeyringError::Rejected)
                if keyring.verifier().format().check(token.as_bytes()).is_ok() =>
            {
                Ok(Label::TruePositive)
            }
            Err(KeyringError::Rejected) => Ok(Label::FalsePositive),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for LeakReports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakReports")
            .field("response", &self.0.response)
            .field("reason", &self.0.reason)
            .field("keys", &self.0.keys)
            .finish_non_exhaustive()
    }
}

fn rejected() -> Answer {
    Answer::problem(&Problem {
        detail: "the report is not signed by a key that is accepted here",
        ..problem(403, "leak-report-rejected", "The leak report is not accepted")
    })
}

fn unreadable() -> Answer {
    Answer::problem(&Problem {
        detail: "the report is not a JSON array of objects with `token` and `type`",
        ..problem(400, "leak-report-unreadable", "The leak report cannot be read")
    })
}

fn unavailable() -> Answer {
    Answer::problem(&Problem {
        detail: "not all of the report could be seen to; send it again",
        ..problem(503, "unavailable", "Temporarily unavailable")
    })
    .with("retry-after", UNAVAILABLE_RETRY)
}
