//! Callers, keyrings, a clock and audit events for the tests of an application.
//!
//! This module is for tests, so the feature `testing` belongs in the dev-dependencies of an application. With it,
//! code makes a [`Principal`](crate::Principal) of a caller that was never verified, and a keyring with a public
//! pepper. The [guide](crate::guide::testing) shows it on axum and actix-web.
//!
//! | to test | |
//! |---|---|
//! | a handler | [`caller`] makes its argument |
//! | a handler behind its extractors | [`admit`](https://docs.rs/keyway/latest/keyway/testing/fn.admit.html) puts the caller into a request |
//! | a route behind its guard | [`authorization`] makes the header of a request, or [`Caller::build_for`](https://docs.rs/keyway/latest/keyway/testing/struct.Caller.html#method.build_for) a caller whom the guard admits |
//! | an expiry, a suspension that ends, a grace period | [`keyring_with`] and [`ManualClock`] |
//! | what operators see | [`Events`] |
//!
//! ```
//! use keyway::{Policy, testing};
//!
//! # pollster::block_on(async {
//! let policy: Policy = serde_json::from_str(r#"{
//!     "issuer": "mm",
//!     "scopes": [{ "name": "reporting", "description": "Read reports" }]
//! }"#)?;
//! let keyring = testing::keyring(policy)?;
//! // The value of `Authorization` in a request to the router that the application builds with this keyring.
//! let value = testing::authorization(&keyring, "acme", ["reporting"]).await?;
//!
//! let caller = keyring.verify_authorization(Some(&value)).await?;
//! assert_eq!(caller.tenant(), "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```

#[cfg(any(feature = "tower", feature = "actix"))]
mod admitted;
mod caller;
mod events;

use alloc::string::String;

#[cfg(any(feature = "tower", feature = "actix"))]
pub use self::admitted::{TestRequest, admit};
pub use self::{
    caller::{Caller, CallerError, caller},
    events::{Event, Events},
};
pub use crate::time::ManualClock;
use crate::{
    authority::NewKey,
    config::ConfigError,
    keyring::{Keyring, KeyringError},
    pepper::Pepper,
    policy::Policy,
    record::TenantId,
    store::memory::MemoryStore,
    time::{Clock, SystemClock},
};

/// Returns a keyring with no tenants, which keeps its keys in memory. The environment of its tokens is `test`.
///
/// Its pepper is [public](Pepper::public), so it is not for a service that others can reach.
///
/// # Errors
///
/// As [`KeyringBuilder::build`](crate::keyring::KeyringBuilder::build).
pub fn keyring(policy: Policy) -> Result<Keyring, ConfigError> {
    Keyring::builder(policy, Pepper::public()).environment("test").store(MemoryStore::new()).build()
}

/// Returns a keyring like [`keyring`], with this clock and this audit sink. Clones of both stay with the test.
///
/// ```
/// use std::time::Duration;
/// use keyway::{KeyState, NewKey, Policy, VerifyError, testing};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
/// # }"#)?;
/// let (clock, events) = (testing::clock(), testing::Events::new());
/// let keyring = testing::keyring_with(policy, &clock, &events)?;
/// let an_hour = Duration::from_secs(3_600);
/// let request = NewKey::named("test").scopes(["reporting"]).expires_in(an_hour);
/// let value = testing::authorization_of(&keyring, "acme", request).await?;
/// assert!(keyring.verify_authorization(Some(&value)).await.is_ok());
///
/// clock.advance(an_hour);
/// let late = keyring.verify_authorization(Some(&value)).await.unwrap_err();
/// assert!(matches!(late, VerifyError::Inactive(KeyState::Expired { .. })));
/// assert_eq!(events.kinds(), ["tenant_created", "key_issued", "inactive"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// As [`keyring`].
pub fn keyring_with(
    policy: Policy,
    clock: &ManualClock,
    events: &Events,
) -> Result<Keyring, ConfigError> {
    Keyring::builder(policy, Pepper::public())
        .environment("test")
        .store(MemoryStore::new())
        .clock(clock.clone())
        .audit(events.clone())
        .build()
}

