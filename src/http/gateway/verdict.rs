//! The responses to a gateway.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use super::{Ambiguity, Guard, Response};
use crate::{
    decision::Principal,
    grant::{OutsideGrant, Resources},
    http::{Admission, Reason, problem::Problem, response::VARY},
    resource::ResourceKind,
};

/// The headers that say who the caller is. Each admission has all of them, so that a gateway that copies them
/// replaces those of the caller.
pub(super) const IDENTITY: [&str; 5] =
    ["x-auth-tenant", "x-auth-key", "x-auth-scopes", "x-auth-owner", "x-auth-resources"];

/// The longest value of `X-Auth-Resources`, in bytes. Gateways have small buffers for the headers of a
/// response.
const MAX_RESOURCES: usize = 2048;

/// Returns the admission of a request whose caller is not known.
pub(super) fn anonymous() -> Response {
    admission(IDENTITY.map(|_| String::new()))
}

/// Returns the admission of a caller. The resources are those of `kinds`, which the application checks.
pub(super) fn admitted(
    guard: &Guard,
    caller: &Principal,
    kinds: &[ResourceKind],
    admitted: &Admission,
) -> Response {
    let resources: Vec<String> = kinds.iter().map(|kind| of_kind(caller, kind)).collect();
    let resources = resources.join("; ");
    if resources.len() > MAX_RESOURCES
        && let Some(kind) = kinds.first()
    {
        // A list that is cut off, or that a gateway drops, would be another grant.
        return guard.refuse(caller, OutsideGrant::Resource(kind.name().into()));
    }
    let owner = caller.owner().map(|owner| encoded(owner.as_str()).into_owned());
    let answer = admission([
        encoded(caller.tenant()).into_owned(),
        format!("{}", caller.key_id()),
        guard.catalog().text(caller.scopes()),
        owner.unwrap_or_default(),
        resources,
    ]);
    let rates = admitted.headers().filter(|(name, _)| *name != VARY);
    rates.fold(answer, |answer, (name, value)| answer.with(name, value))
}

fn admission(values: [String; 5]) -> Response {
    let answer = Response::new(200).with("cache-control", "no-store");
    IDENTITY.into_iter().zip(values).fold(answer, |answer, (name, value)| answer.with(name, value))
}

/// Returns `machine=*`, or `machine=` and the ids, separated by spaces.
fn of_kind(caller: &Principal, kind: &ResourceKind) -> String {
    let ids = match caller.resources(kind) {
        Resources::All => "*".into(),
        Resources::Only(ids) => ids.iter().map(encoded).collect::<Vec<_>>().join(" "),
        Resources::Nothing => String::new(),
    };
    [kind.name(), "=", &ids].concat()
}

/// Returns `text` with every byte percent-encoded that a URL or the value of a header may not hold as it is.
fn encoded(text: &str) -> Cow<'_, str> {
    let is_kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@:".contains(&byte);
    if text.bytes().all(is_kept) {
        return text.into();
    }
    let byte = |byte: u8| match byte {
        byte if is_kept(byte) => String::from(char::from(byte)),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect::<String>().into()
}

/// Returns the refusal of a request that two servers could read differently.
pub(super) fn ambiguous(guard: &Guard, ambiguity: Ambiguity) -> Response {
    let problem = Problem::new(400, "gateway-request-ambiguous", "The request is ambiguous")
        .detail(format!("{ambiguity}"))
        .with("reason", ambiguity.as_str());
    guard.refuse_unread(&problem, Reason::Ambiguous)
}

/// Returns the refusal of a request that no declared route serves.
pub(super) fn undeclared(guard: &Guard) -> Response {
    let problem = Problem::new(403, "gateway-route-undeclared", "No such route is declared")
        .detail("the gateway passes on requests of declared routes and methods only");
    guard.refuse_unread(&problem, Reason::Undeclared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_visible_ascii_without_separators() {
        for (text, expected) in [
            ("acme-1_a.b~c", "acme-1_a.b~c"),
            ("ann@example.com", "ann@example.com"),
            ("a b,c;d=e\"f", "a%20b%2Cc%3Bd%3De%22f"),
            ("100%", "100%25"),
            ("*", "%2A"),
            ("é\n", "%C3%A9%0A"),
        ] {
            assert_eq!(encoded(text), expected, "{text}");
        }
    }
}
