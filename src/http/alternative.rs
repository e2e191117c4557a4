//! A credential besides the API key that a guard accepts.

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    sync::Arc,
};
use core::{error::Error, fmt, future::Future, pin::Pin};

use super::{Headers, credential::MAX_LEN, guard::header_name};
use crate::{
    bearer::{CredentialError, is_token_character},
    config::ConfigError,
};

/// The error of a check that has no result.
type Failure = Arc<dyn Error + Send + Sync>;

/// The verdict of the application's check: whether the credential is valid.
pub(super) type Checking = Pin<Box<dyn Future<Output = Result<bool, Failure>> + Send>>;

type Check = dyn Fn(String) -> Checking + Send + Sync;

/// A credential besides the API key, such as the cookie of a session, which the application checks itself. See
/// [`Guard::or`](super::Guard::or). Cheap to clone.
///
/// The check returns whether the credential is valid. An error says that it has no result, for example because the store
/// of sessions did not reply; the request then gets status 503.
///
/// ```
/// # use keyway::{ConfigError, Keyring};
/// use keyway::{Guard, http::Alternative};
/// # struct Sessions;
/// # impl Sessions {
/// #     async fn is_open(&self, _: &str) -> Result<bool, std::io::Error> { Ok(true) }
/// # }
///
/// fn guard(keyring: &Keyring, sessions: &'static Sessions) -> Result<Guard, ConfigError> {
///     let check = async move |value: String| sessions.is_open(&value).await;
///     let session = Alternative::cookie("session cookie", "sid", move |value| check(value))?;
///     keyring.require(["reporting"])?.or(session)
/// }
/// ```
#[derive(Clone)]
pub struct Alternative {
    how: Cow<'static, str>,
    place: Place,
    check: Arc<Check>,
}

/// The place of a credential in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The cookie with this name.
    Cookie(Box<str>),
    /// The header with this name, in lower case.
    Header(Box<str>),
}

impl Alternative {
    /// Creates an alternative in the cookie `name`, whose value `check` gets as it was sent. `how` describes it in tables
    /// of routes, and is the text that [`Endpoint::or`](super::Endpoint::or) repeats.
    ///
    /// Browsers send cookies with requests that other sites cause. Set `SameSite=Lax` or `Strict` on the cookie, and check a
    /// token against cross-site requests where a request changes something.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Alternative`] unless `name` is the name of a cookie of 1 to 64 characters (RFC 6265, section 4.1.1).
    pub fn cookie<F, R, E>(
        how: impl Into<Cow<'static, str>>,
        name: &str,
        check: F,
    ) -> Result<Self, ConfigError>
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_token_character) {
            return Err(ConfigError::Alternative(name.into()));
        }
        Ok(Self::new(how.into(), Place::Cookie(name.into()), check))
    }

    /// Creates an alternative in the header `name`, like [`cookie`](Self::cookie). `Authorization` is left to keys, so that
    /// another scheme in it does not count.
    ///
    /// # Errors
    ///
    /// [`ConfigError::KeyHeader`] unless `name` is a header name of 1 to 64 characters. `Authorization`,
    /// `Proxy-Authorization`, `Cookie` and `Host` are refused.
    pub fn header<F, R, E>(
        how: impl Into<Cow<'static, str>>,
        name: &str,
        check: F,
    ) -> Result<Self, ConfigError>
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        Ok(Self::new(how.into(), Place::Header(header_name(name)?), check))
    }

    fn new<F, R, E>(how: Cow<'static, str>, place: Place, check: F) -> Self
    where
        F: Fn(String) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let check = move |value| -> Checking {
            let checked = check(value);
            Box::pin(async move { checked.await.map_err(|error| Failure::from(error.into())) })
        };
        Self { how, place, check: Arc::new(check) }
    }

    /// Returns the description.
    pub fn how(&self) -> &str {
        &self.how
    }

    #[cfg(feature = "openapi")]
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// Returns the header that holds the credential, in lower case.
    pub(super) fn header_in(&self) -> &str {
        match &self.place {
            Place::Cookie(_) => COOKIE,
            Place::Header(name) => name,
        }
    }

    /// Returns whether the request presents this credential, whatever it is worth.
    pub(super) fn is_presented(&self, headers: &(impl Headers + ?Sized)) -> bool {
        self.values(headers).next().is_some()
    }

    /// Returns the check of the credential that the request presents, or `None` if it presents none.
    ///
    /// # Errors
    ///
    /// [`CredentialError`] if there are several, or if the value is not visible ASCII.
    pub(super) fn check(
        &self,
        headers: &(impl Headers + ?Sized),
    ) -> Result<Option<Checking>, CredentialError> {
        let mut values = self.values(headers);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(CredentialError::Several);
        }
        if value.len() > MAX_LEN {
            return Err(CredentialError::TooLong);
        }
        match str::from_utf8(value) {
            Ok(text) if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) => {
                Ok(Some((self.check)(text.to_string())))
            }
            _ => Err(CredentialError::Unreadable),
        }
    }

    /// Returns the values of this credential that are not empty.
    fn values<'f>(&self, headers: &'f (impl Headers + ?Sized)) -> impl Iterator<Item = &'f [u8]> {
        let of_header = match &self.place {
            Place::Header(name) => Some(headers.values(name)),
            Place::Cookie(_) => None,
        };
        let of_cookie = match &self.place {
            Place::Header(_) => None,
            Place::Cookie(name) => Some(cookies(headers, name)),
        };
        let values = of_header.into_iter().flatten().chain(of_cookie.into_iter().flatten());
        values.map(<[u8]>::trim_ascii).filter(|value| !value.is_empty())
    }
}

