//! Durable events: each change of a tenant or a key writes its event in the same transaction, and the application drains
//! the events in order.
//!
//! An [audit sink](crate::audit::AuditSink) is called after a change, so a crash in between loses its event. A durable event
//! is stored if and only if its change is. Build the keyring with
//! [`store_with_events`](https://docs.rs/keyway/latest/keyway/keyring/struct.KeyringBuilder.html#method.store_with_events), and call
//! [`Events::next`](https://docs.rs/keyway/latest/keyway/keyring/struct.Events.html#method.next) in a loop.
//!
//! ```
//! use keyway::{Keyring, MemoryStore, Pepper, Policy};
//!
//! # pollster::block_on(async {
//! # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
//! let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
//!     .environment("live")
//!     .store_with_events(MemoryStore::new())
//!     .build()?;
//! keyring.create_tenant("acme", "lite").await?;
//!
//! let events = keyring.events().ok_or("built without events")?;
//! while let Some(delivery) = events.next().await? {
//!     for event in delivery.events() {
//!         println!("{} {} {}", event.number, event.event.kind, event.event.detail);
//!     }
//!     delivery.confirm().await?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # }).unwrap();
//! ```
//!
//! The [guide](crate::guide::events) describes what is promised, and how to run it.
//!
//! # Which events
//!
//! | stored | not stored |
//! |---|---|
//! | each change of a tenant or a key | requests, admitted or rejected |
//! | each change that was refused | changes whose outcome is unknown because the store did not respond; what a token does not allow its holder |
//! | each leak report, also one that changed nothing | reports of tokens that belong to no key |
//! | the end of a grace period by the first use of a newer secret | last uses, marks of notices, new seals |
//!
//! The content is that of the [audit event](crate::audit::AuditEvent) of the change, as text. Events are not sealed: a
//! program that can write to the database can change them.
//!
//! # Order
//!
//! The events of each tenant have the numbers 1, 2, 3 and so on, without gaps, in the order in which the changes were
//! committed. Events of no known tenant form one sequence of their own. There is no order between tenants. A tenant that
//! is created again under the id of a deleted one continues its sequence.

use alloc::string::String;
use core::fmt;

use crate::{record::TenantId, time::Timestamp, token::KeyId};

/// The id of an [`Event`]: 16 random bytes, shown as 32 hexadecimal digits. It is the same in each delivery, so a receiver
/// recognizes repetitions by it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// Creates the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An event as its change writes it. No part of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Event {
    /// The id.
    pub id: EventId,
    /// The time of the change, by the clock of the node that made it.
    pub at: Timestamp,
    /// The actor, in the application's own words. Empty if the application did not set it.
    pub actor: String,
    /// The tenant, if it is known.
    pub tenant: Option<TenantId>,
    /// The key, if the event is about one.
    pub key: Option<KeyId>,
    /// The kind in one word, as in [`AuditKind::as_str`](crate::audit::AuditKind::as_str).
    pub kind: String,
    /// The rest in words, as in [`AuditEvent::detail`](crate::audit::AuditEvent::detail). It may be empty.
    pub detail: String,
}

/// An event as it is read from a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct StoredEvent {
    /// The place in the sequence of the event's tenant, from 1.
    pub number: u64,
    /// The event.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub event: Event,
}

/// Events of one tenant that a node has claimed, to deliver them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventClaim {
    /// The tenant. `None` stands for the sequence of the events without one.
    pub tenant: Option<TenantId>,
    /// The number of the claim. Each claim of a sequence has a larger one than those before it.
    pub number: u64,
    /// The oldest events of the sequence that are not delivered, in order. There is at least one.
    pub events: alloc::vec::Vec<StoredEvent>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn id_is_shown_as_32_digits() {
        let mut bytes = [0; 16];
        (bytes[0], bytes[15]) = (0xab, 0x01);
        assert_eq!(EventId::from_bytes(bytes).to_string(), "ab000000000000000000000000000001");
    }
}
