//! What passes between the browser and the service: noted down, and lost on request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http_body::Frame;

/// Of one service.
#[derive(Default)]
pub(crate) struct Wire {
    requests: Mutex<Vec<String>>,
    loses: Mutex<Option<String>>,
}

impl Wire {
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub(crate) fn lose_answer_to(&self, request: &str) {
        *self.loses.lock().unwrap() = Some(request.into());
    }
}

pub(crate) async fn pass(State(wire): State<Arc<Wire>>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    wire.requests.lock().unwrap().push(line.clone());
    let mut answer = next.run(request).await;
    if wire.loses.lock().unwrap().take_if(|lost| *lost == line).is_some() {
        answer.headers_mut().remove("content-length");
        *answer.body_mut() = Body::new(BreaksOff { has_begun: false });
    }
    answer
}

/// A body that begins and breaks off. Without a beginning a browser would send the request again by itself.
struct BreaksOff {
    has_begun: bool,
}

impl HttpBody for BreaksOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.has_begun {
            return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())));
        }
        self.has_begun = true;
        context.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{")))))
    }
}
