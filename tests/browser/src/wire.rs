//! The traffic between the browser and the service. It is recorded and, on request, lost or changed.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody, to_bytes},
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http_body::Frame;

/// The script that runs before those of the page.
const PRELOAD: &str = "/preload.js";
/// The path that a script sends its notes to.
const NOTED: &str = "/noted";

/// The traffic of one service.
#[derive(Default)]
pub struct Wire {
    requests: Mutex<Vec<String>>,
    loses: Mutex<Option<(String, Loss)>>,
    preload: Mutex<String>,
    notes: Mutex<Vec<String>>,
}

/// The part of a response that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// All of it. A browser whose connection was in use before repeats the request automatically.
    Whole,
    /// All but its beginning.
    Rest,
}

impl Wire {
    /// Runs a script before those of the page, on each load from now on.
    pub fn preload(&self, script: &str) {
        self.preload.lock().unwrap().push_str(&format!("{{ {script} }}\n"));
    }

    /// Returns all that scripts of the page have sent since the last time.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap())
    }

    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    pub(crate) fn lose_answer_to(&self, request: &str, loss: Loss) {
        *self.loses.lock().unwrap() = Some((request.into(), loss));
    }
}

pub(crate) async fn pass(State(wire): State<Arc<Wire>>, request: Request, next: Next) -> Response {
    match request.uri().path().trim_end_matches('/') {
        PRELOAD => {
            let script = wire.preload.lock().unwrap().clone();
            return ([(header::CONTENT_TYPE, "text/javascript")], script).into_response();
        }
        NOTED => {
            let note = text(request.into_body()).await;
            wire.notes.lock().unwrap().push(note);
            return StatusCode::NO_CONTENT.into_response();
        }
        _ => {}
    }
    let line = format!("{} {}", request.method(), request.uri());
    wire.requests.lock().unwrap().push(line.clone());
    let mut answer = next.run(request).await;
    if let Some((_, loss)) = wire.loses.lock().unwrap().take_if(|(lost, _)| *lost == line) {
        answer.headers_mut().remove(header::CONTENT_LENGTH);
        let breaks_off = if loss == Loss::Whole { BreaksOff::Now } else { BreaksOff::Later };
        *answer.body_mut() = Body::new(breaks_off);
    } else if is_html(&answer) && !wire.preload.lock().unwrap().is_empty() {
        return with_preload(answer).await;
    }
    answer
}

fn is_html(answer: &Response) -> bool {
    let kind = answer.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

/// Returns the same document with one more script.
async fn with_preload(answer: Response) -> Response {
    let (mut parts, body) = answer.into_parts();
    let document = text(body).await;
    let head = format!("<head>\n<script src=\"{PRELOAD}\"></script>");
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, document.replacen("<head>", &head, 1).into())
}

async fn text(body: Body) -> String {
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
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
            // Buffered bytes are sent first.
            Self::Soon => {
                *self = Self::Now;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Now => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
        }
    }
}
