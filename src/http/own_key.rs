//! The endpoint for the holder of a key.

#[cfg(feature = "children")]
mod children;
mod rotation;

use alloc::sync::Arc;

#[cfg(feature = "children")]
pub use self::children::MintedChild;
pub use self::rotation::RotatedKey;
use super::{Guard, Headers, Response, credential::Presented, observe::Observation, wiped::Wiped};
use crate::{
    keyring::{Keyring, KeyringError},
    verifier::VerifyError,
};

/// Describes, deletes and rotates the key that a request presents, for its holder. Cheap to clone.
///
/// A holder may see and end a key in any state and from any network, so a leaked key can be ended where it is found.
/// It may rotate the key only where the application [permits it](Self::rotatable).
///
/// Only the key itself counts. A short-lived child of it is refused for all of this, as by a guard that accepts no
/// children.
///
/// Every request reads the store and no [rate](crate::rate) applies. Limit how often the endpoint may be
/// called, as for any route that does work for anyone who once held a key. A credential that is not the token
/// of a key gets the response that a [`Guard`] gives, with one body for all cases.
///
/// ```
/// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
/// use keyway::{Guard, http::OwnKey};
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
/// # let (_, issued) = keyring.create_tenant("acme", "lite").await?;
/// let own_key = OwnKey::new(&keyring, &Guard::new(&keyring));
///
/// let value = ["Bearer ", &*issued.token.reveal()].concat();
/// let request = [("authorization", value.as_bytes())];
/// assert_eq!(own_key.describe(&request[..]).await.status(), 200);
/// assert_eq!(own_key.revoke(&request[..]).await.status(), 204);
/// assert_eq!(own_key.revoke(&request[..]).await.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct OwnKey {
    keyring: Keyring,
    guard: Guard,
    /// `None` if holders may not rotate their keys.
    rotation: Option<Arc<rotation::Terms>>,
    /// Whether holders get children of their keys.
    #[cfg(feature = "children")]
    mints_children: bool,
}

impl OwnKey {
    /// Creates the endpoint for the keys of `keyring`. `guard` sets the headers of the key and the realm. Its
    /// requirement is not checked.
    pub fn new(keyring: &Keyring, guard: &Guard) -> Self {
        Self {
            keyring: keyring.clone(),
            guard: guard.clone(),
            rotation: None,
            #[cfg(feature = "children")]
            mints_children: false,
        }
    }

    /// Handles a `GET`: returns 200 with the [description](Keyring::describe) of the presented key, whatever
    /// its state.
    ///
    /// The description holds the masked key, but not the token, the digest or the seal.
    pub async fn describe(&self, headers: &(impl Headers + ?Sized)) -> Response {
        let (token, observation) = match self.token(headers).await {
            Ok(presented) => presented,
            Err(refusal) => return refusal,
        };
        let described = self.keyring.describe(token).await;
        let body = described.map(|description| serde_json::to_string(&description));
        match body {
            Ok(Ok(body)) => {
                observation.held();
                Response::new(200).json("application/json", body)
            }
            Ok(Err(error)) => self.refuse(&VerifyError::Unavailable(Arc::new(error)), observation),
            Err(error) => self.failed(error, observation),
        }
    }

    /// Handles a `DELETE`: deletes the presented key permanently, whatever its state, and returns 204.
    pub async fn revoke(&self, headers: &(impl Headers + ?Sized)) -> Response {
        let (token, observation) = match self.token(headers).await {
            Ok(presented) => presented,
            Err(refusal) => return refusal,
        };
        match self.keyring.revoke(token).await {
            Ok(()) => {
                observation.held();
                Response::new(204).with("cache-control", "no-store")
            }
            Err(error) => self.failed(error, observation),
        }
    }

    /// Returns the credential of a request, which may be the token of a key.
    ///
    /// # Errors
    ///
    /// The response that refuses the request. A [child](https://docs.rs/keyway/latest/keyway/children/index.html) in place of
    /// the key gets the response of a guard that accepts none: it ends nothing, and learns nothing of the key.
    #[cfg_attr(
        not(feature = "children"),
        allow(clippy::unused_async, reason = "its twin verifies a child")
    )]
    async fn token<'f>(
        &self,
        headers: &'f (impl Headers + ?Sized),
    ) -> Result<(&'f [u8], Observation), Response> {
        let mut observation = Observation::begin();
        match self.guard.credential(headers) {
            Ok(Some(Presented { token, .. })) => {
                let checked = self.keyring.verifier().format().check(token);
                observation.claims(checked.ok().map(|checked| checked.id()));
                #[cfg(feature = "children")]
                if self.keyring.verifier().engine().authority.child_in(token).is_some() {
                    return Err(self.refuse_presented_child(token, observation).await);
                }
                Ok((token, observation))
            }
            Ok(None) => {
                self.keyring.verifier().engine().record_refused(&VerifyError::Missing, None);
                Err(self.refuse(&VerifyError::Missing, observation))
            }
            Err(error) => {
                let refused = error.into();
                self.keyring.verifier().engine().record_refused(&refused, None);
                observation.refused(&refused, None);
                Err(self.guard.errors().unreadable(error))
            }
        }
    }

    /// Refuses a child that was presented in place of the key. The verifier reports it to the audit sink.
    #[cfg(feature = "children")]
    async fn refuse_presented_child(&self, child: &[u8], observation: Observation) -> Response {
        let verified = self.keyring.verify(child).await;
        // INVARIANT: no child is accepted without a place.
        let refused = verified.err().unwrap_or(VerifyError::Rejected);
        self.refuse(&refused, observation)
    }

    fn failed(&self, error: KeyringError, observation: Observation) -> Response {
        let error = match error {
            KeyringError::Rejected => VerifyError::Rejected,
            error if error.is_tampered() => VerifyError::Tampered,
            error => VerifyError::Unavailable(Arc::new(error)),
        };
        self.refuse(&error, observation)
    }

    fn refuse(&self, error: &VerifyError, observation: Observation) -> Response {
        observation.refused(error, None);
        self.guard.errors().refused(error, &self.keyring.policy().catalog().require_none())
    }
}

/// Returns the body of a response that holds a secret, in memory that is wiped.
fn secret_body(members: &impl serde::Serialize) -> Result<Wiped, Response> {
    let mut bytes = Wiped::with_capacity(2048);
    match serde_json::to_writer(&mut bytes, members) {
        Ok(()) => Ok(bytes),
        // Neither the writer nor the texts and times of these responses can fail.
        Err(_) => Err(Response::new(500).with("cache-control", "no-store")),
    }
}
