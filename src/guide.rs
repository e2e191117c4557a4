//! What a host should know beyond the reference.

#[doc = include_str!("guide/threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("guide/store_authors.md")]
pub mod store_authors {}

#[doc = include_str!("guide/operations.md")]
pub mod operations {}

#[doc = include_str!("guide/scale.md")]
pub mod scale {}
