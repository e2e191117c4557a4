//! Tickets in the query of a request: how they are found, and how they are taken out.

#[cfg(any(feature = "tower", feature = "actix"))]
use alloc::string::String;
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::query::decoded;
use crate::bearer::CredentialError;

/// The name of the parameter that holds a ticket.
pub(super) const PARAMETER: &str = "ticket";

/// The longest ticket that is examined, in bytes. A child has at most that many.
const MAX_LEN: usize = 1_024;

/// The `~` of a child as `URLSearchParams` writes it in browsers. Its last digit may be in lower case.
const ESCAPED_MARK: [u8; 3] = *b"%7E";

/// Finds the ticket in a query, and returns it as the query spells it. [`unescaped`] returns the child of another
/// spelling. Nothing else in the query is looked at.
///
/// # Errors
///
/// [`CredentialError`] if there are several, or if the parameter is empty or is not spelled as it is. A ticket consists
/// of characters that need no escape. Only its `~` may have one. INVARIANT: a parameter that a handler could read as
/// `ticket` counts, however its name is escaped, so that a handler finds no ticket in the address that the guard has not
/// seen.
pub(super) fn find(query: &[u8]) -> Result<Option<&[u8]>, CredentialError> {
    let mut parameters = query.split(|byte| *byte == b'&').filter(|parameter| is_ticket(parameter));
    let Some(parameter) = parameters.next() else { return Ok(None) };
    if parameters.next().is_some() {
        return Err(CredentialError::Several);
    }
    let value = parameter.strip_prefix(PARAMETER.as_bytes());
    let value = value.and_then(|value| value.strip_prefix(b"="));
    let value = value.filter(|value| !value.is_empty()).ok_or(CredentialError::Unreadable)?;
    let (len, is_spelled) = match around_escaped_mark(value) {
        None => (value.len(), value.iter().copied().all(is_unreserved)),
        // INVARIANT: a child has one `~`. If that is escaped, no other is allowed, escaped or not.
        Some((before, after)) => {
            let mut others = before.iter().chain(after).copied();
            let is_spelled = others.all(|byte| byte != b'~' && is_unreserved(byte));
            (before.len() + 1 + after.len(), is_spelled)
        }
    };
    match value {
        _ if len > MAX_LEN => Err(CredentialError::TooLong),
        value if is_spelled => Ok(Some(value)),
        _ => Err(CredentialError::Unreadable),
    }
}

/// Returns the child of a ticket that has another spelling, and nothing for a ticket that is spelled as its child.
pub(super) fn unescaped(ticket: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (before, after) = around_escaped_mark(ticket)?;
    Some(Zeroizing::new([before, b"~", after].concat()))
}

/// Returns what is before and after the first escape in `value`, if that is the escape of a `~`.
fn around_escaped_mark(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = value.split_at_checked(value.iter().position(|byte| *byte == b'%')?)?;
    let (escape, after) = rest.split_first_chunk::<{ ESCAPED_MARK.len() }>()?;
    escape.eq_ignore_ascii_case(&ESCAPED_MARK).then_some((before, after))
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
            ("ticket%3Dx%7Ey", None),
            ("a=1&ticket=A%7Eb-._9&b=%41", Some("A%7Eb-._9")),
            ("ticket=A%7eb", Some("A%7eb")),
            ("a=%7E&ticket=A~b", Some("A~b")),
        ] {
            let found = find(query.as_bytes());
            assert_eq!(found, Ok(expected.map(str::as_bytes)), "{query}");
        }
    }

    #[test]
    fn child_of_a_ticket_has_one_spelling() {
        for (ticket, expected) in
            [("A%7Eb", Some("A~b")), ("A%7eb", Some("A~b")), ("A~b", None), ("Ab", None)]
        {
            let child = unescaped(ticket.as_bytes());
            assert_eq!(child.as_ref().map(|child| &child[..]), expected.map(str::as_bytes));
        }
    }

    #[test]
    fn longest_ticket_is_as_long_as_the_longest_child() {
        for mark in ["~", "%7E"] {
            let query = |len: usize| ["ticket=", mark, &"x".repeat(len - 1)].concat();
            assert!(find(query(MAX_LEN).as_bytes()).unwrap().is_some(), "{mark}");
            assert_eq!(
                find(query(MAX_LEN + 1).as_bytes()),
                Err(CredentialError::TooLong),
                "{mark}"
            );
        }
    }

    #[test]
    fn ticket_in_another_spelling_is_refused() {
        for query in [
            "ticket",
            "ticket=",
            "ticket=%78",
            "ticket=x%7Ey%7Ez",
            "ticket=x~y%7Ez",
            "ticket=x%7Ey~z",
            "ticket=x%7Ey%7A",
            "ticket=%78%7Ey",
            "ticket=x%257Ey",
            "ticket=x%25%37%45y",
            "ticket=x%2Dy",
            "ticket=x%5Fy",
            "ticket=x%00y",
            "ticket=x%7",
            "ticket=x%",
            "ticket=x%7Ey+",
            "ticket=x%u007Ey",
            "ticket=x%7Fy",
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
            ("/x?a=%7E&ticket=s%7Et&b=%7e", "/x?a=%7E&b=%7e"),
            ("/x?ticket=s%257Et&a", "/x?a"),
        ] {
            assert_eq!(without(target), expected);
        }
    }
}
