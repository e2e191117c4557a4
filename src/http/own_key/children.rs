//! The children of the presented key.

mod request;

use alloc::{string::ToString as _, vec::Vec};
use core::{fmt, net::IpAddr};

use serde::Serialize;
use zeroize::Zeroizing;

pub(super) use self::request::Body;
use super::OwnKey;
use crate::{
    children::MintChildError,
    config::ConfigError,
    http::{
        Headers, Response,
        observe::Observation,
        problem::Problem,
        refusal::{Reason, Refusal},
        wiped::Wiped,
    },
    keyring::{OwnChild, OwnChildError},
    record::ChildSwitch,
    time::Timestamp,
};

impl OwnKey {
    /// The longest accepted body of a request for a child, in bytes.
    pub const MAX_CHILD_BODY_LEN: usize = 16 * 1024;

    /// Returns this endpoint, where holders may also get [children](crate::children) of their keys, by `POST` to the path of
    /// the endpoint followed by `/children`. By default they may not.
    ///
    /// A holder can make the same children [without a request](crate::children::ChildMinter). This is for holders without
    /// the code for it, such as a shell script. The key must be active, and the client in its networks: the guard's
    /// [client address](crate::Guard::client_address) finds it. The tenant must have
    /// [allowed](crate::NewKey::children) children of the key.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
    /// use keyway::{Guard, http::OwnKey};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }],
    /// #     "max_child_lifetime_seconds": 86400
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// # let first = NewKey::named("first").scopes(["reporting"]).children(true);
    /// # let (_, issued) = keyring.create_tenant_with("acme", "lite", first).await?;
    /// let own_key = OwnKey::new(&keyring, &Guard::new(&keyring)).mints_children()?;
    ///
    /// let value = ["Bearer ", &*issued.token.reveal()].concat();
    /// let headers =
    ///     [("authorization", value.as_bytes()), ("content-type", &b"application/json"[..])];
    /// let body = br#"{ "expires_in_seconds": 3600, "scopes": ["reporting"] }"#;
    /// let child = own_key.mint_child(&headers[..], None, body).await.unwrap();
    /// assert!(child.into_body().starts_with(br#"{"token":"mm_live_"#));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoChildren`] if the policy allows no children.
    pub fn mints_children(&self) -> Result<Self, ConfigError> {
        if self.keyring.policy().max_child_lifetime().is_none() {
            return Err(ConfigError::NoChildren);
        }
        Ok(Self { mints_children: true, ..self.clone() })
    }

