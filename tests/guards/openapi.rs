//! Security requirements of routes in an OpenAPI document.

use crate::support::World;
use axum::routing::MethodRouter;
use keyway::ConfigError;
use keyway::{
    Guard,
    http::{
        Routes,
        axum::{Endpoint, get, post},
    },
};
use serde_json::{Value, json};
use utoipa::openapi::{
    ComponentsBuilder, HttpMethod, OpenApi, PathsBuilder, Response,
    path::{OperationBuilder, PathItem},
    security::{
        ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
    },
};

async fn ok() -> &'static str {
    "ok"
}

fn routes(guard: impl Into<Guard>) -> Routes<MethodRouter> {
    Routes::new(guard)
        .route("/health", get(ok).public())
        .route("/jobs/{id}", get(ok).require(["operator.read", "reporting"]).post(ok).any_key())
        .route("/either", post(ok).require_any(["manager", "erp"]))
        .route("/me", get(ok).optional())
        .route("/settings", get(ok).custom_auth("session cookie"))
        .route("/undocumented", get(ok).require(["manager"]))
}

fn document(paths: &[(HttpMethod, &str)]) -> OpenApi {
    let mut builder = PathsBuilder::new();
    for (method, path) in paths {
        let operation = OperationBuilder::new()
            .response("200", Response::new("fine"))
            .response("403", Response::new("in the host's words"));
        let operation = match *path {
            "/settings" => operation.security(SecurityRequirement::new("cookie", [""; 0])),
            _ => operation,
        };
        builder = builder.path(*path, PathItem::new(method.clone(), operation));
    }
    OpenApi::builder().paths(builder).build()
}

const DOCUMENTED: [(HttpMethod, &str); 7] = [
    (HttpMethod::Get, "/health"),
    (HttpMethod::Get, "/jobs/{job}"),
    (HttpMethod::Post, "/jobs/{job}"),
    (HttpMethod::Head, "/jobs/{job}"),
    (HttpMethod::Post, "/either"),
    (HttpMethod::Get, "/me"),
    (HttpMethod::Get, "/settings"),
];

fn secured(guard: impl Into<Guard>) -> Value {
    let mut document = document(&DOCUMENTED);
    routes(guard).table().unwrap().secure(&mut document).unwrap();
    serde_json::to_value(document).unwrap()
}

#[test]
fn every_operation_says_what_it_requires() {
    let document = secured(&World::new().keyring);
    let security = |method: &str, path: &str| document["paths"][path][method]["security"].clone();
    assert_eq!(security("get", "/health"), json!([]));
    let both = json!([{ "api_key": ["operator.read", "reporting"] }]);
    assert_eq!(security("get", "/jobs/{job}"), both);
    assert_eq!(security("head", "/jobs/{job}"), both);
    assert_eq!(security("post", "/jobs/{job}"), json!([{ "api_key": [] }]));
    assert_eq!(
        security("post", "/either"),
        json!([{ "api_key": ["erp"] }, { "api_key": ["manager"] }])
    );
    assert_eq!(security("get", "/me"), json!([{}, { "api_key": [] }]));
    // The application's own declaration for its route stays.
    assert_eq!(security("get", "/settings"), json!([{ "cookie": [] }]));
    let scheme = &document["components"]["securitySchemes"]["api_key"];
    assert_eq!((&scheme["type"], &scheme["scheme"]), (&json!("http"), &json!("bearer")));
}

