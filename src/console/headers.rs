//! The headers that restrict where a response is stored and shown, and the bodies of problems.

use alloc::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderName, HeaderValue, header},
    response::Response,
};

use super::{app::App, auth::OfApplication, problem};

/// Allows scripts, styles, images and requests of the same origin only. Forbids frames, and text that becomes
/// markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; font-src 'none'; form-action 'none'; \
    frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 8] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    // Static files set another value, which is kept.
    (header::CACHE_CONTROL, "no-store"),
];

/// Completes a response. One of the application's own function is passed on unchanged.
pub(super) async fn complete(State(app): State<Arc<App>>, mut response: Response) -> Response {
    problem::write(&mut response, &app.settings.problem_types);
    if response.extensions().get::<OfApplication>().is_none() {
        for (name, value) in HEADERS {
            let headers = response.headers_mut();
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    response
}
