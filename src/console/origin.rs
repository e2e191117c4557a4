//! Whether a request comes from the console's own page, or from no browser.
//!
//! The algorithm is that of Go 1.25's `net/http.CrossOriginProtection`, without its exception for `GET`: what
//! the API tells is for its own page as well. It needs no token in forms and no cookie.

use axum::http::{HeaderMap, HeaderValue, header, request::Parts};

use super::problem::Problem;

/// What browsers of today say of every request (Fetch Metadata).
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Succeeds for requests of the same origin, of the user themselves, and of what is no browser.
pub(super) fn check(request: &Parts) -> Result<(), Problem> {
    let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host = request.headers.get(header::HOST).map(HeaderValue::as_bytes);
    if is_allowed(&request.headers, authority.or(host)) {
        Ok(())
    } else {
        Err(Problem::cross_site())
    }
}

fn is_allowed(fields: &HeaderMap, host: Option<&[u8]>) -> bool {
    let mut sites = fields.get_all(SEC_FETCH_SITE).into_iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    }
    // No browser, one from before 2023, or a connection that is not secure. Browsers name the origin of
    // every request that another origin can change something with.
    fields.get_all(header::ORIGIN).into_iter().all(|origin| {
        let authority = authority(origin.as_bytes());
        authority.is_some() && authority.zip(host).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b))
    })
}

/// The host and port of an origin. There is none in `null`.
fn authority(origin: &[u8]) -> Option<&[u8]> {
    origin.strip_prefix(b"https://").or_else(|| origin.strip_prefix(b"http://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(site: &[&'static str], origin: &[&'static str], host: Option<&str>) -> bool {
        let mut fields = HeaderMap::new();
        for site in site {
            fields.append(SEC_FETCH_SITE, HeaderValue::from_static(site));
        }
        for origin in origin {
            fields.append(header::ORIGIN, HeaderValue::from_static(origin));
        }
        is_allowed(&fields, host.map(str::as_bytes))
    }

    #[test]
    fn what_a_browser_says_of_the_site_is_enough() {
        let host = Some("keys.example");
        for site in ["same-origin", "none"] {
            assert!(allows(&[site], &[], host));
            // A proxy may have changed the host.
            assert!(allows(&[site], &["https://keys.example"], Some("10.0.0.1:8080")));
        }
        for site in ["same-site", "cross-site", "", "Same-Origin", "same-origin, none"] {
            assert!(!allows(&[site], &[], host), "{site}");
            assert!(!allows(&[site], &["https://keys.example"], host), "{site}");
        }
        assert!(!allows(&["same-origin", "cross-site"], &[], host));
    }

    #[test]
    fn without_that_the_origin_is_the_host() {
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
