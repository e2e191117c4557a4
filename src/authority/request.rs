//! Requests to issue and edit keys.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::{fmt, time::Duration};

use super::ChangeError;
use crate::{
    grant::{Grant, Networks, Resources, StoredLimits},
    record::{Field, InvalidField, KeyRecord, Labels, Owner},
    text,
    time::Timestamp,
};

/// A request to issue a key.
///
/// The defaults are the safe choice: no scopes, no labels, valid immediately, and for as long as the
/// tenant's tier allows.
///
/// ```
/// use keyway::NewKey;
///
/// let request = NewKey::named("ERP nightly sync").scopes(["reporting"]);
/// # _ = request;
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until a key is issued from it"]
pub struct NewKey {
    pub(super) name: String,
    pub(super) scopes: Vec<String>,
    pub(super) limits: StoredLimits,
    pub(super) labels: Labels,
    pub(super) not_before: Option<Timestamp>,
    pub(super) expires: Option<Expiry>,
    pub(super) created_by: String,
    pub(crate) owner: Option<Owner>,
    pub(super) attributes: Labels,
    pub(super) children: bool,
    pub(super) granter: Option<Grant>,
    pub(super) idempotency_key: Option<IdempotencyKey>,
}

impl NewKey {
    /// Maximum length of the text in [`created_by`](Self::created_by), in characters.
    pub const MAX_ACTOR_LEN: usize = 200;

    /// Creates a request for a key with this name. A name is 1 to 100 characters on one line.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            scopes: Vec::new(),
            limits: StoredLimits::default(),
            labels: Labels::default(),
            not_before: None,
            expires: None,
            created_by: String::new(),
            owner: None,
            attributes: Labels::default(),
            children: false,
            granter: None,
            idempotency_key: None,
        }
    }

    /// Replaces the name of the key.
    #[cfg(feature = "testing")]
    pub(crate) fn rename(&mut self, name: String) {
        self.name = name;
    }

    /// Sets the scopes that the key is granted. They include all scopes that they imply.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the resources of one kind that the key may touch. It may touch none of a kind that is not set.
    ///
    /// ```
    /// use keyway::{NewKey, grant::Resources};
    ///
    /// let request = NewKey::named("dashboard")
    ///     .scopes(["reporting"])
    ///     .resources("machine", Resources::only(["press-1", "press-2"])?);
    /// # _ = request;
    /// # Ok::<(), keyway::record::InvalidField>(())
    /// ```
    pub fn resources(mut self, kind: &str, resources: Resources) -> Self {
        self.limits.set(kind, resources);
        self
    }

    /// Sets the networks from which the key may be used. By default these are all.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.limits.networks = networks;
        self
    }

    /// Sets the tenant's notes on the key.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }

    /// Sets the time from which the key is valid.
    pub fn not_before(mut self, start: Timestamp) -> Self {
        self.not_before = Some(start);
        self
    }

    /// Sets the time from which the key is no longer valid.
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.expires = Some(Expiry::At(end));
        self
    }

    /// Ends the key this long after it is issued, according to the keyring's clock. Replaces
    /// [`expires_at`](Self::expires_at), and vice versa.
    pub fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires = Some(Expiry::In(lifetime));
        self
    }

    /// Sets the actor that issues the key. The text is the application's own.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if the text is longer than 200 characters or has more than one line.
    pub fn created_by(mut self, actor: impl Into<String>) -> Result<Self, InvalidField> {
        let actor = actor.into();
        text::check(&actor, Self::MAX_ACTOR_LEN)
            .map_err(|problem| InvalidField::new(Field::Actor, problem))?;
        self.created_by = actor;
        Ok(self)
    }

    /// Sets the person or team inside the tenant that the key belongs to.
    /// `TenantKeys::owned_by` sees only the keys of one owner, and
    /// `TenantKeys::disable_owner` ends the use of all of them.
    pub fn owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// Sets text of the application's own, such as the id of a plan. The [`Principal`](crate::Principal) carries it. Neither
    /// the console nor a key's description shows it, and no tenant changes it. So an application may decide by it.
    pub fn attributes(mut self, attributes: Labels) -> Self {
        self.attributes = attributes;
        self
    }

    /// Limits the grant of the key to that of `granter`, so that a granter cannot pass on more than it has. With several
    /// granters, each one is a limit.
    pub fn granted_by(mut self, granter: &Grant) -> Self {
        self.granter = Some(narrowed(self.granter, granter));
        self
    }

    /// Moves the properties that every tenant may choose into `key`.
    pub(super) fn describe(self, key: &mut KeyRecord) {
        key.name = self.name;
        key.limits = self.limits;
        key.labels = self.labels;
        key.not_before = self.not_before;
        key.created_by = self.created_by;
        key.owner = self.owner;
        key.attributes = self.attributes;
        key.children = self.children;
    }

    /// Sets whether the holder of the key may derive [children](crate::children) from it. By default it may not.
    #[cfg(feature = "children")]
    pub fn children(mut self, allowed: bool) -> Self {
        self.children = allowed;
        self
    }

    /// Makes the request idempotent. All requests of a tenant with the same text issue at most one key,
    /// across processes and restarts: the key's id is derived from the text, and an id is never used twice.
    /// Use a fresh random text for each key.
    ///
    /// `TenantKeys::issue` and `Keyring::create_tenant_with` use it. Imports do not need it, because
    /// importing the same key twice returns an error.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the text is 1 to 255 visible ASCII characters.
    pub fn idempotency_key(mut self, text: &str) -> Result<Self, InvalidField> {
        self.idempotency_key = Some(IdempotencyKey::try_from(text)?);
        Ok(self)
    }
}

