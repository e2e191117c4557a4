//! Notices about keys that end soon or are not used: each is claimed by one node, sent by the application, and marked as
//! sent.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Keyring, KeyringError, Page, WalkCursor, handle::Races};
use crate::{
    decision::KeyState,
    record::{KeyRecord, NoticeKind, NoticeMark, NoticeState, TenantRecord},
    store::{KeyFilter, StoreError},
    time::Timestamp,
};

/// The keys about which a notice is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Keys that end within this time, by their expiry or by the longest lifetime of their tenant's tier. A key that has
    /// ended less than this time ago without a notice is due as well. One notice is due for each end that a key has had.
    ExpiringWithin(Duration),
    /// Active keys that have not been used for this time, nor created within it. One notice is due after each last use.
    UnusedFor(Duration),
    /// Active keys that [`Keyring::disable_idle`] disables within this time, since they have not been used for almost as long
    /// as their tenant's [tier allows](crate::Tier::max_idle). One notice is due after each last use or rotation.
    IdleWithin(Duration),
}

/// A notice that this node has claimed and has to send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notice {
    /// The key.
    pub key: KeyRecord,
    /// Its tenant.
    pub tenant: TenantRecord,
    /// The subject of the notice.
    pub kind: NoticeKind,
    /// The time at which the key ends, or its last use. It is the creation of a key that was never used. For
    /// [`NoticeKind::Idle`] it is the last rotation if that was later.
    pub about: Timestamp,
}

impl Due {
    fn kind(self) -> NoticeKind {
        match self {
            Self::ExpiringWithin(_) => NoticeKind::Expiring,
            Self::UnusedFor(_) => NoticeKind::Unused,
            Self::IdleWithin(_) => NoticeKind::Idle,
        }
    }
}

impl Keyring {
    /// The time for which a claimed notice is not given to another node, in which it has to be sent.
    pub const NOTICE_LEASE: Duration = Duration::from_secs(600);

    /// Claims the notices that are due on one page of the walk over all keys. Send each of them, and then call
    /// [`confirm_notice`](Self::confirm_notice). Several nodes may do this at the same time.
    ///
    /// The claim is a mark in the sealed record of the key, which is written by compare-and-set. So no other node claims the
    /// same notice within [`NOTICE_LEASE`](Self::NOTICE_LEASE). A notice that was not confirmed by then is due again. A crash
    /// between the claim and the confirmation may therefore cause a second notice, and never none.
    ///
    /// A page may have no notices and still have a [`next`](Page::next), as in [`all_keys`](Self::all_keys). A change of a key
    /// by another caller at the same moment leaves its notice to the next call.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// use std::time::Duration;
    ///
    /// use keyway::keyring::Due;
    ///
    /// let week = Duration::from_secs(7 * 24 * 60 * 60);
    /// let mut after = None;
    /// loop {
    ///     let page = keyring.claim_notices(Due::ExpiringWithin(week), after.as_ref()).await?;
    ///     for notice in &page.items {
    ///         println!("{} of {} ends at {}", notice.key.name(), notice.tenant.id(), notice.about);
    ///         keyring.confirm_notice(notice).await?;
    ///     }
    ///     match page.next {
    ///         Some(next) => after = Some(next),
    ///         None => break,
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Notices that were claimed by the failed call are due again after the lease.
    pub async fn claim_notices(
        &self,
        due: Due,
        after: Option<&WalkCursor>,
    ) -> Result<Page<Notice, WalkCursor>, KeyringError> {
        let now = self.now();
        let filter = match due {
            Due::ExpiringWithin(time) => {
                KeyFilter::all().expiring_before(now.checked_add(time).unwrap_or(Timestamp::MAX))
            }
            Due::UnusedFor(time) => KeyFilter::all().unused_since(now.saturating_sub(time)),
            Due::IdleWithin(time) => match self.shortest_idle() {
                Some(shortest) => {
                    let unused = shortest.saturating_sub(time);
                    KeyFilter::all().unused_since(now.saturating_sub(unused))
                }
                None => return Ok(Page::only(Vec::new())),
            },
        };
        let page = self.keys_of_tenants(&filter, after).await?;
        let mut notices = Vec::new();
        for (key, tenant) in page.items {
            notices.extend(self.claim_notice(due, key, tenant, now).await?);
        }
        Ok(Page { items: notices, next: page.next, broken: page.broken })
    }

