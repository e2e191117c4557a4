//! What is asked of an authority.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, time::Duration};

use super::ChangeError;
use crate::{
    record::{InvalidField, Labels},
    scope::ScopeSet,
    text,
    time::Timestamp,
};

/// A key that is to be issued.
///
/// The defaults are the safe choice: no scopes, no labels, valid at once, and for as long as the
/// tenant's tier allows.
///
/// ```
/// use keyway::authority::NewKey;
///
/// let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
/// # _ = request;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until a key is issued from it"]
pub struct NewKey {
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) labels: Labels,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) created_by: String,
    pub(super) granter: Option<ScopeSet>,
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

impl NewKey {
    /// The longest text of [`created_by`](Self::created_by), in characters.
    pub const MAX_ACTOR_LEN: usize = 200;

    /// A key with this name, 1 to 100 characters on one line.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: Vec::new(),
            labels: Labels::default(),
            not_before: None,
            expires_at: None,
            created_by: String::new(),
            granter: None,
            idempotency_key: None,
        }
    }

    /// The scopes that it is granted, and with them all that they imply.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The tenant's notes on it.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// It is not valid before `start`.
    pub fn not_before(mut self, start: Timestamp) -> Self {
        self.not_before = Some(start);
        self
    }

    /// It is not valid from `end` on.
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.expires_at = Some(end);
        self
    }

    /// Who issues it, in the host's words.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if that is longer than 200 characters or not one line.
    pub fn created_by(mut self, actor: impl Into<String>) -> Result<Self, InvalidField> {
        let actor = actor.into();
        text::check(&actor, Self::MAX_ACTOR_LEN)
            .map_err(|problem| InvalidField::new("the name of who issues the key", problem))?;
        self.created_by = actor;
        Ok(self)
    }

    /// Nothing above `granter` may be granted: what somebody passes on is at most what they have. Of
    /// several granters every one is such a bound.
    pub fn granted_by(mut self, granter: ScopeSet) -> Self {
        self.granter = Some(self.granter.map_or(granter, |bound| bound.meet(granter)));
        self
    }

    /// One key is issued for all requests of a tenant with this text, however often and to however many
    /// processes they are sent: the id of the key follows from it, and no id is ever used again. Whoever
    /// asks makes it up anew for each key that they want.
    ///
    /// [`TenantKeys::issue`](crate::keyring::TenantKeys::issue) regards it. The first key of a tenant and
    /// imported keys need none, since a second one of them cannot be.
    ///
    /// # Errors
    ///
    /// [`InvalidIdempotencyKey`] unless it is 1 to 255 visible ASCII characters.
    pub fn idempotency_key(mut self, text: &str) -> Result<Self, InvalidIdempotencyKey> {
        self.idempotency_key = Some(IdempotencyKey::try_from(text)?);
        Ok(self)
    }
}

/// What tells one request for a new key from another.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    const MAX_LEN: usize = 255;

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<&str> for IdempotencyKey {
    type Error = InvalidIdempotencyKey;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LEN || !is_visible {
            return Err(InvalidIdempotencyKey(()));
        }
        Ok(Self(text.into()))
    }
}

/// Whoever knows it may ask what became of the request.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// A text cannot tell one request from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 255 visible ASCII characters")]
pub struct InvalidIdempotencyKey(());

/// Changes to a key. What is not named stays.
///
/// ```
/// use keyway::authority::KeyEdit;
///
/// let edit = KeyEdit::new().name("ERP hourly sync").scopes(["reporting"]).enabled(false);
/// # _ = edit;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an edit does nothing until it is applied"]
pub struct KeyEdit {
    pub(super) name: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) labels: Option<Labels>,
    pub(super) not_before: Option<Option<Timestamp>>,
    pub(super) expires_at: Option<Option<Timestamp>>,
    pub(super) enabled: Option<bool>,
    pub(super) granter: Option<ScopeSet>,
}

impl KeyEdit {
    /// No changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the key.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces its scopes.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the tenant's notes.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Sets when it begins; `None` is at once.
    pub fn not_before(mut self, start: impl Into<Option<Timestamp>>) -> Self {
        self.not_before = Some(start.into());
        self
    }

    /// Sets when it ends; `None` is never.
    pub fn expires_at(mut self, end: impl Into<Option<Timestamp>>) -> Self {
        self.expires_at = Some(end.into());
        self
    }

    /// Switches it on or off.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Nobody may leave a key with more than they have: the edited key is at most `granter`. Whoever
    /// may edit keys may switch off any of them. Of several granters every one is such a bound.
    pub fn granted_by(mut self, granter: ScopeSet) -> Self {
        self.granter = Some(self.granter.map_or(granter, |bound| bound.meet(granter)));
        self
    }

    pub(super) fn only_disables(&self) -> bool {
        self.enabled == Some(false)
            && self.name.is_none()
            && self.scopes.is_none()
            && self.labels.is_none()
            && self.not_before.is_none()
            && self.expires_at.is_none()
    }
}

/// How long the old secret of a rotated key is still accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Not at all. For a secret that has leaked.
    None,
    /// For this long, at most 30 days.
    For(Duration),
    /// Until the new secret is used for the first time, and at most for 24 hours: neither a deploy
    /// nor a lost response locks anybody out.
    #[default]
    UntilFirstUse,
}

impl Overlap {
    /// The longest overlap.
    pub const MAX: Duration = Duration::from_secs(30 * 86_400);
    /// How long [`UntilFirstUse`](Self::UntilFirstUse) lasts at most.
    pub const FIRST_USE_DEADLINE: Duration = Duration::from_secs(86_400);

    /// When it ends, and whether a first use ends it before.
    pub(super) fn end(self, now: Timestamp) -> Result<Option<(Timestamp, bool)>, ChangeError> {
        let after = |duration| now.checked_add(duration).unwrap_or(Timestamp::MAX);
        match self {
            Self::None => Ok(None),
            Self::For(duration) if duration > Self::MAX => {
                Err(ChangeError::OverlapTooLong(duration))
            }
            Self::For(duration) => Ok(Some((after(duration), false))),
            Self::UntilFirstUse => Ok(Some((after(Self::FIRST_USE_DEADLINE), true))),
        }
    }
}
