//! The error of an invalid text.

use crate::text::TextProblem;

/// A text that was entered is invalid. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {problem}")]
pub struct InvalidField {
    field: Field,
    problem: TextProblem,
}

impl InvalidField {
    pub(crate) const fn new(field: Field, problem: TextProblem) -> Self {
        Self { field, problem }
    }

    /// Creates the error of a text that is not `expected`.
    pub(crate) const fn malformed(field: Field, expected: &'static str) -> Self {
        Self::new(field, TextProblem::Malformed(expected))
    }

    /// Returns which text is invalid.
    pub fn field(&self) -> Field {
        self.field
    }

    /// Returns the problem.
    pub fn problem(&self) -> TextProblem {
        self.problem
    }
}

/// Names the text that an [`InvalidField`] is about. It displays as a noun: `the name of the key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Field {
    /// The id of a tenant.
    #[error("the id of the tenant")]
    TenantId,
    /// A day.
    #[error("the day")]
    Day,
    /// The id of a key.
    #[error("the id of the key")]
    KeyId,
    /// The name of a key.
    #[error("the name of the key")]
    KeyName,
    /// The masked form that an imported key is shown by.
    #[error("the masked form of the key")]
    Masked,
    /// The name of the person or program that issues a key.
    #[error("the name of the issuer of the key")]
    Actor,
    /// The owner of a key.
    #[error("the owner of the key")]
    Owner,
    /// The labels or attributes of a key as a whole: there are too many.
    #[error("the list of labels")]
    Labels,
    /// The name of a label.
    #[error("the name of a label")]
    LabelName,
    /// The value of a label.
    #[error("the value of a label")]
    LabelValue,
    /// The reason of a suspension or a leak report.
    #[error("the reason of the suspension")]
    Reason,
    /// The name of a scope.
    #[error("the name of the scope")]
    Scope,
    /// A network of clients.
    #[error("the network")]
    Network,
    /// The networks of a key as a whole.
    #[error("the list of networks")]
    Networks,
    /// The id of a resource.
    #[error("the id of the resource")]
    ResourceId,
    /// The resources of a key as a whole: there are too many.
    #[error("the list of resources")]
    Resources,
    /// The text that makes a request for a new key idempotent.
    #[error("the idempotency key")]
    IdempotencyKey,
    /// A name in the audience of a child.
    #[error("the name in the audience")]
    Audience,
    /// The nonce of a child.
    #[error("the nonce of the child")]
    Nonce,
    /// The state by which keys are selected.
    #[error("the state of the key")]
    State,
    /// A time.
    #[error("the time")]
    Time,
}
