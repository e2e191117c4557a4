//! A clock that is wrong, scripts that do not run, and refusals of whatever is in front of the service.

use axum::{
    body::to_bytes,
    extract::Request,
    http::{HeaderValue, Uri, header},
    middleware::{self, Next},
    response::Response,
};
use keyway::{GracePeriod, NewKey, Timestamp, console::OperatorAction};
use keyway_browser_tests::{
    Host,
    host::{ANNA, BRIEF, MOUNT, OLGA},
};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_http::normalize_path::NormalizePathLayer;

use crate::{
    verbs::press_on,
    visit::{THROW_LATER, Visit, browse_at, browse_in, browser_in},
};

const DAY: f64 = 86_400_000.0;

/// Starts a service whose keys live for 30 days at most.
async fn brief() -> Host {
    Host::start_with(|console| console, |router| router).await
}

fn browse_brief(test: impl AsyncFnOnce(&mut Visit)) {
    browse_at(brief, test);
}

/// The clock of the computer is ahead by so many milliseconds.
fn shift_clock(visit: &Visit, millis: f64) {
    let source = "const Right = Date; Date = class extends Right { constructor(...parts) { \
        if (parts.length) super(...parts); else super(Right.now() + AHEAD) } \
        static now() { return Right.now() + AHEAD } }";
    let source = source.replace("AHEAD", &millis.to_string());
    visit.host.preload(&source);
}

/// In how many days the one key of acme ends, by the clock of the service.
async fn days_left(visit: &Visit) -> f64 {
    let key = visit.host.keys("acme").await.remove(0);
    let end = key.expires_at().unwrap().as_millis() - key.created_at().as_millis();
    end as f64 / DAY
}

async fn create(visit: &Visit, days: &str) {
    let page = &visit.page;
    page.press("[data-action=create]").await;
    page.fill("#create [name=name]", "Key").await;
    page.press(&format!("#create [name=expiry][value='{days}']")).await;
    page.press("#create [type=submit]").await;
    page.visible("#one-time").await;
}

#[test]
fn wrong_clock_of_the_computer_changes_no_expiry() {
    for ahead in [365.0 * DAY, -365.0 * DAY, 120_000.0, -120_000.0] {
        browse_brief(async |visit| {
            shift_clock(visit, ahead);
            let page = visit.open(ANNA).await;
            create(visit, "30").await;
            assert!((days_left(visit).await - 30.0).abs() < 1e-9, "{ahead}");
            // The real end is shown, and the list shows the remaining time.
            page.shows("#one-time", "It expires on").await;
            page.press("#one-time [data-action=copy]").await;
            page.press("#one-time [data-action=done]").await;
            let left = page.text(".key .expires").await;
            assert!(left.contains("in 30 days") || left.contains("next month"), "{left}");
            // The control: the computer's own clock is wrong.
            let off = page
                .run(
                    "return Math.abs(window.Date.now() - Date.parse(new Date(performance.timeOrigin \
                + performance.now()).toISOString()))",
                    &[],
                )
                .await;
            assert!(off.as_f64().unwrap() > 100_000.0, "{off}");
        });
    }
}

#[test]
fn date_is_refused_in_words_at_its_field() {
    browse_brief(async |visit| {
        let page = visit.open(ANNA).await;
        page.expect_in_console("status of 422");
        page.press("[data-action=create]").await;
        page.fill("#create [name=name]", "Key").await;
        let error = "#create [data-field=expires_at] .error";
        for (date, words) in [
            ("20277-01-01", "not a date that a key can expire on"),
            ("9999-12-31", "Your tier allows"),
            ("2001-01-01", "not in the future"),
        ] {
            page.set("#create [name=expires_on]", date).await;
            page.press("#create [name=expiry][value=date]").await;
            page.press("#create [type=submit]").await;
            page.shows(error, words).await;
            assert!(visit.host.keys("acme").await.is_empty(), "{date}");
        }
        // Nothing longer than the tier allows can be chosen.
        assert!(page.has("#create [name=expiry][value='90']:disabled").await);
        assert!(page.has("#create [name=expiry][value='30']:enabled").await);
        page.shows("#create", "At most 30 days.").await;
    });
}

