//! The address of the client, behind any number of proxies.

use alloc::{sync::Arc, vec::Vec};
use core::net::{IpAddr, SocketAddr};

use super::Headers;
use crate::{config::ConfigError, grant::Network};

/// The source of the address that a guard compares with the [networks](crate::grant::Networks) of a key.
///
/// A header of a proxy is believed only as far as the proxies that the application names have written it. It is read from
/// its end to its beginning. The first address that is not that of a named proxy is the client. The entries before it were
/// sent by the client, and are ignored. If the header is missing or cannot be read up to there, the address is not known,
/// and a key that is limited to networks is refused.
///
/// ```
/// use keyway::http::ClientAddress;
///
/// // The load balancer is in 10.0.0.0/8 and appends to `X-Forwarded-For`.
/// let address = ClientAddress::x_forwarded_for(["10.0.0.0/8"])?;
/// # _ = address;
/// # Ok::<(), keyway::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientAddress {
    header: Option<Header>,
    proxies: Arc<[Network]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Header {
    XForwardedFor,
    Forwarded,
}

/// The address of the other end of a connection, as an extension of a request.
///
/// A server without axum inserts it into the requests of its connections. axum's
/// `into_make_service_with_connect_info::<SocketAddr>()` and actix-web need no insertion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl ClientAddress {
    /// Takes the other end of the connection for the client. Behind a proxy this is the address of the proxy.
    pub fn socket() -> Self {
        Self { header: None, proxies: Arc::default() }
    }

    /// Takes the address from `X-Forwarded-For`, if the connection comes from one of `proxies`. These are addresses and
    /// networks. A connection from elsewhere is that of the client itself.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Proxy`] names the invalid network.
    pub fn x_forwarded_for<S: AsRef<str>>(
        proxies: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        Self::from(Header::XForwardedFor, proxies)
    }

    /// Takes the address from `Forwarded` (RFC 7239), like [`x_forwarded_for`](Self::x_forwarded_for).
    ///
    /// # Errors
    ///
    /// [`ConfigError::Proxy`] names the invalid network.
    pub fn forwarded<S: AsRef<str>>(
        proxies: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        Self::from(Header::Forwarded, proxies)
    }

    fn from<S: AsRef<str>>(
        header: Header,
        proxies: impl IntoIterator<Item = S>,
    ) -> Result<Self, ConfigError> {
        let network = |text: S| {
            let invalid = |_| ConfigError::Proxy(text.as_ref().into());
            text.as_ref().parse::<Network>().map_err(invalid)
        };
        let proxies: Vec<Network> = proxies.into_iter().map(network).collect::<Result<_, _>>()?;
        Ok(Self { header: Some(header), proxies: proxies.into() })
    }

    /// Returns the address of the client, or `None` if it is not known. `peer` is the other end of the connection.
    pub(super) fn find(
        &self,
        peer: Option<IpAddr>,
        headers: &(impl Headers + ?Sized),
    ) -> Option<IpAddr> {
        let peer = peer?.to_canonical();
        let Some(header) = self.header.filter(|_| self.is_proxy(peer)) else { return Some(peer) };
        let name = match header {
            Header::XForwardedFor => "x-forwarded-for",
            Header::Forwarded => "forwarded",
        };
        // Several lines of one header are one list (RFC 9110, section 5.3).
        let lines: Vec<&[u8]> = headers.values(name).collect();
        let mut farthest = None;
        for line in lines.into_iter().rev() {
            let line = str::from_utf8(line).ok()?;
            let mut entries = split(line, ',');
            while let Some(entry) = entries.pop() {
                let address = match header {
                    Header::XForwardedFor => node(entry.trim())?,
                    Header::Forwarded => node(forwarded_for(entry)?)?,
                };
                farthest = Some(address);
                if !self.is_proxy(address) {
                    return farthest;
                }
            }
        }
        // All hops are named proxies: the request comes from the farthest of them.
        farthest
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.iter().any(|proxy| proxy.contains(address))
    }
}

/// Splits `text` at `separator`, except inside of quotes (RFC 9110, section 5.6.4).
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let separates = move |character: char| {
        let was_escaped = core::mem::take(&mut is_escaped);
        match character {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => {}
        }
        character == separator && !is_quoted
    };
    text.split(separates).collect()
}

/// Returns the value of `for` in an element of `Forwarded` (RFC 7239, section 4). It occurs once.
fn forwarded_for(element: &str) -> Option<&str> {
    let mut values = split(element, ';').into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("for").then_some(value.trim())
    });
    let value = values.next().filter(|_| values.next().is_none())?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\'])),
        None => Some(value),
    }
}