/// Returns a clock that shows the present time and stands still until it is
/// [advanced](ManualClock::advance) or [set](ManualClock::set).
pub fn clock() -> ManualClock {
    ManualClock::at(SystemClock.moment().now)
}

/// Issues a key with `scopes` to `tenant`, and returns the value of the header `Authorization` that presents it.
///
/// Creates the tenant on the highest tier of the policy if there is none. A test that needs more keys than the
/// tier allows uses several tenants.
///
/// # Errors
///
/// [`KeyringError::Refused`] for an invalid tenant id or a scope that the policy or the tier lacks,
/// [`KeyringError::QuotaExceeded`], or [`KeyringError::Unavailable`] from the keyring's store.
pub async fn authorization<S: Into<String>>(
    keyring: &Keyring,
    tenant: &str,
    scopes: impl IntoIterator<Item = S>,
) -> Result<String, KeyringError> {
    authorization_of(keyring, tenant, NewKey::named("test").scopes(scopes)).await
}

/// Issues the key that `request` asks for, like [`authorization`]. Use it for keys with resources, networks or an owner.
///
/// ```
/// use keyway::{NewKey, Policy, grant::Resources, testing};
///
/// # pollster::block_on(async {
/// # let policy: Policy = serde_json::from_str(r#"{
/// #     "issuer": "mm",
/// #     "scopes": [{ "name": "reporting", "description": "Read reports" }],
/// #     "resources": [{ "name": "machine", "description": "One machine" }]
/// # }"#)?;
/// let keyring = testing::keyring(policy)?;
/// let request = NewKey::named("test").scopes(["reporting"]).resources("machine", Resources::All);
/// let value = testing::authorization_of(&keyring, "acme", request).await?;
/// # assert!(value.starts_with("Bearer mm_test_"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// As [`authorization`].
pub async fn authorization_of(
    keyring: &Keyring,
    tenant: &str,
    request: NewKey,
) -> Result<String, KeyringError> {
    let tier = keyring.policy().tiers().last().map_or("", |tier| tier.name.as_str());
    let keys = match keyring.create_empty_tenant(tenant, tier).await {
        Err(KeyringError::TenantExists(_)) => keyring.tenant(TenantId::try_from(tenant)?),
        created => created?,
    };
    let token = keys.issue(request).await?.token.reveal();
    Ok(["Bearer ", token.as_str()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        scope::{ScopeCatalog, ScopeDeclaration},
        tier::Tier,
    };

    #[test]
    fn authorization_verifies_with_the_scopes_of_the_key() {
        let catalog = ["read", "write"].map(|name| ScopeDeclaration::new(name, "for tests"));
        let catalog = ScopeCatalog::new(catalog).unwrap();
        let tiers = [Tier::new("lite", 1), Tier::new("advanced", 2)];
        let keyring = keyring(Policy::new("mm", catalog, tiers).unwrap()).unwrap();
        let authorization =
            |tenant, scope| pollster::block_on(super::authorization(&keyring, tenant, Some(scope)));
        for (tenant, scope) in [("acme", "read"), ("acme", "write"), ("globex", "read")] {
            let value = authorization(tenant, scope).unwrap();
            let caller = keyring.verify_authorization(Some(&value));
            let caller = pollster::block_on(caller).unwrap();
            assert_eq!(caller.tenant(), tenant);
            for other in ["read", "write"] {
                let requirement = keyring.requirement([other]).unwrap();
                assert_eq!(caller.require(&requirement).is_ok(), other == scope);
            }
        }
        let full = authorization("acme", "read");
        assert!(matches!(full, Err(KeyringError::QuotaExceeded { .. })), "{full:?}");
        assert!(matches!(authorization("globex", "gone"), Err(KeyringError::Refused(_))));
        assert!(matches!(authorization(" ", "read"), Err(KeyringError::Refused(_))));
    }
}
