//! What stands before every route: who may pass, and the fields that every answer carries.

use alloc::{string::String, sync::Arc};
use core::fmt::Write as _;

use axum::{
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue,
        header::{self, AUTHORIZATION},
        request::Parts,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{admin::Admin, app::App, origin, problem::Problem};
use crate::{authorization::bearer_token, decision::Principal, verifier::VerifyError};

/// Lets requests of the console's own page pass, and of programs, if the host knows of whom they are.
pub(super) async fn admit(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    if let Err(problem) = origin::check(&parts) {
        return problem.into_response();
    }
    match app.admin(&mut parts).await {
        Ok(admin) if !is_meant_for(&admin, &parts.headers) => Problem::signed_out().into_response(),
        Ok(admin) => {
            parts.extensions.insert(admin);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(answer) => answer,
    }
}

/// The field in which a page says whose keys it shows, escaped as in a path. Its cookie is by now that of
/// whoever has signed in last, perhaps in the window beside it.
const TENANT: HeaderName = HeaderName::from_static("keyway-tenant");

fn is_meant_for(admin: &Admin, fields: &HeaderMap) -> bool {
    let tenant = admin.tenant().map(escaped);
    let mut named = fields.get_all(TENANT).into_iter();
    named.all(|named| tenant.as_ref().is_some_and(|tenant| named.as_bytes() == tenant.as_bytes()))
}

/// As `encodeURIComponent` of ECMAScript has it.
fn escaped(id: &str) -> String {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte);
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if is_kept(byte) {
            escaped.push(byte.into());
        } else {
            // A string takes whatever is written to it.
            _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

impl App {
    /// Of whom the request is. The answer of the host to somebody else goes as it is.
    pub(super) async fn admin(&self, request: &mut Parts) -> Result<Admin, Response> {
        if self.allows_api_keys {
            self.verify_api_key(request).await?;
        } else if self.presents_api_key(request).await? {
            return Err(Problem::api_key_not_allowed().into_response());
        }
        (self.who)(request.clone()).await.map_err(|mut answer| {
            answer.extensions_mut().insert(OfTheHost);
            answer
        })
    }

    /// Whether it is an API key that makes the request, whatever its state.
    async fn presents_api_key(&self, request: &Parts) -> Result<bool, Response> {
        if request.extensions.get::<Principal>().is_some() {
            return Ok(true);
        }
        for token in bearer_tokens(request) {
            match self.keyring.verifier().format().check(token) {
                Ok(_) => return Ok(true),
                // What the host's own sessions present is not looked up.
                Err(rejection) => {
                    let authority = &self.keyring.verifier().shared().authority;
                    if authority.foreign_claims(token, rejection).is_empty() {
                        continue;
                    }
                }
            }
            match self.keyring.verify(token).await {
                Err(VerifyError::Rejected | VerifyError::Missing | VerifyError::BadRequest) => {}
                Ok(_)
                | Err(
                    VerifyError::Inactive(_)
                    | VerifyError::Tampered
                    | VerifyError::Forbidden(_)
                    | VerifyError::Limited { .. },
                ) => return Ok(true),
                Err(VerifyError::Unavailable(_)) => {
                    return Err(Problem::unavailable().into_response());
                }
            }
        }
        Ok(false)
    }

    /// Puts the caller of an API key into the extensions, unless a guard has done so.
    async fn verify_api_key(&self, request: &mut Parts) -> Result<(), Response> {
        if let Some(caller) = request.extensions.get::<Principal>() {
            // Of another keyring, its tenant is another one, whatever it is called.
            let number = self.keyring.verifier().shared().cache.number();
            let is_ours = caller.is_admitted_by(number);
            let refuse = || Problem::api_key_not_allowed().into_response();
            return is_ours.then_some(()).ok_or_else(refuse);
        }
        if !self.presents_api_key(request).await? {
            return Ok(());
        }
        let mut admission =
            self.guard.admit(&request.headers).await.map_err(IntoResponse::into_response)?;
        if let Some(principal) = admission.take_principal() {
            request.extensions.insert(principal);
            request.headers.remove(AUTHORIZATION);
        }
        Ok(())
    }
}

fn bearer_tokens(request: &Parts) -> impl Iterator<Item = &[u8]> {
    let values = request.headers.get_all(AUTHORIZATION).into_iter();
    values.filter_map(|value| bearer_token(value.as_bytes().trim_ascii()).ok())
}

/// Marks what the host answers, which is for the host to secure.
#[derive(Clone, Copy)]
struct OfTheHost;

/// Scripts and styles of the console alone, requests to it alone, in no frame, and no text that becomes markup.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; font-src 'none'; form-action 'none'; \
    frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

const FIELDS: [(HeaderName, &str); 8] = [
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
    // What is static says otherwise itself.
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the fields that keep an answer where it belongs.
pub(super) async fn secure(mut response: Response) -> Response {
    if response.extensions().get::<OfTheHost>().is_none() {
        for (name, value) in FIELDS {
            let fields = response.headers_mut();
            fields.entry(name).or_insert(HeaderValue::from_static(value));
        }
    }
    response
}
