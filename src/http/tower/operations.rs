//! The guard of a service with many operations, each of which has a path: gRPC.

use alloc::{collections::BTreeMap, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{GuardedBody, GuardedFuture};
use crate::{
    config::ConfigError,
    http::{
        Access, Admission, Guard,
        resource_rules::{ResourceRule, ResourceRules},
    },
    operations::{Names, OperationRow, OperationTable, Rule},
};

impl Guard {
    /// Returns the layer that takes the requirement of each request from `table`, by the path of the request. It is for
    /// gRPC services, whose path is `/package.Service/Method`.
    ///
    /// The names of the operations are paths with the slash at their beginning. They are compared byte for byte, without
    /// the query and without decoding. This guard's own requirement and statements on resources do not count. It is not
    /// [optional](Self::optional) here, and accepts no [other credential](Self::or). Everything else of it is kept.
    ///
    /// - An operation that [needs nothing](crate::operations::Needs::nothing) is public: its requests reach the service
    ///   unchanged, whatever credential they have.
    /// - A request whose path is no operation is refused before the service, with status 404. For gRPC that is
    ///   `UNIMPLEMENTED`.
    /// - Ids of resources are in the messages, which no layer reads. An operation that touches resources of a kind
    ///   [leaves the check to its handler](crate::operations::Needs::handler_checks). The handler calls
    ///   [`OperationTable::check`] with the ids of each message, or
    ///   [`Principal::permit`](crate::Principal::permit).
    /// - A request counts with the [weight](crate::operations::Needs::weight) of its operation, or with that of this guard if
    ///   the operation has none.
    /// - If this guard accepts [children](https://docs.rs/keyway/latest/keyway/children/index.html), the audience of a child may name operations. Such a child is
    ///   admitted for these operations and no others.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, Pepper, Policy};
    /// use core::convert::Infallible;
    /// use http::{Request, Response};
    /// use keyway::{Guard, operations::{Needs, Operations}};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{
    /// #     "issuer": "mm",
    /// #     "scopes": [{ "name": "reporting", "description": "Read reports" }]
    /// # }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live")
    /// #     .store(MemoryStore::new())
    /// #     .build()?;
    /// // The methods of the services, from their descriptors.
    /// let methods = ["/factory.v1.Machines/Get", "/grpc.health.v1.Health/Check"];
    /// let table = Operations::new(keyring.policy())
    ///     .operation("/factory.v1.Machines/Get", Needs::all(["reporting"]))
    ///     .operation("/grpc.health.v1.Health/Check", Needs::nothing())
    ///     .build(methods)?;
    ///
    /// let services = service_fn(async |_: Request<String>| {
    ///     Ok::<_, Infallible>(Response::new(String::new()))
    /// });
    /// let services = Guard::new(&keyring).operations(&table)?.layer(services);
    ///
    /// for (path, status) in [
    ///     ("/factory.v1.Machines/Get", "16"),
    ///     ("/factory.v1.Machines/Delete", "12"),
    ///     ("/grpc.health.v1.Health/Check", ""),
    /// ] {
    ///     let request = Request::post(path).header("content-type", "application/grpc");
    ///     let response = services.clone().oneshot(request.body(String::new())?).await?;
    ///     let refusal = response.headers().get("grpc-status");
    ///     assert_eq!(refusal.map_or("", |code| code.to_str().unwrap()), status);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// - [`ConfigError::OperationsWithoutIds`] names the operations that are declared with
    ///   [`Needs::resource`](crate::operations::Needs::resource).
    /// - [`ConfigError::ForeignOperation`] names an operation that needs a key of another policy.
    pub fn operations(&self, table: &OperationTable) -> Result<OperationGuard, ConfigError> {
        let without_ids: Vec<String> =
            table.rows().filter_map(|(name, row)| touched(name, &row)).collect();
        if !without_ids.is_empty() {
            return Err(ConfigError::OperationsWithoutIds(without_ids));
        }
        let guards =
            table.rows().map(|(name, row)| Ok((name.into(), self.for_operation(name, &row)?)));
        let guards = Names::new(guards.collect::<Result<BTreeMap<_, _>, ConfigError>>()?);
        Ok(OperationGuard(Arc::new(Paths { guards, own: self.clone() })))
    }

    /// Returns the guard of one operation, or `None` if the operation is public.
    fn for_operation(
        &self,
        name: &str,
        row: &OperationRow<'_>,
    ) -> Result<Option<Self>, ConfigError> {
        let Some(requirement) = row.requirement else { return Ok(None) };
        // INVARIANT: the catalogs are equal. A rule is kept by the index of its kind, and in another catalog the index is
        // that of another kind, whose ids a limited key might be checked by.
        if requirement.catalog() != self.catalog().fingerprint() {
            return Err(ConfigError::ForeignOperation(name.into()));
        }
        let mut rules = ResourceRules::default();
        for (kind, rule) in row.rules {
            let rule = match rule {
                Rule::Handler => ResourceRule::Handler,
                Rule::Untouched => ResourceRule::Untouched,
                Rule::Checked => ResourceRule::Unstated,
            };
            rules.add(kind, rule);
        }
        let guard = self.for_access(Access::Required(requirement.clone()), rules);
        let guard = match row.weight {
            Some(weight) => guard.map(|guard| guard.weight(weight.get())),
            None => guard,
        };
        #[cfg(feature = "children")]
        let guard = guard.map(|guard| guard.for_operation_children(name));
        Ok(guard)
    }
}

/// Returns the name of an operation and the kind whose ids it expects, if it expects any.
fn touched(name: &str, row: &OperationRow<'_>) -> Option<String> {
    let (kind, _) = row.rules.iter().find(|(_, rule)| *rule == Rule::Checked)?;
    Some([name, " (", kind.name(), ")"].concat())
}

/// The layer that guards each operation of a service by its own requirement. [`Guard::operations`] makes it. Cheap to
/// clone.
#[derive(Clone)]
pub struct OperationGuard(Arc<Paths>);

struct Paths {
    /// The guard of each path, or `None` for a public one.
    guards: Names<Option<Guard>>,
    /// The guard whose responses refuse all other paths.
    own: Guard,
}

impl<S> Layer<S> for OperationGuard {
    type Service = GuardedOperations<S>;

    fn layer(&self, inner: S) -> GuardedOperations<S> {
        GuardedOperations { guard: self.clone(), inner }
    }
}

/// A service wrapped by an [`OperationGuard`]. It admits requests by the operation at their path and by their keys, or
/// responds in place of the service.
#[derive(Clone, Debug)]
pub struct GuardedOperations<S> {
    guard: OperationGuard,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for GuardedOperations<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
{
    type Response = Response<GuardedBody<R>>;
    type Error = S::Error;
    type Future = GuardedFuture<S, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    #[inline]
    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.guard.0.guards.get(request.uri().path()) {
            Some(Some(guard)) => guard.call(&mut self.inner, request),
            Some(None) => GuardedFuture::calling(self.inner.call(request), Admission::default()),
            None => {
                let answer = self.guard.0.own.errors().unknown_operation();
                let answer = answer.for_request(request.method().as_str(), request.headers());
                GuardedFuture::refused(answer, request.method() == Method::HEAD)
            }
        }
    }
}

impl fmt::Debug for OperationGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.guards.iter()).finish()
    }
}
