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
    loses: Mutex<Option<(String, Loss)>>,
}

/// How much of an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it. A browser whose connection was in use before sends the request again by itself.
    Whole,
    /// All but its beginning.
    Rest,
}

impl Wire {
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub(crate) fn lose_answer_to(&self, request: &str, loss: Loss) {
        *self.loses.lock().unwrap() = Some((request.into(), loss));
    }
}

pub(crate) async fn pass(State(wire): State<Arc<Wire>>, request: Request, next: Next) -> Response {
    let line = format!("{} {}", request.method(), request.uri());
    wire.requests.lock().unwrap().push(line.clone());
    let mut answer = next.run(request).await;
    if let Some((_, loss)) = wire.loses.lock().unwrap().take_if(|(lost, _)| *lost == line) {
        answer.headers_mut().remove("content-length");
        let breaks_off = if loss == Loss::Whole { BreaksOff::Now } else { BreaksOff::Later };
        *answer.body_mut() = Body::new(breaks_off);
    }
    answer
}

/// A body that breaks off, behind its beginning or instead of one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BreaksOff {
    Later,
    Soon,
    Now,
}

impl HttpBody for BreaksOff {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match *self {
            Self::Later => {
                *self = Self::Soon;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"{")))))
            }
            // What there is goes out first.
            Self::Soon => {
                *self = Self::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Now => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