    /// Marks a claimed notice as sent, so that no node sends it again. A key that was deleted meanwhile needs no mark.
    ///
    /// # Errors
    ///
    /// [`KeyringError::Unavailable`]. Without the mark the notice is due again after the lease.
    pub async fn confirm_notice(&self, notice: &Notice) -> Result<(), KeyringError> {
        let keys = self.tenant(notice.tenant.id.clone());
        let mut races = Races::default();
        loop {
            let mut key = match keys.find(notice.key.id).await {
                Ok(key) => key,
                Err(KeyringError::NoKey | KeyringError::NoTenant(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            // The key may have another end by now, or have been enabled again. The mark of another notice stays.
            let claimed = key.notices.of(notice.kind).filter(|mark| mark.about == notice.about);
            if claimed.is_none_or(|mark| mark.sent_at().is_some()) {
                return Ok(());
            }
            let mark = NoticeMark { about: notice.about, state: NoticeState::SentAt(self.now()) };
            key.notices.set(notice.kind, mark);
            match self.write_notices(key).await {
                Ok(_) | Err(KeyringError::NoKey) => return Ok(()),
                Err(KeyringError::Conflict) => races.lost()?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Claims the notice about `key`, if it is due and no other node has it.
    async fn claim_notice(
        &self,
        due: Due,
        mut key: KeyRecord,
        tenant: TenantRecord,
        now: Timestamp,
    ) -> Result<Option<Notice>, KeyringError> {
        let terms = self.policy().terms(&tenant);
        let state = KeyState::on_terms(&key, &tenant, terms.as_ref(), now);
        let about = match (due, state) {
            (Due::ExpiringWithin(time), KeyState::Active | KeyState::Expired { .. }) => {
                let end = key.effective_expiry_on(terms.as_ref());
                end.filter(|end| *end > now.saturating_sub(time))
            }
            (Due::UnusedFor(_), KeyState::Active) => {
                Some(key.last_used().unwrap_or(key.created_at))
            }
            (Due::IdleWithin(time), KeyState::Active) => terms
                .and_then(|terms| key.idle_until(&terms))
                .filter(|end| end.saturating_sub(time) <= now)
                .map(|_| key.idle_since()),
            _ => None,
        };
        let Some(about) = about else { return Ok(None) };
        let latest = key.notices.of(due.kind()).filter(|mark| mark.about == about);
        if latest.is_some_and(|mark| mark.is_taken(now)) {
            return Ok(None);
        }
        let until = now.checked_add(Self::NOTICE_LEASE).unwrap_or(Timestamp::MAX);
        let state = NoticeState::ClaimedUntil(until);
        key.notices.set(due.kind(), NoticeMark { about, state });
        match self.write_notices(key).await {
            Ok(key) => Ok(Some(Notice { key, tenant, kind: due.kind(), about })),
            // It was changed or deleted, or another node has claimed the notice.
            Err(KeyringError::Conflict | KeyringError::NoKey) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write_notices(&self, mut key: KeyRecord) -> Result<KeyRecord, KeyringError> {
        let replaces = self.authority().seals().next_key_version(&mut key);
        self.update_key(&key, replaces, None).await?;
        Ok(key)
    }

    /// Returns one page of the walk over all keys, each key with its tenant. Keys whose tenant is gone or cannot be read are
    /// left out.
    pub(super) async fn keys_of_tenants(
        &self,
        filter: &KeyFilter,
        after: Option<&WalkCursor>,
    ) -> Result<Page<(KeyRecord, TenantRecord), WalkCursor>, KeyringError> {
        let page = self.all_keys(filter, after).await?;
        let mut items = Vec::with_capacity(page.items.len());
        // The keys of a tenant follow each other, so that it is read once.
        let mut tenant: Option<TenantRecord> = None;
        for key in page.items {
            if tenant.as_ref().is_none_or(|tenant| tenant.id != key.tenant) {
                tenant = self.tenant_of_notice(&key).await?;
            }
            items.extend(tenant.clone().map(|tenant| (key, tenant)));
        }
        Ok(Page { items, next: page.next, broken: page.broken })
    }

    /// Returns the tenant of a key, or `None` if it is gone or cannot be read. The walk has reported it then.
    async fn tenant_of_notice(
        &self,
        key: &KeyRecord,
    ) -> Result<Option<TenantRecord>, KeyringError> {
        match self.find_tenant(&key.tenant).await {
            Ok(tenant) => Ok(Some(tenant)),
            Err(
                KeyringError::NoTenant(_)
                | KeyringError::Refused(_)
                | KeyringError::Unavailable(StoreError::Corrupt(_)),
            ) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
