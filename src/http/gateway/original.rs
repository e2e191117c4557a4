//! The method and target of the request that a gateway asks about.

use alloc::boxed::Box;

use super::{Ambiguity, Headers};
use crate::config::ConfigError;

/// The place where a gateway puts the method and target of the request that it asks about.
///
/// Exactly one convention counts. Headers of the others are ignored.
///
/// ```
/// use keyway::http::OriginalRequest;
///
/// // nginx, with the lines of the guide.
/// let original = OriginalRequest::headers("x-original-method", "x-original-uri")?;
/// # _ = original;
/// # Ok::<(), keyway::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct OriginalRequest(Convention);

#[derive(Clone, Debug)]
enum Convention {
    Headers { method: Box<str>, target: Box<str> },
    Prefix(Box<str>),
}

impl OriginalRequest {
    /// Reads `X-Forwarded-Method` and `X-Forwarded-Uri`, as Traefik and Caddy write them.
    pub fn x_forwarded() -> Self {
        Self(Convention::Headers {
            method: "x-forwarded-method".into(),
            target: "x-forwarded-uri".into(),
        })
    }

    /// Reads the two headers with these names, which the configuration of the gateway sets. nginx and
    /// `HAProxy` have no names of their own.
    ///
    /// The gateway must replace headers of these names that the caller sent. A request with two of one name
    /// is refused.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::GatewayHeader`] unless both have 1 to 64 letters, digits and `-` only, and differ.
    pub fn headers(method: &str, target: &str) -> Result<Self, ConfigError> {
        let name = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let is_name = lower.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let is_taken = matches!(
                &*lower,
                "authorization"
                    | "connection"
                    | "content-length"
                    | "cookie"
                    | "host"
                    | "transfer-encoding"
            );
            if lower.is_empty() || lower.len() > 64 || !is_name || is_taken {
                return Err(ConfigError::GatewayHeader(name.into()));
            }
            Ok(Box::<str>::from(lower))
        };
        let (method, target) = (name(method)?, name(target)?);
        if method == target {
            return Err(ConfigError::GatewayHeader(method.into()));
        }
        Ok(Self(Convention::Headers { method, target }))
    }

    /// Takes the method of the question itself, and the part of its target after `prefix`, as Envoy's
    /// `ext_authz` over HTTP sends them with `path_prefix`. `prefix` is the whole path before the original one,
    /// with the paths under which the framework nests the routes of the check.
    ///
    /// # Errors
    ///
    /// Returns [`ConfigError::GatewayPath`] unless `prefix` begins with `/`, does not end with `/`, and has
    /// letters, digits, `-`, `_` and `/` only.
    pub fn path_prefix(prefix: &str) -> Result<Self, ConfigError> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte);
        let is_right = prefix.starts_with('/')
            && !prefix.ends_with('/')
            && !prefix.contains("//")
            && prefix.bytes().all(is_plain);
        if !is_right {
            let problem =
                "a prefix begins with `/`, does not end with it, and has plain characters";
            return Err(ConfigError::GatewayPath { path: prefix.into(), problem });
        }
        Ok(Self(Convention::Prefix(prefix.into())))
    }

    /// Returns the method and target of the original request.
    pub(super) fn read<'r>(
        &self,
        asked: (&'r str, &'r str),
        headers: &'r (impl Headers + ?Sized),
    ) -> Result<(&'r str, &'r [u8]), Ambiguity> {
        let (method, target) = match &self.0 {
            Convention::Headers { method, target } => {
                (one(method, headers)?, one(target, headers)?)
            }
            Convention::Prefix(prefix) => {
                let (method, target) = asked;
                let rest = target.strip_prefix(&**prefix).ok_or(Ambiguity::NoOriginal)?;
                (method.as_bytes(), rest.as_bytes())
            }
        };
        let method = str::from_utf8(method).map_err(|_| Ambiguity::Method)?;
        if !is_method(method) {
            return Err(Ambiguity::Method);
        }
        Ok((method, target))
    }

    /// Returns whether this convention reads the header `name`.
    pub(super) fn reads(&self, name: &str) -> bool {
        matches!(&self.0, Convention::Headers { method, target }
            if **method == *name || **target == *name)
    }
}

