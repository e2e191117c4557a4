//! The rate of a key, by the complexity of its operations.
//!
//! A guard counts one HTTP request, however many fields it asks for. A request with 50 aliases would cost as much of the
//! rate as one with a single field. This extension counts the rest: one request for each field, or what the attribute
//! `complexity` of the field says. It also counts operations in a WebSocket, which no guard sees.

use std::{num::NonZeroU32, sync::Arc};

use async_graphql::{
    ErrorExtensionValues, ServerError, ValidationResult,
    async_trait::async_trait,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
};
use keyway::{Principal, verifier::Verifier};

/// The extension.
#[derive(Clone)]
pub struct Weighed(Verifier);

/// Marks a request, in its data, as counted once by a guard.
pub struct CountedOnce;

impl Weighed {
    /// Creates the extension, which counts requests by the rates of this verifier.
    pub fn new(verifier: &Verifier) -> Self {
        Self(verifier.clone())
    }
}

impl ExtensionFactory for Weighed {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Extension for Weighed {
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let valid = next.run(context).await?;
        let counted = usize::from(context.data_opt::<CountedOnce>().is_some());
        let rest = u32::try_from(valid.complexity.saturating_sub(counted)).unwrap_or(u32::MAX);
        let (Some(caller), Some(rest)) = (context.data_opt::<Principal>(), NonZeroU32::new(rest))
        else {
            return Ok(valid);
        };
        let status = self.0.count_weighted(caller, rest);
        let Some(wait) = status.and_then(|status| status.retry_after()) else { return Ok(valid) };
        let mut extensions = ErrorExtensionValues::default();
        extensions.set("code", "RATE_LIMITED");
        extensions.set("retryAfter", wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
        let mut error = ServerError::new("the rate of the API key is used up", None);
        error.extensions = Some(extensions);
        Err(vec![error])
    }
}