/// A tier that came after the key ends it earlier than is stored.
#[test]
fn end_by_the_tier_is_shown_where_a_key_is_edited() {
    browse_brief(async |visit| {
        let keyring = &visit.host.keyring;
        let tenant = keyring.create_empty_tenant("later", "advanced").await.unwrap();
        drop(tenant.issue(NewKey::named("Key")).await.unwrap());
        keyring.set_tier(tenant.id(), BRIEF).await.unwrap();
        let page = visit.open("tenant/later/lea@later.example").await;
        page.press("[data-action=edit]").await;
        let kept = page.text("#edit [name=expiry][value=keep] + label").await;
        assert!(kept.contains("As it is now") && !kept.contains("Never"), "{kept}");
        // The lifetimes that the service allows are offered.
        assert!(page.has("#edit [name=expiry][value='7']:enabled").await);
    });
}

/// A date is the end of that day where the browser is, and is kept as it is.
#[test]
fn date_ends_with_its_day_in_every_time_zone() {
    for (zone, hour) in [("Pacific/Kiritimati", 9), ("Pacific/Pago_Pago", 10), ("UTC", 23)] {
        let browser = browse_in(browser_in(zone), brief, async |visit| {
            let page = visit.open(ANNA).await;
            page.press("[data-action=create]").await;
            page.fill("#create [name=name]", "Key").await;
            let date = "const date = new Date(Date.now() + 7 * 864e5); return [date.getFullYear(), \
                date.getMonth() + 1, date.getDate()].map((n) => String(n).padStart(2, 0)).join('-')";
            let date = page.run(date, &[]).await;
            page.set("#create [name=expires_on]", date.as_str().unwrap()).await;
            page.press("#create [name=expiry][value=date]").await;
            page.press("#create [type=submit]").await;
            page.visible("#one-time").await;
            let end = visit.host.keys("acme").await.remove(0).expires_at().unwrap().to_string();
            assert!(end.contains(&format!("T{hour:02}:59:59")), "{zone}: {end}");
        });
        drop(browser);
    }
}

/// The same response, for keys that were created 28 days earlier.
async fn aged(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    let read = serde_json::from_slice::<Value>(&bytes).ok();
    let Some(mut told) = read.filter(|told| told["items"].is_array()) else {
        return Response::from_parts(parts, bytes.into());
    };
    for key in told["items"].as_array_mut().unwrap() {
        let created: Timestamp = key["created_at"].as_str().unwrap().parse().unwrap();
        let earlier = created.as_millis() - 28 * 86_400_000;
        key["created_at"] = json!(Timestamp::from_millis(earlier).unwrap().to_string());
    }
    Response::from_parts(parts, told.to_string().into())
}

/// The service counts the longest lifetime from the present secret, and so does the page.
#[test]
fn rotated_key_can_be_renewed_on_the_page() {
    let wrap = |router: axum::Router| router.layer(middleware::map_response(aged));
    let start = async || Host::start_with(|console| console, wrap).await;
    browse_at(start, async |visit| {
        let (key, _) = visit.host.issue("Key", &[]).await;
        let page = visit.open(ANNA).await;
        press_on(page, "Key", "edit").await;
        page.visible("#edit [name=expiry][value='7']:disabled").await;
        let acme = visit.host.tenant("acme");
        drop(acme.rotate(key.id(), key.version(), GracePeriod::None).await.unwrap());
        let page = visit.open(ANNA).await;
        press_on(page, "Key", "edit").await;
        page.visible("#edit [name=expiry][value='7']:enabled").await;
        page.press("#edit [name=expiry][value='7']").await;
        page.press("#edit [type=submit]").await;
        page.closed().await;
        assert!((days_left(visit).await - 7.0).abs() < 0.01);
    });
}

