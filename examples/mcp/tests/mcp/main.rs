//! The MCP server as its clients see it, byte by byte.

mod calls;
mod http;
mod listing;
mod rpc;
mod sessions;
mod start;
mod streams;
mod wire;
