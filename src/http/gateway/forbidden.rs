//! The headers that a caller may not send past a gateway.

use alloc::vec::Vec;

use super::{Ambiguity, Headers, OriginalRequest, original::Name, verdict::IDENTITY};

/// Headers with which some frameworks replace the method or the path of a request.
const OVERRIDES: [&str; 5] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// The parameter of the query with which some frameworks replace the method.
const PARAMETER: &[u8] = b"_method";

/// The headers and the parameter that make a request ambiguous.
#[derive(Clone, Debug)]
pub(super) struct Forbidden {
    /// Empty if the application behind the gateway ignores all of them.
    overrides: Vec<Name>,
    identity: Vec<Name>,
}

impl Forbidden {
    pub(super) fn new(original: &OriginalRequest) -> Self {
        let others = OVERRIDES.into_iter().filter(|name| !original.reads(name));
        Self {
            overrides: others.map(Name::new).collect(),
            identity: IDENTITY.into_iter().map(Name::new).collect(),
        }
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
        if self.identity.iter().any(|name| name.is_in(headers)) {
            return Err(Ambiguity::ForgedIdentity);
        }
        let has_parameter = || query.split(|byte| b"&;".contains(byte)).any(is_method_parameter);
        if !self.overrides.is_empty()
            && (self.overrides.iter().any(|name| name.is_in(headers)) || has_parameter())
        {
            return Err(Ambiguity::Override);
        }
        Ok(())
    }
}

/// Returns whether the name of this parameter is `_method`, however it is encoded.
fn is_method_parameter(parameter: &[u8]) -> bool {
    let mut rest = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    let mut expected = PARAMETER.iter();
    while let [first, after @ ..] = rest {
        rest = after;
        let mut byte = *first;
        if byte == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            byte = high << 4 | low;
            rest = after;
        }
        match expected.next() {
            Some(expected) if expected.eq_ignore_ascii_case(&byte) => {}
            _ => return false,
        }
    }
    expected.next().is_none()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn method_parameter_is_found_in_any_encoding() {
        for parameter in ["_method=DELETE", "_method", "_METHOD=x", "%5fmethod=x", "_%6Dethod=x"] {
            assert!(is_method_parameter(parameter.as_bytes()), "{parameter}");
        }
        for parameter in ["", "method=x", "_methods=x", "x=_method", "_metho", "%", "_method%"] {
            assert!(!is_method_parameter(parameter.as_bytes()), "{parameter}");
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
