//! What an operator sees of requests.

use crate::{decision::Principal, verifier::VerifyError};

/// One request, from the moment it came.
pub(super) struct Observation {}

impl Observation {
    pub(super) fn begin() -> Self {
        Self {}
    }

    pub(super) fn admitted(self, _principal: &Principal) {}

    pub(super) fn anonymous(self) {}

    pub(super) fn refused(self, _error: &VerifyError) {}
}