/// Both what a script throws and what a promise does, on the page and in a dialog.
#[test]
fn unexpected_exception_is_seen() {
    browse_brief(async |visit| {
        visit.host.preload(THROW_LATER);
        let page = visit.open(ANNA).await;
        page.shows("#quota", "0 of 1 key").await;
        assert!(!page.has("#banner .notice").await);
        page.run("window.throwLater()", &[]).await;
        page.shows("#banner", "This page has a fault").await;
        page.press("[data-action=create]").await;
        page.fill("#create [name=name]", "Key").await;
        page.press("#create [name=expiry][value='7']").await;
        // The page's own code throws: of others, browsers do not say which promise was rejected.
        page.run("window.fetch = async () => null", &[]).await;
        page.press("#create [type=submit]").await;
        page.shows("#create .problem", "This page has a fault").await;
        page.press("#create [data-action=cancel]").await;
        page.run("document.querySelector('#banner').replaceChildren()", &[]).await;
        page.choose("#filter", "active").await;
        page.shows("#banner", "This page has a fault").await;
        assert!(page.take_faults().await.concat().contains("planted"));
    });
}

const POLICIES: [&str; 4] =
    ["script-src 'none'", "default-src 'none'", "sandbox", "style-src 'none'; script-src 'none'"];

#[test]
fn page_whose_scripts_are_blocked_says_so() {
    for policy in POLICIES {
        let wrap = |router: axum::Router| {
            router.layer(middleware::map_response(move |mut response: Response| async move {
                let value = HeaderValue::from_static(policy);
                response.headers_mut().append(header::CONTENT_SECURITY_POLICY, value);
                response
            }))
        };
        let start = async || Host::start_with(|console| console, wrap).await;
        browse_at(start, async |visit| {
            let page = &visit.page;
            page.client.goto(&visit.host.sign_in(ANNA)).await.unwrap();
            page.client.goto(&visit.host.url(MOUNT)).await.unwrap();
            // A sandbox lets nobody look with a script either.
            if policy != "sandbox" {
                page.shows("#failed", "its scripts are blocked or were not found").await;
            }
            page.take_faults().await;
        });
    }
}

#[test]
fn page_whose_scripts_are_not_found_says_so() {
    for lost in ["/app.js", "/dom.js", "/text.json"] {
        let wrap = move |router: axum::Router| {
            router.layer(middleware::from_fn(move |mut request: Request, next: Next| async move {
                if request.uri().path().ends_with(lost) {
                    *request.uri_mut() = Uri::from_static("/nowhere");
                }
                next.run(request).await
            }))
        };
        let start = async || Host::start_with(|console| console, wrap).await;
        browse_at(start, async |visit| {
            let page = &visit.page;
            page.expect_in_console("status of 404");
            page.client.goto(&visit.host.sign_in(ANNA)).await.unwrap();
            page.client.goto(&visit.host.url(MOUNT)).await.unwrap();
            page.shows("#failed", "This page could not start").await;
            page.take_faults().await;
        });
    }
}

/// No response and no error: no exception becomes visible. Time passes faster for the page.
#[test]
fn page_whose_texts_are_never_answered_says_so() {
    let wrap = |router: axum::Router| {
        router.layer(middleware::from_fn(async |request: Request, next: Next| {
            if request.uri().path().ends_with("/text.json") {
                std::future::pending::<()>().await;
            }
            next.run(request).await
        }))
    };
    let start = async || Host::start_with(|console| console, wrap).await;
    browse_at(start, async |visit| {
        let page = &visit.page;
        let source =
            "const right = setTimeout; setTimeout = (does, millis) => right(does, millis / 20)";
        visit.host.preload(source);
        page.client.goto(&visit.host.sign_in(ANNA)).await.unwrap();
        page.client.goto(&visit.host.url(MOUNT)).await.unwrap();
        page.shows("#failed", "This page could not start").await;
    });
}

