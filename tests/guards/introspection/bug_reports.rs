//! Mistakes of other implementations, from their public bug reports, as requests to this one.

use std::time::Duration;

use keyway::{
    Guard,
    http::{Introspection, Routes, axum as keyway_axum},
};

use super::{Asked, FORM, INACTIVE, Service, inactive, invalid_request, issue, reporting, tenant};
use crate::support::{HOUR, block_on, gives_away};

/// keycloak/keycloak#20671 and dadrus/heimdall#1058: a charset in the content type was refused. Spring sends one.
#[test]
fn charset_in_the_content_type_is_accepted() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    for kind in [FORM, "application/x-www-form-urlencoded;charset=UTF-8"] {
        let asked = Asked::to("/introspect").key(&service.introspector).with("content-type", kind);
        let (status, _, body) = service.ask(&asked.body(format!("token={token}")));
        assert_eq!(status, 200);
        assert!(body.starts_with(r#"{"active":true,"#), "{kind}: {body}");
    }
}

/// nuts-foundation/nuts-node#3464: JSON had no token, so each was inactive. DuendeArchive/IdentityServer4#1371: it
/// crashed.
#[test]
fn other_content_type_is_an_error_and_not_inactive() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let refused = invalid_request(415, "the body must be application/x-www-form-urlencoded");
    for (uri, own) in [("/introspect", &service.introspector), ("/revoke", &service.revoker)] {
        let asked = Asked::to(uri).key(own);
        let json = format!(r#"{{"token":"{token}"}}"#);
        let json = asked.clone().with("content-type", "application/json").body(json);
        assert_eq!(service.ask(&json), refused);
        let form = asked.body(format!("token={token}"));
        assert_eq!(service.ask(&form), refused);
        let twice = form.with("content-type", FORM).with("content-type", FORM);
        assert_eq!(service.ask(&twice), refused);
    }
    assert!(block_on(service.world.keyring.verify(&token)).is_ok());
}

/// nuts-foundation/nuts-node#2778: 500 for an unknown token. ory/hydra#457: 401. GluuFederation/oxAuth#929: 400.
#[test]
fn unknown_token_is_no_error_of_the_resource_server() {
    let service = Service::new();
    for body in ["token=123", "token=%00", "token=a%20b", "token=%E2%82%AC", "token=..%2f..%2f"] {
        assert_eq!(service.introspect(body), inactive(), "{body}");
    }
}

/// frappe/frappe#41539 and mitreid-connect/OpenID-Connect-Java-Spring-Server#983: expired tokens stayed active until a
/// task removed them.
#[test]
fn cached_key_is_inactive_from_its_last_millisecond_on() {
    let service = Service::new();
    let expires_at = service.world.after(HOUR);
    let token = issue(&tenant(&service.world, "acme"), reporting().expires_at(expires_at));
    let body = format!("token={token}");
    service.world.clock.advance(Duration::from_millis(3_599_999));
    service.described(&body);
    service.world.clock.advance(Duration::from_millis(1));
    assert_eq!(service.introspect(body), inactive());
}

/// giantswarm/mcp-oauth#316: `client_id` was that of the resource server. mitreid-connect#1101: scopes that the
/// resource server itself lacks were left out.
#[test]
fn description_is_of_the_key_and_not_of_the_server() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let described = service.described(&format!("token={token}"));
    assert_eq!(described["client_id"], "acme");
    assert_eq!(described["scope"], "reporting");
}

