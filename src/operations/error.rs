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

    /// Returns the code of a JSON-RPC 2.0 error, section 5.1. It is -32601 for an unknown operation. Codes from -32000 to
    /// -32099 belong to the server: -32001 is a missing key, and -32003 a refusal.
    pub fn json_rpc_code(&self) -> i32 {
        match self {
            Self::Unknown => -32601,
            Self::Missing => -32001,
            Self::Outside(_) => -32003,
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
