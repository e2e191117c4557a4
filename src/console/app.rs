//! The state that the handlers share.

use alloc::sync::Arc;

use axum::{http::request::Parts, response::Response};
use futures_util::future::BoxFuture;

use super::{
    admin::Admin, rotations::Rotations, scopes::ScopeTree, settings::Settings, trail::AnyTrail,
    views::KeyView,
};
use crate::{
    http::Guard,
    keyring::Keyring,
    record::{KeyRecord, TenantRecord},
    time::Timestamp,
};

/// Identifies the caller of a request.
pub(super) type Who =
    Arc<dyn Fn(Parts) -> BoxFuture<'static, Result<Admin, Response>> + Send + Sync>;

/// A console in service.
pub(super) struct App {
    pub(super) keyring: Keyring,
    pub(super) who: Who,
    /// Verifies API keys, if the console accepts any.
    pub(super) guard: Option<Guard>,
    pub(super) settings: Settings,
    pub(super) trail: Option<AnyTrail>,
    pub(super) rotations: Rotations,
    pub(super) scopes: ScopeTree,
}

impl App {
    pub(super) fn now(&self) -> Timestamp {
        self.keyring.verifier().engine().clock.moment().now
    }

    /// Returns the view of `key`, which `tenant` holds.
    pub(super) fn view<'k>(&self, key: &'k KeyRecord, tenant: &TenantRecord) -> KeyView<'k> {
        KeyView::of(key, tenant, self.keyring.policy(), self.now())
    }
}
