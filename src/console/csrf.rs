//! Checks that a request comes from the console's own page, or not from a browser.
//!
//! The algorithm is that of Go 1.25's `net/http.CrossOriginProtection`, without its exception for `GET`:
//! responses of the API, too, are for the console's own page only. It needs no form token and no cookie.

use axum::http::{HeaderMap, HeaderValue, header, request::Parts};

use super::problem;
use crate::http::problem::Problem;

/// The header that current browsers add to every request (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Accepts requests of the same origin, navigation by the user (a typed address, a bookmark), and requests
/// that do not come from a browser.
pub(super) fn check(request: &Parts) -> Result<(), Problem> {
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    if is_allowed(&request.headers, authority.or(host)) {
        Ok(())
    } else {
        Err(problem::cross_site())
    }
}

fn is_allowed(headers: &HeaderMap, host: Option<&[u8]>) -> bool {
    let mut sites = headers.get_all(SEC_FETCH_SITE).into_iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    // Without the header, the client is not a browser or is one from before 2023, or the connection is not
    // secure. Browsers send `Origin` with every request by which another origin could change something.
    headers.get_all(header::ORIGIN).into_iter().all(|origin| {
        let authority = authority(origin.as_bytes());
        authority.is_some() && authority.zip(host).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    })
}

/// Returns the authority of an origin: its name and port. `None` for the origin `null`.
fn authority(origin: &[u8]) -> Option<&[u8]> {
    origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(site: &[&'static str], origin: &[&'static str], host: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        for site in site {
            headers.append(SEC_FETCH_SITE, HeaderValue::from_static(site));
        }
        for origin in origin {
            headers.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        is_allowed(&headers, host.map(str::as_bytes))
    }

    #[test]
    fn sec_fetch_site_decides_if_present() {
        let host = Some("keys.example");
        for site in ["same-origin", "none"] {
            assert!(allows(&[site], &[], host));
            // A proxy may have changed the `Host`.
            assert!(allows(&[site], &["https://keys.example"], Some("10.0.0.1:8080")));
        }
        for site in ["same-site", "cross-site", "", "Same-Origin", "same-origin, none"] {
            assert!(!allows(&[site], &[], host), "{site}");
            assert!(!allows(&[site], &["https://keys.example"], host), "{site}");
        }
        assert!(!allows(&["same-origin", "cross-site"], &[], host));
    }

    #[test]
    fn origin_must_equal_host_without_sec_fetch_site() {
        let host = Some("keys.example:8443");
        for origin in [&[][..], &["https://keys.example:8443"], &["http://KEYS.example:8443"]] {
            assert!(allows(&[], origin, host), "{origin:?}");
        }
        for origin in [
            "https://keys.example",
            "https://evil.example",
            "https://keys.example:8443.evil.example",
            "https://evil.example/keys.example:8443",
            "null",
            "",
            "keys.example:8443",
            "ftp://keys.example:8443",
        ] {
            assert!(!allows(&[], &[origin], host), "{origin}");
        }
        assert!(!allows(&[], &["https://keys.example:8443", "https://evil.example"], host));
        assert!(!allows(&[], &["https://keys.example"], None));
        assert!(allows(&[], &[], None));
    }
}
