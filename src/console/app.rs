//! What all handlers share, and the routes.

use alloc::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn_with_state, map_response},
    routing::{get, post, put},
};

use super::{
    Console, Who, gate, keys,
    openapi::{self, Document},
    page,
    problem::Problem,
    replays::Replays,
    scopes::ScopeTree,
    session,
    settings::Settings,
    tenants,
    trail::ErasedTrail,
};
use crate::{http::Guard, keyring::Keyring, time::Timestamp};

/// A console that answers.
pub(super) struct App {
    pub(super) keyring: Keyring,
    pub(super) who: Who,
    pub(super) guard: Guard,
    pub(super) allows_api_keys: bool,
    pub(super) settings: Settings,
    pub(super) trail: Option<Arc<dyn ErasedTrail>>,
    pub(super) replays: Replays,
    pub(super) scopes: ScopeTree,
    pub(super) document: Document,
}

impl App {
    pub(super) fn new(console: Console) -> Self {
        let Console { keyring, who, settings, allows_api_keys, trail } = console;
        Self {
            guard: Guard::new(&keyring),
            replays: Replays::default(),
            scopes: ScopeTree::of(keyring.policy().catalog()),
            document: Document::of(keyring.policy()),
            keyring,
            who,
            allows_api_keys,
            settings,
            trail,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.keyring.verifier().shared().clock.moment().now
    }

    /// Names of parameters begin with `keyway`, since those of the path of the mount are beside them.
    pub(super) fn router<S: Clone + Send + Sync + 'static>(self) -> Router<S> {
        let app = Arc::new(self);
        let tenants_key = "/tenants/{keyway_tenant}/keys/{keyway_key}/suspension";
        let api = Router::new()
            .route("/session", get(session::session))
            .route("/keys", get(keys::list_keys).post(keys::create::create_key))
            .route("/keys/search", post(keys::search_keys))
            .route(
                "/keys/{keyway_key}",
                get(keys::get_key).patch(keys::change::change_key).delete(keys::change::delete_key),
            )
            .route("/keys/{keyway_key}/rotate", post(keys::change::rotate_key))
            .route("/keys/{keyway_key}/events", get(keys::events::key_events))
            .route("/tenants", get(tenants::list_tenants))
            .route("/tenants/{keyway_tenant}", get(tenants::get_tenant))
            .route("/tenants/{keyway_tenant}/keys", get(tenants::list_tenant_keys))
            .route(
                "/tenants/{keyway_tenant}/tiers/{keyway_tier}",
                get(tenants::tiers::preview_tier),
            )
            .route("/tenants/{keyway_tenant}/tier", put(tenants::tiers::set_tier))
            .route(
                "/tenants/{keyway_tenant}/suspension",
                put(tenants::suspension::suspend_tenant).delete(tenants::suspension::resume_tenant),
            )
            .route(
                tenants_key,
                put(tenants::suspension::suspend_key).delete(tenants::suspension::resume_key),
            )
            .route("/leaks", post(tenants::suspension::report_leak))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed);
        let guarded = Router::new()
            .nest("/api", api)
            .route("/openapi.json", get(openapi::document))
            .method_not_allowed_fallback(method_not_allowed)
            .layer(from_fn_with_state(Arc::clone(&app), gate::admit));
        page::routes(&app.settings)
            .merge(guarded)
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(map_response(gate::secure))
            .with_state(app)
    }
}

async fn not_found() -> Problem {
    Problem::not_found()
}

async fn method_not_allowed() -> Problem {
    Problem::method_not_allowed()
}
