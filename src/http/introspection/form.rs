//! The form in a request of a resource server.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::net::IpAddr;

use zeroize::Zeroizing;

use crate::http::{Headers, Response};

/// The parameters of a request. The token is wiped when the form is dropped. There is no `Debug`.
pub(super) struct Form {
    pub(super) token: Zeroizing<Vec<u8>>,
    /// The address of the client that presented the token to the resource server.
    pub(super) client_address: Option<IpAddr>,
    /// The kinds of resources that the resource server checks, separated by spaces.
    resource_kinds: String,
    /// Whether the resource server checks the audience of children.
    #[cfg(feature = "children")]
    pub(super) checks_audience: bool,
}

const TOKEN: &str = "token";
/// A hint is checked for repetition only. A key is found without it, and RFC 7009, section 2.1, allows to ignore it.
const HINT: &str = "token_type_hint";
const CLIENT_ADDRESS: &str = "keyway_client_address";
const RESOURCE_KINDS: &str = "keyway_resource_kinds";
const CHECKS_AUDIENCE: &str = "keyway_checks_audience";
const PARAMETERS: [&str; 5] = [TOKEN, HINT, CLIENT_ADDRESS, RESOURCE_KINDS, CHECKS_AUDIENCE];

impl Form {
    pub(super) const MAX_LEN: usize = 8 * 1024;

    /// Reads the form `body`. Parameters with other names are ignored.
    ///
    /// # Errors
    ///
    /// [`BadForm`] names the problem, and never repeats a value.
    pub(super) fn read(headers: &(impl Headers + ?Sized), body: &[u8]) -> Result<Self, BadForm> {
        if body.len() > Self::MAX_LEN {
            return Err(BadForm::TooLarge);
        }
        if !is_form(headers) {
            return Err(BadForm::ContentType);
        }
        let mut values: [Option<Zeroizing<Vec<u8>>>; 5] = Default::default();
        for pair in body.split(|byte| *byte == b'&') {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(parts.next().unwrap_or_default());
            let is_it = |(parameter, _): &(&str, _)| {
                name.as_ref().is_some_and(|name| parameter.as_bytes() == &***name)
            };
            let Some((parameter, place)) = PARAMETERS.into_iter().zip(&mut values).find(is_it)
            else {
                continue;
            };
            let value =
                decode(parts.next().unwrap_or_default()).ok_or(BadForm::Unreadable(parameter))?;
            if place.replace(value).is_some() {
                return Err(BadForm::Repeated(parameter));
            }
        }
        // A parameter without a value counts as missing (RFC 6749, section 3.2).
        let [token, _, address, kinds, audience] =
            values.map(|value| value.filter(|value| !value.is_empty()));
        let address = match address {
            None => None,
            Some(text) => {
                let text = str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
                Some(text.ok_or(BadForm::Unreadable(CLIENT_ADDRESS))?)
            }
        };
        let checks_audience = match audience.as_ref().map(|word| word.as_slice()) {
            Some(b"true") => true,
            None | Some(b"false") => false,
            Some(_) if cfg!(feature = "children") => {
                return Err(BadForm::Unreadable(CHECKS_AUDIENCE));
            }
            Some(_) => false,
        };
        #[cfg(not(feature = "children"))]
        let _ = checks_audience;
        let kinds = kinds.as_deref().map_or(&[][..], |kinds| kinds);
        let kinds = str::from_utf8(kinds).map_err(|_| BadForm::Unreadable(RESOURCE_KINDS))?;
        Ok(Self {
            token: token.ok_or(BadForm::NoToken)?,
            client_address: address,
            resource_kinds: kinds.into(),
            #[cfg(feature = "children")]
            checks_audience,
        })
    }

    /// Returns whether the resource server checks resources of the kind `kind`.
    pub(super) fn checks_kind(&self, kind: &str) -> bool {
        self.resource_kinds.split(' ').any(|checked| checked == kind)
    }
}

