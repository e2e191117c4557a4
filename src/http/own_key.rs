//! What the holder of a key does with it over HTTP.

use alloc::sync::Arc;

use super::{Answer, Fields, Guard, credential::Presented, observe::Observation};
use crate::{
    keyring::{Keyring, KeyringError},
    verifier::VerifyError,
};

/// Answers whoever presents a key about that key: what it is, and that it is gone. Cheap to clone.
///
/// It reads the store at every request, and no [rate](crate::rate) holds here: limit how often it may be
/// called, as any route that does work for everybody who once held a key. Whatever is not the token of a key is answered as a [`Guard`]
/// answers it, with one body for all.
///
/// ```
/// # use keyway::{keyring::Keyring, pepper::Pepper, policy::Policy, store::MemoryStore};
/// use keyway::http::{Guard, OwnKey};
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
}

impl OwnKey {
    /// Answers about the keys of `keyring`. `guard` says in which fields a key comes, and names the realm;
    /// what it requires of callers does not matter here.
    pub fn new(keyring: &Keyring, guard: &Guard) -> Self {
        Self { keyring: keyring.clone(), guard: guard.clone() }
    }

    /// Answers a `GET`: 200 with the [description](Keyring::describe) of the key that the request with
    /// these fields presents, whatever its state. Its digest and seal are not part of that, and of its
    /// token only the hint is.
    pub async fn describe(&self, fields: &(impl Fields + ?Sized)) -> Answer {
        let (token, observation) = match self.token(fields) {
            Ok(presented) => presented,
            Err(refusal) => return refusal,
        };
        let described = self.keyring.describe(token).await;
        let body = described.map(|description| serde_json::to_string(&description));
        match body {
            Ok(Ok(body)) => {
                observation.held();
                Answer::new(200).json("application/json", body)
            }
            Ok(Err(error)) => self.refuse(&VerifyError::Unavailable(Arc::new(error)), observation),
            Err(error) => self.failed(error, observation),
        }
    }

    /// Answers a `DELETE`: deletes the key that the request with these fields presents, for good and
    /// whatever its state, and says 204.
    pub async fn revoke(&self, fields: &(impl Fields + ?Sized)) -> Answer {
        let (token, observation) = match self.token(fields) {
            Ok(presented) => presented,
            Err(refusal) => return refusal,
        };
        match self.keyring.revoke(token).await {
            Ok(()) => {
                observation.held();
                Answer::new(204).with("cache-control", "no-store")
            }
            Err(error) => self.failed(error, observation),
        }
    }

    fn token<'f>(
        &self,
        fields: &'f (impl Fields + ?Sized),
    ) -> Result<(&'f [u8], Observation), Answer> {
        let mut observation = Observation::begin();
        match self.guard.credential(fields) {
            Ok(Some(Presented { token, .. })) => {
                let claim = self.keyring.verifier().format().check(token);
                observation.claims(claim.ok().map(|claim| claim.id()));
                Ok((token, observation))
            }
            Ok(None) => Err(self.refuse(&VerifyError::Missing, observation)),
            Err(error) => {
                observation.refused(&error.into(), None);
                Err(self.guard.refusals().unreadable(error))
            }
        }
    }

    fn failed(&self, error: KeyringError, observation: Observation) -> Answer {
        let error = match error {
            KeyringError::Rejected => VerifyError::Rejected,
            error if error.is_tampered() => VerifyError::Tampered,
            error => VerifyError::Unavailable(Arc::new(error)),
        };
        self.refuse(&error, observation)
    }

    fn refuse(&self, error: &VerifyError, observation: Observation) -> Answer {
        observation.refused(error, None);
        self.guard.refusals().refused(error, &self.keyring.policy().catalog().require_none())
    }
}