#[test]
fn refusals_are_among_the_responses() {
    let document = secured(&World::new().keyring);
    let statuses = |path: &str| {
        let responses = document["paths"][path]["get"]["responses"].as_object().unwrap();
        responses.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(statuses("/health"), ["200", "403"]);
    assert_eq!(statuses("/settings"), ["200", "403"]);
    assert_eq!(statuses("/jobs/{job}"), ["200", "400", "401", "403", "429", "503"]);
    let described = &document["paths"]["/jobs/{job}"]["get"]["responses"]["403"]["description"];
    assert_eq!(described, "in the host's words");
}

#[test]
fn own_header_is_an_alternative_to_bearer() {
    let guard = Guard::new(&World::new().keyring).key_header("x-api-key").unwrap();
    let document = secured(guard);
    let scheme = &document["components"]["securitySchemes"]["api_key_field"];
    assert_eq!((&scheme["in"], &scheme["name"]), (&json!("header"), &json!("x-api-key")));
    let either = json!([{ "api_key": [] }, { "api_key_field": [] }]);
    assert_eq!(document["paths"]["/jobs/{job}"]["post"]["security"], either);
}

#[test]
fn operation_names_the_header_of_its_own_guard() {
    let world = World::new();
    let with_field = |name| {
        Routes::new(Guard::new(&world.keyring).key_header(name).unwrap())
            .route("/jobs", get(ok).any_key())
    };
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/jobs", get(ok).any_key())
        .nest("/a", with_field("x-api-key"))
        .nest("/b", with_field("x-other-key"))
        .nest("/c", with_field("x-api-key"));
    let paths = ["/jobs", "/a/jobs", "/b/jobs", "/c/jobs"];
    let mut document = document(&paths.map(|path| (HttpMethod::Get, path)));
    routes.table().unwrap().secure(&mut document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    let schemes = &document["components"]["securitySchemes"];
    let fields = paths.map(|path| {
        let security = document["paths"][path]["get"]["security"].as_array().unwrap().clone();
        let names = security.iter().flat_map(|one| one.as_object().unwrap().keys());
        names.filter_map(|name| schemes[name]["name"].as_str()).collect::<Vec<_>>().join(" ")
    });
    assert_eq!(fields, ["", "x-api-key", "x-other-key", "x-api-key"]);
}

#[test]
fn head_handler_has_its_own_declaration_beside_get() {
    let world = World::new();
    let head = Endpoint::new("HEAD", axum::routing::head(ok)).public();
    let routes: Routes<MethodRouter> =
        Routes::new(&world.keyring).route("/jobs", get(ok).any_key()).route("/jobs", head);
    let mut document = document(&[(HttpMethod::Head, "/jobs"), (HttpMethod::Get, "/jobs")]);
    routes.table().unwrap().secure(&mut document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    assert_eq!(document["paths"]["/jobs"]["head"]["security"], json!([]));
    assert_eq!(document["paths"]["/jobs"]["get"]["security"], json!([{ "api_key": [] }]));
}

#[test]
fn operation_matches_its_exact_path_among_same_shapes() {
    let world = World::new();
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route(r"/reports/{year:\d{4}}", get(ok).any_key())
        .route("/reports/{name}", get(ok).public())
        .route("/exports/{name}", get(ok).public())
        .route(r"/exports/{year:\d{4}}", get(ok).any_key());
    let paths = ["/reports/{name}", "/exports/{name}"];
    let mut document = document(&paths.map(|path| (HttpMethod::Get, path)));
    routes.table().unwrap().secure(&mut document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    for path in paths {
        assert_eq!(document["paths"][path]["get"]["security"], json!([]), "{path}");
    }
}

#[test]
fn undeclared_operation_is_named_and_nothing_is_written() {
    let mut document = document(&[
        (HttpMethod::Get, "/health"),
        (HttpMethod::Delete, "/jobs/{id}"),
        (HttpMethod::Get, "/novelty"),
    ]);
    let before = document.clone();
    let table = routes(&World::new().keyring).table().unwrap();
    let error = table.secure(&mut document).unwrap_err();
    let named = ["DELETE /jobs/{id}", "GET /novelty"].map(String::from);
    assert_eq!(error, ConfigError::UndeclaredOperations(named.into()));
    assert!(document == before);
}

/// Returns the security of operations that declare `own` themselves, by path.
fn beside(routes: &Routes<MethodRouter>, own: Option<&[&str]>, all: Option<&str>) -> Value {
    let requirement = |name: &&str| match *name {
        "" => SecurityRequirement::default(),
        name => SecurityRequirement::new(name, [""; 0]),
    };
    let table = routes.table().unwrap();
    let mut builder = PathsBuilder::new();
    for row in table.rows() {
        let operation = OperationBuilder::new();
        let operation = match own {
            Some(own) => operation.securities(Some(own.iter().map(requirement))),
            None => operation,
        };
        builder = builder.path(row.path(), PathItem::new(HttpMethod::Get, operation));
    }
    let security = all.map(|name| vec![requirement(&name)]);
    let mut document = OpenApi::builder().paths(builder).security(security).build();
    table.secure(&mut document).unwrap();
    let once = serde_json::to_value(&document).unwrap();
    // A second call changes nothing.
    table.secure(&mut document).unwrap();
    assert_eq!(serde_json::to_value(&document).unwrap(), once);
    let paths = once["paths"].as_object().unwrap().iter();
    paths.map(|(path, item)| (path.clone(), item["get"]["security"].clone())).collect()
}

#[test]
fn security_that_an_operation_declares_stays() {
    let world = World::new();
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/health", get(ok).public())
        .route("/me", get(ok).optional())
        .route("/catalog", get(ok).require(["reporting"]).optional())
        .route("/orders", get(ok).require(["reporting"]).or("session cookie"))
        .route("/jobs", get(ok).require(["reporting"]))
        .route("/either", get(ok).require_any(["manager", "erp"]))
        .route("/settings", get(ok).custom_auth("session cookie"));
    let reporting = json!({ "api_key": ["reporting"] });
    let session = json!({ "session": [] });
    assert_eq!(
        beside(&routes, Some(&["session"]), None),
        json!({
            "/health": [session],
            "/me": [session, { "api_key": [] }],
            "/catalog": [session, reporting],
            "/orders": [session, reporting],
            "/jobs": [{ "session": [], "api_key": ["reporting"] }],
            "/either": [
                { "session": [], "api_key": ["erp"] },
                { "session": [], "api_key": ["manager"] },
            ],
            "/settings": [session],
        })
    );
    // The operation itself declares that a request without any credential is allowed.
    let seen = beside(&routes, Some(&["", "session"]), None);
    assert_eq!(seen["/me"], json!([{}, session, { "api_key": [] }]));
    // The alternatives to a key that the document declares for all operations stay.
    let seen = beside(&routes, None, Some("session"));
    assert_eq!(seen["/me"], json!([session, { "api_key": [] }]));
    assert_eq!(seen["/orders"], json!([session, reporting]));
    assert_eq!(seen["/jobs"], json!([reporting]));
    assert_eq!(seen["/health"], json!([]));
    // Neither the operation nor the document declares anything.
    let seen = beside(&routes, None, None);
    assert_eq!(seen["/catalog"], json!([{}, reporting]));
    assert_eq!(seen["/orders"], json!([reporting]));
}

#[test]
fn header_of_keys_alone_is_the_only_scheme() {
    let guard = Guard::new(&World::new().keyring).key_header_only("x-api-key").unwrap();
    let document = secured(guard);
    let jobs = &document["paths"]["/jobs/{job}"]["post"]["security"];
    assert_eq!(*jobs, json!([{ "api_key_field": [] }]));
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    assert_eq!(schemes.keys().collect::<Vec<_>>(), ["api_key_field"]);
}

/// Checks documents in which the application has given the names of keyway's schemes to others.
#[test]
fn scheme_of_the_document_keeps_its_name_and_means() {
    let world = World::new();
    let cookie = || SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("session")));
    let secured = |guard: Guard, name: &str, scheme: SecurityScheme| {
        let routes: Routes<MethodRouter> = Routes::new(guard)
            .route("/me", get(ok).optional())
            .route("/orders", get(ok).require(["reporting"]).or("session cookie"))
            .route("/jobs", get(ok).require(["reporting"]));
        let table = routes.table().unwrap();
        let own = || OperationBuilder::new().security(SecurityRequirement::new(name, [""; 0]));
        let paths = ["/me", "/orders", "/jobs"].into_iter();
        let paths = paths.fold(PathsBuilder::new(), |paths, path| {
            paths.path(path, PathItem::new(HttpMethod::Get, own()))
        });
        let components = ComponentsBuilder::new().security_scheme(name, scheme);
        let document = OpenApi::builder().paths(paths).components(Some(components.build()));
        let mut document = document.build();
        table.secure(&mut document).unwrap();
        let once = serde_json::to_value(&document).unwrap();
        table.secure(&mut document).unwrap();
        assert_eq!(serde_json::to_value(&document).unwrap(), once);
        let of = |path: &str| once["paths"][path]["get"]["security"].clone();
        (once["components"]["securitySchemes"].clone(), [of("/me"), of("/orders"), of("/jobs")])
    };

    // A scheme of the same name for another credential stays, and so do its alternatives.
    let guard = Guard::new(&world.keyring);
    let (schemes, [me, orders, jobs]) = secured(guard.clone(), "api_key", cookie());
    assert_eq!(schemes["api_key"], json!({ "type": "apiKey", "in": "cookie", "name": "session" }));
    assert_eq!(schemes["api_key_2"]["scheme"], "bearer");
    assert_eq!(me, json!([{ "api_key": [] }, { "api_key_2": [] }]));
    assert_eq!(orders, json!([{ "api_key": [] }, { "api_key_2": ["reporting"] }]));
    assert_eq!(jobs, json!([{ "api_key": [], "api_key_2": ["reporting"] }]));

    // If keys do not come in `Authorization`, a bearer token there belongs to another party.
    let only = guard.key_header_only("X-Api-Key").unwrap();
    let gateway = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let (schemes, [me, ..]) = secured(only.clone(), "api_key", SecurityScheme::Http(gateway));
    assert_eq!(schemes["api_key"]["bearerFormat"], "JWT");
    assert_eq!(me, json!([{ "api_key": [] }, { "api_key_field": [] }]));

    // A scheme for the same header keeps the description and the name that the application gave it.
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("ours"));
    let (schemes, [me, _, jobs]) = secured(guard, "api_key", SecurityScheme::Http(bearer.build()));
    assert_eq!(schemes["api_key"]["description"], "ours");
    assert_eq!(schemes.as_object().unwrap().len(), 1);
    assert_eq!(me, json!([{}, { "api_key": [] }]));
    assert_eq!(jobs, json!([{ "api_key": ["reporting"] }]));
    let header = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
    let (schemes, [me, _, jobs]) = secured(only, "key", header);
    assert_eq!(schemes.as_object().unwrap().keys().collect::<Vec<_>>(), ["key"]);
    assert_eq!(me, json!([{}, { "key": [] }]));
    assert_eq!(jobs, json!([{ "key": ["reporting"] }]));
}

#[test]
fn operation_that_needs_nothing_inherits_nothing() {
    let world = World::new();
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/me", get(ok).optional())
        .route("/orders", get(ok).any_key().or("session cookie"));
    let seen = beside(&routes, Some(&[]), Some("session"));
    assert_eq!(seen["/me"], json!([{}, { "api_key": [] }]));
    assert_eq!(seen["/orders"], json!([{ "api_key": [] }]));
}

#[test]
fn alternative_of_a_key_and_something_else_stays() {
    let routes: Routes<MethodRouter> = Routes::new(&World::new().keyring)
        .route("/me", get(ok).optional())
        .route("/jobs", get(ok).require(["reporting"]));
    let table = routes.table().unwrap();
    let both = || {
        let both = SecurityRequirement::new("session", [""; 0]).add("api_key", [""; 0]);
        OperationBuilder::new().security(both)
    };
    let paths = PathsBuilder::new()
        .path("/me", PathItem::new(HttpMethod::Get, both()))
        .path("/jobs", PathItem::new(HttpMethod::Get, both()));
    let mut document = OpenApi::builder().paths(paths).build();
    for _ in 0..2 {
        table.secure(&mut document).unwrap();
        let document = serde_json::to_value(&document).unwrap();
        let of = |path: &str| document["paths"][path]["get"]["security"].clone();
        assert_eq!(of("/me"), json!([{ "session": [], "api_key": [] }, { "api_key": [] }]));
        assert_eq!(of("/jobs"), json!([{ "session": [], "api_key": ["reporting"] }]));
    }
}
