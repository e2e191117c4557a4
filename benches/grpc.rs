//! The cost of a guard in a gRPC service: `cargo bench -p keyway-neighbor-tests --bench grpc [-- [--quick]]`.
//!
//! - `grpc_overhead`: the time of a unary call through the layer with a table of operations, over the time of the
//!   same call to the same service without the layer. Client and both servers are tonic's, in one thread, and speak
//!   HTTP/2 over the loopback device on kept connections. Both calls have the same credential, whose key is cached.
//!
//! The figure is the median of the rounds' ratios. Each round calls both servers, and the first one takes turns.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    dead_code,
    reason = "a benchmark that goes wrong stops, and the service has methods that are not measured"
)]

#[path = "../tests/neighbors/tests/neighbors/echo.rs"]
mod echo;
#[path = "common/report.rs"]
mod report;
#[path = "http/world.rs"]
mod world;

use std::{net::SocketAddr, time::Instant};

use keyway::{
    Guard,
    http::tower::OperationGuard,
    operations::{Needs, Operations},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};

use self::{
    echo::{Echo, Kind, call},
    report::{Report, median},
    world::World,
};

const CALLS: u32 = 200;

type Client = tonic::client::Grpc<Channel>;

fn main() {
    let mut report = Report::asked_for();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run(&mut report));
    report.finish("grpc");
}

async fn run(report: &mut Report) {
    let world = World::new();
    let credentials = [format!("Bearer {}", world.token)];
    let mut bare = client(serve(None).await).await;
    let mut guarded = client(serve(Some(guard(&world))).await).await;
    // The control: the layer is there, and it reads the key.
    assert_eq!(call(&mut bare, Kind::Unary, &[]).await.unwrap(), ["nobody"]);
    assert!(call(&mut guarded, Kind::Unary, &[]).await.is_err());
    assert_eq!(call(&mut guarded, Kind::Unary, &credentials).await.unwrap(), ["acme"]);

    let mut rows = Vec::new();
    for round in 0..report.rounds(301) {
        let (without, with);
        if round % 2 == 0 {
            without = time(&mut bare, &credentials).await;
            with = time(&mut guarded, &credentials).await;
        } else {
            with = time(&mut guarded, &credentials).await;
            without = time(&mut bare, &credentials).await;
        }
        rows.push((without, with));
    }
    let added = median(rows.iter().map(|(without, with)| with - without));
    println!("     the layer adds {:.0} ns to a call", added * 1e9);
    report.rows("grpc_overhead", 1.05, &rows);
}

fn guard(world: &World) -> OperationGuard {
    let names = Kind::ALL.map(Kind::path);
    let policy = world.verifier.policy();
    let declare = |table: Operations, name| table.operation(name, Needs::all(["reporting"]));
    let table = names.into_iter().fold(Operations::new(policy), declare);
    Guard::new(&world.verifier).operations(&table.build(names).unwrap()).unwrap()
}

/// Serves until the runtime ends.
async fn serve(guard: Option<OperationGuard>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = TcpListenerStream::new(listener);
    let mut server = Server::builder().tcp_nodelay(true);
    match guard {
        Some(guard) => {
            let router = server.layer(guard).add_service(Echo);
            tokio::spawn(router.serve_with_incoming(incoming));
        }
        None => {
            tokio::spawn(server.add_service(Echo).serve_with_incoming(incoming));
        }
    }
    address
}

async fn client(address: SocketAddr) -> Client {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    tonic::client::Grpc::new(channel.tcp_nodelay(true).connect().await.unwrap())
}

/// Returns the seconds of one call.
async fn time(client: &mut Client, credentials: &[String]) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        call(client, Kind::Unary, credentials).await.unwrap();
    }
    start.elapsed().as_secs_f64() / f64::from(CALLS)
}
