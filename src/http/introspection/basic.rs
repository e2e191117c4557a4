//! HTTP Basic (RFC 7617), the only scheme that many clients of introspection endpoints know.

use alloc::{vec, vec::Vec};

use zeroize::Zeroizing;

use crate::{
    base64,
    http::{Headers, credential::AUTHORIZATION},
};

/// The headers of a request, in which a key that came as a password is a bearer token.
pub(super) struct BasicAsBearer<'h, H: ?Sized> {
    headers: &'h H,
    /// The value of `Authorization`, if it was one of HTTP Basic.
    bearer: Option<Zeroizing<Vec<u8>>>,
}

impl<'h, H: Headers + ?Sized> BasicAsBearer<'h, H> {
    /// Replaces the password of the one `Authorization`. The user name is not examined: the key alone says who calls.
    pub(super) fn new(headers: &'h H) -> Self {
        let mut values = headers.values(AUTHORIZATION);
        let bearer = match (values.next(), values.next()) {
            (Some(value), None) => of_basic(value.trim_ascii()),
            _ => None,
        };
        drop(values);
        Self { headers, bearer }
    }

    /// Returns the headers as they came.
    pub(super) fn unchanged(headers: &'h H) -> Self {
        Self { headers, bearer: None }
    }
}

impl<H: Headers + ?Sized> Headers for BasicAsBearer<'_, H> {
    fn values<'f>(&'f self, name: &str) -> impl Iterator<Item = &'f [u8]> {
        let bearer = self.bearer.as_ref().filter(|_| name == AUTHORIZATION);
        let as_sent = self.headers.values(name).filter(move |_| bearer.is_none());
        bearer.map(|bearer| &***bearer).into_iter().chain(as_sent)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.headers.names()
    }
}

/// Returns the bearer token of a value of HTTP Basic, or `None` for other schemes. A password that cannot be read
/// becomes a token that cannot be read.
fn of_basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    const SCHEME: &[u8] = b"Basic ";
    let (scheme, text) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let text = str::from_utf8(text.trim_ascii()).unwrap_or_default();
    let mut buffer = Zeroizing::new(vec![0; text.len()]);
    let decoded = base64::decode(text, &mut buffer).unwrap_or_default();
    let password = decoded.splitn(2, |byte| *byte == b':').nth(1).unwrap_or_default();
    let mut bearer = Zeroizing::new(Vec::with_capacity(b"Bearer ".len() + password.len()));
    bearer.extend_from_slice(b"Bearer ");
    bearer.extend_from_slice(password);
    Some(bearer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_becomes_a_bearer_token() {
        for (value, bearer) in [
            ("Basic YTpiOmM=", Some("Bearer b:c")),
            ("bAsIc   Omtm ", Some("Bearer kf")),
            ("Basic YQ==", Some("Bearer ")),
            ("Basic YTpi!", Some("Bearer ")),
            ("Basic ", None),
            ("Basic", None),
            ("Basically YTpi", None),
            ("Bearer YTpi", None),
        ] {
            let headers = [("authorization", value.as_bytes()), ("accept", b"*/*")];
            let replaced = BasicAsBearer::new(&headers[..]);
            let values: Vec<_> = replaced.values("authorization").collect();
            assert_eq!(values, [bearer.unwrap_or(value).as_bytes()], "{value}");
            assert_eq!(replaced.values("accept").count(), 1);
            let twice = [headers[0], headers[0]];
            assert_eq!(BasicAsBearer::new(&twice[..]).values("authorization").count(), 2);
        }
    }
}
