//! The headers that a caller may not send past a gateway.

use alloc::vec::Vec;

use super::{Ambiguity, Headers, OriginalRequest, original::is_alike, verdict::IDENTITY};
use crate::http::query::decoded;

/// Headers with which some frameworks replace the method or the path of a request.
///
/// gunicorn takes `SCRIPT_NAME` and `PATH_INFO` from a proxy on the same machine. Snippets for Flask and middleware of
/// other frameworks cut a prefix off the path that the last three name.
const OVERRIDES: [&str; 10] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
    "script-name",
    "path-info",
    "x-script-name",
    "x-forwarded-prefix",
    "x-forwarded-path",
];

/// The parameter of the query with which some frameworks replace the method.
const PARAMETER: &[u8] = b"_method";

/// The headers and the parameter that make a request ambiguous.
#[derive(Clone, Debug)]
pub(super) struct Forbidden {
    /// Empty if the application behind the gateway ignores all of them.
    overrides: Vec<&'static str>,
}

impl Forbidden {
    pub(super) fn new(original: &OriginalRequest) -> Self {
        let others = OVERRIDES.into_iter().filter(|name| !original.reads(name));
        Self { overrides: others.collect() }
    }

    pub(super) fn allow_overrides(&mut self) {
        self.overrides.clear();
    }

    /// Checks that neither the headers nor the query of the original request are ambiguous.
    pub(super) fn check(
        &self,
        headers: &(impl Headers + ?Sized),
        query: &[u8],
    ) -> Result<(), Ambiguity> {
        let is_of = |names: &[&str]| {
            headers.names().any(|other| names.iter().any(|name| is_alike(other, name)))
        };
        if is_of(&IDENTITY) {
            return Err(Ambiguity::ForgedIdentity);
        }
        let has_parameter = || query.split(|byte| b"&;".contains(byte)).any(is_method_parameter);
        if !self.overrides.is_empty() && (is_of(&self.overrides) || has_parameter()) {
            return Err(Ambiguity::Override);
        }
        Ok(())
    }
}

/// Returns whether some framework takes the name of this parameter for `_method`.
///
/// PHP drops spaces at the start, ends a name at a zero byte or `[`, and puts `_` in place of spaces and dots. Rack
/// and parsers for JavaScript also drop brackets around a name.
fn is_method_parameter(parameter: &[u8]) -> bool {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    let name = decoded(name).skip_while(|byte| b" []".contains(byte));
    let name = name.take_while(|byte| !b"\0[]".contains(byte));
    let folded = name.map(|byte| match byte {
        b' ' | b'.' => b'_',
        byte => byte.to_ascii_lowercase(),
    });
    folded.eq(PARAMETER.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_parameter_is_found_in_any_form() {
        for parameter in [
            "_method=DELETE",
            "_method",
            "_METHOD=x",
            "%5fmethod=x",
            "_%6Dethod=x",
            ".method=x",
            "%2Emethod=x",
            "+_method=x",
            "%20+_method=x",
            " .method=x",
            "_method%00x=x",
            "_method[]=x",
            "_method%5Bx%5D=x",
            "[_method]=x",
        ] {
            assert!(is_method_parameter(parameter.as_bytes()), "{parameter}");
        }
        for parameter in [
            "",
            "method=x",
            "+method=x",
            "_methods=x",
            "x=_method",
            "_metho",
            "%",
            "_method%",
            "_method.x=x",
            "_method%2B=x",
            "x[_method]=x",
            "%00_method=x",
        ] {
            assert!(!is_method_parameter(parameter.as_bytes()), "{parameter}");
        }
    }

    #[test]
    fn odd_bytes_of_a_name_are_hyphens() {
        let forbidden = Forbidden::new(&OriginalRequest::x_forwarded());
        let check = |name: &str| forbidden.check(&[("host", &b"x"[..]), (name, b"x")][..], b"");
        for name in ["X.Auth.Tenant", "X_AUTH_TENANT", "x-auth!tenant"] {
            assert_eq!(check(name), Err(Ambiguity::ForgedIdentity), "{name}");
        }
        for name in OVERRIDES {
            for odd in ["-", "_", "."] {
                assert_eq!(check(&name.replace('-', odd)), Err(Ambiguity::Override), "{name}");
            }
        }
        for name in ["x-auth-tenants", "xauthtenant", "x-authentenant", "x-forwarded-proto"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn chosen_header_is_no_override() {
        let original = OriginalRequest::headers("x-original-method", "x-original-url").unwrap();
        let headers = [("x-original-url", &b"/"[..])];
        assert_eq!(Forbidden::new(&original).check(&headers[..], b""), Ok(()));
        let other = OriginalRequest::x_forwarded();
        assert_eq!(Forbidden::new(&other).check(&headers[..], b""), Err(Ambiguity::Override));
        let mut forbidden = Forbidden::new(&other);
        forbidden.allow_overrides();
        assert_eq!(forbidden.check(&headers[..], b"_method=PUT"), Ok(()));
    }
}
