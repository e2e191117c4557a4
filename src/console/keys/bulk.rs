//! Changes of many keys at once.

use alloc::{string::String, vec::Vec};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use super::super::{
    auth::TenantAdmin,
    body::{Json, MAX_NUMBER, json},
    problem::{ApiResult, invalid_field},
};
use crate::{
    http::problem::Problem,
    keyring::{BulkOutcome, KeyringError, SelectedKey, Selection},
    token::KeyId,
};

/// The maximum number of keys of one request.
const MAX: usize = 500;

/// The keys to change, each in the version in which it was read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct BulkBody {
    keys: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    id: String,
    version: u64,
}

impl BulkBody {
    fn selection(self, admin: &TenantAdmin) -> Result<Selection, Problem> {
        if self.keys.is_empty() || self.keys.len() > MAX {
            return Err(invalid_field("keys", "name 1 to 500 keys"));
        }
        let mut selected = Vec::with_capacity(self.keys.len());
        for Named { id, version } in self.keys {
            let id =
                id.parse().map_err(|_| invalid_field("keys", "this is not the id of a key"))?;
            if version > MAX_NUMBER {
                return Err(invalid_field("keys", "this is not the version of a key"));
            }
            selected.push(SelectedKey { id, version, name: String::new() });
        }
        Ok(Selection::of(admin.keys.id().clone(), selected))
    }
}

#[derive(Serialize)]
struct OutcomeView {
    done: usize,
    /// The keys that were changed or deleted since they were read.
    changed_since: Vec<KeyId>,
}

/// Responds with the outcome. After an error some of the keys may have been changed.
fn outcome_response(outcome: Result<BulkOutcome, KeyringError>) -> ApiResult {
    let BulkOutcome { done, changed_since, error } = outcome?;
    match error {
        Some(error) => Err(error.into()),
        None => Ok(json(StatusCode::OK, &OutcomeView { done, changed_since })),
    }
}

/// Disables the named keys.
pub(in super::super) async fn disable_keys(
    admin: TenantAdmin,
    Json(body): Json<BulkBody>,
) -> ApiResult {
    let selection = body.selection(&admin)?;
    outcome_response(admin.keys.disable_all(&selection).await)
}

/// Deletes the named keys permanently.
pub(in super::super) async fn delete_keys(
    admin: TenantAdmin,
    Json(body): Json<BulkBody>,
) -> ApiResult {
    let selection = body.selection(&admin)?;
    outcome_response(admin.keys.delete_all(&selection).await)
}
