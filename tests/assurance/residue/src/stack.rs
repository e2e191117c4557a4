//! The copies of a header that a server of axum and hyper keeps, which keyway cannot affect.

use std::{
    env,
    error::Error,
    io::{Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::PoisonError,
};

use axum::{Router, routing::get};
use keyway::Guard;

use crate::{
    host::Host,
    memory::{self, bytes_of},
    needles::Needles,
    scenarios::tenant,
};

/// The seed of the only token.
const SEED: u64 = 5;

/// Runs in the searched process: a server with one guarded route.
pub fn serve() -> Result<(), Box<dyn Error>> {
    let mut host = Host::performing(SEED, true);
    let keyring = host.keyring();
    tenant(&host, &keyring);
    let guard = Guard::new(&keyring).require(["reporting"])?;
    let service = Router::new().route("/", get(async || "ok").layer(guard));
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        axum::serve(listener, service).await
    })?;
    Ok(())
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Searches after one request over its own connection, while the connection is open and after it is closed.
pub fn report() -> Result<(), Box<dyn Error>> {
    let (mut host, secrets) = Host::rehearsing(SEED);
    let keyring = host.keyring();
    tenant(&host, &keyring);
    let secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let needles = Needles::of_tokens(&secrets);

    let mut server = Command::new(env::current_exe()?)
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map(Server)?;
    let id = server.0.id();
    let mut address = [0; 64];
    let len = server.0.stdout.take().ok_or("a pipe")?.read(&mut address)?;
    let before = search(id, &needles)?;

    let mut connection = TcpStream::connect(str::from_utf8(&address[..len])?.trim())?;
    let token = &secrets.tokens[0];
    write!(connection, "GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n")?;
    let mut answer = [0; 512];
    let len = connection.read(&mut answer)?;
    let answer = str::from_utf8(&answer[..len])?;
    if !answer.starts_with("HTTP/1.1 200") {
        return Err(format!("the server says {answer}").into());
    }
    let during = search(id, &needles)?;
    drop(connection);
    let after = search(id, &needles)?;
    println!("figure {before} = 0 bytes left of the token in a server that has issued it");
    println!(
        "measured {during}B of the presented token are in a server of axum and hyper after its answer"
    );
    println!("measured {after}B after the connection was closed");
    Ok(())
}

fn search(id: u32, needles: &Needles) -> Result<u64, Box<dyn Error>> {
    memory::wait_until_still(id)?;
    let search = memory::search(id, needles)?;
    Ok(search.pieces().map(bytes_of).sum())
}
