//! The contents of a report, and the feedback to its sender.

use alloc::{string::String, vec::Vec};
use core::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::http::secret_json::{self, Secret};

/// A text that was found in public. It has no `Debug`, because it may be a key.
#[derive(Deserialize)]
pub(super) struct Finding {
    pub(super) token: Secret,
    r#type: Secret,
}

/// Returns the findings of a report. Other members are ignored.
pub(super) fn read(body: &[u8]) -> Option<Vec<Finding>> {
    secret_json::read(body).ok()
}

/// Verdict on whether a finding is a key.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    TruePositive,
    FalsePositive,
}

/// Feedback for one finding. GitHub takes `token_hash` in place of `token_raw`, so the token is not sent
/// back.
#[derive(Serialize)]
struct Feedback<'b> {
    token_hash: String,
    token_type: &'b str,
    label: Label,
}

/// Returns the body that labels each finding.
pub(super) fn feedback(findings: &[Finding], label: impl Fn(&str) -> Label) -> String {
    let feedback: Vec<_> = findings
        .iter()
        .map(|Finding { token, r#type }| Feedback {
            token_hash: hex(&Sha256::digest(token.as_bytes())),
            token_type: r#type,
            label: label(token),
        })
        .collect();
    // Serializing these types never fails.
    serde_json::to_string(&feedback).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a `String` never fails.
        _ = write!(text, "{byte:02x}");
        text
    })
}
