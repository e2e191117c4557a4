//! The endpoints that keyway implements, in an actix-web app.

use crate::support::{World, block_on};
use actix_web::{
    App,
    http::Method,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web::{PayloadConfig, ServiceConfig},
};
use keyway::{
    Guard, VerifyError,
    http::{
        OwnKey, Response, Routes,
        actix::{self, Endpoint},
    },
};

/// A response as a client sees it: status, headers by name, body.
type Seen = (u16, Vec<(String, String)>, String);

/// A request to `/it`, independent of a framework.
#[derive(Clone, Debug, Default)]
struct Asked {
    method: Method,
    fields: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Asked {
    fn by(method: Method) -> Self {
        Self { method, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    fn with_key(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    /// Returns the response of an app that has only these routes.
    fn through_actix(&self, configure: impl FnOnce(&mut ServiceConfig)) -> Seen {
        let mut request = TestRequest::with_uri("/it").method(self.method.clone());
        for (name, value) in &self.fields {
            request = request.append_header((*name, &**value));
        }
        let request = request.set_payload(self.body.clone()).to_request();
        System::new().block_on(async {
            // An application's limit for its own handlers, smaller than every body that is posted here.
            let app = App::new().app_data(PayloadConfig::new(1)).configure(configure);
            let response = call_service(&init_service(app).await, request).await;
            let fields = response.headers().iter();
            let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
            self.sees(response.status().as_u16(), fields.collect(), &read_body(response).await)
        })
    }

    fn sees(&self, status: u16, mut fields: Vec<(String, String)>, body: &[u8]) -> Seen {
        fields.retain(|(name, _)| name != "content-length");
        fields.sort();
        // actix-web cuts off the body of a response to `HEAD` only when it writes to the socket.
        let body = if self.method == Method::HEAD { String::new() } else { text(body) };
        (status, fields, body)
    }

    /// Returns `answer` as a client sees it if the framework neither adds nor loses anything.
    fn as_is(&self, answer: &Response) -> Seen {
        let fields = answer.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.sees(answer.status(), fields.collect(), answer.body().as_bytes())
    }

    fn fields(&self) -> Vec<(&'static str, &[u8])> {
        self.fields.iter().map(|(name, value)| (*name, &**value)).collect()
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

/// Builds routes with one route.
fn single(
    guard: &Guard,
    endpoint: Endpoint,
    declared: &[(&str, &str)],
) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
    let routes = Routes::new(guard.clone()).route("/it", endpoint);
    let table = routes.table().unwrap();
    let rows: Vec<_> = table.rows().map(|row| (row.method(), row.access().to_string())).collect();
    let rows: Vec<_> = rows.iter().map(|(method, access)| (*method, &**access)).collect();
    assert_eq!(rows, declared);
    routes.build().unwrap()
}

// The endpoint for the holder of a key.

struct Own {
    handle: OwnKey,
    guard: Guard,
}

impl Own {
    fn of(world: &World) -> Self {
        let guard = Guard::new(&world.keyring).key_header("x-api-key").unwrap();
        Self { handle: OwnKey::new(&world.keyring, &guard), guard }
    }

    fn ask(&self, asked: &Asked) -> Seen {
        let declared = [("GET", "(the key itself)"), ("DELETE", "(the key itself)")];
        asked.through_actix(single(&self.guard, actix::own_key(&self.handle), &declared))
    }

    /// Returns the response of `OwnKey` without a framework.
    fn expected(&self, asked: &Asked) -> Seen {
        let fields = asked.fields();
        asked.as_is(&block_on(async {
            match asked.method {
                Method::DELETE => self.handle.revoke(&fields[..]).await,
                _ => self.handle.describe(&fields[..]).await,
            }
        }))
    }
}

const METHODS: [Method; 3] = [Method::GET, Method::HEAD, Method::DELETE];

/// Returns requests that present no valid key, or more than one.
fn without_a_key(token: &str) -> Vec<Asked> {
    let forged = token.replace("mm_live_", "mm_test_");
    let credentials = [
        Asked::default(),
        Asked::default().with("authorization", "Basic YTpi"),
        Asked::default().with("authorization", "Bearer a b"),
        Asked::default().with("authorization", b"Bearer \xff".to_vec()),
        Asked::default().with_key(&forged),
        Asked::default().with_key(token).with_key(token),
        Asked::default().with_key(token).with("x-api-key", token),
    ];
    METHODS
        .into_iter()
        .flat_map(|method| {
            credentials.clone().map(|asked| Asked { method: method.clone(), ..asked })
        })
        .collect()
}

#[test]
fn a_holder_reads_and_deletes_its_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let own = Own::of(&world);
    for method in [Method::GET, Method::HEAD] {
        let asked = Asked::by(method).with_key(&held.token);
        let seen = own.ask(&asked);
        assert_eq!(seen.0, 200);
        assert_eq!(seen, own.expected(&asked));
    }
    let (_, _, described) = own.ask(&Asked::by(Method::GET).with("x-api-key", &*held.token));
    assert!(described.contains(held.key.id().as_str()) && !described.contains(&held.token));

    let delete = Asked::by(Method::DELETE).with_key(&held.token);
    let no_store = ("cache-control".to_owned(), "no-store".to_owned());
    assert_eq!(own.ask(&delete), (204, vec![no_store], String::new()));
    let verified = block_on(world.keyring.verify(&held.token));
    assert!(matches!(verified, Err(VerifyError::Rejected)), "{verified:?}");
    for method in METHODS {
        let asked = Asked::by(method).with_key(&held.token);
        let seen = own.ask(&asked);
        assert_eq!(seen.0, 401);
        assert_eq!(seen, own.expected(&asked));
    }
}

#[test]
fn invalid_key_gets_own_key_response_and_deletes_nothing() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let own = Own::of(&world);
    for asked in without_a_key(&held.token) {
        let seen = own.ask(&asked);
        assert!(matches!(seen.0, 400 | 401), "{asked:?}: {seen:?}");
        assert_eq!(seen, own.expected(&asked), "{asked:?}");
    }
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
    let (status, fields, _) = own.ask(&Asked::by(Method::POST).with_key(&held.token));
    assert_eq!((status, fields), (405, vec![("allow".into(), "GET,HEAD,DELETE".into())]));
}

#[test]
fn outage_says_nothing_about_the_key() {
    let world = World::new();
    let held = world.tenant_with_key("acme");
    let own = Own::of(&world);
    world.store.set_down(true);
    for method in METHODS {
        let asked = Asked::by(method).with_key(&held.token);
        let seen = own.ask(&asked);
        assert_eq!(seen.0, 503);
        assert!(seen.1.contains(&("retry-after".into(), "1".into())));
        assert_eq!(seen, own.expected(&asked));
    }
    world.store.set_down(false);
    // After failures the verifier does not read the store for a while.
    world.clock.advance(std::time::Duration::from_secs(60));
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
}

// Reports of leaked keys.

mod leaks {
    use base64ct::{Base64, Encoding};
    use keyway::{
        LeakResponse,
        http::leak::{LeakReports, SigningKeys},
    };
    use p256::{
        PublicKey,
        ecdsa::{Signature, SigningKey, signature::Signer},
        pkcs8::{EncodePublicKey, LineEnding},
    };
    use serde_json::json;

    use super::*;

    fn signing_key() -> SigningKey {
        SigningKey::from_slice(&[2; 32]).unwrap()
    }

    /// Returns a genuine report with this body.
    pub(super) fn report(body: impl Into<Vec<u8>>) -> Asked {
        let body = body.into();
        let signature: Signature = signing_key().sign(&body);
        let signature = Base64::encode_string(signature.to_der().as_bytes());
        let post = Asked::by(Method::POST).with("github-public-key-identifier", "now");
        Asked { body, ..post.with("github-public-key-signature", signature) }
    }

    fn of_token(token: &str) -> Asked {
        report(json!([{ "token": token, "type": "mm_api_key" }]).to_string())
    }

    pub(super) struct Reports {
        pub(super) handle: LeakReports,
        pub(super) guard: Guard,
    }

    impl Reports {
        pub(super) fn of(world: &World) -> Self {
            let key = PublicKey::from(signing_key().verifying_key());
            let key = key.to_public_key_pem(LineEnding::LF).unwrap();
            let listed = json!({ "key_identifier": "now", "key": key, "is_current": true });
            let keys = SigningKeys::from_json(json!({ "public_keys": [listed] }).to_string());
            let keyring = &world.keyring;
            let handle = LeakReports::new(keyring, LeakResponse::Suspend, &keys.unwrap());
            Self { handle, guard: Guard::new(keyring) }
        }

        pub(super) fn ask(&self, asked: &Asked) -> Seen {
            let declared = [("POST", "(signed leak report)")];
            asked.through_actix(single(&self.guard, actix::leak_reports(&self.handle), &declared))
        }

        fn expected(&self, asked: &Asked) -> Seen {
            asked.as_is(&block_on(self.handle.handle(&asked.fields()[..], &asked.body)))
        }
    }

    /// Returns one request for each response except that to an outage, with its status.
    pub(super) fn every_outcome(token: &str) -> Vec<(u16, Asked)> {
        let genuine = of_token(token);
        let padded = |len| report(format!("[]{}", " ".repeat(len - 2)));
        vec![
            (403, Asked { fields: Vec::new(), ..genuine.clone() }),
            (403, Asked { body: [&genuine.body[..], b" "].concat(), ..genuine.clone() }),
            (400, report("{}")),
            // The limit is that of reports and not the application's.
            (200, padded(LeakReports::MAX_BODY_LEN)),
            (413, padded(LeakReports::MAX_BODY_LEN + 1)),
            (200, report("[]")),
            // The body as sent is signed, whatever its content encoding.
            (200, report("[]").with("content-encoding", "gzip")),
            (200, of_token("some_token")),
        ]
    }

    #[test]
    fn every_report_gets_the_response_of_leak_reports() {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let reports = Reports::of(&world);
        for (status, asked) in every_outcome(&held.token) {
            let seen = reports.ask(&asked);
            assert_eq!(seen.0, status, "{seen:?}");
            assert_eq!(seen, reports.expected(&asked));
        }
        let too_large = reports.ask(&report(vec![b' '; LeakReports::MAX_BODY_LEN + 1]));
        assert_eq!(too_large, Asked::by(Method::POST).as_is(&reports.handle.too_large()));
        // None of the requests was a genuine report of this key.
        assert!(block_on(world.keyring.verify(&held.token)).is_ok());
        let (status, fields, _) = reports.ask(&Asked::by(Method::GET));
        assert_eq!((status, fields), (405, vec![("allow".into(), "POST".into())]));
    }

    #[test]
    fn a_genuine_report_has_its_effect() {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let reports = Reports::of(&world);
        let asked = of_token(&held.token);
        world.store.set_down(true);
        let seen = reports.ask(&asked);
        assert_eq!(seen.0, 503);
        assert_eq!(seen, reports.expected(&asked));
        world.store.set_down(false);
        assert!(block_on(world.keyring.verify(&held.token)).is_ok());

        let (status, _, body) = reports.ask(&asked);
        assert!(status == 200 && body.contains("true_positive"), "{body}");
        let verified = block_on(world.keyring.verify(&held.token));
        assert!(matches!(verified, Err(VerifyError::Inactive(_))), "{verified:?}");
    }
}

// The same requests through axum.

mod beside_axum {
    use ::axum::{Router, body::Body};
    use http::Request;
    use keyway::http::axum;
    use tower::ServiceExt;

    use super::*;

    fn through_axum(asked: &Asked, app: &Router) -> Seen {
        let mut request = Request::builder().method(asked.method.as_str()).uri("/it");
        for (name, value) in &asked.fields {
            request = request.header(*name, &**value);
        }
        let request = request.body(Body::from(asked.body.clone())).unwrap();
        let (head, body) = block_on(app.clone().oneshot(request)).unwrap().into_parts();
        let fields = head.headers.iter();
        let fields = fields.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let body = block_on(::axum::body::to_bytes(body, usize::MAX)).unwrap();
        asked.sees(head.status.as_u16(), fields.collect(), &body)
    }

    #[test]
    fn both_frameworks_respond_alike_about_keys() {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let own = Own::of(&world);
        let routes = Routes::new(own.guard.clone()).route("/it", axum::own_key(&own.handle));
        let app: Router = routes.build().unwrap();
        let mut all = without_a_key(&held.token);
        all.extend(
            [Method::GET, Method::HEAD, Method::POST]
                .map(|method| Asked::by(method).with_key(&held.token)),
        );
        for asked in all {
            assert_eq!(own.ask(&asked), through_axum(&asked, &app), "{asked:?}");
        }
        let (one, other) = (world.tenant_with_key("one"), world.tenant_with_key("other"));
        let delete = |token: &str| Asked::by(Method::DELETE).with_key(token);
        let deleted = own.ask(&delete(&one.token));
        assert_eq!(deleted.0, 204);
        assert_eq!(through_axum(&delete(&other.token), &app), deleted);
    }

    #[test]
    fn both_frameworks_respond_alike_to_reports() {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let reports = leaks::Reports::of(&world);
        let routes =
            Routes::new(reports.guard.clone()).route("/it", axum::leak_reports(&reports.handle));
        let app: Router = routes.build().unwrap();
        for (status, asked) in leaks::every_outcome(&held.token) {
            let seen = reports.ask(&asked);
            assert_eq!(seen.0, status);
            assert_eq!(seen, through_axum(&asked, &app));
        }
    }
}
