//! Refusals in the form that gRPC clients read.

use alloc::{
    borrow::{Cow, ToOwned},
    format,
    string::{String, ToString},
};
use core::fmt::Write;

use super::{Headers, Response};

/// The gRPC code for each HTTP status.
const CODES: [(u16, i32); 8] =
    [(400, 3), (401, 16), (403, 7), (404, 12), (413, 8), (429, 8), (500, 13), (503, 14)];

/// `UNKNOWN`, for a status that is not listed.
const UNKNOWN: i32 = 2;

impl Response {
    /// Returns the refusal in the protocol of the request that it refuses.
    ///
    /// A gRPC client reads a body as frames, so it cannot read a problem body. The refusal of a `POST` whose
    /// content type is `application/grpc` or `application/grpc-web`, with any suffix, therefore becomes a
    /// trailers-only response. It has status 200, no body, and `grpc-status` and `grpc-message` among the
    /// headers. Status 400 becomes `INVALID_ARGUMENT`, 401 `UNAUTHENTICATED`, 403 `PERMISSION_DENIED`, 404
    /// `UNIMPLEMENTED`, 429 `RESOURCE_EXHAUSTED`, 500 `INTERNAL` and 503 `UNAVAILABLE`. All other headers are
    /// kept. If there is a `retry-after`, `grpc-retry-pushback-ms` has the same value in milliseconds.
    ///
    /// Every other refusal stays unchanged. So does a refusal of a guard for [forward
    /// authentication](super::Guard::forward_auth), because a gateway takes status 200 for an admission,
    /// whatever content type the caller sent.
    ///
    /// The guards and extractors of the adapters call this function. A service of gRPC calls it itself on what
    /// [`Guard::admit`](super::Guard::admit) or [`Guard::refuse`](super::Guard::refuse) returns.
    #[must_use]
    pub fn for_request(self, method: &str, headers: &(impl Headers + ?Sized)) -> Self {
        if method != "POST" || !self.is_for_any_protocol() {
            return self;
        }
        let content_type = headers.values("content-type").next();
        match content_type.and_then(grpc_type) {
            Some(content_type) => self.into_grpc(content_type),
            None => self,
        }
    }

    /// Returns the gRPC code of the refusal and its message, for a handler that refuses its caller as the guard does.
    ///
    /// With tonic, a handler returns `Status::new(Code::from(code), message)`.
    ///
    /// ```
    /// use keyway::{Guard, Principal, grant::OutsideGrant};
    ///
    /// /// Reports the refusal to the audit, and returns its code and message.
    /// fn refuse(guard: &Guard, caller: &Principal, outside: OutsideGrant) -> (i32, String) {
    ///     guard.refuse(caller, outside).grpc_status()
    /// }
    /// ```
    #[must_use]
    pub fn grpc_status(&self) -> (i32, String) {
        let code = CODES.iter().find(|(status, _)| *status == self.status());
        (code.map_or(UNKNOWN, |(_, code)| *code), self.detail())
    }

    fn into_grpc(self, content_type: &'static str) -> Self {
        let (code, message) = self.grpc_status();
        let message = percent_encoded(&message);
        // `Retry-After` is in seconds in every refusal here.
        let pushback = self.field("retry-after").map(|seconds| format!("{seconds}000"));
        let answer = self.without_body(200, content_type);
        let answer = answer.with("grpc-status", code.to_string()).with("grpc-message", message);
        match pushback {
            Some(milliseconds) => answer.with("grpc-retry-pushback-ms", milliseconds),
            None => answer,
        }
    }
}

/// Returns the content type of the response to a gRPC request with this content type, or `None` for others.
///
/// The result is from a fixed list, because a response repeats no part of the request.
fn grpc_type(request: &[u8]) -> Option<&'static str> {
    const KNOWN: [&str; 9] = [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc+json",
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web+json",
        "application/grpc-web-text",
        "application/grpc-web-text+proto",
        "application/grpc-web-text+json",
    ];
    let end = request.iter().position(|byte| *byte == b';').unwrap_or(request.len());
    let essence = request.get(..end)?.trim_ascii();
    // The prefix determines the framing around the messages, so an unknown codec gets the content type of its
    // prefix.
    let family = essence.iter().position(|byte| *byte == b'+').unwrap_or(essence.len());
    let family = essence.get(..family)?;
    let find =
        |name: &[u8]| KNOWN.into_iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
    find(essence).or_else(|| find(family))
}

/// Encodes `text` as gRPC encodes messages. Visible ASCII characters except `%`, and spaces, stay unchanged.
fn percent_encoded(text: &str) -> Cow<'static, str> {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'%';
    if text.as_bytes().iter().all(is_plain) {
        return text.to_owned().into();
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if is_plain(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a `String` never fails.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_type_of_request_is_matched_whatever_its_codec() {
        for (request, response) in [
            ("application/grpc", Some("application/grpc")),
            ("Application/GRPC+Proto", Some("application/grpc+proto")),
            ("application/grpc; charset=utf-8", Some("application/grpc")),
            (" application/grpc+thrift ", Some("application/grpc")),
            ("application/grpc-web+thrift", Some("application/grpc-web")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpc-web-text+proto", Some("application/grpc-web-text+proto")),
            ("application/grpcx", None),
            ("application/grpc-webs", None),
            ("application/json", None),
            ("text/plain; application/grpc", None),
            ("", None),
        ] {
            assert_eq!(grpc_type(request.as_bytes()), response, "{request}");
        }
    }

    #[test]
    fn message_of_grpc_is_percent_encoded() {
        assert_eq!(percent_encoded("missing scope `a.b`"), "missing scope `a.b`");
        assert_eq!(percent_encoded("100 % \n\u{fc}\u{7f}"), "100 %25 %0A%C3%BC%7F");
    }
}