/// Returns `granter`, further limited by `other`.
fn narrowed(granter: Option<Grant>, other: &Grant) -> Grant {
    granter.map_or_else(|| other.clone(), |granter| granter.meet(other))
}

/// The end of a key, as a time or as a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    At(Timestamp),
    In(Duration),
}

impl Expiry {
    /// Returns the end for a request that is granted at `now`.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(end) => end,
            Self::In(duration) => now.checked_add(duration).unwrap_or(Timestamp::MAX),
        }
    }
}

/// Distinguishes one request for a new key from another.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct IdempotencyKey(Box<str>);

impl IdempotencyKey {
    const MAX_LEN: usize = 255;

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Returns the idempotency key for a tenant's first key. It differs from that of any other request,
    /// because its prefix contains NUL, which is not visible ASCII.
    pub(super) fn of_first_key(self) -> Self {
        Self(["\0first key\0", &self.0].concat().into())
    }
}

impl TryFrom<&str> for IdempotencyKey {
    type Error = InvalidField;

    fn try_from(text: &str) -> Result<Self, Self::Error> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > Self::MAX_LEN || !is_visible {
            return Err(InvalidField::malformed(
                Field::IdempotencyKey,
                "1 to 255 visible ASCII characters",
            ));
        }
        Ok(Self(text.into()))
    }
}

/// Redacted, because knowing the text is sufficient to query the outcome of the request.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Changes to a key. Properties that are not set remain unchanged.
///
/// ```
/// use keyway::KeyEdit;
///
/// let edit = KeyEdit::new().name("ERP hourly sync").scopes(["reporting"]).enabled(false);
/// # _ = edit;
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "an edit does nothing until it is applied"]
pub struct KeyEdit {
    pub(super) name: Option<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) resources: Vec<(String, Resources)>,
    pub(super) networks: Option<Networks>,
    pub(super) labels: Option<Labels>,
    pub(crate) owner: Option<Option<Owner>>,
    pub(super) attributes: Option<Labels>,
    pub(super) not_before: Option<Option<Timestamp>>,
    pub(super) expires: Option<Option<Expiry>>,
    pub(super) enabled: Option<bool>,
    pub(super) children: Option<bool>,
    pub(super) granter: Option<Grant>,
}

