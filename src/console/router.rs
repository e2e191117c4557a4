//! The routes of the console.

use alloc::sync::Arc;

use axum::{
    Router,
    extract::OriginalUri,
    middleware::{from_fn_with_state, map_response_with_state},
    routing::{MethodFilter, MethodRouter, get, on},
};

use super::{
    allowances,
    app::App,
    auth::{Operator, admit},
    headers, keys,
    openapi::{Document, Operation},
    owners, page, problem, session, tenants, usage,
};
use crate::http::problem::Problem;

/// Builds the router. The operations of the API are those of the document.
pub(super) fn router<S: Clone + Send + Sync + 'static>(app: App) -> Router<S> {
    let app = Arc::new(app);
    let mut document = Document::of(app.keyring.policy());
    let mut api = Router::new();
    for Operation { id, path, method } in document.operations() {
        let is_removed =
            app.settings.without.iter().any(|action| action.operations().contains(&&*id));
        let handler = if is_removed {
            document.remove(&id);
            on(method, not_offered)
        } else if let Some(handler) = handler(&id, method) {
            // Without usage or allowances, these handlers respond with 404.
            let is_absent = (usage::OPERATIONS.contains(&&*id) && app.keyring.usage().is_none())
                || (allowances::OPERATIONS.contains(&&*id) && app.keyring.limits().is_none());
            if is_absent {
                document.remove(&id);
            }
            handler
        } else {
            continue;
        };
        api = route(api, &path, handler);
    }
    let api = api.fallback(not_found).method_not_allowed_fallback(method_not_allowed);
    let document = Arc::new(document);
    let document = get(async move |OriginalUri(uri): OriginalUri| document.response(uri.path()));
    let guarded = route(Router::new().nest("/api", api), "/openapi.json", document)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(&app), admit));
    page::files_with_paths(&app.settings)
        .into_iter()
        .fold(guarded, |router, (path, file)| route(router, path, file))
        .route("/", get(page::index))
        .fallback(page::elsewhere)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(map_response_with_state(Arc::clone(&app), headers::complete))
        .with_state(app)
}

/// Returns the handler of the operation `id`.
fn handler(id: &str, method: MethodFilter) -> Option<MethodRouter<Arc<App>>> {
    Some(match id {
        "session" => on(method, session::session),
        "list_keys" => on(method, keys::list_keys),
        "create_key" => on(method, keys::create::create_key),
        "search_keys" => on(method, keys::search_keys),
        "get_key" => on(method, keys::get_key),
        "change_key" => on(method, keys::edit::change_key),
        "delete_key" => on(method, keys::edit::delete_key),
        "rotate_key" => on(method, keys::rotate::rotate_key),
        "key_events" => on(method, keys::events::key_events),
        "disable_keys" => on(method, keys::bulk::disable_keys),
        "delete_keys" => on(method, keys::bulk::delete_keys),
        "disable_owner" => on(method, owners::disable_owner),
        "enable_owner" => on(method, owners::enable_owner),
        "allowances" => on(method, allowances::allowances),
        "tenant_allowances" => on(method, allowances::tenant_allowances),
        "usage" => on(method, usage::usage),
        "usage_csv" => on(method, usage::csv::usage_csv),
        "key_usage" => on(method, usage::key_usage),
        "tenant_usage" => on(method, usage::tenant_usage),
        "list_tenants" => on(method, tenants::list_tenants),
        "get_tenant" => on(method, tenants::get_tenant),
        "list_tenant_keys" => on(method, tenants::list_tenant_keys),
        "preview_tier" => on(method, tenants::tiers::preview_tier),
        "set_tier" => on(method, tenants::tiers::set_tier),
        "preview_exceptions" => on(method, tenants::exceptions::preview_exceptions),
        "set_exceptions" => on(method, tenants::exceptions::set_exceptions),
        "suspend_tenant" => on(method, tenants::suspension::suspend_tenant),
        "resume_tenant" => on(method, tenants::suspension::resume_tenant),
        "suspend_key" => on(method, tenants::suspension::suspend_key),
        "resume_key" => on(method, tenants::suspension::resume_key),
        "report_leak" => on(method, tenants::leaks::report_leak),
        _ => return None,
    })
}

/// Adds a route with and without a slash at its end, because layers and proxies trim slashes or append them.
fn route(
    router: Router<Arc<App>>,
    path: &str,
    methods: MethodRouter<Arc<App>>,
) -> Router<Arc<App>> {
    router.route(path, methods.clone()).route(&[path, "/"].concat(), methods)
}

/// Refuses an operation that the application has removed. Callers without access to it get 404, as for every
/// other one.
async fn not_offered(_: Operator) -> Problem {
    problem::not_offered()
}

async fn not_found() -> Problem {
    problem::not_found()
}

async fn method_not_allowed() -> Problem {
    problem::method_not_allowed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::Policy, scope::ScopeCatalog, tier::Tier};

    #[test]
    fn every_operation_of_the_document_has_a_handler() {
        let catalog = ScopeCatalog::new([]).unwrap();
        let policy = Policy::new("mm", catalog, [Tier::new("lite", 1)]).unwrap();
        let operations = Document::of(&policy).operations();
        assert_eq!(operations.len(), 31);
        for Operation { id, method, .. } in operations {
            assert!(handler(&id, method).is_some(), "{id}");
        }
    }
}
