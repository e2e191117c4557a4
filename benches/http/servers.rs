//! Servers of one thread each, with the compared routes.

use std::{net::SocketAddr, sync::mpsc, thread};

use actix_web::{App, HttpResponse, HttpServer, rt::System, web};
use axum::{Router, http::StatusCode, routing::get};
use keyway::Guard;

use crate::world::World;

/// Starts a server on axum. `GET /bare` needs no key, `/guarded` needs the scope `reporting`, and `/refused`
/// responds with 401 to every request at once.
pub(crate) fn axum(world: &World) -> SocketAddr {
    let guard = Guard::new(&world.verifier).require(["reporting"]).unwrap();
    let routes = Router::new()
        .route("/bare", get(async || "ok"))
        .route("/guarded", get(async || "ok").layer(guard))
        .route("/refused", get(async || StatusCode::UNAUTHORIZED));
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            axum::serve(listener, routes).await.unwrap();
        });
    });
    address.recv().unwrap()
}

/// Starts a server with the same routes on actix-web, with one worker.
pub(crate) fn actix(world: &World) -> SocketAddr {
    let guard = Guard::new(&world.verifier).require(["reporting"]).unwrap();
    let app = move || {
        App::new()
            .route("/bare", web::get().to(async || "ok"))
            .route("/guarded", web::get().to(async || "ok").wrap(guard.clone()))
            .route("/refused", web::get().to(async || HttpResponse::Unauthorized().finish()))
    };
    let (sender, address) = mpsc::channel();
    thread::spawn(move || {
        System::new().block_on(async {
            let server = HttpServer::new(app).workers(1).disable_signals();
            let server = server.bind("127.0.0.1:0").unwrap();
            sender.send(server.addrs()[0]).unwrap();
            server.run().await.unwrap();
        });
    });
    address.recv().unwrap()
}
