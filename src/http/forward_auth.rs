//! Refusals in the form that gateways read.

use alloc::string::ToString;

use super::Response;

/// How a gateway reads a refusal of this service, which it asks before it forwards a request.
///
/// Both variants use plain HTTP only. A gateway takes status 200 for an admission, so a refusal never becomes
/// a [gRPC](Response::for_request) response, whatever content type the gateway passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForwardAuth {
    /// Every status of a refusal reaches the caller, as with Caddy and Traefik. Envoy passes on statuses
    /// below 500 and takes 503 for a failure of the check; see [proxies](crate::guide::proxies).
    EveryStatus,
    /// 401 and 403 are refusals and every other status is a failure, as with `auth_request` of nginx.
    ///
    /// Status 400 becomes 401, and 429 and 503 become 403. `X-Auth-Status` holds the original status and
    /// `Retry-After` is kept, so that the gateway can restore both.
    DenialsOnly,
}

impl ForwardAuth {
    /// Returns the refusal of a request whose key was not read, in the form that the gateway reads. It is never
    /// 401, because no key would help.
    pub(super) fn translate_unread(self, answer: Response) -> Response {
        let status = answer.status();
        match self {
            Self::EveryStatus => answer.for_gateway(status),
            Self::DenialsOnly => answer.for_gateway(403).with("x-auth-status", status.to_string()),
        }
    }

    /// Returns the refusal in the form that the gateway reads.
    pub(super) fn translate(self, answer: Response) -> Response {
        let status = answer.status();
        match self {
            Self::EveryStatus => answer.for_gateway(status),
            Self::DenialsOnly => {
                let denial = if matches!(status, 400 | 401) { 401 } else { 403 };
                answer.for_gateway(denial).with("x-auth-status", status.to_string())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_gets_the_statuses_that_it_understands() {
        let translate = |gateway: ForwardAuth, status| {
            let answer = gateway.translate(Response::new(status).with("retry-after", "7"));
            let original = answer.field("x-auth-status").map(ToString::to_string);
            assert_eq!(answer.field("retry-after"), Some("7"));
            (answer.status(), original)
        };
        for (status, denial) in [(400, 401), (401, 401), (403, 403), (429, 403), (503, 403)] {
            let original = Some(status.to_string());
            assert_eq!(translate(ForwardAuth::DenialsOnly, status), (denial, original));
            assert_eq!(translate(ForwardAuth::EveryStatus, status), (status, None));
        }
    }
}
