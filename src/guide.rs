//! What a host should know beyond the reference.

#[doc = include_str!("guide/threat_model.md")]
pub mod threat_model {}

#[allow(clippy::doc_markdown, reason = "the table says what the rows printed")]
#[doc = include_str!("guide/assurance.md")]
pub mod assurance {}

#[doc = include_str!("guide/advisories.md")]
pub mod advisories {}

#[doc = include_str!("guide/store_authors.md")]
pub mod store_authors {}

#[doc = include_str!("guide/operations.md")]
pub mod operations {}

#[doc = include_str!("guide/scale.md")]
pub mod scale {}

#[cfg(feature = "axum")]
#[doc = include_str!("guide/axum.md")]
pub mod axum {}

#[cfg(feature = "console")]
#[doc = include_str!("guide/console.md")]
pub mod console {}

#[cfg(feature = "actix")]
#[doc = include_str!("guide/actix.md")]
pub mod actix {}

#[cfg(feature = "tower")]
#[doc = include_str!("guide/tower.md")]
pub mod tower {}

#[cfg(feature = "http")]
#[doc = include_str!("guide/proxies.md")]
pub mod proxies {}
