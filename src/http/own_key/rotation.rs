//! The rotation of the presented key.

#[cfg(any(feature = "axum", feature = "actix"))]
use alloc::string::String;
use alloc::{string::ToString, sync::Arc, vec::Vec};
use core::{fmt, net::IpAddr};

use serde::Serialize;
use zeroize::Zeroizing;

use super::OwnKey;
use crate::{
    authority::{ChangeError, GracePeriod},
    config::ConfigError,
    http::{
        Headers, Response,
        observe::Observation,
        problem::Problem,
        refusal::{Reason, Refusal},
        response::seconds,
        wiped::Wiped,
    },
    keyring::{Description, KeyringError, OwnRotation, OwnRotationError},
    scope::Requirement,
    time::Timestamp,
    verifier::VerifyError,
};

/// The terms on which holders may rotate their keys.
#[derive(Debug)]
pub(super) struct Terms {
    requirement: Requirement,
    grace_period: GracePeriod,
}

impl OwnKey {
    /// Returns this endpoint, where holders may also rotate their keys by `POST`. By default they may not.
    ///
    /// The presented key must hold `scope`, and its tenant's tier must allow the scope. Declare a scope of its own
    /// for this, such as `keys.rotate`, so that each key can be given it or not. The key must be active, and the
    /// client in its networks: the guard's [client address](crate::Guard::client_address) finds it.
    ///
    /// `grace_period` is how long the presented token is accepted after the rotation. With
    /// [`UntilFirstUse`](GracePeriod::UntilFirstUse), a holder that loses the response can use its old token for
    /// another day. In that time the tenant can give the key another secret. An old token cannot rotate the key
    /// itself. Otherwise a leaked one could take over the key.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
    /// use keyway::{GracePeriod, Guard, http::OwnKey};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "keys.rotate", "description": "Rotate the own key" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// # let first = NewKey::named("first").scopes(["keys.rotate"]);
    /// # let (_, issued) = keyring.create_tenant_with("acme", "lite", first).await?;
    /// let own_key = OwnKey::new(&keyring, &Guard::new(&keyring))
    ///     .rotatable("keys.rotate", GracePeriod::UntilFirstUse)?;
    ///
    /// let value = ["Bearer ", &*issued.token.reveal()].concat();
    /// let request = [("authorization", value.as_bytes())];
    /// let rotated = own_key.rotate(&request[..], None).await.unwrap();
    /// assert!(rotated.into_body().starts_with(br#"{"token":"mm_live_"#));
    /// // The old token works until the new one is used, and rotates nothing.
    /// assert_eq!(own_key.rotate(&request[..], None).await.unwrap_err().status(), 403);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownScope`] if the scope is not declared, or [`ConfigError::GracePeriod`] if the grace
    /// period is longer than [`GracePeriod::MAX`].
    pub fn rotatable(&self, scope: &str, grace_period: GracePeriod) -> Result<Self, ConfigError> {
        if let GracePeriod::For(duration) = grace_period
            && duration > GracePeriod::MAX
        {
            return Err(ConfigError::GracePeriod(duration));
        }
        let requirement = self.keyring.policy().catalog().require_all([scope])?;
        let terms = Terms { requirement, grace_period };
        Ok(Self { rotation: Some(Arc::new(terms)), ..self.clone() })
    }

