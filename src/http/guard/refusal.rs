//! The response of a guard for a known reason.

use super::{super::Response, Guard};
use crate::verifier::VerifyError;

impl Guard {
    /// Returns the response with which this guard refuses a request for this reason. A handler uses it to end a stream with
    /// the reason that [`Principal::ended`](crate::Principal::ended) resolves to. Nothing is reported to the audit.
    ///
    /// The texts of [`VerifyError`] are for the application's own logs. The response has only what a caller may know.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use keyway::Guard;
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// # let (tenant, issued) = keyring.create_tenant("acme", "lite").await?;
    /// let guard = Guard::new(&keyring);
    /// let caller = keyring.verify(&*issued.token.reveal()).await?;
    /// let ended = caller.ended();
    /// tenant.disable(caller.key_id()).await?;
    ///
    /// let response = guard.refusal(&ended.await);
    /// assert_eq!(response.status(), 401);
    /// let (code, message) = response.grpc_status();
    /// assert_eq!((code, &*message), (16, "the API key cannot be used: disabled"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn refusal(&self, error: &VerifyError) -> Response {
        self.0.errors.refused(error, &self.0.requirement)
    }
}
