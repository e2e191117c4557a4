//! The declarations of routes in an OpenAPI document.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::std_instead_of_alloc,
    reason = "tests, and helpers of tests"
)]

mod common;

use axum::routing::MethodRouter;
use common::World;
use keyway::http::{
    Guard, Routes,
    axum::{Endpoint, get, post},
};
use serde_json::{Value, json};
use utoipa::openapi::{
    HttpMethod, OpenApi, PathsBuilder, Response,
    path::{OperationBuilder, PathItem},
    security::SecurityRequirement,
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
        .route("/settings", get(ok).authenticated_by("session cookie"))
        .route("/undocumented", get(ok).require(["manager"]))
}

fn document(paths: &[(HttpMethod, &str)]) -> OpenApi {
    let mut builder = PathsBuilder::new();
    for (method, path) in paths {
        let operation = OperationBuilder::new()
            .response("200", Response::new("fine"))
            .response("403", Response::new("in the host's words"))
            .security(SecurityRequirement::new("cookie", [""; 0]));
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
    routes(guard).matrix().unwrap().secure(&mut document).unwrap();
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
    // What the host says of its own routes stays.
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
fn a_field_of_the_hosts_own_is_an_alternative() {
    let guard = Guard::new(&World::new().keyring).key_field("x-api-key").unwrap();
    let document = secured(guard);
    let scheme = &document["components"]["securitySchemes"]["api_key_field"];
    assert_eq!((&scheme["in"], &scheme["name"]), (&json!("header"), &json!("x-api-key")));
    let either = json!([{ "api_key": [] }, { "api_key_field": [] }]);
    assert_eq!(document["paths"]["/jobs/{job}"]["post"]["security"], either);
}

#[test]
fn each_operation_names_the_field_of_its_own_guard() {
    let world = World::new();
    let with_field = |name| {
        Routes::new(Guard::new(&world.keyring).key_field(name).unwrap())
            .route("/jobs", get(ok).any_key())
    };
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route("/jobs", get(ok).any_key())
        .nest("/a", with_field("x-api-key"))
        .nest("/b", with_field("x-other-key"))
        .nest("/c", with_field("x-api-key"));
    let paths = ["/jobs", "/a/jobs", "/b/jobs", "/c/jobs"];
    let mut document = document(&paths.map(|path| (HttpMethod::Get, path)));
    routes.matrix().unwrap().secure(&mut document).unwrap();
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
fn a_handler_of_head_has_its_own_declaration_whatever_get_asks() {
    let world = World::new();
    let head = Endpoint::new("HEAD", axum::routing::head(ok)).public();
    let routes: Routes<MethodRouter> =
        Routes::new(&world.keyring).route("/jobs", get(ok).any_key()).route("/jobs", head);
    let mut document = document(&[(HttpMethod::Head, "/jobs"), (HttpMethod::Get, "/jobs")]);
    routes.matrix().unwrap().secure(&mut document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    assert_eq!(document["paths"]["/jobs"]["head"]["security"], json!([]));
    assert_eq!(document["paths"]["/jobs"]["get"]["security"], json!([{ "api_key": [] }]));
}

#[test]
fn of_two_routes_of_one_shape_an_operation_has_the_one_with_its_very_path() {
    let world = World::new();
    let routes: Routes<MethodRouter> = Routes::new(&world.keyring)
        .route(r"/reports/{year:\d{4}}", get(ok).any_key())
        .route("/reports/{name}", get(ok).public())
        .route("/exports/{name}", get(ok).public())
        .route(r"/exports/{year:\d{4}}", get(ok).any_key());
    let paths = ["/reports/{name}", "/exports/{name}"];
    let mut document = document(&paths.map(|path| (HttpMethod::Get, path)));
    routes.matrix().unwrap().secure(&mut document).unwrap();
    let document = serde_json::to_value(document).unwrap();
    for path in paths {
        assert_eq!(document["paths"][path]["get"]["security"], json!([]), "{path}");
    }
}

#[test]
fn an_operation_without_a_declaration_is_named_and_nothing_is_written() {
    let mut document = document(&[
        (HttpMethod::Get, "/health"),
        (HttpMethod::Delete, "/jobs/{id}"),
        (HttpMethod::Get, "/novelty"),
    ]);
    let before = document.clone();
    let matrix = routes(&World::new().keyring).matrix().unwrap();
    let error = matrix.secure(&mut document).unwrap_err();
    assert_eq!(error.operations(), ["DELETE /jobs/{id}", "GET /novelty"]);
    assert!(document == before);
}
