//! Comparison of a node's issuer, environment and peppers with those of its store.

use alloc::string::{String, ToString as _};

use super::{Verifier, VerifierBuilder, sources::Which};
use crate::{
    config::ConfigError,
    seal::MarkerProblem,
    store::{KeyLookup, StoreError},
};

impl Verifier {
    /// Checks that the store belongs to this verifier's issuer, environment and peppers. Succeeds also if the
    /// store has no marker. The check reads one row and writes nothing, so a read-only role suffices.
    ///
    /// # Errors
    ///
    /// [`OpenError`] says what differs.
    pub async fn check_store(&self) -> Result<(), OpenError> {
        let source = self.0.sources.get(Which::Lookup);
        match source.lookup.marker().await.map_err(OpenError::Unavailable)? {
            Some(stored) => Ok(self.0.marker.compare(&stored).map(drop)?),
            None => Ok(()),
        }
    }
}

impl VerifierBuilder {
    /// Builds the verifier, and [checks](Verifier::check_store) that its store belongs to its issuer,
    /// environment and peppers.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names a setting that is missing, invalid or different from the store's.
    pub async fn open(self) -> Result<Verifier, OpenError> {
        let verifier = self.build()?;
        verifier.check_store().await?;
        Ok(verifier)
    }
}

/// A verifier or keyring cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// A setting is missing or invalid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store belongs to another issuer, environment or pepper. The text names every difference.
    #[error(
        "the store belongs to other keys: {0}; give this node the settings of the store, or a store of its \
         own (one schema or file for each issuer and environment)"
    )]
    OtherStore(String),
    /// The store has no marker, and none of its tenants was sealed for this node.
    #[error(
        "the store has no marker, and none of its tenants was sealed with the pepper, issuer and \
         environment of this node"
    )]
    ForeignStore,
    /// The marker of the store cannot be read, or its seal is broken. Another program has written to the
    /// store. Delete the one row of the table `marker`, and the next start writes the marker again.
    #[error(
        "the marker of the store is not one that keyway wrote; find out who changed it, then delete it and \
         start again"
    )]
    TamperedMarker,
    /// The store did not reply.
    #[error("the store is not available")]
    Unavailable(#[source] StoreError),
}

impl From<MarkerProblem> for OpenError {
    fn from(problem: MarkerProblem) -> Self {
        match problem {
            MarkerProblem::Other(mismatch) => Self::OtherStore(mismatch.to_string()),
            MarkerProblem::Tampered => Self::TamperedMarker,
        }
    }
}
