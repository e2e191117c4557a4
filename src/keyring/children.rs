//! Children of keys: their prefix, and minters for keys whose token is at hand.

use alloc::{format, string::String, sync::Arc};
use core::net::IpAddr;

use subtle::ConstantTimeEq as _;

use super::{Keyring, KeyringError, own_rotation::refused};
use crate::{
    audit::{AuditKind, ChangeKind, Refusal},
    children::{ChildMinter, MintChildError, NewChild},
    decision::decide_from,
    record::{ChildSwitch, KeyRecord, TenantId},
    time::Timestamp,
    token::{KeyId, OneTimeToken},
    verifier::VerifyError,
};

/// A child that the holder of a key has asked for.
#[derive(Debug)]
#[must_use = "the child is lost unless it is revealed"]
#[non_exhaustive]
pub struct OwnChild {
    /// The text of the child, which can be revealed once.
    pub token: OneTimeToken,
    /// The end of the child, or that of its parent or of the presented secret if one of them is earlier. The first use of a
    /// newer secret may end the presented one before that.
    pub expires_at: Timestamp,
}

/// The holder of a key has got no child.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnChildError {
    /// The token is not that of an active key that may be used from the client's network.
    #[error(transparent)]
    Verify(VerifyError),
    /// The key may have no children: the tenant has not allowed them, or the key must be rotated first.
    #[error("the API key may not have children{}", match .0 {
        ChildSwitch::AfterRotation => " before its next rotation",
        _ => "",
    })]
    Switch(ChildSwitch),
    /// The key may have children, but not this secret of it. It is from before the last rotation, and was made when the policy
    /// allowed none or by another system.
    #[error(
        "the token is from before the last rotation and may not have children; use the newest one"
    )]
    PreviousSecret,
    /// The child would be valid for longer than the policy allows, or is over already.
    #[error("the child must end in the future, and within the longest lifetime of children")]
    Lifetime,
    /// The child cannot be made as it was asked for.
    #[error(transparent)]
    Mint(MintChildError),
}

impl OwnChildError {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Verify(error) if error.is_unavailable() => Refusal::Unavailable,
            _ => Refusal::NotAllowed,
        }
    }
}

/// Makes the children of one key, whose token was presented and is accepted.
///
/// The private key is not in it, since it is kept while the caller waits. It follows from the token each time.
pub(crate) struct OwnMinter<'k> {
    keyring: &'k Keyring,
    token: &'k [u8],
    child_prefix: String,
    of: (TenantId, KeyId),
    /// The time at which the token was accepted.
    now: Timestamp,
    /// The end of the key, or of the presented secret.
    ends_at: Timestamp,
}

impl Keyring {
    /// Returns the text with which all children of `key` begin, or `None` if it has none. The holder needs it beside the token
    /// to make children.
    pub fn child_prefix(&self, key: &KeyRecord) -> Option<String> {
        if key.children() != ChildSwitch::On {
            return None;
        }
        self.authority().children()?.prefix_of(key.id)
    }

    /// Returns the minter of a key that was just issued or rotated. The token can still be revealed afterwards.
    ///
    /// # Errors
    ///
    /// [`MintChildError::NotAllowed`] if the policy allows no children.
    pub fn child_minter(&self, token: &OneTimeToken) -> Result<ChildMinter, MintChildError> {
        self.authority().children().ok_or(MintChildError::NotAllowed)?.minter(token)
    }

    /// Makes a child of the key whose token is `presented`, for a holder that asks for it. The key must be active. It is read
    /// from the store, and no rate applies. `address` is that of the client, `None` if it is not known.
    ///
    /// The request is a use of the presented secret, so it ends older ones that wait for it. A secret in its grace period has
    /// children too, which end with it. Nothing is stored. Each refusal is reported to the audit sink, with the actor `key`
    /// and the id of the key.
    ///
    /// # Errors
    ///
    /// [`OwnChildError`] says why there is no child. A child has no children.
    pub async fn mint_own_child(
        &self,
        presented: impl AsRef<[u8]>,
        request: &NewChild,
        address: Option<IpAddr>,
    ) -> Result<OwnChild, OwnChildError> {
        let presented = presented.as_ref();
        self.own_minter(presented, address).await?.mint(request)
    }

