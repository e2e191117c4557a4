//! Children and tickets behind a gateway, and in OpenAPI documents.

use keyway::{
    Guard,
    children::{NewChild, Place},
    http::{Endpoint, ForwardAuth, Gateway, OriginalRequest, Routes},
};
use serde_json::{Value, json};
use utoipa::openapi::{
    Components, HttpMethod, OpenApi, PathsBuilder,
    path::{OperationBuilder, PathItem},
    security::{ApiKey, ApiKeyValue, SecurityScheme},
};

use super::app::{Family, Field, bearer, lasting, routes};
use crate::support::block_on;

/// Returns the status of a gateway's question, and the name of the problem in a refusal.
fn ask(gateway: &Gateway, method: &str, target: &str, fields: &[Field]) -> String {
    let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
    let original = [("x-forwarded-method", method), ("x-forwarded-uri", target)];
    let original = original.map(|(name, value)| (name, value.as_bytes()));
    let headers: Vec<_> = fields.chain(original).collect();
    let response = block_on(gateway.check("GET", "/check?ticket=x", &headers[..], None));
    let body: Value = serde_json::from_str(response.body()).unwrap_or_default();
    let name = body["type"].as_str().and_then(|link| link.rsplit('#').next());
    name.map_or(response.status().to_string(), |name| format!("{} {name}", response.status()))
}

fn gateway(guard: Guard) -> Gateway {
    let original = OriginalRequest::x_forwarded();
    Gateway::new(routes(guard, |_| ()), ForwardAuth::EveryStatus, original).unwrap()
}

#[test]
fn gateway_admits_children_by_the_original_route() {
    let family = Family::new();
    let gateway = gateway(family.guard().accepts_children(Place::new().host("api")));
    let child = |limit: fn(NewChild) -> NewChild| [bearer(&family.child(limit(lasting(600))))];
    let plain = child(|child| child);
    let own = child(|child| child.host("api").unwrap().route("GET /machines/{id}").unwrap());
    let other = child(|child| child.route("GET /other").unwrap());
    let operation = child(|child| child.operation("start").unwrap());
    let refused = "403 other-audience";
    for (method, target, fields, expected) in [
        ("GET", "/machines/7", &plain, "200"),
        ("GET", "/machines/7", &own, "200"),
        ("HEAD", "/machines/7", &own, "200"),
        ("GET", "/machines/7", &other, refused),
        ("GET", "/maybe", &own, refused),
        ("GET", "/keys-only", &plain, refused),
        ("GET", "/keys-only", &[bearer(&family.parent)], "200"),
        // The application behind the gateway cannot check the operation.
        ("POST", "/tools", &plain, "200"),
        ("POST", "/tools", &operation, refused),
    ] {
        assert_eq!(ask(&gateway, method, target, fields), expected, "{method} {target}");
    }
}

#[test]
fn gateway_reads_tickets_of_the_original_query() {
    let family = Family::new();
    let gateway = gateway(family.guard());
    let own = family.child(lasting(60).route("GET /events").unwrap());
    let long = family.child(lasting(61).route("GET /events").unwrap());
    let unreadable = "400 invalid-request";
    for (target, fields, expected) in [
        (format!("/events?a=1&ticket={own}"), &[][..], "200"),
        (format!("/events?ticket={}", own.replace('~', "%7E")), &[], "200"),
        (format!("/events?ticket={}", own.replace('~', "%257E")), &[], unreadable),
        (format!("/events?ticket={long}"), &[], "403 other-audience"),
        (format!("/both?ticket={own}"), &[], "403 other-audience"),
        (format!("/events?ticket={}", family.parent), &[], "401 invalid-token"),
        (format!("/events?ticket={own}&ticket={own}"), &[], unreadable),
        ("/events?ticket=".into(), &[], unreadable),
        (format!("/events?ticket={own}"), &[bearer(&family.parent)], unreadable),
        (format!("/keys-only?ticket={own}"), &[], "401 missing-credential"),
        // The query of the question is not that of the request.
        ("/events".into(), &[], "401 missing-credential"),
    ] {
        assert_eq!(ask(&gateway, "GET", &target, fields), expected, "{target}");
    }
}

// OpenAPI.

fn document() -> OpenApi {
    let of = |description: Option<&str>| {
        PathItem::new(HttpMethod::Get, OperationBuilder::new().description(description))
    };
    let paths = PathsBuilder::new()
        .path("/machines/{machine}", of(Some("One machine.")))
        .path("/keys-only", of(None))
        .path("/events", of(None))
        .path("/both", of(None));
    OpenApi::builder().paths(paths).build()
}

#[test]
fn openapi_shows_children_and_tickets() {
    let table = routes(Family::new().guard(), |_| ()).table().unwrap();
    let mut document = document();
    for _ in 0..2 {
        table.secure(&mut document).unwrap();
        let document: Value = serde_json::to_value(&document).unwrap();
        let of = |path: &str| document["paths"][path]["get"].clone();
        let key = json!({ "api_key": ["reporting"] });
        let ticket = json!({ "ticket": ["reporting"] });
        assert_eq!(of("/keys-only")["security"], json!([key]));
        assert_eq!(of("/machines/{machine}")["security"], json!([key]));
        assert_eq!(of("/events")["security"], json!([key, ticket]));
        assert_eq!(of("/both")["security"], json!([key, ticket]));
        let sentence = |route: &str| {
            format!(
                "Accepts short-lived keys that were derived from an API key. \
                 Their audience may name `route:GET {route}`."
            )
        };
        let text = format!("One machine.\n\n{}", sentence("/machines/{id}"));
        assert_eq!(of("/machines/{machine}")["description"], json!(text));
        assert_eq!(of("/both")["description"], json!(sentence("/both")));
        assert_eq!(of("/keys-only")["description"], Value::Null);
        assert_eq!(of("/events")["description"], Value::Null);
        let scheme = &document["components"]["securitySchemes"]["ticket"];
        assert_eq!(
            (&scheme["type"], &scheme["in"], &scheme["name"]),
            (&json!("apiKey"), &json!("query"), &json!("ticket"))
        );
    }
}

#[test]
fn openapi_keeps_other_schemes_named_ticket() {
    let table = routes(Family::new().guard(), |_| ()).table().unwrap();
    let mut document = document();
    let other = SecurityScheme::ApiKey(ApiKey::Query(ApiKeyValue::new("pass")));
    let mut components = Components::new();
    components.add_security_scheme("ticket", other);
    document.components = Some(components);
    table.secure(&mut document).unwrap();
    let document: Value = serde_json::to_value(&document).unwrap();
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["ticket"]["name"], "pass");
    assert_eq!(schemes["ticket_2"]["name"], "ticket");
    let security = &document["paths"]["/events"]["get"]["security"];
    assert_eq!(*security, json!([{ "api_key": ["reporting"] }, { "ticket_2": ["reporting"] }]));
}

#[test]
fn openapi_without_tickets_has_no_scheme_for_them() {
    let routes = Routes::new(Family::new().guard())
        .route("/keys-only", Endpoint::new("GET", ()).any_key().accepts_children());
    let paths = PathsBuilder::new();
    let mut document = OpenApi::builder().paths(paths).build();
    routes.table().unwrap().secure(&mut document).unwrap();
    let document: Value = serde_json::to_value(&document).unwrap();
    assert!(document["components"]["securitySchemes"]["ticket"].is_null());
}
