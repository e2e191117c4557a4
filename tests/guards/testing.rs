//! Callers of the feature `testing` in requests of axum, tower and actix-web.

use actix_web::{
    App, HttpMessage as _,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web,
};
use axum::{Router, body::Body, routing::get};
use http::Request;
use keyway::{
    Guard, Keyring, Policy, Principal,
    grant::ResourceDeclaration,
    testing::{self, admit},
    verifier::Freshness,
};
use tower::ServiceExt as _;

use crate::support::{block_on, catalog};

fn policy() -> Policy {
    let machine = ResourceDeclaration::new("machine", "for tests");
    let catalog = catalog().with_resources([machine]).unwrap();
    Policy::new("mm", catalog, [keyway::Tier::new("advanced", 5)]).unwrap()
}

fn caller() -> testing::Caller {
    testing::caller("acme").scopes(["reporting"]).all_resources("machine")
}

async fn handler(caller: Principal) -> String {
    format!("reports of {}", caller.tenant())
}

/// Returns the status and the body of a request with this caller to the router.
fn through_axum(guard: Option<&Guard>, caller: Option<Principal>) -> (u16, String) {
    let route = guard.into_iter().fold(get(handler), |route, guard| route.layer(guard.clone()));
    let app: Router = Router::new().route("/reports/{machine}", route);
    let request = Request::get("/reports/press").body(Body::empty()).unwrap();
    let request = caller.into_iter().fold(request, admit);
    let response = block_on(app.oneshot(request)).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn through_actix(guard: Option<&Guard>, caller: Option<Principal>) -> (u16, String) {
    System::new().block_on(async {
        let resource = || web::resource("/reports/{machine}").get(handler);
        let request = TestRequest::with_uri("/reports/press").to_request();
        let request = caller.into_iter().fold(request, admit);
        let (status, body) = if let Some(guard) = guard {
            let app = App::new().service(resource().wrap(guard.clone()));
            let response = call_service(&init_service(app).await, request).await;
            (response.status().as_u16(), read_body(response).await)
        } else {
            let app = App::new().service(resource());
            let response = call_service(&init_service(app).await, request).await;
            (response.status().as_u16(), read_body(response).await)
        };
        (status, String::from_utf8(body.to_vec()).unwrap())
    })
}

type Through = fn(Option<&Guard>, Option<Principal>) -> (u16, String);

const FRAMEWORKS: [Through; 2] = [through_axum, through_actix];

#[test]
fn handler_is_called_with_a_caller_that_was_never_issued() {
    let caller = || Some(caller().build(&policy()).unwrap());
    // A handler is a function.
    assert_eq!(block_on(handler(caller().unwrap())), "reports of acme");
    for through in FRAMEWORKS {
        assert_eq!(through(None, caller()), (200, "reports of acme".into()));
        // The control: without a caller, the extractor refuses the route without a guard.
        assert_eq!(through(None, None).0, 500);
    }
}

#[test]
fn no_guard_admits_a_caller_that_was_built_for_none() {
    let keyring = testing::keyring(policy()).unwrap();
    let guard = Guard::new(&keyring);
    for through in FRAMEWORKS {
        assert_eq!(through(Some(&guard), Some(caller().build(&policy()).unwrap())).0, 401);
        assert_eq!(
            through(Some(&guard.optional()), Some(caller().build(&policy()).unwrap())).0,
            401
        );
    }
}

#[test]
fn guard_admits_only_a_caller_built_for_its_keyring() {
    let keyring = testing::keyring(policy()).unwrap();
    // Another keyring with the same policy and pepper.
    let unrelated = testing::keyring(policy()).unwrap();
    let built =
        |caller: testing::Caller, keyring: &Keyring| Some(caller.build_for(keyring).unwrap());
    let guard = keyring.require(["reporting"]).unwrap();
    for through in FRAMEWORKS {
        let admitted = through(Some(&guard), built(caller(), &keyring));
        assert_eq!(admitted, (200, "reports of acme".into()));
        assert_eq!(through(Some(&guard), built(caller(), &unrelated)).0, 401);
        // The guard checks scopes and resources.
        let other = testing::caller("acme").scopes(["operator"]).all_resources("machine");
        assert_eq!(through(Some(&guard), built(other, &keyring)).0, 403);
        let limited = || caller().resources("machine", ["press"]);
        assert_eq!(through(Some(&guard), built(limited(), &keyring)).0, 403);
        let of_machine = guard.resource("machine", "machine").unwrap();
        assert_eq!(through(Some(&of_machine), built(limited(), &keyring)).0, 200);
        let elsewhere = caller().resources("machine", ["lathe"]);
        assert_eq!(through(Some(&of_machine), built(elsewhere, &keyring)).0, 403);
        // A guard that reads the store needs the credential.
        let fresh = guard.freshness(Freshness::Now);
        assert_eq!(through(Some(&fresh), built(caller(), &keyring)).0, 401);
    }
}

#[test]
fn each_kind_of_request_carries_its_caller() {
    let caller = || caller().build(&policy()).unwrap();
    let of_tower = admit(Request::new(()), caller());
    assert_eq!(of_tower.extensions().get::<Principal>().unwrap().tenant(), "acme");
    let of_handler = admit(TestRequest::default().to_http_request(), caller());
    assert_eq!(of_handler.extensions().get::<Principal>().unwrap().tenant(), "acme");
    let of_service = admit(TestRequest::default().to_srv_request(), caller());
    assert_eq!(of_service.extensions().get::<Principal>().unwrap().tenant(), "acme");
}
