//! Children of keys: which keys may have some, and the prefix that their holders need.

use clap::ValueEnum;
use keyway::{KeyRecord, record::ChildSwitch};
use serde_json::json;

use crate::{failure::Failure, keys::Named, session::Session, views::masked_key};

const NO_POLICY: &str = "the policy does not let keys have children";
const POLICY: &str = "set `max_child_lifetime_seconds` in the policy";

/// Whether the holder of a key may derive short-lived keys from it, its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Children {
    On,
    Off,
}

impl Children {
    /// Returns whether they are allowed.
    ///
    /// # Errors
    ///
    /// A refusal if they are to be allowed and the policy does not let keys have any.
    pub fn allowed(self, session: &Session) -> Result<bool, Failure> {
        if self == Self::On && session.keyring.policy().max_child_lifetime().is_none() {
            return Err(Failure::refused(NO_POLICY).remedy(POLICY));
        }
        Ok(self == Self::On)
    }
}

/// Returns whether a key may have children, for people.
pub fn switch_text(key: &KeyRecord) -> String {
    let text = match key.children() {
        ChildSwitch::Off => "off",
        ChildSwitch::AfterRotation => "on after the next rotation",
        ChildSwitch::On => "on",
    };
    text.into()
}

/// Writes the text with which all children of a key begin. It is not secret.
pub async fn show_prefix(session: &Session, Named { key: id }: Named) -> Result<(), Failure> {
    let key = session.keyring.find_key(id).await?.key;
    let Some(prefix) = session.keyring.child_prefix(&key) else {
        let refused = |reason: &str| Failure::refused(format!("{}: {reason}", masked_key(&key)));
        return Err(match key.children() {
            _ if session.keyring.policy().max_child_lifetime().is_none() => {
                Failure::refused(NO_POLICY).remedy(POLICY)
            }
            ChildSwitch::Off => refused("it may not have children")
                .remedy(format!("`keyctl keys edit {id} --children on` allows them")),
            ChildSwitch::AfterRotation => refused("it must be rotated before it has children")
                .remedy(format!("`keyctl keys rotate {id}` makes a new token")),
            ChildSwitch::On => refused("the pepper that it was issued with is missing")
                .remedy("name it with --retired"),
        });
    };
    session.out.result(&json!({ "key": id, "child_prefix": prefix }), || format!("{prefix}\n"))
}