/// Returns the address of a node: an address with or without a port, and in brackets if it is IPv6 with a port. A zone of
/// IPv6 is left out. Names such as `unknown` have no address.
fn node(text: &str) -> Option<IpAddr> {
    let port = |text: &str| text.is_empty() || text.parse::<u16>().is_ok();
    let address = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let is_end = rest.is_empty() || rest.strip_prefix(':').is_some_and(port);
        is_end.then_some(address).filter(|address| address.contains(':'))?
    } else {
        match text.split_once(':') {
            Some((v4, rest)) if !rest.contains(':') => Some(v4).filter(|_| port(rest))?,
            _ => text,
        }
    };
    let address = match address.split_once('%') {
        Some((address, zone)) if !zone.is_empty() && address.contains(':') => address,
        Some(_) => return None,
        None => address,
    };
    address.parse().ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::*;

    const LINE: &str = "x-forwarded-for";

    fn found(
        address: &ClientAddress,
        peer: &str,
        headers: &[(&str, &[u8])],
    ) -> alloc::string::String {
        let peer = (!peer.is_empty()).then(|| peer.parse().unwrap());
        address.find(peer, headers).map_or("unknown".into(), |address| address.to_string())
    }

    fn behind() -> ClientAddress {
        ClientAddress::x_forwarded_for(["10.0.0.0/8", "2001:db8:1::/48"]).unwrap()
    }

    #[test]
    fn header_is_read_from_its_end() {
        for (peer, lines, expected) in [
            // Only the proxies' own entries count.
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7"),
            ("10.0.0.1", &["198.51.100.9, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7, 10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["198.51.100.9", "192.0.2.7", "10.0.0.2"], "192.0.2.7"),
            ("10.0.0.1", &["nonsense, 192.0.2.7"], "192.0.2.7"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // A client that connects without a proxy says nothing that counts.
            ("192.0.2.7", &["10.0.0.9"], "192.0.2.7"),
            ("::ffff:192.0.2.7", &[], "192.0.2.7"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], "192.0.2.7"),
            ("2001:db8:1::5", &["2001:db8:2::1"], "2001:db8:2::1"),
            // Not known.
            ("10.0.0.1", &[], "unknown"),
            ("10.0.0.1", &[""], "unknown"),
            ("10.0.0.1", &["192.0.2.7, unknown"], "unknown"),
            ("10.0.0.1", &["192.0.2.7, "], "unknown"),
            ("10.0.0.1", &["192.0.2.7,, 10.0.0.2"], "unknown"),
            ("", &["192.0.2.7"], "unknown"),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| (LINE, line.as_bytes())).collect();
            assert_eq!(found(&behind(), peer, &headers), expected, "{peer} {lines:?}");
        }
        assert_eq!(found(&behind(), "10.0.0.1", &[(LINE, b"\xff")]), "unknown");
    }

    #[test]
    fn nodes_have_ports_brackets_and_zones() {
        for (text, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7:49152", Some("192.0.2.7")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("[fe80::1%25eth0]:1", Some("fe80::1")),
            ("[192.0.2.7]", None),
            ("192.0.2.7:port", None),
            ("192.0.2.7:65536", None),
            ("192.0.2.7%eth0", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]x", None),
            ("192.0.2", None),
            ("192.0.2.07", None),
            ("0xc0000207", None),
            ("unknown", None),
            ("_hidden", None),
            ("", None),
        ] {
            let found = node(text).map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn forwarded_elements_are_parsed() {
        let address = ClientAddress::forwarded(["10.0.0.0/8"]).unwrap();
        for (line, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"192.0.2.7:80\"; proto=https;by=10.0.0.1", "192.0.2.7"),
            ("for=198.51.100.9, for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=192.0.2.7, for=10.0.0.2;host=\"a,b;for=1.1.1.1\"", "192.0.2.7"),
            ("for=192.0.2.7;for=198.51.100.9", "unknown"),
            ("for=unknown", "unknown"),
            ("for=_secret", "unknown"),
            ("proto=https", "unknown"),
            ("for=\"192.0.2.7", "unknown"),
        ] {
            let headers = [("forwarded", line.as_bytes())];
            assert_eq!(found(&address, "10.0.0.1", &headers), expected, "{line}");
        }
        // A quote that a client leaves open spoils its own part only if it is in the same line.
        let headers = [("forwarded", &b"for=\"x"[..]), ("forwarded", b"for=192.0.2.7")];
        assert_eq!(found(&address, "10.0.0.1", &headers), "192.0.2.7");
    }

    #[test]
    fn socket_ignores_headers_and_bad_proxies_are_named() {
        let headers = [(LINE, &b"192.0.2.7"[..]), ("forwarded", b"for=192.0.2.7")];
        assert_eq!(found(&ClientAddress::socket(), "10.0.0.1", &headers), "10.0.0.1");
        let error = ClientAddress::forwarded(["10.0.0.1/8"]).unwrap_err();
        assert!(format!("{error}").contains("10.0.0.1/8"));
    }
}
