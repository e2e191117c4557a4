//! Guides for applications, beyond the API reference.
//!
//! A page is included in full if the features that its links need are on. Otherwise a link leads to the page
//! on docs.rs, which has all features.

#[cfg_attr(feature = "std", doc = include_str!("guide/threat_model.md"))]
#[cfg_attr(
    not(feature = "std"),
    doc = "With the feature `std` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/threat_model/index.html)."
)]
pub mod threat_model {}

#[cfg_attr(all(feature = "http", feature = "std", feature = "serde"), doc = include_str!("guide/grants.md"))]
#[cfg_attr(
    not(all(feature = "http", feature = "std", feature = "serde")),
    doc = "With the feature `http` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/grants/index.html)."
)]
pub mod grants {}

#[doc = include_str!("guide/architecture.md")]
pub mod architecture {}

#[allow(clippy::doc_markdown, reason = "the table says what the rows printed")]
#[doc = include_str!("guide/assurance.md")]
pub mod assurance {}

#[doc = include_str!("guide/advisories.md")]
pub mod advisories {}

#[cfg_attr(feature = "std", doc = include_str!("guide/store_authors.md"))]
#[cfg_attr(
    not(feature = "std"),
    doc = "With the feature `std` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/store_authors/index.html)."
)]
pub mod store_authors {}

#[cfg_attr(feature = "std", doc = include_str!("guide/events.md"))]
#[cfg_attr(
    not(feature = "std"),
    doc = "With the feature `std` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/events/index.html)."
)]
pub mod events {}

#[cfg_attr(all(feature = "sqlite", feature = "postgres"), doc = include_str!("guide/operations.md"))]
#[cfg_attr(
    not(all(feature = "sqlite", feature = "postgres")),
    doc = "With the features `sqlite` and `postgres` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/operations/index.html)."
)]
pub mod operations {}

#[cfg_attr(feature = "std", doc = include_str!("guide/scale.md"))]
#[cfg_attr(
    not(feature = "std"),
    doc = "With the feature `std` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/scale/index.html)."
)]
pub mod scale {}

#[cfg(feature = "axum")]
#[doc = include_str!("guide/axum.md")]
pub mod axum {}

#[cfg_attr(all(feature = "testing", feature = "axum", feature = "actix"), doc = include_str!("guide/testing.md"))]
#[cfg_attr(
    not(all(feature = "testing", feature = "axum", feature = "actix")),
    doc = "With the features `testing`, `axum` and `actix` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/testing/index.html)."
)]
pub mod testing {}

#[cfg(feature = "console")]
#[doc = include_str!("guide/console.md")]
pub mod console {}

#[cfg(feature = "actix")]
#[doc = include_str!("guide/actix.md")]
pub mod actix {}

#[cfg(feature = "tower")]
#[doc = include_str!("guide/tower.md")]
pub mod tower {}

#[cfg_attr(all(feature = "rate-limit", feature = "serde"), doc = include_str!("guide/graphql.md"))]
#[cfg_attr(
    not(all(feature = "rate-limit", feature = "serde")),
    doc = "With the feature `rate-limit` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/graphql/index.html)."
)]
pub mod graphql {}

#[cfg_attr(feature = "tower", doc = include_str!("guide/grpc.md"))]
#[cfg_attr(
    not(feature = "tower"),
    doc = "With the feature `tower` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/grpc/index.html)."
)]
pub mod grpc {}

#[cfg(feature = "http")]
#[doc = include_str!("guide/proxies.md")]
pub mod proxies {}

#[cfg_attr(all(feature = "http", feature = "std"), doc = include_str!("guide/streams.md"))]
#[cfg_attr(
    not(all(feature = "http", feature = "std")),
    doc = "With the feature `http` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/streams/index.html)."
)]
pub mod streams {}

#[cfg(feature = "std")]
#[doc = include_str!("guide/usage.md")]
pub mod usage {}

#[cfg_attr(all(feature = "http", feature = "children"), doc = include_str!("guide/children.md"))]
#[cfg_attr(
    not(all(feature = "http", feature = "children")),
    doc = "With the features `http` and `children` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/children/index.html)."
)]
pub mod children {}

#[cfg_attr(feature = "http", doc = include_str!("guide/beside.md"))]
#[cfg_attr(
    not(feature = "http"),
    doc = "With the feature `http` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/beside/index.html)."
)]
pub mod beside {}

#[cfg_attr(feature = "http", doc = include_str!("guide/introspection.md"))]
#[cfg_attr(
    not(feature = "http"),
    doc = "With the feature `http` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/introspection/index.html)."
)]
pub mod introspection {}

#[cfg_attr(feature = "http", doc = include_str!("guide/gateways.md"))]
#[cfg_attr(
    not(feature = "http"),
    doc = "With the feature `http` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/gateways/index.html)."
)]
pub mod gateways {}

#[cfg_attr(feature = "tower", doc = include_str!("guide/mcp.md"))]
#[cfg_attr(
    not(feature = "tower"),
    doc = "With the feature `tower` the page is here; it is also [on docs.rs](https://docs.rs/keyway/latest/keyway/guide/mcp/index.html)."
)]
pub mod mcp {}
