//! The history of keys in the durable events.

use super::trail::{AuditTrail, TrailError, TrailEvent, TrailPage};
use crate::{
    audit::begins_history,
    event::{Event, StoredEvent},
    keyring::Events,
    record::TenantId,
    token::KeyId,
};

impl AuditTrail for Events {
    async fn of_key(
        &self,
        tenant: &TenantId,
        key: KeyId,
        limit: usize,
    ) -> Result<TrailPage, TrailError> {
        let stored = self.of_tenant(tenant, Some(key), None, limit).await?;
        // A purge deletes the oldest events, so what follows the first event of a key is all there.
        let complete = stored.last().is_some_and(|oldest| begins_history(&oldest.event.kind));
        let event = |StoredEvent { event, .. }| {
            let Event { at, actor, kind, detail, .. } = event;
            TrailEvent { at, actor, kind, detail }
        };
        Ok(TrailPage { events: stored.into_iter().map(event).collect(), complete })
    }
}