    /// Returns the minter of the key whose token is `presented`, for its holder.
    ///
    /// # Errors
    ///
    /// As [`mint_own_child`](Self::mint_own_child), for all that does not depend on the request.
    pub(crate) async fn own_minter<'k>(
        &'k self,
        presented: &'k [u8],
        address: Option<IpAddr>,
    ) -> Result<OwnMinter<'k>, OwnChildError> {
        let mut of = None;
        let minter = self.try_own_minter(presented, address, &mut of).await;
        minter.inspect_err(|error| self.report_no_child(presented, of.as_ref(), error))
    }

    async fn try_own_minter<'k>(
        &'k self,
        presented: &'k [u8],
        address: Option<IpAddr>,
        of: &mut Option<(TenantId, KeyId)>,
    ) -> Result<OwnMinter<'k>, OwnChildError> {
        // INVARIANT: the token is checked first. Nobody else learns what the key or the policy allows.
        let (stored, checked) = self.possessed(presented, true, of).await.map_err(of_read)?;
        let now = self.now();
        let key = Arc::new(self.resolve_own(&stored).map_err(of_read)?);
        let caller = decide_from(&checked, &key, now, || address)
            .map_err(|denial| OwnChildError::Verify(refused(denial)))?;
        let format = self.authority().children();
        let format = format.ok_or(OwnChildError::Mint(MintChildError::NotAllowed))?;
        let switch = stored.key.children();
        if switch == ChildSwitch::Off {
            return Err(OwnChildError::Switch(switch));
        }
        // An imported token has no minter, and a secret from before the policy allowed children no public key.
        let child_prefix = format.prefix_of(key.id()).unwrap_or_default();
        let own = ChildMinter::of(presented, &child_prefix).map(|minter| minter.public_key());
        if !own.is_ok_and(|own| key.child_keys().any(|known| known.ct_eq(&own).into())) {
            return Err(if caller.used_previous_secret() && switch == ChildSwitch::On {
                OwnChildError::PreviousSecret
            } else {
                OwnChildError::Switch(ChildSwitch::AfterRotation)
            });
        }
        if caller.ends_grace_period() {
            self.engine().end_grace_period(&checked).await;
        }
        let of = (stored.key.tenant, key.id());
        let ends_at = key.ends_at(&checked);
        Ok(OwnMinter { keyring: self, token: presented, child_prefix, of, now, ends_at })
    }

    /// Returns whether `presented` is a child with a right tag, which nobody can revoke. Reports it to the audit sink.
    #[cfg(feature = "http")]
    pub(crate) fn refuses_to_revoke(&self, presented: &[u8]) -> bool {
        let Some((parent, child)) = self.authority().child_in(presented) else { return false };
        let kind = AuditKind::ChangeRefused {
            change: ChangeKind::RevokeKey,
            refusal: Refusal::NotAllowed,
            detail: "a child of the API key cannot be revoked, and does not end the key",
        };
        self.engine().record_event(&crate::audit::AuditEvent {
            at: self.now(),
            actor: &self.actor,
            tenant: None,
            key: Some(parent),
            child: Some(child),
            kind,
        });
        true
    }

    /// Reports to the audit sink that the holder of a key has got no child.
    fn report_no_child(
        &self,
        presented: &[u8],
        of: Option<&(TenantId, KeyId)>,
        error: &OwnChildError,
    ) {
        let reason = match error {
            OwnChildError::Verify(error) => Some(error),
            _ => None,
        };
        let detail = format!("{error}");
        let (change, refusal) = (ChangeKind::MintChild, error.refusal());
        let kind = AuditKind::ChangeRefused { change, refusal, detail: &detail };
        self.report_own(presented, of, reason, kind);
    }
}

impl OwnMinter<'_> {
    /// Makes a child.
    ///
    /// # Errors
    ///
    /// [`OwnChildError::Lifetime`] or [`OwnChildError::Mint`].
    pub(crate) fn mint(&self, request: &NewChild) -> Result<OwnChild, OwnChildError> {
        let minted = self.try_mint(request);
        minted.inspect_err(|error| {
            self.keyring.report_no_child(self.token, Some(&self.of), error);
        })
    }

    fn try_mint(&self, request: &NewChild) -> Result<OwnChild, OwnChildError> {
        let caveats =
            request.caveats_at(self.now).map_err(|error| OwnChildError::Mint(error.into()))?;
        let end = caveats.expires_at;
        if end <= self.now || end > self.latest() {
            return Err(OwnChildError::Lifetime);
        }
        let minter = ChildMinter::of(self.token, &self.child_prefix);
        let child = minter.and_then(|minter| minter.mint_at(request, self.now));
        let token = child.map_err(OwnChildError::Mint)?;
        Ok(OwnChild { token, expires_at: end.min(self.ends_at) })
    }

    /// Returns the latest end that a child may have.
    pub(crate) fn latest(&self) -> Timestamp {
        let longest = self.keyring.policy().max_child_lifetime().unwrap_or_default();
        self.now.checked_add(longest).unwrap_or(Timestamp::MAX)
    }
}

fn of_read(error: KeyringError) -> OwnChildError {
    OwnChildError::Verify(match error {
        KeyringError::Rejected => VerifyError::Rejected,
        error if error.is_tampered() => VerifyError::Tampered,
        error => VerifyError::Unavailable(Arc::new(error)),
    })
}
