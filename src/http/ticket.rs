//! Tickets in the query of a request: how they are found, and how they are taken out.

#[cfg(any(feature = "tower", feature = "actix"))]
use alloc::{string::String, vec::Vec};

use super::query::decoded;
use crate::bearer::CredentialError;

/// The name of the parameter that holds a ticket.
pub(super) const PARAMETER: &str = "ticket";

/// The longest ticket that is examined, in bytes. A child has at most that many.
const MAX_LEN: usize = 1_024;

/// Finds the ticket in a query. Nothing else in the query is looked at.
///
/// # Errors
///
/// [`CredentialError`] if there are several, or if the parameter is empty or is not spelled as it is. A ticket consists of
/// characters that need no escape. INVARIANT: a parameter that a handler could read as `ticket` counts, however its name is
/// escaped, so that a handler finds no ticket in the address that the guard has not seen.
pub(super) fn find(query: &[u8]) -> Result<Option<&[u8]>, CredentialError> {
    let mut parameters = query.split(|byte| *byte == b'&').filter(|parameter| is_ticket(parameter));
    let Some(parameter) = parameters.next() else { return Ok(None) };
    if parameters.next().is_some() {
        return Err(CredentialError::Several);
    }
    let value = parameter.strip_prefix(PARAMETER.as_bytes());
    match value.and_then(|value| value.strip_prefix(b"=")) {
        Some(value) if value.len() > MAX_LEN => Err(CredentialError::TooLong),
        Some(value) if !value.is_empty() && value.iter().copied().all(is_unreserved) => {
            Ok(Some(value))
        }
        Some(_) | None => Err(CredentialError::Unreadable),
    }
}

/// Returns a path with its query, without the ticket. All other parameters stay as they are, byte for byte.
#[cfg(any(feature = "tower", feature = "actix"))]
pub(super) fn without(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.into() };
    let others = query.split('&').filter(|parameter| !is_ticket(parameter.as_bytes()));
    let others: Vec<&str> = others.collect();
    match others.join("&") {
        others if others.is_empty() => path.into(),
        others => [path, "?", &others].concat(),
    }
}

/// Returns whether some handler could take the name of this parameter for that of the ticket.
fn is_ticket(parameter: &[u8]) -> bool {
    let name = parameter.split(|byte| *byte == b'=').next().unwrap_or_default();
    decoded(name).eq(PARAMETER.bytes())
}

/// Returns whether a URI holds this byte without an escape and with no meaning of its own (RFC 3986, section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticket_is_found_among_other_parameters() {
        for (query, expected) in [
            ("", None),
            ("a=1&b", None),
            ("ticket=A~b-._9", Some("A~b-._9")),
            ("a=1&ticket=x&b=2", Some("x")),
            ("&&ticket=x&", Some("x")),
            ("Ticket=x&tickets=y&xticket=z&a=ticket=x", None),
            ("a?ticket=x", None),
            ("a;ticket=x", None),
        ] {
            let found = find(query.as_bytes());
            assert_eq!(found, Ok(expected.map(str::as_bytes)), "{query}");
        }
    }

    #[test]
    fn ticket_in_another_spelling_is_refused() {
        let long = ["ticket=", &"x".repeat(MAX_LEN + 1)].concat();
        assert_eq!(find(&long.as_bytes()[..long.len() - 1]).unwrap().unwrap().len(), MAX_LEN);
        assert_eq!(find(long.as_bytes()), Err(CredentialError::TooLong));
        for query in [
            "ticket",
            "ticket=",
            "ticket=%78",
            "ticket=x%7E",
            "ticket=+x",
            "ticket=x;y",
            "ticket=x=",
            "tick%65t=x",
            "%74icket=x",
            "tick%65t",
            "ticket=x,y",
            "ticket=x/y",
        ] {
            assert_eq!(find(query.as_bytes()), Err(CredentialError::Unreadable), "{query}");
        }
        for query in ["ticket=x&ticket=x", "ticket=x&tick%65t=y", "ticket=&a&ticket"] {
            assert_eq!(find(query.as_bytes()), Err(CredentialError::Several), "{query}");
        }
    }

    #[cfg(any(feature = "tower", feature = "actix"))]
    #[test]
    fn other_parameters_stay_as_they_were() {
        for (target, expected) in [
            ("/x", "/x"),
            ("/x?ticket=s", "/x"),
            ("/x?a=%41&ticket=s&b=+&&c", "/x?a=%41&b=+&&c"),
            ("/x?ticket=s&a=1", "/x?a=1"),
            ("/x?a=1&ticket=s", "/x?a=1"),
            ("/ticket=s?ticket=s&Ticket=s?ticket=s", "/ticket=s?Ticket=s?ticket=s"),
            ("/x?tick%65t=s&a", "/x?a"),
        ] {
            assert_eq!(without(target), expected);
        }
    }
}
