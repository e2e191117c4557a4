//! The endpoints that keyway answers itself, in an app of actix-web.

#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests, and helpers of tests"
)]

mod common;

use actix_web::{
    App,
    http::Method,
    rt::System,
    test::{TestRequest, call_service, init_service, read_body},
    web::{PayloadConfig, ServiceConfig},
};
use common::{World, block_on};
use keyway::{
    http::{
        Answer, Guard, OwnKey, Routes,
        actix::{self, Endpoint},
    },
    verifier::VerifyError,
};

/// What a client sees: the status, the fields by name, the body.
type Seen = (u16, Vec<(String, String)>, String);

/// A request to `/it`, of no framework.
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

    /// What the app answers that these routes are all of.
    fn through_actix(&self, configure: impl FnOnce(&mut ServiceConfig)) -> Seen {
        let mut request = TestRequest::with_uri("/it").method(self.method.clone());
        for (name, value) in &self.fields {
            request = request.append_header((*name, &**value));
        }
        let request = request.set_payload(self.body.clone()).to_request();
        System::new().block_on(async {
            // Less than anything that is posted here: a limit of the host's for its own handlers.
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
        // What goes to `HEAD` is without a body on the wire, where actix-web cuts it off.
        let body = if self.method == Method::HEAD { String::new() } else { text(body) };
        (status, fields, body)
    }

    /// `answer` as it is seen when a framework adds nothing and loses nothing.
    fn as_is(&self, answer: &Answer) -> Seen {
        let fields = answer.fields().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.sees(answer.status(), fields.collect(), answer.body().as_bytes())
    }

    fn fields(&self) -> Vec<(&'static str, &[u8])> {
        self.fields.iter().map(|(name, value)| (*name, &**value)).collect()
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

/// The only route there is.
fn single(
    guard: &Guard,
    endpoint: Endpoint,
    declared: &[(&str, &str)],
) -> impl Fn(&mut ServiceConfig) + Clone + use<> {
    let routes = Routes::new(guard.clone()).route("/it", endpoint);
    let matrix = routes.matrix().unwrap();
    let rows: Vec<_> = matrix.rows().map(|row| (row.method(), row.access().to_string())).collect();
    let rows: Vec<_> = rows.iter().map(|(method, access)| (*method, &**access)).collect();
    assert_eq!(rows, declared);
    routes.build().unwrap()
}

// The holder's own key.

struct Own {
    handle: OwnKey,
    guard: Guard,
}

impl Own {
    fn of(world: &World) -> Self {
        let guard = Guard::new(&world.keyring).key_field("x-api-key").unwrap();
        Self { handle: OwnKey::new(&world.keyring, &guard), guard }
    }

    fn ask(&self, asked: &Asked) -> Seen {
        let declared = [("GET", "(the key itself)"), ("DELETE", "(the key itself)")];
        asked.through_actix(single(&self.guard, actix::own_key(&self.handle), &declared))
    }

    /// What the handle answers, without a framework.
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

/// Requests that present no key of anybody, or more than one.
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
fn whatever_is_no_key_is_answered_as_the_handle_answers_and_deletes_nothing() {
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
fn an_outage_is_no_word_on_the_key() {
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
    assert!(block_on(world.keyring.verify(&held.token)).is_ok());
}

// Reports of leaked keys.

#[cfg(feature = "leak-reports")]
mod leaks {
    use base64ct::{Base64, Encoding};
    use keyway::{
        authority::LeakResponse,
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

    /// A genuine report with this body.
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
            asked.as_is(&block_on(self.handle.answer(&asked.fields()[..], &asked.body)))
        }
    }

    /// One request for each answer but that of an outage, with its status.
    pub(super) fn every_outcome(token: &str) -> Vec<(u16, Asked)> {
        let genuine = of_token(token);
        let padded = |len| report(format!("[]{}", " ".repeat(len - 2)));
        vec![
            (403, Asked { fields: Vec::new(), ..genuine.clone() }),
            (403, Asked { body: [&genuine.body[..], b" "].concat(), ..genuine.clone() }),
            (400, report("{}")),
            // The limit is that of reports, and not the host's.
            (200, padded(LeakReports::MAX_BODY_LEN)),
            (413, padded(LeakReports::MAX_BODY_LEN + 1)),
            (200, report("[]")),
            // Signed as it came, whatever else is said of it.
            (200, report("[]").with("content-encoding", "gzip")),
            (200, of_token("some_token")),
        ]
    }

    #[test]
    fn every_report_is_answered_as_the_handle_answers() {
        let world = World::new();
        let held = world.tenant_with_key("acme");
        let reports = Reports::of(&world);
        for (status, asked) in every_outcome(&held.token) {
            let seen = reports.ask(&asked);
            assert_eq!(seen.0, status, "{seen:?}");
            assert_eq!(seen, reports.expected(&asked));
        }
        let too_large = reports.ask(&report(vec![b' '; LeakReports::MAX_BODY_LEN + 1]));
        assert_eq!(too_large, Asked::by(Method::POST).as_is(&LeakReports::too_large()));
        // None of them was a genuine report of this key.
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

#[cfg(feature = "axum")]
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
    fn both_answer_about_keys_alike() {
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

    #[cfg(feature = "leak-reports")]
    #[test]
    fn both_answer_reports_alike() {
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
