//! The cost of the layer alone, in the measuring thread.

use std::{
    convert::Infallible,
    future::ready,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, header::AUTHORIZATION};
use http_body_util::Full;
use keyway::Guard;
use sha2::block_api::compress256;
use tower::{Layer, Service, service_fn};

use crate::{
    report::{Report, median},
    world::World,
};

const ITERATIONS: u32 = 2_000;

pub(crate) fn run(world: &World, report: &mut Report) {
    let bare = service_fn(|request: Request<()>| {
        black_box(request);
        ready(Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok")))))
    });
    let guard = Guard::new(&world.verifier).require(["reporting"]).unwrap();
    let value = format!("Bearer {}", world.token);
    let request = || {
        let request = Request::builder().uri("/reports/production");
        request.header(AUTHORIZATION, &value).header("accept", "*/*").body(()).unwrap()
    };
    let (mut bare, mut guarded) = (bare, guard.layer(bare));
    let mut rows = Vec::new();
    for _ in 0..report.rounds(301) {
        let unit = time(two_compressions);
        let without = time(|| assert_eq!(call(&mut bare, request()), 200));
        let with = time(|| assert_eq!(call(&mut guarded, request()), 200));
        rows.push((unit, with - without));
    }
    let without = median((0..15).map(|_| time(|| assert_eq!(call(&mut bare, request()), 200))));
    println!("     the bare call with its request: {:.1} ns", without * 1e9);
    report.rows("tower_overhead", 6.0, &rows);
}

/// Returns the status of a response that a service returns without waiting.
fn call<S, R>(service: &mut S, request: Request<()>) -> u16
where
    S: Service<Request<()>, Response = Response<R>, Error = Infallible>,
{
    let mut context = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut context).is_ready());
    match pin!(service.call(request)).poll(&mut context) {
        Poll::Ready(Ok(response)) => black_box(response).status().as_u16(),
        Poll::Pending => panic!("the service waits"),
    }
}

/// Returns the seconds of one iteration.
fn time(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..ITERATIONS {
        work();
    }
    start.elapsed().as_secs_f64() / f64::from(ITERATIONS)
}

fn two_compressions() {
    let mut state = [1; 8];
    for block in &[[7; 64], [9; 64]] {
        compress256(black_box(&mut state), black_box(std::slice::from_ref(block)));
    }
    black_box(state);
}
