//! GraphQL over WebSocket, in the protocol `graphql-transport-ws`.
//!
//! The key is in the header of the handshake, which the guard checks, or in the payload of `connection_init`, since browsers
//! cannot send the header: `{"authorization": "Bearer <key>"}`.
//!
//! | event | the socket is closed with |
//! |---|---|
//! | `connection_init` without a key, with one that is not valid, or with a second one | 4403 |
//! | an operation before `connection_init` is acknowledged | 4401 |
//! | the key is no longer valid, or may do less than before | 4401, or 4403 |
//! | the store does not reply, or the rate is used up | 1013, try again later |
//! | no `connection_init` within 5 seconds | 4408 |
//! | another subprotocol, such as the older `graphql-ws` | 4406 |
//!
//! A socket has at most 100 operations at a time. Another one gets an error and is completed.
//!
//! The address of the client is that of the connection, as in the guard of this service. Behind a proxy, give both the
//! address that the proxy names, or a key that is limited to networks is checked against the proxy.
//!
//! A client of `graphql-ws` connects again after 4403 and 1013, and not after 4401.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    Data, Error, Executor, Request, ServerError,
    http::{WebSocket as Protocol, WebSocketProtocols, WsMessage},
};
use axum::{
    extract::{
        ConnectInfo, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use futures_util::{
    SinkExt as _, StreamExt as _,
    future::{pending, ready},
    stream::{self, BoxStream, SplitSink, SplitStream},
};
use keyway::{
    Principal, VerifyError,
    lowlevel::bearer_token,
    verifier::{Ended, Freshness, Verifier},
};
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use crate::{guarded::end_of, schema::FactorySchema, service::Service};

/// The name of the protocol.
pub const PROTOCOL: &str = "graphql-transport-ws";

/// The time in which subscriptions send their last errors before the socket is closed.
const REST: Duration = Duration::from_millis(300);

/// The time in which a client must send `connection_init`.
const INIT: Duration = Duration::from_secs(5);

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most operations at a time in one socket.
const MAX_OPERATIONS: usize = 100;

/// A code and a reason, with which a socket is closed.
type Close = (u16, &'static str);

const UNAUTHORIZED: Close = (4401, "Unauthorized");
const FORBIDDEN: Close = (4403, "Forbidden");
const TRY_AGAIN_LATER: Close = (1013, "Try Again Later");
const SUBPROTOCOL: Close = (4406, "Subprotocol not acceptable");
const INIT_TIMEOUT: Close = (4408, "Connection initialisation timeout");

/// Opens a WebSocket. The guard around this handler has verified the key in the header, if there is one.
pub async fn upgrade(
    caller: Option<Principal>,
    State(service): State<Service>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    upgrade: WebSocketUpgrade,
) -> Response {
    // Anyone may open a socket, and sends its first message before the key is known.
    upgrade
        .max_message_size(MAX_MESSAGE)
        .protocols([PROTOCOL])
        .on_upgrade(move |socket| serve(socket, service, caller, peer.ip()))
}

/// The outcome of `connection_init`: the caller, or the reason to close the socket.
type Outcome = Arc<OnceLock<Result<Principal, Close>>>;

async fn serve(socket: WebSocket, service: Service, of_header: Option<Principal>, peer: IpAddr) {
    let is_of_protocol = socket.protocol().is_some_and(|protocol| protocol == PROTOCOL);
    let (mut sink, source) = socket.split();
    let close = if is_of_protocol {
        converse(&mut sink, source, service, of_header, peer).await
    } else {
        Some(SUBPROTOCOL)
    };
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code, reason: reason.into() };
        // A client that is gone needs no reason.
        let _ = sink.send(Message::Close(Some(frame))).await;
    }
}

/// Passes messages on until the socket is to be closed. Returns `None` if the client has closed it.
async fn converse(
    sink: &mut SplitSink<WebSocket, Message>,
    source: SplitStream<WebSocket>,
    service: Service,
    of_header: Option<Principal>,
    peer: IpAddr,
) -> Option<Close> {
    let outcome = Outcome::default();
    // INVARIANT: no operation begins after the key has ended. It would run with the scopes that the key had.
    let is_over = Arc::<AtomicBool>::default();
    let ends = Arc::clone(&is_over);
    let messages = source
        .take_while(|message| ready(message.is_ok()))
        .filter(move |_| ready(!ends.load(Ordering::Relaxed)))
        .filter_map(async |message| match message {
            Ok(Message::Text(text)) => Some(text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Some(bytes.to_vec()),
            _ => None,
        });
    let set = Arc::clone(&outcome);
    let verifier = service.verifier.clone();
    let policy = service.verifier.policy().clone();
    let on_init = move |payload: Value| async move {
        let result = connect(&verifier, &payload, of_header, peer).await;
        let data = result.as_ref().map(|caller| {
            let mut data = Data::default();
            data.insert(caller.clone());
            data
        });
        let data = data.map_err(|(_, reason)| Error::new(*reason));
        let _ = set.set(result);
        data
    };
    let messages = pin!(messages);
    let executor =
        Limited { schema: service.schema, places: Arc::new(Semaphore::new(MAX_OPERATIONS)) };
    let protocol = Protocol::new(executor, messages, WebSocketProtocols::GraphQLWS);
    let mut protocol = pin!(protocol.on_connection_init(on_init));
    let mut init = pin!(sleep(INIT));
    let mut end: Option<Ended> = None;
    let mut close = None;
    let mut rest = pin!(sleep(INIT));
    loop {
        if let (None, Some(Ok(caller))) = (&end, outcome.get()) {
            end = Some(end_of(&policy, caller));
        }
        let message = tokio::select! {
            biased;
            error = until(&mut end), if close.is_none() => {
                is_over.store(true, Ordering::Relaxed);
                close = Some(code_of(&error));
                rest.as_mut().reset(Instant::now() + REST);
                continue;
            }
            // The subscriptions have sent their last errors.
            () = &mut rest, if close.is_some() => return close,
            () = &mut init, if outcome.get().is_none() => return Some(INIT_TIMEOUT),
            message = protocol.next() => message,
        };
        match message? {
            WsMessage::Text(text) => sink.send(Message::Text(text.into())).await.ok()?,
            WsMessage::Close(code, _) => return Some(translate(code, &outcome)),
        }
    }
}

/// The schema with a limited number of operations at a time. The rate counts how many are begun, and not how many are open.
#[derive(Clone)]
struct Limited {
    schema: FactorySchema,
    places: Arc<Semaphore>,
}

impl Executor for Limited {
    async fn execute(&self, request: Request) -> async_graphql::Response {
        self.schema.execute(request).await
    }

    fn execute_stream(
        &self,
        request: Request,
        session: Option<Arc<Data>>,
    ) -> BoxStream<'static, async_graphql::Response> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let error = ServerError::new("the socket has too many operations", None);
            let response = async_graphql::Response::from_errors(vec![error]);
            return stream::once(ready(response)).boxed();
        };
        let events = Executor::execute_stream(&self.schema, request, session);
        // The place is free again when the stream is dropped.
        events.inspect(move |_| _ = &place).boxed()
    }
}