/// Returns whether the one `Content-Type` is that of a form, with any parameters. Common clients add `charset=UTF-8`.
fn is_form(headers: &(impl Headers + ?Sized)) -> bool {
    let mut values = headers.values("content-type");
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// Decodes a name or value, or returns `None` if an escape is not two hexadecimal digits.
///
/// A token of keyway has neither `%` nor `+`, so no branch depends on its bytes.
fn decode(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hexadecimal(*rest.next()?)? << 4 | hexadecimal(*rest.next()?)?,
            byte => *byte,
        });
    }
    Some(decoded)
}

fn hexadecimal(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The reason why a form is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadForm {
    ContentType,
    TooLarge,
    NoToken,
    /// The token is a child, which cannot be revoked.
    #[cfg(feature = "children")]
    Child,
    /// This parameter occurs more than once.
    Repeated(&'static str),
    /// This parameter cannot be decoded, or is not what its name says.
    Unreadable(&'static str),
}

impl BadForm {
    fn error(self) -> &'static str {
        match self {
            #[cfg(feature = "children")]
            Self::Child => "unsupported_token_type",
            _ => "invalid_request",
        }
    }

    /// Returns the error response (RFC 6749, section 5.2, and RFC 7009, section 2.2.1).
    pub(super) fn response(self) -> Response {
        let error = self.error();
        let (status, description): (_, Cow<'_, str>) = match self {
            #[cfg(feature = "children")]
            Self::Child => {
                (400, "a short-lived key cannot be revoked; it ends with its key".into())
            }
            Self::ContentType => (415, "the body must be application/x-www-form-urlencoded".into()),
            Self::TooLarge => (413, "the body has more than 8 KiB".into()),
            Self::NoToken => (400, "the parameter token is missing from the body".into()),
            Self::Repeated(name) => (400, ["the parameter ", name, " is repeated"].concat().into()),
            Self::Unreadable(name) => {
                (400, ["the parameter ", name, " cannot be read"].concat().into())
            }
        };
        // No description has a character that JSON escapes.
        let body =
            [r#"{"error":""#, error, r#"","error_description":""#, &description, r#""}"#].concat();
        Response::new(status).json("application/json", body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Form, BadForm> {
        let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
        Form::read(&headers[..], body.as_bytes())
    }

    #[test]
    fn escapes_are_decoded_once_and_only_if_they_are_complete() {
        for (text, decoded) in [
            ("", Some(&b""[..])),
            ("a+b%20c", Some(b"a b c")),
            ("%41%6a%6A", Some(b"Ajj")),
            ("%2541", Some(b"%41")),
            ("%ff%00", Some(b"\xff\0")),
            ("%", None),
            ("%4", None),
            ("%4g", None),
            ("%+4", None),
            ("%-1", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref().map(|text| &**text), decoded, "{text}");
        }
    }

    #[test]
    fn parameter_counts_once_however_it_is_spelled() {
        for body in ["token=a&token=a", "token=&token=a", "token=a&%74oken=b", "token&token=a"] {
            assert_eq!(read(body).err(), Some(BadForm::Repeated(TOKEN)), "{body}");
        }
        assert_eq!(&*read("x=1&x=2&token=a=b&Token=c").ok().unwrap().token, b"a=b");
    }

    #[test]
    fn content_type_may_have_parameters_and_any_case() {
        for (value, is_it) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLEncoded;charset=UTF-8", true),
            (" application/x-www-form-urlencoded ; charset=utf-8", true),
            ("application/x-www-form-urlencoded2", false),
            ("application/json", false),
            ("text/plain; application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = [("content-type", value.as_bytes())];
            assert_eq!(is_form(&headers[..]), is_it, "{value}");
            assert!(!is_form(&[headers[0], headers[0]][..]), "{value}");
        }
        assert!(!is_form(&[("accept", &b"*/*"[..])][..]));
    }
}
