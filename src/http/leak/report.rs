//! What a report says, and what its sender is told of it.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that somebody found in public. It has no `Debug`, since that may be a key.
#[derive(Deserialize)]
pub(super) struct Finding<'b> {
    #[serde(borrow)]
    pub(super) token: Cow<'b, str>,
    #[serde(borrow)]
    r#type: Cow<'b, str>,
}

/// The findings of a report. Whatever else it says is ignored.
pub(super) fn read(body: &[u8]) -> Option<Vec<Finding<'_>>> {
    serde_json::from_slice(body).ok()
}

/// Whether a finding is a key.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Label {
    TruePositive,
    FalsePositive,
}

/// GitHub takes `token_hash` in place of `token_raw`, so that the token need not be sent back.
#[derive(Serialize)]
struct Feedback<'b> {
    token_hash: String,
    token_type: &'b str,
    label: Label,
}

/// The body that says of each finding whether it is a key.
pub(super) fn feedback(findings: &[Finding<'_>], label: impl Fn(&str) -> Label) -> String {
    let feedback: Vec<_> = findings
        .iter()
        .map(|Finding { token, r#type }| Feedback {
            token_hash: hex(&Sha256::digest(token.as_bytes())),
            token_type: r#type,
            label: label(token),
        })
        .collect();
    // Nothing in it fails to be written.
    serde_json::to_string(&feedback).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes whatever is written to it.
        _ = write!(text, "{byte:02x}");
        text
    })
}
