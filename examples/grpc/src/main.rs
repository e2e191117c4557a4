//! API keys on gRPC: `cargo run -p grpc`.
//!
//! Starts the service of `src/server.rs`, calls it with tonic's client, and prints each call with its code. Exits with
//! an error if a code is another one than expected.
//!
//! `cargo run -p grpc -- serve` prints the address and the keys, and serves until Ctrl-C. The line `disable KEY` on
//! stdin disables the key of this name.

mod client;

use std::net::SocketAddr;

use grpc::{Fault, keys::Company, server};
use tokio::{
    io::{AsyncBufReadExt, BufReader, stdin},
    net::TcpListener,
};
use tokio_stream::wrappers::TcpListenerStream;

#[tokio::main]
async fn main() -> Result<(), Fault> {
    let company = Company::new().await?;
    let table = server::table(company.keyring.policy())?;
    let router = server::router(&company.keyring, &table).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(router.serve_with_incoming(TcpListenerStream::new(listener)));
    match std::env::args().nth(1).as_deref() {
        None => {
            println!("The methods, and the access that each requires:\n\n{table}");
            client::run(address, &company).await
        }
        Some("serve") => {
            announce(address, &company);
            tokio::spawn(take_commands(company));
            tokio::select! {
                served = serving => served??,
                interrupted = tokio::signal::ctrl_c() => interrupted?,
            }
            Ok(())
        }
        Some(other) => Err(format!("`{other}` is not `serve`").into()),
    }
}

fn announce(address: SocketAddr, company: &Company) {
    println!("address {address}");
    for name in company.names() {
        println!("key {name} {}", company.bearer(name));
    }
    println!("ready");
}

/// Disables the keys that stdin names.
async fn take_commands(company: Company) {
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Some(name) = line.strip_prefix("disable ") else {
            println!("`{line}` is not `disable KEY`");
            continue;
        };
        match company.disable(name).await {
            Ok(()) => println!("disabled {name}"),
            Err(error) => println!("{error}"),
        }
    }
}
