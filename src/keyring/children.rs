//! Children of keys: their prefix, and minters for keys whose token is at hand.

use alloc::{string::String, sync::Arc};
use core::net::IpAddr;

use super::{Keyring, KeyringError, own_rotation::refused};
use crate::{
    children::{ChildMinter, MintChildError, NewChild},
    decision::decide_from,
    record::{ChildSwitch, KeyRecord},
    time::Timestamp,
    token::OneTimeToken,
    verifier::VerifyError,
};

/// A child that the holder of a key has asked for.
#[derive(Debug)]
#[must_use = "the child is lost unless it is revealed"]
#[non_exhaustive]
pub struct OwnChild {
    /// The text of the child, which can be revealed once.
    pub token: OneTimeToken,
    /// The end of the child, or of its parent if that is earlier.
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
    /// The child would be valid for longer than the policy allows, or is over already.
    #[error("the child must end in the future, and within the longest lifetime of children")]
    Lifetime,
    /// The child cannot be made as it was asked for.
    #[error(transparent)]
    Mint(MintChildError),
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
    /// from the store. `address` is that of the client, `None` if it is not known.
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
        let of_mint = OwnChildError::Mint;
        let format = self.authority().children();
        let format = format.ok_or(of_mint(MintChildError::NotAllowed))?;
        let read = self.possessed(presented, true, &mut None).await;
        let (stored, checked) = read.map_err(of_read)?;
        let now = self.now();
        let key = Arc::new(self.resolve_own(&stored).map_err(of_read)?);
        decide_from(&checked, &key, now, || address)
            .map_err(|denial| OwnChildError::Verify(refused(denial)))?;
        match stored.key.children() {
            ChildSwitch::On => {}
            switch => return Err(OwnChildError::Switch(switch)),
        }
        let latest = now.checked_add(format.max_lifetime()).unwrap_or(Timestamp::MAX);
        let caveats = request.caveats_at(now).map_err(|error| of_mint(error.into()))?;
        let end = caveats.expires_at;
        if end <= now || end > latest {
            return Err(OwnChildError::Lifetime);
        }
        let text = str::from_utf8(presented).map_err(|_| of_mint(MintChildError::Token))?;
        let prefix = format.prefix_of(key.id()).ok_or(of_mint(MintChildError::Token))?;
        let minter = ChildMinter::new(text, &prefix).map_err(of_mint)?;
        let public_key = minter.public_key();
        if !key.child_keys().any(|known| *known == public_key) {
            return Err(OwnChildError::Switch(ChildSwitch::AfterRotation));
        }
        let token = minter.mint_at(request, now).map_err(of_mint)?;
        Ok(OwnChild { token, expires_at: end.min(key.ends_at(&checked)) })
    }
}

fn of_read(error: KeyringError) -> OwnChildError {
    OwnChildError::Verify(match error {
        KeyringError::Rejected => VerifyError::Rejected,
        error if error.is_tampered() => VerifyError::Tampered,
        error => VerifyError::Unavailable(Arc::new(error)),
    })
}