impl KeyEdit {
    /// Creates an edit without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Renames the key.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Replaces the scopes of the key. Scopes that the key already holds may be kept in whole or in part,
    /// even if its tenant's tier no longer allows them.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = Some(scopes.into_iter().map(Into::into).collect());
        self
    }

    /// Replaces the resources of one kind that the key may touch. Resources of other kinds remain unchanged.
    pub fn resources(mut self, kind: &str, resources: Resources) -> Self {
        self.resources.retain(|(other, _)| other != kind);
        self.resources.push((kind.into(), resources));
        self
    }

    /// Replaces the networks from which the key may be used.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.networks = Some(networks);
        self
    }

    /// Replaces the tenant's notes on the key.
    pub fn labels(mut self, labels: Labels) -> Self {
        self.labels = Some(labels);
        self
    }

    /// Gives the key to another person or team inside the tenant. `None` means that it belongs to none.
    pub fn owner(mut self, owner: impl Into<Option<Owner>>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Replaces the application's own text on the key.
    pub fn attributes(mut self, attributes: Labels) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// Sets the time from which the key is valid. `None` means immediately.
    pub fn not_before(mut self, start: impl Into<Option<Timestamp>>) -> Self {
        self.not_before = Some(start.into());
        self
    }

    /// Sets the time from which the key is no longer valid. `None` means never.
    pub fn expires_at(mut self, end: impl Into<Option<Timestamp>>) -> Self {
        self.expires = Some(end.into().map(Expiry::At));
        self
    }

    /// Ends the key this long after the edit, according to the keyring's clock. Replaces
    /// [`expires_at`](Self::expires_at), and vice versa.
    pub fn expires_in(mut self, duration: Duration) -> Self {
        self.expires = Some(Some(Expiry::In(duration)));
        self
    }

    /// Enables or disables the key.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = Some(enabled);
        self
    }

    /// Sets whether the holder of the key may derive [children](crate::children) from it. All children end if it may not. A
    /// later edit that allows them again brings back those that have not expired.
    #[cfg(feature = "children")]
    pub fn children(mut self, allowed: bool) -> Self {
        self.children = Some(allowed);
        self
    }

    /// Limits the grant of the edited key to that of `granter`, so that a granter cannot leave a key with more than it
    /// has. An edit that only disables a key is exempt. With several granters, each one is a limit.
    pub fn granted_by(mut self, granter: &Grant) -> Self {
        self.granter = Some(narrowed(self.granter, granter));
        self
    }

    pub(super) fn only_disables(&self) -> bool {
        self.enabled == Some(false)
            && self.name.is_none()
            && self.scopes.is_none()
            && self.resources.is_empty()
            && self.networks.is_none()
            && self.labels.is_none()
            && self.owner.is_none()
            && self.attributes.is_none()
            && self.not_before.is_none()
            && self.expires.is_none()
            && self.children.is_none()
    }
}

/// How long the old secret of a rotated key is still accepted.
///
/// The grace period is a deadline for that secret alone. No later rotation moves it. A rotation within the
/// grace period adds a third accepted secret. A fourth is rejected with [`ChangeError::TooManySecrets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GracePeriod {
    /// No grace period. All older secrets of the key end immediately. Use it for a secret that has leaked.
    None,
    /// For this long, at most 30 days, regardless of which secret is used meanwhile. Zero is the same as
    /// [`None`](Self::None).
    For(Duration),
    /// Until a newer secret is used for the first time, at most for 24 hours. Neither a deploy nor a lost
    /// response then locks anyone out. A node that only verifies does not record first uses, so there the
    /// old secret is accepted for the full 24 hours.
    #[default]
    UntilFirstUse,
}

impl GracePeriod {
    /// The longest grace period: 30 days.
    pub const MAX: Duration = Duration::from_secs(30 * 86_400);
    /// The longest duration of [`UntilFirstUse`](Self::UntilFirstUse): 24 hours.
    pub const FIRST_USE_DEADLINE: Duration = Duration::from_secs(86_400);

    /// Returns the end, and whether a first use ends it earlier. `None` without a grace period.
    pub(super) fn end(self, now: Timestamp) -> Result<Option<(Timestamp, bool)>, ChangeError> {
        let after = |duration| now.checked_add(duration).unwrap_or(Timestamp::MAX);
        match self {
            Self::None => Ok(None),
            Self::For(duration) if duration.as_millis() == 0 => Ok(None),
            Self::For(duration) if duration > Self::MAX => {
                Err(ChangeError::GracePeriodTooLong(duration))
            }
            Self::For(duration) => Ok(Some((after(duration), false))),
            Self::UntilFirstUse => Ok(Some((after(Self::FIRST_USE_DEADLINE), true))),
        }
    }
}
