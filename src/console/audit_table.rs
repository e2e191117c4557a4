//! The history of keys in the table of audit events.

use alloc::string::String;

use super::trail::{AuditTrail, TrailError, TrailEvent, TrailPage};
use crate::{record::TenantId, store::AuditTable, time::Timestamp, token::KeyId};

impl AuditTrail for AuditTable {
    async fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> Result<TrailPage, TrailError> {
        let (events, complete) = self.stored_events(tenant, key, limit).await?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let events = events.into_iter().map(|event| TrailEvent {
            at: Timestamp::saturating_from_millis(event.at),
            actor: text(&event.actor),
            detail: text(&event.detail),
            kind: event.kind,
        });
        Ok(TrailPage { events: events.collect(), complete })
    }
}
