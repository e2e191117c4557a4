//! An MCP server of a machine factory, for agents with keys: `cargo run -p mcp`.
//!
//! Starts the server, calls it with the SDK's own client as an agent would, and prints each call with its outcome.
//! `cargo run -p mcp -- serve` stays up instead, and prints the keys and the configuration of an agent. The keys are in
//! SQLite, in a folder that is removed at the end.

mod tour;

use std::{error::Error, net::SocketAddr, time::Duration};

use factory::Factory;
use keyway::{Keyring, NewKey, grant::Resources};
use mcp::server::FactoryServer;
use serde_json::json;
use tokio::net::TcpListener;

/// The tokens of a company. A real company gets each of them once, from the console.
pub struct Keys {
    /// Reads two of the three machines.
    reader: String,
    /// May do everything on the shop floor.
    operator: String,
    /// Has the rights of `reader`, and is deleted during the tour.
    deleted: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let stays = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("serve") => true,
        Some(other) => {
            return Err(format!("`{other}` is not a command; run without one, or `serve`").into());
        }
    };
    let folder = tempfile::tempdir()?;
    let keyring = factory::open_keyring(folder.path()).await?;
    let factory = Factory::new(&keyring)?;
    let routes = mcp::routes(&keyring, &factory)?;
    let table = routes.table()?;
    let app = routes.build()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let service = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>());
    let keys = keys(&keyring).await?;
    println!("{address}\n\n{table}\n{}", FactoryServer::new(&keyring, &factory)?.tools().table());

    if !stays {
        tokio::spawn(service.into_future());
        return tour::run(&address, &keys).await;
    }
    print_configuration(&address, &keys)?;
    let stop = async { _ = tokio::signal::ctrl_c().await };
    tokio::select! {
        ended = service.into_future() => Ok(ended?),
        () = stop => Ok(()),
    }
}

/// Issues the keys of agents: for an hour, with few scopes, for the machines that each needs.
async fn keys(keyring: &Keyring) -> Result<Keys, Box<dyn Error>> {
    let mills = Resources::only(["mill-1", "mill-2"])?;
    let key = |name, scopes: &[&str], machines: &Resources| {
        let key = NewKey::named(name).scopes(scopes.iter().copied());
        key.resources("machine", machines.clone()).expires_in(Duration::from_secs(3600))
    };
    let reader = key("Reading agent", &["reporting"], &mills);
    let (acme, reader) = keyring.create_tenant_with("acme", "advanced", reader).await?;
    let operator =
        acme.issue(key("Operating agent", &["operator", "reporting"], &Resources::All)).await?;
    let deleted = acme.issue(key("Former agent", &["reporting"], &mills)).await?;
    Ok(Keys {
        reader: reader.token.reveal().to_string(),
        operator: operator.token.reveal().to_string(),
        deleted: deleted.token.reveal().to_string(),
    })
}

/// Prints the keys, and what an agent needs to know.
fn print_configuration(address: &str, keys: &Keys) -> Result<(), Box<dyn Error>> {
    let Keys { reader, operator, deleted } = keys;
    println!("reader    {reader}\noperator  {operator}\ndeleted   {deleted}\n");
    let server = json!({
        "type": "http",
        "url": format!("{address}/mcp"),
        // Most agents read the value from the environment, so that no file has the key.
        "headers": { "Authorization": "Bearer ${FACTORY_KEY}" },
    });
    let configuration = json!({ "mcpServers": { "factory": server } });
    println!("{}\n\nready", serde_json::to_string_pretty(&configuration)?);
    Ok(())
}