/// With and without the slash, behind a layer that trims it.
#[test]
fn page_works_where_slashes_are_trimmed() {
    works_behind(NormalizePathLayer::trim_trailing_slash);
}

/// The same behind a layer that appends a slash to every path.
#[test]
fn page_works_where_slashes_are_appended() {
    works_behind(NormalizePathLayer::append_trailing_slash);
}

fn works_behind(layer: fn() -> NormalizePathLayer) {
    let wrap = |router: axum::Router| {
        let inner = ServiceBuilder::new().layer(layer()).service(router);
        axum::Router::new().fallback_service(inner)
    };
    let start = async || Host::start_with(|console| console, wrap).await;
    browse_at(start, async |visit| {
        for path in [MOUNT.to_owned(), format!("{MOUNT}/")] {
            let page = visit.open_at(ANNA, &path).await;
            page.shows("#quota", "of 1 key").await;
            page.press("[data-action=create]").await;
            page.visible("#create").await;
            page.press("#create [data-action=cancel]").await;
        }
    });
}

/// The response of a proxy or a layer, without a body of this service.
#[test]
fn every_refusal_has_words_of_its_own() {
    browse_brief(async |visit| {
        let page = visit.open(ANNA).await;
        let mut seen = Vec::new();
        for (answer, words) in [
            ("403", "refused this"),
            ("408", "too long to arrive"),
            ("413", "too large"),
            ("415", "did not understand the form"),
            ("429", "too many requests"),
            ("500", "has a fault"),
            ("502", "through its proxy"),
            ("503", "cannot answer at the moment"),
            ("504", "too long to answer"),
            ("418", "status 418"),
            ("lost", "connection was lost"),
            ("timeout", "No answer came in time"),
            ("csrf", "another site"),
            ("foreign", "through its proxy"),
            ("garbled", "through its proxy"),
        ] {
            page.run("window.fetch = async () => { const name = arguments[0]; \
                if (name === 'lost') throw new TypeError('x'); \
                if (name === 'timeout') throw new DOMException('x', 'TimeoutError'); \
                const problem = (type, status) => new Response(JSON.stringify({ type, detail: 'x' }), \
                    { status, headers: { 'content-type': 'application/problem+json' } }); \
                if (name === 'csrf') return problem('https://e.example/k/cross-site', 403); \
                if (name === 'foreign') return problem('about:blank', 502); \
                const json = { 'content-type': 'application/json' }; \
                if (name === 'garbled') return new Response('<h1>', { status: 502, headers: json }); \
                return new Response('<h1>x</h1>', { status: Number(name) }) }".replace("arguments[0]", &format!("'{answer}'")).as_str(), &[]).await;
            page.run("document.querySelector('#banner').replaceChildren()", &[]).await;
            page.run("document.querySelector('#filter').dispatchEvent(new Event('change'))", &[])
                .await;
            page.shows("#banner", words).await;
            seen.push(page.text("#banner").await);
        }
        // Each but the last two has its own.
        seen.truncate(seen.len() - 2);
        let count = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), count);
    });
}

#[test]
fn what_operators_do_elsewhere_has_no_control() {
    let without = |console: keyway::console::Console| {
        [OperatorAction::Tiers, OperatorAction::Exceptions, OperatorAction::LeakReports]
            .into_iter()
            .fold(console, keyway::console::Console::without)
    };
    let start = async || Host::start_with(without, |router| router).await;
    browse_at(start, async |visit| {
        let page = visit.open(OLGA).await;
        page.visible("[data-tenant=acme] [data-action=suspend]").await;
        assert!(!page.has("[data-action=tier]").await);
        assert!(!page.has("[data-action=leak]").await);
        page.press("[data-tenant=acme] [data-action=open]").await;
        page.shows("#about", "0 of 1 key on the brief tier").await;
        assert!(!page.has("[data-action=exceptions]").await);
    });
}
