//! Requests for children.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use super::{Audience, Caveats, caveats::MAX_NONCE};
use crate::{
    field::{Field, InvalidField},
    grant::{Networks, Resources},
    resource,
    scope::Scope,
    time::Timestamp,
};

/// A request for a child.
///
/// Each limit narrows what the parent permits. A limit that is not set narrows nothing.
///
/// ```
/// use std::time::Duration;
/// use keyway::{children::NewChild, grant::Resources};
///
/// let request = NewChild::lasting(Duration::from_secs(3600))
///     .scopes(["reporting"])?
///     .resources("machine", Resources::only(["press-1"])?)?
///     .route("GET /events")?;
/// # _ = request;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a request does nothing until a child is minted from it"]
pub struct NewChild {
    end: End,
    /// The limits. Their end is set when the child is minted.
    limits: Caveats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    At(Timestamp),
    In(Duration),
}

impl NewChild {
    /// Creates a request for a child that ends this long after it is minted, according to the clock of the machine that
    /// mints it.
    ///
    /// The server compares the end with its own clock. A child whose end is further away than the policy allows is valid
    /// only once it is near enough, so leave a margin for two clocks that differ.
    pub fn lasting(lifetime: Duration) -> Self {
        Self { end: End::In(lifetime), limits: Caveats::until(Timestamp::MAX) }
    }

    /// Creates a request for a child that is valid until `end`, as [`lasting`](Self::lasting) does.
    pub fn until(end: Timestamp) -> Self {
        Self { end: End::At(end), limits: Caveats::until(end) }
    }

    /// Sets the time from which the child is valid. It must be before the end.
    pub fn not_before(mut self, start: Timestamp) -> Self {
        self.limits.not_before = Some(start);
        self
    }

    /// Limits the child to these scopes and the scopes that they imply. A name that the server does not declare permits
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if a name is not a scope's, or if there is none.
    pub fn scopes<S: AsRef<str>>(
        mut self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidField> {
        let scopes = scopes.into_iter().map(|scope| Scope::try_from(scope.as_ref()));
        let mut scopes: Vec<Scope> = scopes.collect::<Result<_, _>>()?;
        if scopes.is_empty() {
            return Err(InvalidField::malformed(Field::Scope, "at least one name"));
        }
        scopes.sort();
        scopes.dedup();
        self.limits.scopes = Some(scopes);
        Ok(self)
    }

    /// Limits the child to these resources of one kind. Once any kind is named, the child may touch none of the other kinds.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless `kind` can be the name of a kind, or if the resources are [`Resources::Nothing`]. For a kind
    /// of which the child may touch nothing, name only the others.
    pub fn resources(mut self, kind: &str, resources: Resources) -> Result<Self, InvalidField> {
        if !resource::is_name(kind) {
            return Err(InvalidField::malformed(Field::Resources, "of a kind with a valid name"));
        }
        if resources == Resources::Nothing {
            return Err(InvalidField::malformed(Field::Resources, "at least one resource"));
        }
        let kinds = self.limits.resources.get_or_insert_default();
        kinds.retain(|(other, _)| other != kind);
        kinds.push((String::from(kind), resources));
        kinds.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(self)
    }

    /// Limits the networks from which the child may be used.
    pub fn networks(mut self, networks: Networks) -> Self {
        self.limits.networks = Some(networks).filter(|networks| *networks != Networks::Any);
        self
    }

    /// Limits the child to hosts or services that say this name. With several names, one of them suffices.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless the name is 1 to 200 characters that can be shown on one line.
    pub fn host(self, name: &str) -> Result<Self, InvalidField> {
        Ok(self.audience(Audience::new(Audience::Host, name)?))
    }

    /// Limits the child to the operation with this name, such as a tool of MCP. With several names, one of them suffices.
    ///
    /// # Errors
    ///
    /// As [`host`](Self::host).
    pub fn operation(self, name: &str) -> Result<Self, InvalidField> {
        Ok(self.audience(Audience::new(Audience::Operation, name)?))
    }

    /// Limits the child to a route, by its method and its path as the route table shows them: `GET /machines/{id}`. With
    /// several routes, one of them suffices.
    ///
    /// # Errors
    ///
    /// As [`host`](Self::host).
    pub fn route(self, name: &str) -> Result<Self, InvalidField> {
        Ok(self.audience(Audience::new(Audience::Route, name)?))
    }

    fn audience(mut self, name: Audience) -> Self {
        let audience = self.limits.audience.get_or_insert_default();
        if let Err(place) = audience.binary_search(&name) {
            audience.insert(place, name);
        }
        self
    }

    /// Distinguishes this child from others with the same limits, such as by a random number.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] unless there are 1 to 32 bytes.
    pub fn nonce(mut self, nonce: &[u8]) -> Result<Self, InvalidField> {
        if nonce.is_empty() || nonce.len() > MAX_NONCE {
            return Err(InvalidField::malformed(Field::Nonce, "1 to 32 bytes"));
        }
        self.limits.nonce = Some(nonce.into());
        Ok(self)
    }

    /// Returns the caveats of a child that is minted at `now`.
    pub(crate) fn caveats_at(&self, now: Timestamp) -> Result<Caveats, InvalidField> {
        let end = match self.end {
            End::At(end) => Some(end),
            End::In(lifetime) => now.checked_add(lifetime),
        };
        let invalid = |expected| InvalidField::malformed(Field::Time, expected);
        let end = end.ok_or(invalid("an end before the year 10000"))?;
        if self.limits.not_before.is_some_and(|start| start >= end) {
            return Err(invalid("a begin before the end of the child"));
        }
        Ok(Caveats { expires_at: end, ..self.limits.clone() })
    }
}