/// Waits for the end of the key of an acknowledged connection.
async fn until(end: &mut Option<Ended>) -> VerifyError {
    match end {
        Some(end) => end.await,
        None => pending().await,
    }
}

/// Returns the code for a caller that is not verified, or is no longer.
fn code_of(error: &VerifyError) -> Close {
    match error {
        VerifyError::Forbidden(_) => FORBIDDEN,
        VerifyError::Unavailable(_) => TRY_AGAIN_LATER,
        _ => UNAUTHORIZED,
    }
}

/// Verifies the caller of a connection.
async fn connect(
    verifier: &Verifier,
    payload: &Value,
    of_header: Option<Principal>,
    peer: IpAddr,
) -> Result<Principal, Close> {
    let values = ["authorization", "Authorization"].map(|name| payload.get(name));
    let caller = match (of_header, values) {
        (Some(caller), [None, None]) => return Ok(caller),
        (None, [Some(Value::String(value)), None] | [None, Some(Value::String(value))]) => {
            let token = bearer_token(value.as_bytes()).map_err(|_| FORBIDDEN)?;
            verifier.verify_from(token, Freshness::Cached, Some(peer)).await
        }
        // No key, several keys, or a value that is no text.
        _ => return Err(FORBIDDEN),
    };
    let caller = caller.map_err(|error| match error {
        VerifyError::Unavailable(_) => TRY_AGAIN_LATER,
        _ => FORBIDDEN,
    })?;
    // The guard has counted a handshake with a key in its header.
    match verifier.count_request(&caller).and_then(|status| status.retry_after()) {
        Some(_) => Err(TRY_AGAIN_LATER),
        None => Ok(caller),
    }
}

/// Returns the code of the protocol for a code of async-graphql.
fn translate(code: u16, outcome: &Outcome) -> Close {
    match (code, outcome.get()) {
        (1002, Some(Err(close))) => *close,
        (1002, _) => (4400, "Invalid message"),
        (1011, _) => UNAUTHORIZED,
        (4429, _) => (4429, "Too many initialisation requests"),
        _ => (4500, "Internal server error"),
    }
}
