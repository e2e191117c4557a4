//! Reports of leaked tokens.

use alloc::string::String;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::{
    auth::Operator,
    body::{Json, check_pasted, json},
    problem::{ApiResult, invalid_text},
    views::KeyView,
};
use crate::{
    authority::LeakResponse, http::secret_json::Secret, keyring::KeyringError, record::Suspension,
};

/// A report of a leaked token. It holds the token, so there is no `Debug`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct LeakBody {
    token: Secret,
    reason: String,
    response: Response,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Response {
    Suspend,
    ReportOnly,
}

#[derive(Serialize)]
struct LeakView<'k> {
    found: bool,
    key: Option<KeyView<'k>>,
    response: Response,
}

/// Reports a leaked token, and suspends its key if `response` is `suspend`.
pub(in super::super) async fn report_leak(
    Operator { app, keyring }: Operator,
    Json(LeakBody { token, reason, response }): Json<LeakBody>,
) -> ApiResult {
    check_pasted("token", &token)?;
    // The reason is checked first, so that an invalid one is refused whether or not the token belongs to a
    // key.
    Suspension::permanent(&*reason).map_err(invalid_text("reason"))?;
    let leak_response = match response {
        Response::Suspend => LeakResponse::Suspend,
        Response::ReportOnly => LeakResponse::ReportOnly,
    };
    let found = match keyring.report_leak(token.trim(), &reason, leak_response).await {
        Ok(key) => {
            let tenant = keyring.find_tenant(key.tenant()).await?;
            Some((key, tenant))
        }
        Err(KeyringError::Rejected) => None,
        Err(error) => return Err(error.into()),
    };
    let key = found.as_ref().map(|(key, tenant)| app.view(key, tenant));
    Ok(json(StatusCode::OK, &LeakView { found: key.is_some(), key, response }))
}
