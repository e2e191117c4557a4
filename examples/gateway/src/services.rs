//! The application, which has no guard and notes every request, and the checks, one for each kind of gateway.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderValue},
};
use keyway::http::{ForwardAuth, Gateway, OriginalRequest, Routes, axum::forward_auth};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{proxies::Kind, raw::Keys, rows};

/// The application behind the gateways.
pub struct Application {
    pub address: SocketAddr,
    noted: Arc<Mutex<Vec<Forwarded>>>,
}

/// A request that reached the application.
#[derive(Clone)]
pub struct Forwarded {
    pub method: String,
    pub target: String,
    headers: HeaderMap,
}

impl Application {
    pub fn start(runtime: &Runtime) -> Result<Self, Box<dyn Error>> {
        let noted: Arc<Mutex<Vec<Forwarded>>> = Arc::default();
        let notes = noted.clone();
        let note = async move |request: Request| {
            let (method, target) = (request.method().to_string(), request.uri().to_string());
            // Requests of the measurement have no number and are not noted.
            if request.headers().contains_key("x-row") {
                let forwarded = Forwarded { method, target, headers: request.headers().clone() };
                notes.lock().unwrap_or_else(PoisonError::into_inner).push(forwarded);
            }
            "made by the application\n"
        };
        let address = serve(runtime, Router::new().fallback(note))?;
        Ok(Self { address, noted })
    }

    pub fn forget(&self) {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the noted requests of the row with this number.
    pub fn noted(&self, number: usize) -> Vec<Forwarded> {
        let number = HeaderValue::from(number);
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let is_of_row = |one: &&Forwarded| one.headers.get("x-row") == Some(&number);
        noted.iter().filter(is_of_row).cloned().collect()
    }
}

impl Forwarded {
    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// Returns whether the header arrived with this value, in the spelling of the caller.
    pub fn has_value(&self, name: &str, value: &[u8]) -> bool {
        self.headers.get_all(name).iter().any(|other| other.as_bytes() == value)
    }

    /// Returns whether the check named this tenant. An empty one is the same as none.
    pub fn tenant_is(&self, tenant: &str) -> bool {
        let values = self.headers.get_all("x-auth-tenant").iter().map(HeaderValue::as_bytes);
        let values: Vec<_> = values.filter(|value| !value.is_empty()).collect();
        if tenant.is_empty() { values.is_empty() } else { values == [tenant.as_bytes()] }
    }
}

/// The check that gateways of one kind ask.
pub struct Check {
    pub kind: Kind,
    pub address: SocketAddr,
}

impl Check {
    pub fn all(runtime: &Runtime, keys: &Keys) -> Result<Vec<Self>, Box<dyn Error>> {
        let start = |kind| {
            let (mode, original) = match kind {
                Kind::Nginx => (ForwardAuth::DenialsOnly, x_original()?),
                Kind::Haproxy => (ForwardAuth::EveryStatus, x_original()?),
                Kind::Caddy => (ForwardAuth::EveryStatus, OriginalRequest::x_forwarded()),
            };
            let gateway = Gateway::new(rows::routes(&keys.keyring), mode, original)?;
            let app = Routes::new(&keys.keyring).route("/keys/check", forward_auth(&gateway));
            Ok(Self { kind, address: serve(runtime, app.build()?)? })
        };
        Kind::ALL.into_iter().map(start).collect()
    }

    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    pub fn is_for_nginx(&self) -> bool {
        self.kind == Kind::Nginx
    }

    pub fn reads_x_original(&self) -> bool {
        self.kind != Kind::Caddy
    }
}

fn x_original() -> Result<OriginalRequest, Box<dyn Error>> {
    Ok(OriginalRequest::headers("x-original-method", "x-original-uri")?)
}

fn serve(runtime: &Runtime, app: Router) -> Result<SocketAddr, Box<dyn Error>> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    runtime.spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}