/// KickEngineering/KickDevDocs#94: a token in the query gave 200. DuendeArchive/IdentityServer4#2634: a request for
/// `GET`. Queries are in every access log.
#[test]
fn parameters_in_the_query_are_never_read() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let refused = invalid_request(400, "the parameter token is missing from the body");
    for (path, own) in [("/introspect", &service.introspector), ("/revoke", &service.revoker)] {
        let uri = format!("{path}?token={token}&token_type_hint=access_token");
        assert_eq!(service.ask(&Asked::to(&uri).key(own).form("")), refused);
        assert_eq!(service.ask(&Asked::to(uri).key(own).by(http::Method::GET)).0, 405);
        let uri = format!("{path}?access_token={own}");
        assert_eq!(service.ask(&Asked::to(uri).form(format!("token={token}"))).0, 401);
    }
    // A parameter of the query does not count as a repetition either.
    let uri = format!("/introspect?token={}", service.revoker);
    let asked = Asked::to(uri).key(&service.introspector).form(format!("token={token}"));
    assert!(service.ask(&asked).2.contains(r#""client_id":"acme""#));
    assert!(block_on(service.world.keyring.verify(&token)).is_ok());
}

/// zitadel/oidc#317: an error of the storage was `active: false`, so resource servers refused every caller.
#[test]
fn error_of_the_store_is_not_an_inactive_token() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    service.introspect("token=made_up");
    service.world.store.fail("lookup");
    assert_eq!(service.introspect(format!("token={token}")).0, 503);
}

/// Abblix/Oidc.Server#326: nothing limited how fast a caller may poll the endpoint.
#[test]
fn rate_of_the_resource_server_applies_and_counts_once() {
    for door in [Service::directly, Service::through_axum, Service::through_actix] {
        let service = Service::new();
        let services = "services".parse().unwrap();
        block_on(service.world.keyring.set_tier(&services, "metered")).unwrap();
        let asked = Asked::to("/introspect").key(&service.introspector).form("token=made_up");
        for left in ["2", "1", "0"] {
            let (status, fields, _) = door(&service, &asked);
            assert_eq!(status, 200);
            let rate = fields.iter().find(|(name, _)| name == "ratelimit").unwrap();
            assert!(rate.1.starts_with(&format!("\"key\";r={left};")), "{rate:?}");
        }
        let (status, fields, _) = door(&service, &asked);
        assert_eq!(status, 429);
        assert!(fields.iter().any(|(name, _)| name == "retry-after"));
    }
}

/// The rate of the introspected key is not used up by resource servers, which count their own requests.
#[test]
fn rate_of_the_introspected_key_is_not_counted() {
    let service = Service::new();
    let keys = tenant(&service.world, "acme");
    block_on(service.world.keyring.set_tier(keys.id(), "metered")).unwrap();
    let token = issue(&keys, reporting());
    for _ in 0..3 {
        service.described(&format!("token={token}"));
    }
}

