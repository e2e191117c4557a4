//! GraphQL over HTTP: POST with JSON, a batch or a multipart form, and GET for queries.

use std::{error::Error, net::SocketAddr};

use async_graphql::{BatchResponse, Value};
use async_graphql_axum::{GraphQLBatchRequest, GraphQLResponse};
use axum::{
    Router,
    extract::State,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::MethodRouter,
};
use factory::Factory;
use keyway::{
    Guard, Keyring, Principal,
    http::{
        ClientAddress, OwnKey, Routes,
        axum::{get, own_key},
    },
    operations::OperationTable,
    verifier::Verifier,
};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    queries_only::{self, QueriesOnly},
    schema::{self, FactorySchema},
    socket,
    weigh::CountedOnce,
};

/// The most operations in one batch.
const MAX_BATCH: usize = 10;

/// The parts of the service that its handlers share.
#[derive(Clone)]
pub struct Service {
    pub(crate) schema: FactorySchema,
    pub(crate) verifier: Verifier,
}

/// A service that runs.
pub struct Running {
    /// The address, for example `127.0.0.1:49152`.
    pub address: SocketAddr,
    /// The fields of the schema, each with its needs.
    pub table: OperationTable,
    task: JoinHandle<()>,
}

/// Returns the routes, and the table of the fields. Each field has its own needs, so the routes admit callers without a key, and reject invalid keys.
///
/// # Errors
///
/// An error if the policy has no machines, or if a field or route is not declared.
pub async fn router(keyring: &Keyring) -> Result<(Router, OperationTable), Box<dyn Error>> {
    let guard = Guard::new(keyring).client_address(ClientAddress::socket());
    let (schema, table) = schema::schema(keyring, Factory::new(keyring)?).await?;
    let service = Service { schema, verifier: keyring.verifier().clone() };
    let holder = OwnKey::new(keyring, &guard);
    let routes: Routes<MethodRouter<Service>> = Routes::new(guard)
        .route("/graphql", get(graphql).post(graphql).optional().handler_checks("machine"))
        .route("/graphql/ws", get(socket::upgrade).optional().handler_checks("machine"))
        .route("/key", own_key(&holder));
    Ok((routes.build()?.with_state(service), table))
}

impl Running {
    /// Starts the service on a free port of this machine.
    ///
    /// # Errors
    ///
    /// The errors of [`router`], and of the socket.
    pub async fn start(keyring: &Keyring) -> Result<Self, Box<dyn Error>> {
        let (app, table) = router(keyring).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // The guard needs the address of each client for keys that are limited to networks.
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self { address, table, task })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn graphql(
    caller: Option<Principal>,
    State(service): State<Service>,
    method: Method,
    request: GraphQLBatchRequest,
) -> Response {
    let mut request = request.into_inner();
    if request.iter().count() > MAX_BATCH {
        let error = format!("a batch has at most {MAX_BATCH} operations");
        return (StatusCode::BAD_REQUEST, error).into_response();
    }
    let is_get = method == Method::GET;
    for (index, operation) in request.iter_mut().enumerate() {
        if let Some(caller) = &caller {
            operation.data.insert(caller.clone());
        }
        // The guard has counted the HTTP request.
        if index == 0 {
            operation.data.insert(CountedOnce);
        }
        if is_get {
            operation.data.insert(QueriesOnly);
        }
    }
    let response = service.schema.execute_batch(request).await;
    if is_get && is_refused_mutation(&response) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "POST")]).into_response();
    }
    GraphQLResponse(response).into_response()
}

fn is_refused_mutation(response: &BatchResponse) -> bool {
    let BatchResponse::Single(response) = response else { return false };
    response.errors.iter().any(|error| {
        let code = error.extensions.as_ref().and_then(|extensions| extensions.get("code"));
        matches!(code, Some(Value::String(code)) if code == queries_only::CODE)
    })
}