    /// Returns how a holder authenticates for a child, for the route table. `None` if it gets none.
    #[cfg(any(feature = "axum", feature = "actix"))]
    pub(in super::super) fn child_auth(&self) -> Option<&'static str> {
        self.mints_children.then_some("the key itself, if it may have children")
    }

    /// Handles a `POST` to the path for children: returns the response with the only copy of a child. `peer` is the address of
    /// the other end of the connection, if it is known. The caller wipes the body.
    ///
    /// The body is a JSON object with exactly one of the first two members, and any of the others. Each of the others narrows
    /// what the key permits. `null` is refused.
    ///
    /// | member | |
    /// |---|---|
    /// | `expires_in_seconds` | the number of seconds after which the child ends |
    /// | `expires_at` | the end of the child, as in RFC 3339 |
    /// | `not_before` | the time from which the child is valid, as in RFC 3339 |
    /// | `scopes` | a list of names |
    /// | `resources` | `"all"` or a list of ids, by the name of their kind; the child may touch none of the other kinds |
    /// | `networks` | a list of networks, such as `192.0.2.0/24` |
    /// | `audience` | a list of `host:`, `operation:` or `route:` and a name; see [`Place`](crate::children::Place) |
    /// | `nonce` | a text of 1 to 32 bytes |
    ///
    /// | status | problem | |
    /// |---|---|---|
    /// | 400 | `unreadable-body` | the body is not such an object; `field` names the member that is in error |
    /// | 401 | as that of a guard | the key is not valid, or not active |
    /// | 403 | `other-audience` | a child was presented, which has no children |
    /// | 403 | `other-network` | the key may not be used from here |
    /// | 403 | `children-not-allowed` | the key may not have children; `reason` says why |
    /// | 404 | | the endpoint [mints no children](Self::mints_children) |
    /// | 413, 415 | `body-too-large`, `unsupported-media-type` | the body has more than 16 KiB, or is not `application/json` |
    /// | 422 | `invalid-field` | a member is not accepted, such as an end that is past or too far away; `field` names it |
    /// | 503 | `unavailable` | the store did not respond |
    ///
    /// # Errors
    ///
    /// Returns the [`Response`] that refuses the request.
    pub async fn mint_child(
        &self,
        headers: &(impl Headers + ?Sized),
        peer: Option<IpAddr>,
        body: &[u8],
    ) -> Result<MintedChild, Response> {
        if !self.mints_children {
            return Err(Response::new(404).with("cache-control", "no-store"));
        }
        let address = self.guard.client(peer, headers);
        let (token, observation) = self.token(headers).await?;
        // The body is read only for a holder whose key may have children.
        let minter = match self.keyring.own_minter(token, address).await {
            Ok(minter) => minter,
            Err(error) => return Err(self.refuse_child(error, observation)),
        };
        // From here on the outcome says nothing about the key.
        observation.held();
        let asked = Body::read(headers, body).and_then(|body| Ok((body.request()?, body)));
        let (request, body) = asked.map_err(|problem| self.refuse_body(&problem))?;
        let child = minter.mint(&request).map_err(|error| {
            let problem = body.problem(&error, minter.latest());
            self.refuse_for(&problem, Reason::Child(error))
        });
        child.and_then(MintedChild::of)
    }

    /// Returns the response to a body longer than [`MAX_CHILD_BODY_LEN`](Self::MAX_CHILD_BODY_LEN), for an adapter that stops
    /// reading.
    pub fn child_body_too_large(&self) -> Response {
        self.refuse_body(&request::too_large())
    }

    /// Refuses a child whatever the body asks for.
    fn refuse_child(&self, error: OwnChildError, observation: Observation) -> Response {
        let reason = match &error {
            OwnChildError::Verify(error) => return self.refuse(error, observation),
            OwnChildError::Switch(ChildSwitch::AfterRotation) => "after_rotation",
            OwnChildError::PreviousSecret => "previous_secret",
            OwnChildError::Mint(MintChildError::NotAllowed) => "policy",
            _ => "off",
        };
        observation.forbidden();
        let problem =
            Problem::new(403, "children-not-allowed", "The API key may not have children")
                .detail(error.to_string())
                .with("reason", reason);
        self.refuse_for(&problem, Reason::Child(error))
    }

    fn refuse_body(&self, problem: &Problem) -> Response {
        self.refuse_for(problem, Reason::InvalidBody)
    }

    fn refuse_for(&self, problem: &Problem, reason: Reason) -> Response {
        let errors = self.guard.errors();
        let answer = errors.problem(problem).refusing(Refusal::new(problem, reason, None));
        errors.finish(answer)
    }
}

/// The response to a request for a [child](OwnKey::mint_child), which holds the only copy of the child.
///
/// The body is a JSON object with the child as `token`, and its end as `expires_at`. The end is that of the key if the
/// key ends earlier.
///
/// It cannot be cloned or printed, and its memory is wiped when it is dropped. The adapters of this crate send it.
/// keyway cannot wipe the copies in the buffers of a connection. Do not log the body.
#[must_use = "the child in it is lost unless it is sent"]
pub struct MintedChild(Wiped);

#[derive(Serialize)]
struct Members<'t> {
    token: &'t str,
    expires_at: Timestamp,
}

impl MintedChild {
    fn of(child: OwnChild) -> Result<Self, Response> {
        let OwnChild { token, expires_at, .. } = child;
        let token = token.reveal();
        super::secret_body(&Members { token: &token, expires_at }).map(Self)
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

impl fmt::Debug for MintedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MintedChild([redacted])")
    }
}