const COOKIE: &str = "cookie";

/// Returns the values of the cookie `name` (RFC 6265, section 4.2.1). HTTP/2 may send a header for each cookie (RFC 9113,
/// section 8.2.3).
fn cookies<'f>(headers: &'f (impl Headers + ?Sized), name: &str) -> impl Iterator<Item = &'f [u8]> {
    let pairs = headers.values(COOKIE).flat_map(|value| value.split(|byte| *byte == b';'));
    pairs.filter_map(move |pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (own, value) = pair.split_at_checked(at)?;
        (own.trim_ascii() == name.as_bytes()).then(|| value.get(1..).unwrap_or_default())
    })
}

impl fmt::Debug for Alternative {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alternative")
            .field("how", &self.how)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn session() -> Alternative {
        let check = async |_: String| Ok::<_, core::fmt::Error>(true);
        Alternative::cookie("session cookie", "sid", check).unwrap()
    }

    #[test]
    fn cookie_is_found_among_others_whatever_their_headers() {
        for (headers, values) in [
            (&[][..], &[][..]),
            (&["a=b"], &[]),
            (&["sid=7"], &["7"]),
            (&["a=b; sid=7; c=d"], &["7"]),
            (&["a=b;sid=7"], &["7"]),
            (&["a=b", "sid=7"], &["7"]),
            (&["sid=7=8"], &["7=8"]),
            (&["sid="], &[]),
            (&["sid"], &[]),
            (&["SID=7; asid=8; sidb=9; x=sid=7"], &[]),
            (&["sid=7; sid=8"], &["7", "8"]),
            (&["sid=7", "sid=7"], &["7", "7"]),
        ] {
            let headers: Vec<_> =
                headers.iter().map(|value| ("cookie", value.as_bytes())).collect();
            let session = session();
            let found: Vec<_> = session.values(&headers[..]).collect();
            let expected: Vec<_> = values.iter().map(|value| value.as_bytes()).collect();
            assert_eq!(found, expected, "{headers:?}");
            assert_eq!(session.is_presented(&headers[..]), !values.is_empty());
            assert_eq!(session.check(&headers[..]).is_err(), values.len() > 1);
        }
    }
}
