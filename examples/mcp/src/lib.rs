//! The machine factory as an MCP server: the tools, the guard in front of them, and the sessions of their callers.
//!
//! `guarded` and `sessions` know nothing of the factory. Copy both into a server of your own.

pub mod guarded;
pub mod server;
pub mod sessions;

use std::error::Error;

use axum::{
    middleware::from_fn_with_state,
    routing::{MethodRouter, any_service},
};
use factory::Factory;
use keyway::{
    Guard, Keyring,
    http::{
        ClientAddress, OwnKey, Routes,
        axum::{Endpoint, own_key},
    },
};
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::{server::FactoryServer, sessions::Sessions};

/// Returns the routes of the service: `/mcp` for agents, and `/key` for holders of keys.
///
/// # Errors
///
/// An error names each tool that the server has and nobody declared, and each declared tool that it lacks.
pub fn routes(
    keyring: &Keyring,
    factory: &Factory,
) -> Result<Routes<MethodRouter>, Box<dyn Error>> {
    // Clients connect directly. Behind a load balancer the address is in one of its headers.
    let guard = Guard::new(keyring).client_address(ClientAddress::socket());
    let holder = OwnKey::new(keyring, &guard);
    let server = FactoryServer::new(keyring, factory)?;
    Ok(Routes::new(guard)
        .route("/mcp", endpoint(server).any_key().handler_checks("machine"))
        .route("/key", own_key(&holder)))
}

/// Returns the endpoint of the server, which serves `POST`, `GET` and `DELETE`. Its access is not yet declared.
///
/// One declaration covers all methods, so that no stream and no end of a session is left open.
pub fn endpoint(server: FactoryServer) -> Endpoint {
    // No page of a browser calls this server. Only local names of the server are accepted, so a service sets its own.
    let config = StreamableHttpServerConfig::default().enforce_origin_validation();
    let sessions = Sessions::default();
    let mcp = StreamableHttpService::new(move || Ok(server.clone()), sessions.manager(), config);
    Endpoint::new("*", any_service(mcp).layer(from_fn_with_state(sessions, sessions::bind)))
}
