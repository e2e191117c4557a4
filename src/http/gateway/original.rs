//! The method and target of the request that a gateway asks about.

use alloc::{boxed::Box, string::String, vec, vec::Vec};

use super::{Ambiguity, Headers};
use crate::{bearer::is_token_character, config::ConfigError};

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
    Headers { method: Name, target: Name },
    Prefix(Box<str>),
}

impl OriginalRequest {
    /// Reads `X-Forwarded-Method` and `X-Forwarded-Uri`, as Traefik and Caddy write them.
    pub fn x_forwarded() -> Self {
        Self(Convention::Headers {
            method: Name::new("x-forwarded-method"),
            target: Name::new("x-forwarded-uri"),
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
    /// Returns [`ConfigError::GatewayHeader`] unless both are header names of 1 to 64 characters without `_`,
    /// and differ.
    pub fn headers(method: &str, target: &str) -> Result<Self, ConfigError> {
        let name = |name: &str| {
            let lower = name.to_ascii_lowercase();
            let is_name = lower.bytes().all(|byte| is_token_character(byte) && byte != b'_');
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
            Ok(Name::new(&lower))
        };
        let (method, target) = (name(method)?, name(target)?);
        if method.name == target.name {
            return Err(ConfigError::GatewayHeader(method.name.into()));
        }
        Ok(Self(Convention::Headers { method, target }))
    }

    /// Takes the method of the question itself, and the part of its target after `prefix`, as Envoy's
    /// `ext_authz` over HTTP sends them with `path_prefix`.
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
            Convention::Headers { method, target } => (method.one(headers)?, target.one(headers)?),
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
            if *method.name == *name || *target.name == *name)
    }
}

/// Returns whether this is a method in upper case. Servers disagree about methods in lower case.
pub(super) fn is_method(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte == b'-';
    (1..=32).contains(&text.len()) && text.bytes().all(is_part)
}

/// The name of a header, with the names that CGI and similar interfaces take for the same one.
#[derive(Clone, Debug)]
pub(super) struct Name {
    name: Box<str>,
    /// The name with some or all of its `-` replaced by `_`.
    alike: Vec<Box<str>>,
}

impl Name {
    /// Creates the name, which is in lower case.
    pub(super) fn new(name: &str) -> Self {
        let mut spellings = vec![String::new()];
        for character in name.chars() {
            let mut others = if character == '-' { spellings.clone() } else { Vec::new() };
            for spelling in &mut spellings {
                spelling.push(character);
            }
            for spelling in &mut others {
                spelling.push('_');
            }
            spellings.append(&mut others);
        }
        let alike = spellings.into_iter().filter(|spelling| *spelling != name);
        Self { name: name.into(), alike: alike.map(Into::into).collect() }
    }

    /// Returns whether the header is there, in any spelling.
    pub(super) fn is_in(&self, headers: &(impl Headers + ?Sized)) -> bool {
        headers.values(&self.name).next().is_some() || self.is_in_alike(headers)
    }

    /// Returns whether the header is there in a spelling with underscores.
    fn is_in_alike(&self, headers: &(impl Headers + ?Sized)) -> bool {
        let is_there = |name: &str| headers.values(name).next().is_some();
        headers.may_have_underscores() && self.alike.iter().any(|name| is_there(name))
    }

    /// Returns the value of the header. It is there exactly once, in one spelling.
    fn one<'f>(&self, headers: &'f (impl Headers + ?Sized)) -> Result<&'f [u8], Ambiguity> {
        let mut values = headers.values(&self.name);
        let first = values.next().ok_or(Ambiguity::NoOriginal)?;
        if values.next().is_some() || self.is_in_alike(headers) {
            return Err(Ambiguity::SeveralOriginals);
        }
        Ok(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_every_spelling() {
        let name = Name::new("x-original-uri");
        assert_eq!(*name.name, *"x-original-uri");
        let mut alike: Vec<&str> = name.alike.iter().map(|name| &**name).collect();
        alike.sort_unstable();
        assert_eq!(alike, ["x-original_uri", "x_original-uri", "x_original_uri"]);
        for alike in alike {
            assert!(name.is_in(&[(alike, &b""[..])][..]));
        }
        assert!(!name.is_in(&[("x-original-url", &b""[..])][..]));
    }

    #[test]
    fn names_and_prefixes_are_checked() {
        assert!(OriginalRequest::headers("X-Original-Method", "X-Original-URI").is_ok());
        let long = "x".repeat(65);
        for (method, target) in [
            ("x-m", "x-m"),
            ("", "x-u"),
            ("x_m", "x-u"),
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