/// Returns whether this is a method in upper case. Servers disagree about methods in lower case.
pub(super) fn is_method(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_part)
}

/// Returns the value of the header `name`. It is there exactly once, in one spelling.
fn one<'f>(name: &str, headers: &'f (impl Headers + ?Sized)) -> Result<&'f [u8], Ambiguity> {
    let mut values = headers.values(name);
    let first = values.next().ok_or(Ambiguity::NoOriginal)?;
    let is_other = |other: &str| is_alike(other, name) && !other.eq_ignore_ascii_case(name);
    if values.next().is_some() || headers.names().any(is_other) {
        return Err(Ambiguity::SeveralOriginals);
    }
    Ok(first)
}

/// Returns whether some application could take the header `other` for the header `name`, which is in lower case.
///
/// CGI, WSGI and similar interfaces put `_` in place of `-`, and some of them in place of every other byte that
/// is not a letter or digit.
pub(super) fn is_alike(other: &str, name: &str) -> bool {
    // Most names differ in length, so a request without odd names costs little.
    other.len() == name.len()
        && other.bytes().zip(name.bytes()).all(|(other, own)| {
            other.eq_ignore_ascii_case(&own)
                || !(other.is_ascii_alphanumeric() || own.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_found_in_every_spelling() {
        let name = "x-original-uri";
        for other in [
            "x-original-uri",
            "X-Original-URI",
            "X_ORIGINAL_URI",
            "x-original_uri",
            "x.original-uri",
            "x!original~uri",
        ] {
            assert!(is_alike(other, name), "{other}");
        }
        for other in ["x-original-url", "xaoriginal-uri", "x-original-uri-", "xoriginaluri", ""] {
            assert!(!is_alike(other, name), "{other}");
        }
        let headers = |other| [(name, &b"/"[..]), (other, &b"/x"[..])];
        assert_eq!(one(name, &headers("host")[..]), Ok(&b"/"[..]));
        for other in ["X-Original-URI", "x_original_uri", "x.original.uri"] {
            assert_eq!(one(name, &headers(other)[..]), Err(Ambiguity::SeveralOriginals), "{other}");
        }
    }

    #[test]
    fn name_of_hyphens_takes_no_more_than_others() {
        let long = "-".repeat(63);
        let original = OriginalRequest::headers(&[&long, "m"].concat(), &[&long, "u"].concat());
        let odd = ["_".repeat(63), "u".into()].concat();
        let none: &[(&str, &[u8])] = &[(&odd, b"/")];
        assert_eq!(original.unwrap().read(("GET", "/"), none), Err(Ambiguity::NoOriginal));
    }

    #[test]
    fn names_and_prefixes_are_checked() {
        assert!(OriginalRequest::headers("X-Original-Method", "X-Original-URI").is_ok());
        let long = "x".repeat(65);
        for (method, target) in [
            ("x-m", "x-m"),
            ("", "x-u"),
            ("x_m", "x-u"),
            ("x.m", "x-u"),
            ("x-m", "authorization"),
            ("x-m", "x u"),
            ("x-m", &long),
        ] {
            assert!(OriginalRequest::headers(method, target).is_err(), "{method} {target}");
        }
        assert!(OriginalRequest::path_prefix("/keys/check").is_ok());
        for prefix in ["", "/", "check", "/check/", "/a//b", "/a%20", "/{a}", "/.."] {
            assert!(OriginalRequest::path_prefix(prefix).is_err(), "{prefix}");
        }
    }

    #[test]
    fn prefix_is_cut_off_the_target() {
        let original = OriginalRequest::path_prefix("/check").unwrap();
        let none: &[(&str, &[u8])] = &[];
        let read = |target| original.read(("GET", target), none).map(|(_, target)| target);
        assert_eq!(read("/check/jobs?a=b"), Ok(&b"/jobs?a=b"[..]));
        // The rest is not a path, which the target refuses.
        assert_eq!(read("/checkjobs"), Ok(&b"jobs"[..]));
        assert_eq!(read("/Check/jobs"), Err(Ambiguity::NoOriginal));
        assert_eq!(read("http://x/check/jobs"), Err(Ambiguity::NoOriginal));
        assert_eq!(original.read(("get", "/check/jobs"), none), Err(Ambiguity::Method));
    }
}
