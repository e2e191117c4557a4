//! Key management for operators, tenants and key holders.
//!
//! | role | type | operations |
//! |---|---|---|
//! | operator | [`Keyring`] | creates, lists, moves, suspends and deletes tenants; suspends and resumes keys; handles leak reports; reseals |
//! | tenant | [`TenantKeys`] | issues, lists, searches, edits, enables, disables, rotates and deletes its own keys |
//! | holder | [`Keyring`], with the token | verifies the token, describes the key, rotates the key, revokes the key |

mod builder;
mod bulk;
mod check;
#[cfg(feature = "children")]
mod children;
pub(crate) mod error;
mod events;
mod exceptions;
pub(crate) mod handle;
mod holder;
mod idle;
mod limits;
mod notices;
mod operator;
mod own_rotation;
mod owners;
mod page;
mod preview;
mod randomness;
pub(crate) mod tenant;
mod tier_version;
mod upkeep;
mod usage;
mod uses;
mod walk;

#[cfg(feature = "children")]
pub use self::children::{OwnChild, OwnChildError};
use self::handle::{Inner, Races};
pub use self::{
    builder::KeyringBuilder,
    bulk::{BulkOutcome, SelectedKey, Selection},
    events::{Delivery, Events},
    holder::Description,
    limits::{AllowanceState, SharedLimits},
    notices::{Due, Notice},
    operator::QuotaUse,
    own_rotation::{OwnRotation, OwnRotationError},
    page::Page,
    preview::{AffectedKey, TermsPreview},
    upkeep::Upkeep,
    usage::Usage,
    walk::WalkCursor,
};
pub(crate) use self::{
    error::KeyringError,
    handle::Keyring,
    tenant::{IssuedKey, TenantKeys},
};
