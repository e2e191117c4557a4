//! The refusal of an operation, in the words of each protocol.

use crate::grant::OutsideGrant;

/// An operation is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// There is no such operation.
    #[error("there is no such operation")]
    Unknown,
    /// The operation needs an API key, and the caller has none.
    #[error("an API key is required")]
    Missing,
    /// The key may not do this, or not to this resource.
    #[error(transparent)]
    Outside(#[from] OutsideGrant),
}

impl OperationError {
    /// Returns the [status code of gRPC](https://grpc.github.io/grpc/core/md_doc_statuscodes.html): 12 (`UNIMPLEMENTED`),
    /// 16 (`UNAUTHENTICATED`) or 7 (`PERMISSION_DENIED`).
    pub fn grpc_code(&self) -> i32 {
        match self {
            Self::Unknown => 12,
            Self::Missing => 16,
            Self::Outside(_) => 7,
        }
    }

    /// Returns the code of a JSON-RPC 2.0 error, section 5.1, if operations are methods: -32601 (method not found), 401 or
    /// 403. The tools of MCP have [`mcp_code`](Self::mcp_code).
    ///
    /// 401 is a missing key and 403 a refusal, as in HTTP. JSON-RPC has no codes for them, and leaves the numbers outside
    /// -32768 to -32000 to applications.
    pub fn json_rpc_code(&self) -> i32 {
        match self {
            Self::Unknown => -32601,
            Self::Missing => 401,
            Self::Outside(_) => 403,
        }
    }

    /// Returns the code of a JSON-RPC error if operations are tools of
    /// [MCP](https://modelcontextprotocol.io/specification/2026-07-28/basic#error-codes): -32602 (invalid params), 401 or
    /// 403.
    ///
    /// The method is `tools/call`, so -32601 would say that the server has no tools. HTTP servers send it with status 404.
    /// MCP allows no further codes from -32099 to -32000.
    pub fn mcp_code(&self) -> i32 {
        match self {
            Self::Unknown => -32602,
            Self::Missing | Self::Outside(_) => self.json_rpc_code(),
        }
    }

    /// Returns the code that servers of GraphQL put into `extensions.code` of an error: `GRAPHQL_VALIDATION_FAILED`,
    /// `UNAUTHENTICATED` or `FORBIDDEN`.
    pub fn graphql_code(&self) -> &'static str {
        match self {
            Self::Unknown => "GRAPHQL_VALIDATION_FAILED",
            Self::Missing => "UNAUTHENTICATED",
            Self::Outside(_) => "FORBIDDEN",
        }
    }
}
