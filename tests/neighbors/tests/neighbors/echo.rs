//! A gRPC service with one method of each kind, and its client. A message is a byte string.

use std::{
    convert::Infallible,
    future::Ready,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, BufMut, Bytes};
use keyway::Principal;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Request, Response, Status, Streaming,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    server::{Grpc, NamedService},
};
use tower::{Service, service_fn};

/// A codec that sends bytes unchanged.
#[derive(Clone, Copy, Default)]
pub struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The kinds of methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Unary,
    ClientStream,
    ServerStream,
    Streams,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Unary, Self::ClientStream, Self::ServerStream, Self::Streams];

    pub fn path(self) -> &'static str {
        match self {
            Self::Unary => "/test.Echo/Unary",
            Self::ClientStream => "/test.Echo/ClientStream",
            Self::ServerStream => "/test.Echo/ServerStream",
            Self::Streams => "/test.Echo/Streams",
        }
    }
}

/// A service that responds with the tenant of the caller.
#[derive(Clone, Debug, Default)]
pub struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

/// The same as [`Echo`], with the name of gRPC's health service.
#[derive(Clone, Debug, Default)]
pub struct Health;

impl NamedService for Health {
    const NAME: &'static str = "grpc.health.v1.Health";
}

type Body = tonic::body::Body;
type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

macro_rules! serve {
    ($service:ty) => {
        impl Service<http::Request<Body>> for $service {
            type Response = http::Response<Body>;
            type Error = Infallible;
            type Future = Answer;

            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }

            fn call(&mut self, request: http::Request<Body>) -> Answer {
                Box::pin(answer(request))
            }
        }
    };
}

serve!(Echo);
serve!(Health);

async fn answer(request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
    let tenant = request.extensions().get::<Principal>().map(|caller| caller.tenant().to_string());
    let tenant = Bytes::from(tenant.unwrap_or_else(|| "nobody".into()));
    let mut grpc = Grpc::new(Plain);
    let (one, many) = (tenant.clone(), tenant);
    let response = match request.uri().path().rsplit('/').next().unwrap() {
        "ClientStream" => {
            let collect = service_fn(move |request: Request<Streaming<Bytes>>| {
                let one = one.clone();
                async move {
                    let mut messages = request.into_inner();
                    while messages.next().await.transpose()?.is_some() {}
                    Ok::<_, Status>(Response::new(one))
                }
            });
            grpc.client_streaming(collect, request).await
        }
        "ServerStream" => {
            let repeat = service_fn(move |_: Request<Bytes>| twice(&many));
            grpc.server_streaming(repeat, request).await
        }
        "Streams" => {
            let repeat = service_fn(move |_: Request<Streaming<Bytes>>| twice(&many));
            grpc.streaming(repeat, request).await
        }
        _ => {
            let echo = service_fn(move |_: Request<Bytes>| {
                std::future::ready(Ok::<_, Status>(Response::new(one.clone())))
            });
            grpc.unary(echo, request).await
        }
    };
    Ok(response)
}

type Twice = tokio_stream::Iter<std::vec::IntoIter<Result<Bytes, Status>>>;

fn twice(message: &Bytes) -> Ready<Result<Response<Twice>, Status>> {
    let messages = vec![Ok(message.clone()), Ok(message.clone())];
    std::future::ready(Ok(Response::new(tokio_stream::iter(messages))))
}

/// Calls a method of this kind with these values of `authorization`, and returns all messages of the
/// response.
pub async fn call<C>(
    client: &mut tonic::client::Grpc<C>,
    kind: Kind,
    credentials: &[String],
) -> Result<Vec<String>, Status>
where
    C: tonic::client::GrpcService<Body>,
    C::ResponseBody: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    <C::ResponseBody as tonic::transport::Body>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    call_path(client, kind, kind.path(), credentials).await
}

pub async fn call_path<C>(
    client: &mut tonic::client::Grpc<C>,
    kind: Kind,
    path: &'static str,
    credentials: &[String],
) -> Result<Vec<String>, Status>
where
    C: tonic::client::GrpcService<Body>,
    C::ResponseBody: http_body_util::BodyExt<Data = Bytes> + Send + 'static,
    <C::ResponseBody as tonic::transport::Body>::Error:
        Into<Box<dyn std::error::Error + Send + Sync>> + Send,
{
    client.ready().await.map_err(|_| Status::unknown("the server is not there"))?;
    let path = http::uri::PathAndQuery::from_static(path);
    let text = |message: Bytes| String::from_utf8(message.to_vec()).unwrap();
    let message = Bytes::from_static(b"hello");
    let sign = |metadata: &mut tonic::metadata::MetadataMap| {
        for credential in credentials {
            metadata.append("authorization", credential.parse().unwrap());
        }
    };
    let one = || {
        let mut request = Request::new(message.clone());
        sign(request.metadata_mut());
        request
    };
    let stream = || {
        // The messages exceed a window of HTTP/2, so that a refusal arrives while the client is still
        // sending.
        let large = Bytes::from(vec![b'x'; 60_000]);
        let mut request = Request::new(tokio_stream::iter(vec![large; 8]));
        sign(request.metadata_mut());
        request
    };
    match kind {
        Kind::Unary => {
            client.unary(one(), path, Plain).await.map(|message| vec![text(message.into_inner())])
        }
        Kind::ClientStream => {
            let response = client.client_streaming(stream(), path, Plain).await?;
            Ok(vec![text(response.into_inner())])
        }
        Kind::ServerStream => {
            collect(client.server_streaming(one(), path, Plain).await?.into_inner()).await
        }
        Kind::Streams => collect(client.streaming(stream(), path, Plain).await?.into_inner()).await,
    }
}

async fn collect(
    mut messages: impl Stream<Item = Result<Bytes, Status>> + Unpin,
) -> Result<Vec<String>, Status> {
    let mut texts = Vec::new();
    while let Some(message) = messages.next().await {
        texts.push(String::from_utf8(message?.to_vec()).unwrap());
    }
    Ok(texts)
}
