//! The parts of a request that a guard reads.

use alloc::string::String;
use core::net::IpAddr;

use super::Headers;
use crate::decision::Principal;

/// A request, in whatever type a framework keeps it.
pub(super) trait Incoming {
    type Headers: Headers + ?Sized;

    fn headers(&self) -> &Self::Headers;

    /// Returns the query, as it was sent. It is empty if there is none.
    #[cfg(feature = "children")]
    fn query(&self) -> &[u8];

    /// Returns the caller that an outer guard has admitted. The outer guard has removed the credential, unless it keeps
    /// the credential.
    fn known(&self) -> Option<Principal>;

    /// Returns the address of the other end of the connection, if it is known.
    fn peer(&self) -> Option<IpAddr>;

    /// Returns the value of a parameter of the path, as the handler gets it.
    fn parameter(&self, name: &str) -> Option<String>;
}

/// The parts of a request that no framework has made.
pub(super) struct Parts<'r, H: ?Sized> {
    pub(super) headers: &'r H,
    pub(super) peer: Option<IpAddr>,
    pub(super) parameters: &'r [(&'r str, &'r str)],
    #[cfg(feature = "children")]
    pub(super) query: &'r [u8],
}

impl<H: Headers + ?Sized> Incoming for Parts<'_, H> {
    type Headers = H;

    fn headers(&self) -> &H {
        self.headers
    }

    #[cfg(feature = "children")]
    fn query(&self) -> &[u8] {
        self.query
    }

    fn known(&self) -> Option<Principal> {
        None
    }

    fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    fn parameter(&self, name: &str) -> Option<String> {
        only(self.parameters.iter().copied(), name).map(Into::into)
    }
}

/// Returns the value of the one parameter with this name. Two of one name have none, since it is not known which of them
/// the handler reads.
pub(super) fn only<'n, V>(
    parameters: impl IntoIterator<Item = (&'n str, V)>,
    name: &str,
) -> Option<V> {
    let mut values = parameters.into_iter().filter(|(other, _)| *other == name);
    values.next().filter(|_| values.next().is_none()).map(|(_, value)| value)
}