/// Without the setting, HTTP Basic is refused like a missing key.
#[test]
fn basic_credentials_are_refused_with_the_scheme_to_use() {
    let service = Service::new();
    let password = basic(&format!("services:{}", service.introspector));
    let asked = Asked::to("/introspect").with("authorization", password).form("token=a");
    let (status, fields, _) = service.ask(&asked);
    assert_eq!(status, 401);
    assert!(fields.contains(&("www-authenticate".into(), r#"Bearer realm="mm""#.into())));
}

/// DuendeArchive/IdentityServer4#364 is about the opposite. Spring and others send their credential as HTTP Basic only.
#[test]
fn password_of_basic_is_a_key_if_that_is_set() {
    let service = Service::with(|made| made.or_basic(), |made| made.or_basic());
    let table = Routes::new(service.guard.clone())
        .route("/introspect", keyway_axum::introspection::<()>(&service.introspection))
        .table()
        .unwrap();
    let both = "introspect, or (HTTP Basic with the key as the password)";
    assert_eq!(table.access("POST", "/introspect").unwrap().to_string(), both);
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let form = format!("token={token}");
    let doors = [Service::directly, Service::through_axum, Service::through_actix];
    let ask = |password: &str| {
        let asked = Asked::to("/introspect").with("authorization", basic(password));
        let seen = doors.map(|door| door(&service, &asked.clone().form(form.as_str())));
        // An optional guard of the routes adds `Vary`, and all else is the same.
        assert!(seen.iter().all(|(status, _, body)| (status, body) == (&seen[0].0, &seen[0].2)));
        let [(status, fields, body), ..] = seen;
        (status, fields, body)
    };
    let own = Asked::to("/introspect").key(&service.introspector).form(form.as_str());
    let described = service.directly(&own).2;
    assert!(described.starts_with(r#"{"active":true,"#), "{described}");
    for user in ["services", "", "made up"] {
        let (status, _, body) = ask(&format!("{user}:{}", service.introspector));
        assert_eq!((status, &body), (200, &described));
    }
    let (status, fields, _) = ask("services:made_up");
    assert_eq!(status, 401);
    let challenges: Vec<_> =
        fields.iter().filter(|(name, _)| name == "www-authenticate").map(|(_, of)| &**of).collect();
    assert_eq!(
        challenges,
        [r#"Basic realm="mm", charset="UTF-8""#, r#"Bearer realm="mm", error="invalid_token""#]
    );
    assert_eq!(ask(&format!("services:{}", service.revoker)).0, 403);
    assert_eq!(ask(&format!("services:{token}")).0, 403);
    assert_eq!(ask("services").0, 400);
    assert_eq!(ask("services:").0, 400);
    // Neither credential is preferred to the other.
    let asked = Asked::to("/introspect").key(&service.introspector);
    let both = basic(&format!("services:{}", service.introspector));
    assert_eq!(service.ask(&asked.with("authorization", both).form(form.as_str())).0, 400);
    // A missing key is refused as well, by the handler itself.
    assert_eq!(ask_without_a_key(&service), [401; 3]);
}

fn ask_without_a_key(service: &Service) -> [u16; 3] {
    let asked = Asked::to("/introspect").form("token=a");
    [Service::directly, Service::through_axum, Service::through_actix]
        .map(|door| door(service, &asked).0)
}

/// A gateway owns `Authorization`, and its credential must not be taken for a key.
#[test]
fn basic_of_a_gateway_is_not_read() {
    let service = Service::new();
    let guard = Guard::new(&service.world.keyring).key_header_only("x-api-key").unwrap();
    let to_introspect = guard.require(["introspect"]).unwrap();
    let introspection = Introspection::new(&service.world.keyring, &to_introspect).unwrap();
    let service = Service { introspection: introspection.or_basic(), guard, ..service };
    let of_gateway = basic(&format!("services:{}", service.introspector));
    let asked = Asked::to("/introspect").with("authorization", of_gateway).form("token=a");
    let doors = [Service::directly, Service::through_axum, Service::through_actix];
    for door in doors {
        assert_eq!(door(&service, &asked).0, 401);
        let asked = asked.clone().with("x-api-key", &*service.introspector);
        assert_eq!(door(&service, &asked).2, INACTIVE);
    }
}

fn basic(credentials: &str) -> String {
    use base64ct::{Base64, Encoding as _};

    format!("Basic {}", Base64::encode_string(credentials.as_bytes()))
}

#[test]
fn no_response_holds_any_part_of_a_token() {
    let service = Service::new();
    let token = issue(&tenant(&service.world, "acme"), reporting());
    let mut texts = vec![format!("{:?} {:?}", service.introspection, service.revocation)];
    for body in [
        format!("token={token}"),
        format!("token={token}&token={token}"),
        format!("token={token}%"),
        format!("token={token}&keyway_client_address={token}"),
        format!("token={token}&keyway_resource_kinds={token}"),
        format!("{token}={token}"),
    ] {
        texts.push(format!("{:?}", service.introspect(body.clone())));
        let asked = Asked::to("/revoke").key(&service.revoker).form(body);
        texts.push(format!("{:?}", service.ask(&asked)));
    }
    for text in &texts {
        for secret in [&token, &service.introspector, &service.revoker] {
            assert!(!gives_away(text, secret), "{text}");
        }
    }
    assert!(gives_away(&format!("{texts:?} {token}"), &token));
}
