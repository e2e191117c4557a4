//! Rotating keys.

use alloc::borrow::ToOwned;
use core::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{
    super::{
        auth::TenantAdmin,
        body::Json,
        extract::{IfMatch, Path, idempotency_key},
        problem::{self, ApiResult},
        rotations::{Earlier, Rotation},
    },
    issued_response,
};
use crate::{
    audit::ChangeKind,
    authority::GracePeriod,
    keyring::{IssuedKey, KeyringError},
    record::KeyRecord,
    token::KeyId,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct RotationBody {
    grace_period: GracePeriodBody,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a grace period is `none`, `until_first_use` or a number of seconds")]
enum GracePeriodBody {
    Word(GracePeriodWord),
    Seconds(u64),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum GracePeriodWord {
    None,
    UntilFirstUse,
}

impl From<GracePeriodBody> for GracePeriod {
    fn from(body: GracePeriodBody) -> Self {
        match body {
            GracePeriodBody::Word(GracePeriodWord::None) => Self::None,
            GracePeriodBody::Word(GracePeriodWord::UntilFirstUse) => Self::UntilFirstUse,
            GracePeriodBody::Seconds(seconds) => Self::For(Duration::from_secs(seconds)),
        }
    }
}

/// Gives a key a new secret. Its token is in this response and in no other.
///
/// A repetition with the same `Idempotency-Key` does not rotate again. The process that did the rotation
/// returns the key without a token. Any other process returns 412: the key has changed.
pub(in super::super) async fn rotate_key(
    admin: TenantAdmin,
    Path(id): Path<KeyId>,
    if_match: IfMatch,
    headers: HeaderMap,
    Json(RotationBody { grace_period }): Json<RotationBody>,
) -> ApiResult {
    let TenantAdmin { app, keys, .. } = &admin;
    let idempotency_key = idempotency_key(&headers)?.to_owned();
    let rotation = Rotation { key: id, idempotency_key, grace_period: grace_period.into() };
    let tenant = admin.tenant().await?;
    let refused = async |error| keys.refused(ChangeKind::RotateKey, id, error).await;
    // A second attempt follows if another request changed the key first. It may have been this very rotation,
    // and then the second attempt finds that it is done.
    for is_first in [true, false] {
        let key = match keys.find(id).await {
            Ok(key) => key,
            Err(error) => return Err(refused(error).await.into()),
        };
        match app.rotations.earlier(tenant.id(), &rotation, &key) {
            None => {}
            Some(Earlier::Same) => {
                return Ok(issued_response(app, &key, &tenant, None, StatusCode::OK));
            }
            Some(Earlier::OtherGracePeriod) => return Err(problem::idempotency_key_reused()),
        }
        // In the second attempt, the conflict of the first one has been recorded already.
        let checked = if_match.check(key.version());
        match checked {
            Err(error) if is_first => return Err(refused(error).await.into()),
            checked => checked?,
        }
        // INVARIANT: a rotation names exactly one version. Otherwise, with `*` or a list, a retry at another
        // process would rotate again, because that process does not remember the first rotation.
        let version = if_match.one();
        let version = version.ok_or_else(|| {
            let detail = "a rotation names the one version that it replaces as `If-Match`";
            problem::precondition_required().detail(detail)
        })?;
        let note = |rotated: &KeyRecord| app.rotations.note(tenant.id(), &rotation, rotated);
        match keys.rotate_noting(id, version, rotation.grace_period, note).await {
            Ok(IssuedKey { key, token }) => {
                let token = token.reveal();
                return Ok(issued_response(app, &key, &tenant, Some(&token), StatusCode::OK));
            }
            Err(KeyringError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(problem::changed())
}
