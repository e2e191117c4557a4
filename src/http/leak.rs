//! Reports of leaked keys, in the protocol of GitHub's secret scanning for its partners, which other scanners
//! use too.
//!
//! A scanner that finds a key in public posts a JSON array of `{"token", "type", "url", "source"}`, signed
//! with ECDSA over P-256 and SHA-256. [`LeakReports`] checks the signature over the body as it was sent. It
//! then applies the configured response to every token of a key, and returns the feedback that GitHub takes.
//! GitHub finds tokens with [`TokenFormat::scanner_regex`](crate::token::TokenFormat::scanner_regex).
//!
//! ```
//! # use keyway::{Keyring, MemoryStore, Pepper, Policy};
//! use keyway::{LeakResponse, http::leak::{LeakReports, SigningKeys}};
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
//! // As downloaded from `https://api.github.com/meta/public_keys/secret_scanning`.
//! let list = br#"{ "public_keys": [{
//!     "key_identifier": "bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c",
//!     "key": "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEYAGMWO8XgCamYKMJS6jc/qgvSlAd\nAjPuDPRcXU22YxgBrz+zoN19MzuRyW87qEt9/AmtoNP5GrobzUvQSyJFVw==\n-----END PUBLIC KEY-----\n",
//!     "is_current": true
//! }] }"#;
//! let keys = SigningKeys::from_json(list)?;
//! let keyring = keyring.acting_as("secret scanning");
//! let reports = LeakReports::new(&keyring, LeakResponse::Suspend, &keys);
//!
//! // In the handler of a route, with the headers and the body of a request:
//! let body = br#"[{"source":"commit","token":"some_token","type":"some_type","url":"https://example.com/base-repo-url/"}]"#;
//! let headers = [
//!     (
//!         "github-public-key-identifier",
//!         &b"bcb53661c06b4728e59d897fb6165d5c9cda0fd9cdf9d09ead458168deb7518c"[..],
//!     ),
//!     (
//!         "github-public-key-signature",
//!         b"MEQCIQDaMKqrGnE27S0kgMrEK0eYBmyG0LeZismAEz/BgZyt7AIfXt9fErtRS4XaeSt/AO1RtBY66YcAdjxji410VQV4xg==",
//!     ),
//! ];
//! let response = reports.handle(&headers[..], body).await;
//! assert_eq!(response.status(), 200);
//! assert!(response.body().contains("false_positive"));
//!
//! // Once a day, and soon after reports are refused: replace the keys by the current list.
//! keys.replace(list)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! | outcome | status |
//! |---|--:|
//! | every token was handled | 200, and the feedback |
//! | signed, but not in this format | 400 |
//! | no signature, or not that of a current key over this body | 403, one body for all |
//! | more than 1 MB or 1,000 tokens | 413 |
//! | the store did not respond for some token | 503 |
//!
//! # Effect of a report
//!
//! A forged report costs a signature check and changes nothing. A genuine report affects only keys whose full
//! token it holds; see [`Keyring::report_leak`].
//!
//! A signature does not cover a time. Anyone who has seen a genuine report can send it again while its
//! signing key is current, and the response is then applied again. The repetition undoes later decisions of
//! an operator or tenant for a key that still has the reported secret, and nothing else. After a rotation the
//! token no longer belongs to a key. Rotate a leaked key, without a grace period, before you restore its
//! scopes or resume it.
//!
//! # Out of scope
//!
//! The module does not fetch the list of keys, because it has no HTTP client. It does not limit how often the
//! endpoint may be called.
//!
//! GitHub waits 30 seconds for a response. Its documentation does not say that it sends a report again after
//! a 503, and its other webhooks are not sent again. Nothing of a report is stored here. An application that
//! must not miss a report keeps the headers and the body, and calls [`LeakReports::handle`] again. Tokens
//! that were already handled stay handled. The body holds the location of each finding, for applications that
//! notify a tenant.

mod keys;
mod report;

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String, sync::Arc};
use core::fmt;

pub use self::keys::SigningKeys;
use self::report::{Label, feedback};
use super::{
    Headers, Response,
    error_responses::UNAVAILABLE_RETRY,
    problem::{Problem, ProblemTypes},
};
use crate::{
    authority::LeakResponse,
    keyring::{Keyring, KeyringError},
    record::{InvalidField, Suspension},
    store::StoreError,
};