    /// Returns how a holder authenticates for a rotation, for the route table. `None` if it may not rotate.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(in super::super) fn rotation_auth(&self) -> Option<String> {
        let terms = self.rotation.as_ref()?;
        Some(["the key itself, with ", &terms.requirement.in_words()].concat())
    }

    /// Handles a `POST`: gives the presented key a new secret, and returns the response with the only copy of the
    /// new token. `peer` is the address of the other end of the connection, if it is known.
    ///
    /// | status | problem | |
    /// |---|---|---|
    /// | 401 | as that of a guard | the key is not valid, or not active |
    /// | 403 | `insufficient-scope`, `other-network` | the key may not be rotated by its holder, or not from here |
    /// | 403 | `previous-secret` | the token is from before the last rotation |
    /// | 405 | | the endpoint is not [`rotatable`](Self::rotatable) |
    /// | 409 | `rotated-meanwhile` | another rotation came first; its response has the token |
    /// | 409 | `too-many-secrets` | two older tokens are still accepted; `Retry-After` is when the first one ends |
    /// | 503 | `unavailable` | the store did not respond; the detail says whether the key may have been rotated |
    ///
    /// A body of the request is not read, and `Idempotency-Key` has no effect: the token is never stored, so a
    /// repetition could not return it.
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] that refuses the request.
    pub async fn rotate(
        &self,
        headers: &(impl Headers + ?Sized),
        peer: Option<IpAddr>,
    ) -> Result<RotatedKey, Response> {
        let Some(terms) = &self.rotation else { return Err(not_allowed()) };
        let address = self.guard.client(peer, headers);
        let (token, observation) = self.token(headers).await?;
        let Terms { requirement, grace_period, .. } = &**terms;
        match self.keyring.rotate_own(token, requirement, *grace_period, address).await {
            Ok(rotated) => {
                observation.held();
                RotatedKey::of(rotated)
            }
            Err(error) => Err(self.refuse_rotation(error, requirement, observation)),
        }
    }

    fn refuse_rotation(
        &self,
        error: OwnRotationError,
        requirement: &Requirement,
        observation: Observation,
    ) -> Response {
        let errors = self.guard.errors();
        let (problem, reason, retry_after) = match error {
            OwnRotationError::Verify(error) => {
                observation.refused(&error, None);
                return errors.refused(&error, requirement);
            }
            OwnRotationError::PreviousSecret => {
                observation.forbidden();
                let problem =
                    Problem::new(403, "previous-secret", "The API key was rotated before")
                        .detail(OwnRotationError::PreviousSecret.to_string());
                (problem, Reason::PreviousSecret, None)
            }
            OwnRotationError::Change(error @ KeyringError::Conflict) => {
                observation.held();
                let problem =
                    Problem::new(409, "rotated-meanwhile", "The API key was changed meanwhile")
                        .detail("another request rotated or deleted the API key at the same time");
                (problem, Reason::Change(error), None)
            }
            OwnRotationError::Change(
                error @ KeyringError::Refused(ChangeError::TooManySecrets { ends }),
            ) => {
                observation.held();
                let problem = Problem::new(409, "too-many-secrets", "Too many older API keys")
                    .detail(
                        "two older tokens of the API key are still accepted; rotate it when the first of \
                         them has ended",
                    );
                let wait = ends.saturating_since(self.keyring.now());
                (problem, Reason::Change(error), Some(seconds(wait)))
            }
            OwnRotationError::Change(error) => {
                let error = Arc::new(error);
                observation.refused(&VerifyError::Unavailable(error.clone()), None);
                let problem = Problem::unavailable(if error.is_unavailable() {
                    "the API key may have been rotated, and its new token is lost then"
                } else {
                    "the API key cannot be rotated at present"
                });
                let reason = Reason::Verify(VerifyError::Unavailable(error));
                (problem, reason, Some("1".into()))
            }
        };
        let refusal = Refusal::new(&problem, reason, Some(requirement));
        let answer = errors.problem(&problem).refusing(refusal);
        errors.finish(match retry_after {
            Some(seconds) => answer.with("retry-after", seconds),
            None => answer,
        })
    }
}

fn not_allowed() -> Response {
    Response::new(405).with("allow", "GET, DELETE").with("cache-control", "no-store")
}

/// The response to a [rotation](OwnKey::rotate), which holds the only copy of the new token.
///
/// The body is a JSON object with the new `token`; `previous_ends_at`, the time from which the old token is no
/// longer accepted, or null if it has ended; `previous_ends_with_first_use`; and `key`, `state` and
/// `effective_expires_at` as in the response to a `GET`. With the feature `children` it also has `child_prefix`.
///
/// It cannot be cloned or printed, and its memory is wiped when it is dropped. The adapters of this crate send it.
/// keyway cannot wipe the copies in the buffers of a connection. Do not log the body.
#[must_use = "the token in it is lost unless it is sent"]
pub struct RotatedKey(Wiped);

#[derive(Serialize)]
struct Body<'t> {
    token: &'t str,
    previous_ends_at: Option<Timestamp>,
    previous_ends_with_first_use: bool,
    #[serde(flatten)]
    description: &'t Description,
}

impl RotatedKey {
    fn of(rotated: OwnRotation) -> Result<Self, Response> {
        let OwnRotation {
            description, token, previous_ends_at, previous_ends_with_first_use, ..
        } = rotated;
        let token = token.reveal();
        let body = Body {
            token: &token,
            previous_ends_at,
            previous_ends_with_first_use,
            description: &description,
        };
        super::secret_body(&body).map(Self)
    }

    /// Returns the status code: 200.
    pub fn status(&self) -> u16 {
        200
    }

    /// Returns the headers. Names are in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        [("content-type", "application/json"), ("cache-control", "no-store")].into_iter()
    }

    /// Returns the body, which is wiped when it is dropped.
    pub fn into_body(self) -> Zeroizing<Vec<u8>> {
        self.0.into_inner()
    }
}

impl fmt::Debug for RotatedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RotatedKey([redacted])")
    }
}
