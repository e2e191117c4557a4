//! The end of keys that are not used.

use alloc::vec::Vec;
use core::time::Duration;

use super::{Keyring, KeyringError, Page, WalkCursor};
use crate::{
    authority::KeyEdit,
    decision::KeyState,
    record::{KeyRecord, NoticeKind, NoticeMark, TenantRecord},
    store::KeyFilter,
    time::Timestamp,
};

impl Keyring {
    /// Disables the keys that have not been used for as long as their tenant's [tier allows](crate::Tier::max_idle), on one page
    /// of the walk over all keys. Returns these keys.
    ///
    /// No key is disabled without a notice. A key is due here only if its notice of
    /// [`Due::IdleWithin`](super::Due::IdleWithin) was [confirmed](Self::confirm_notice) at least `warning` ago, and the key was
    /// neither used nor rotated since. A notice that was sent late therefore moves the end of its key. A key that is enabled
    /// again gets another notice and the same time once more.
    ///
    /// This writes the uses that this node has seen first. Uses that another node has not written yet do not protect a key. So
    /// let each node call [`flush_uses`](Self::flush_uses) every minute, and do not set a limit below some days. A node that has
    /// only a verifier records no uses: do not call this for keys that are used there alone.
    ///
    /// Each key is disabled by an [edit](super::TenantKeys::edit), by compare-and-set and with its event. Set the actor by
    /// [`acting_as`](Self::acting_as). A key that another caller changes at the same moment is left to the next call.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// use std::time::Duration;
    ///
    /// let week = Duration::from_secs(7 * 24 * 60 * 60);
    /// let mut after = None;
    /// loop {
    ///     let page = keyring.acting_as("idle keys").disable_idle(week, after.as_ref()).await?;
    ///     for key in &page.items {
    ///         println!("{} of {} is disabled", key.name(), key.tenant());
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
    /// [`KeyringError::Unavailable`]. Keys that the failed call has disabled stay disabled.
    pub async fn disable_idle(
        &self,
        warning: Duration,
        after: Option<&WalkCursor>,
    ) -> Result<Page<KeyRecord, WalkCursor>, KeyringError> {
        let Some(shortest) = self.shortest_idle() else { return Ok(Page::only(Vec::new())) };
        self.flush_uses().await?;
        let now = self.now();
        let filter = KeyFilter::all().unused_since(now.saturating_sub(shortest));
        let page = self.keys_of_tenants(&filter, after).await?;
        let mut disabled = Vec::new();
        for (key, tenant) in page.items {
            if !self.is_idle(&key, &tenant, warning, now) {
                continue;
            }
            let keys = self.tenant(tenant.id);
            match keys.edit(key.id, key.version, KeyEdit::new().enabled(false)).await {
                Ok(key) => disabled.push(key),
                Err(error @ KeyringError::Unavailable(_)) => return Err(error),
                // It was changed or deleted.
                Err(_) => {}
            }
        }
        Ok(Page { items: disabled, next: page.next, broken: page.broken })
    }

    /// Returns the shortest time without a use that a tier allows, or `None` if no tier has a limit.
    pub(super) fn shortest_idle(&self) -> Option<Duration> {
        self.policy().tiers().iter().filter_map(|tier| tier.max_idle).min()
    }

    /// Returns whether `key` is to be disabled at `now`.
    fn is_idle(
        &self,
        key: &KeyRecord,
        tenant: &TenantRecord,
        warning: Duration,
        now: Timestamp,
    ) -> bool {
        let terms = self.policy().terms(tenant);
        let is_active = KeyState::on_terms(key, tenant, terms.as_ref(), now) == KeyState::Active;
        let is_over = terms.and_then(|terms| key.idle_until(&terms)).is_some_and(|end| end <= now);
        let notice = key.notices.of(NoticeKind::Idle);
        let sent =
            notice.filter(|mark| mark.about == key.idle_since()).and_then(NoticeMark::sent_at);
        is_active && is_over && sent.is_some_and(|at| at <= now.saturating_sub(warning))
    }
}
