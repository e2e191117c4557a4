//! The gRPC service of a factory on tonic: its methods, the access that each requires, and its keys.

pub mod keys;
pub mod machines;
pub mod server;

/// The messages, the client and the server of `proto/factory.proto`.
pub mod pb {
    tonic::include_proto!("factory.v1");
}

/// The encoded descriptors of `proto/factory.proto`.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/factory.bin"));

/// The error of a program that only prints it.
pub type Fault = Box<dyn std::error::Error + Send + Sync>;
