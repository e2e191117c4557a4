//! The usage as a file for spreadsheets.

use alloc::{format, string::String};
use core::{fmt::Write as _, future::ready};

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
};
use futures_util::stream::{self, StreamExt as _};

use super::{
    super::{
        auth::TenantAdmin,
        body::response_of,
        extract::Parameters,
        problem::{ApiResult, fault},
    },
    DayView, Walk, asked_for,
};
use crate::{keyring::KeyringError, record::TenantId, usage::Span};

const HEAD: &str = "day,key,name,admitted,forbidden,limited\r\n";

/// The characters with which a cell begins that a spreadsheet takes for a formula. The last four are full-width forms
/// of the first four, which some spreadsheets read alike.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Returns the requests of all keys that the administrator manages as CSV (RFC 4180): one row for each key and day with
/// a request, by key and then by day. A deleted key has no rows.
///
/// The body is written in portions of 100 keys, each of at most 9,000 rows and 5 MB, so the memory does not grow with
/// the number of keys. If the store stops responding, the body ends with an error, so the client sees that it is not
/// whole.
pub(in super::super) async fn usage_csv(admin: TenantAdmin, parameters: Parameters) -> ApiResult {
    let (usage, span) = asked_for(&admin.app, &parameters)?;
    let tenant = admin.tenant().await?;
    let name = file_name(tenant.id(), span);
    let mut walk = Walk::new(admin.keys, usage, span);
    // The first portion is read before the response begins, so that an outage has its status.
    let mut first = String::from(HEAD);
    first.push_str(&next_rows(&mut walk).await?.unwrap_or_default());
    let rest = stream::try_unfold(walk, |mut walk| async move {
        let rows = next_rows(&mut walk).await?;
        Ok::<_, KeyringError>(rows.map(|rows| (rows, walk)))
    });
    let body = Body::from_stream(stream::once(ready(Ok(first))).chain(rest));
    let mut response = response_of(StatusCode::OK, "text/csv; charset=utf-8", body);
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
    response.headers_mut().insert(header::CONTENT_DISPOSITION, disposition.map_err(|_| fault())?);
    Ok(response)
}

/// Returns the name of the file. It has the tenant, because the session of the browser may be another one than the
/// page's.
fn file_name(tenant: &TenantId, span: Span) -> String {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || "-_.".contains(each);
    let plain = |each: char| if is_plain(each) { each } else { '_' };
    let tenant: String = tenant.as_str().chars().map(plain).collect();
    format!("usage-{tenant}-{}-{}.csv", span.from, span.to)
}

/// Returns the rows of the next portion that has any, or `None` after the last one.
async fn next_rows(walk: &mut Walk) -> Result<Option<String>, KeyringError> {
    while let Some(portion) = walk.next().await? {
        let mut rows = String::new();
        for (key, days) in portion {
            let (id, name) = (key.id(), quoted(key.name()));
            for DayView { day, admitted, forbidden, limited } in days.into_iter().map(DayView::of) {
                // Writing to a `String` does not fail.
                _ = write!(rows, "{day},{id},{name},{admitted},{forbidden},{limited}\r\n");
            }
        }
        if !rows.is_empty() {
            return Ok(Some(rows));
        }
    }
    Ok(None)
}

/// Returns `text` in quotes, with an apostrophe before each character that could begin a formula.
///
/// INVARIANT: that is the first character, and each one after a semicolon or a tab. In many languages spreadsheets
/// separate cells there, and heed no quotes that do not begin the cell. Without the apostrophe, a user who may name a
/// key could run a formula on the computer of the administrator who opens the file.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    let mut begins_cell = true;
    for each in text.chars() {
        if begins_cell && FORMULA.contains(&each) {
            quoted.push('\'');
        }
        begins_cell = matches!(each, ';' | '\t');
        quoted.push(each);
        if each == '"' {
            quoted.push(each);
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_and_begins_no_formula() {
        for (text, expected) in [
            ("ERP nightly sync", r#""ERP nightly sync""#),
            ("", r#""""#),
            ("a,b", r#""a,b""#),
            (r#"say "hi""#, r#""say ""hi""""#),
            ("=1+1", r#""'=1+1""#),
            ("+1", r#""'+1""#),
            ("-1", r#""'-1""#),
            ("@SUM(A1)", r#""'@SUM(A1)""#),
            ("\t=1", "\"'\t'=1\""),
            ("\r=1", "\"'\r=1\""),
            ("＝1", r#""'＝1""#),
            ("a;=1+1;b", r#""a;'=1+1;b""#),
            // The control: a character that begins no cell is not changed.
            ("a=b-c", r#""a=b-c""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }

    #[test]
    fn file_name_has_no_special_characters() {
        let day = "2026-11-30".parse().unwrap();
        let name = file_name(&TenantId::stored("a:b/c.d").unwrap(), Span::days(day, day));
        assert_eq!(name, "usage-a_b_c.d-2026-11-30-2026-11-30.csv");
    }
}