/// Handler for reports of leaked keys. Cheap to clone.
#[derive(Clone)]
pub struct LeakReports(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    keyring: Keyring,
    response: LeakResponse,
    reason: String,
    keys: SigningKeys,
    types: ProblemTypes,
}

/// The number of tokens per report without a response from the store, after which the others are not tried.
const MAX_OUTAGES: usize = 3;

impl LeakReports {
    /// The longest accepted body, in bytes.
    pub const MAX_BODY_LEN: usize = 1_000_000;
    /// The largest number of tokens in one report.
    pub const MAX_TOKENS: usize = 1_000;

    /// Accepts reports that one of `keys` has signed, and applies `response` to each key of `keyring` in
    /// them.
    pub fn new(keyring: &Keyring, response: LeakResponse, keys: &SigningKeys) -> Self {
        Self(Arc::new(Inner {
            keyring: keyring.clone(),
            response,
            reason: "its token was found in public".to_owned(),
            keys: keys.clone(),
            types: ProblemTypes::default(),
        }))
    }

    /// Returns this handler with problem types that the application describes itself.
    #[must_use]
    pub fn problem_types(&self, types: ProblemTypes) -> Self {
        Self(Arc::new(Inner { types, ..Inner::clone(&self.0) }))
    }

    /// Returns this handler with another reason for the audit sink and, if keys are suspended, for their
    /// tenants.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidField`] unless `reason` is one line of 1 to 500 characters.
    pub fn reason(&self, reason: &str) -> Result<Self, InvalidField> {
        let reason = Suspension::permanent(reason)?.reason().to_owned();
        Ok(Self(Arc::new(Inner { reason, ..Inner::clone(&self.0) })))
    }

    /// Handles a report with these headers and this body, which must be as it was sent, and returns the
    /// response.
    ///
    /// When it returns with status 200, every token has been handled.
    pub async fn handle(&self, headers: &(impl Headers + ?Sized), body: &[u8]) -> Response {
        if body.len() > Self::MAX_BODY_LEN {
            return self.too_large();
        }
        if !self.0.keys.signed(headers, body) {
            return self.rejected();
        }
        let Some(findings) = report::read(body) else {
            return self.unreadable();
        };
        if findings.len() > Self::MAX_TOKENS {
            return self.too_large();
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
                    // A record that cannot be read must not keep the other tokens from being handled.
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
            return self.unavailable();
        }
        let label = |token: &str| labels.get(token).copied().unwrap_or(Label::FalsePositive);
        Response::new(200).json("application/json", feedback(&findings, label))
    }

    /// Returns the response to a body longer than [`MAX_BODY_LEN`](Self::MAX_BODY_LEN), for an adapter that
    /// stops reading.
    pub fn too_large(&self) -> Response {
        let problem = Problem::new(413, "leak-report-too-large", "The leak report is too large");
        self.problem(&problem.detail("a report has at most 1 MB and 1,000 tokens"))
    }

    async fn respond(&self, token: &str) -> Result<Label, KeyringError> {
        let Inner { keyring, response, reason, .. } = &*self.0;
        match keyring.report_leak(token, reason, *response).await {
            // A record with a broken seal cannot be changed, but its key is refused anyway.
            Ok(_) | Err(KeyringError::Refused(_)) => Ok(Label::TruePositive),
            // The key was deleted or has another secret by now, but the finding was a token of this system.
            Err(KeyringError::Rejected)
                if keyring.verifier().format().check(token.as_bytes()).is_ok() =>
            {
                Ok(Label::TruePositive)
            }
            Err(KeyringError::Rejected) => Ok(Label::FalsePositive),
            Err(error) => Err(error),
        }
    }

    fn rejected(&self) -> Response {
        let problem = Problem::new(403, "leak-report-rejected", "The leak report is not accepted");
        self.problem(&problem.detail("the report is not signed by a key that is accepted here"))
    }

    fn unreadable(&self) -> Response {
        let detail = "the report is not a JSON array of objects with `token` and `type`";
        let problem = Problem::new(400, "leak-report-unreadable", "The leak report cannot be read");
        self.problem(&problem.detail(detail))
    }

    fn unavailable(&self) -> Response {
        let problem = Problem::unavailable("the report was processed in part; send it again");
        self.problem(&problem).with("retry-after", UNAVAILABLE_RETRY)
    }

    fn problem(&self, problem: &Problem) -> Response {
        Response::problem(problem, &self.0.types)
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
