//! Operations: gRPC methods, GraphQL fields and MCP tools, each with the access that it requires of its callers.
//!
//! One HTTP route serves all of them, so a requirement of the route is too coarse. A table of operations is like
//! [`Routes`](https://docs.rs/keyway/latest/keyway/http/struct.Routes.html): an operation without a declaration stops the
//! start, and so does a declaration without an operation.
//!
//! ```
//! use keyway::{Policy, operations::{Needs, OperationError, Operations}};
//!
//! # let policy: Policy = serde_json::from_str(r#"{
//! #     "issuer": "mm",
//! #     "scopes": [
//! #         { "name": "reporting", "description": "Read reports" },
//! #         { "name": "operator.jobs", "description": "Job control" }
//! #     ],
//! #     "resources": [{ "name": "machine", "description": "One machine" }]
//! # }"#)?;
//! // The names of the tools that the server has.
//! let tools = ["list_machines", "start_job", "ping"];
//! let table = Operations::new(&policy)
//!     .operation("list_machines", Needs::all(["reporting"]).handler_checks("machine"))
//!     .operation("start_job", Needs::all(["operator.jobs"]).resource("machine"))
//!     .operation("ping", Needs::nothing())
//!     .build(tools)?;
//!
//! // Without a key, a caller sees and calls only `ping`.
//! assert_eq!(table.permitted(None).collect::<Vec<_>>(), ["ping"]);
//! let refused = table.check("start_job", None, &[("machine", "press-1")]);
//! assert_eq!(refused.unwrap_err(), OperationError::Missing);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For gRPC, [`Guard::operations`](https://docs.rs/keyway/latest/keyway/http/struct.Guard.html#method.operations) is a
//! layer that checks each request by its path.
//!
//! A refusal speaks the protocol of its caller: [`OperationError::grpc_code`], [`OperationError::json_rpc_code`],
//! [`OperationError::mcp_code`] and [`OperationError::graphql_code`]. The guide has a page on
//! [MCP](https://docs.rs/keyway/latest/keyway/guide/mcp/index.html).

mod error;
mod names;
mod needs;
#[cfg(feature = "std")]
mod rows;

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, num::NonZeroU32};

use self::needs::Access;
#[cfg(feature = "tower")]
pub(crate) use self::rows::OperationRow;
pub use self::{error::OperationError, needs::Needs};
pub(crate) use self::{names::Names, needs::Rule};
use crate::{
    config::ConfigError,
    decision::Principal,
    grant::{OutsideGrant, ResourceKind, Resources},
    policy::Policy,
};

/// Operations with the access that each requires. They become a table only if each operation of the service is declared.
#[derive(Clone, Debug)]
#[must_use = "operations do nothing until they are built"]
pub struct Operations {
    policy: Policy,
    declared: Vec<(String, Needs)>,
}

impl Operations {
    /// Creates an empty set of operations, whose scopes and kinds of resources are those of `policy`.
    pub fn new(policy: &Policy) -> Self {
        Self { policy: policy.clone(), declared: Vec::new() }
    }

    /// Declares what the operation `name` needs. Names are compared byte for byte.
    pub fn operation(mut self, name: impl Into<String>, needs: Needs) -> Self {
        self.declared.push((name.into(), needs));
        self
    }

    /// Builds the table of a service that has the operations with these `names`, such as the methods of a gRPC service.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Operations`] names each operation that is not declared, is declared twice, or is declared and not one
    /// of `names`. [`ConfigError::UndeclaredOperationResources`] names each one that says nothing about a declared kind of
    /// resource. Another [`ConfigError`] names an unknown scope or kind.
    pub fn build<S: AsRef<str>>(
        self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<OperationTable, ConfigError> {
        let names: Vec<String> = names.into_iter().map(|name| name.as_ref().into()).collect();
        let mut operations = BTreeMap::new();
        let (mut wrong, mut unstated) = (Vec::new(), Vec::new());
        for (name, needs) in self.declared {
            if !names.contains(&name) || operations.contains_key(&*name) {
                wrong.push(name);
                continue;
            }
            let within = |error: ConfigError| error.within(alloc::format!("operation `{name}`"));
            let (access, rules, weight) = needs.resolve(self.policy.catalog()).map_err(within)?;
            if let Some(kind) = rules.unstated {
                unstated.push(alloc::format!("{name} ({kind})"));
            }
            let operation = Operation { access, rules: rules.stated, weight };
            operations.insert(name.into_boxed_str(), operation);
        }
        wrong.extend(names.into_iter().filter(|name| !operations.contains_key(&**name)));
        if !wrong.is_empty() {
            wrong.sort();
            wrong.dedup();
            return Err(ConfigError::Operations(wrong));
        }
        if !unstated.is_empty() {
            return Err(ConfigError::UndeclaredOperationResources(unstated));
        }
        Ok(OperationTable(Arc::new(Names::new(operations))))
    }
}

/// The table of all operations. Clones share one table. `Display` writes one operation per line.
#[derive(Clone)]
pub struct OperationTable(Arc<Names<Operation>>);

struct Operation {
    access: Access,
    /// One for each kind that the policy declares.
    rules: Vec<(ResourceKind, Rule)>,
    /// `None` if nothing was said.
    weight: Option<NonZeroU32>,
}

impl OperationTable {
    /// Checks that `caller` may call the operation `name` on the resources with these kinds and ids. `None` is a caller
    /// without a key.
    ///
    /// `ids` must have at least one id of each kind that the operation says to touch by [`Needs::resource`]. All ids are
    /// checked. An operation with two ids of one kind, such as a move, passes both.
    ///
    /// # Errors
    ///
    /// [`OperationError`] says why the call is refused. An operation that is not in the table is refused.
    pub fn check(
        &self,
        name: &str,
        caller: Option<&Principal>,
        ids: &[(&str, &str)],
    ) -> Result<(), OperationError> {
        let operation = self.0.get(name).ok_or(OperationError::Unknown)?;
        let Access::Key(requirement) = &operation.access else { return Ok(()) };
        let caller = caller.ok_or(OperationError::Missing)?;
        if !permits_operation(caller, name) {
            return Err(OutsideGrant::Audience.into());
        }
        caller.require(requirement).map_err(OutsideGrant::from)?;
        for (kind, rule) in &operation.rules {
            let mut own = ids.iter().filter(|(other, _)| *other == kind.name()).peekable();
            let resources = caller.resources(kind);
            let is_permitted = match rule {
                Rule::Checked if own.peek().is_none() => *resources == Resources::All,
                Rule::Checked | Rule::Handler | Rule::Untouched => {
                    own.all(|(_, id)| resources.contains(id))
                }
            };
            if !is_permitted {
                return Err(OutsideGrant::Resource(kind.name().into()).into());
            }
        }
        let is_declared =
            |kind: &str| operation.rules.iter().any(|(known, _)| known.name() == kind);
        match ids.iter().find(|(kind, _)| !is_declared(kind)) {
            // Nobody has said whether the caller may touch it.
            Some((kind, _)) => Err(OutsideGrant::Resource((*kind).into()).into()),
            None => Ok(()),
        }
    }

    /// Returns the names of the operations that `caller` may call, sorted, for a list such as `tools/list` of MCP. An
    /// operation on a resource is included if the caller may touch at least one resource of the kind.
    pub fn permitted<'t>(&'t self, caller: Option<&'t Principal>) -> impl Iterator<Item = &'t str> {
        let is_permitted =
            move |name: &str, operation: &Operation| match (&operation.access, caller) {
                (Access::Nothing, _) => true,
                (Access::Key(_), None) => false,
                (Access::Key(_), Some(caller)) if !permits_operation(caller, name) => false,
                (Access::Key(requirement), Some(caller)) => {
                    let has_some = |(kind, rule): &(ResourceKind, Rule)| {
                        *rule != Rule::Checked || *caller.resources(kind) != Resources::Nothing
                    };
                    caller.require(requirement).is_ok() && operation.rules.iter().all(has_some)
                }
            };
        let permitted =
            self.0.iter().filter(move |(name, operation)| is_permitted(name, operation));
        permitted.map(|(name, _)| name)
    }

    /// Returns the [weight](Needs::weight) of the operation `name`, which is 1 if none was declared, or `None` if there is no
    /// such operation.
    ///
    /// A service whose requests have several calls counts each call that it has checked, by
    /// [`Verifier::count_weighted`](https://docs.rs/keyway/latest/keyway/verifier/struct.Verifier.html#method.count_weighted)
    /// and [`Verifier::reserve`](https://docs.rs/keyway/latest/keyway/verifier/struct.Verifier.html#method.reserve).
    pub fn weight(&self, name: &str) -> Option<NonZeroU32> {
        self.0.get(name).map(|operation| operation.weight.unwrap_or(NonZeroU32::MIN))
    }

    /// Returns the names of all operations, sorted.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| name)
    }
}

/// Returns whether the caller's child, if it has one, may be used for the operation `name`.
#[cfg(feature = "children")]
fn permits_operation(caller: &Principal, name: &str) -> bool {
    caller.child().is_none_or(|child| child.permits_operation(name))
}

#[cfg(not(feature = "children"))]
fn permits_operation(_: &Principal, _: &str) -> bool {
    true
}

impl fmt::Display for OperationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.names().map(|name| name.chars().count()).max().unwrap_or_default();
        for (name, Operation { access, rules, weight }) in self.0.iter() {
            write!(f, "{name:<width$}  {access}")?;
            for (kind, rule) in rules {
                match rule {
                    Rule::Checked => write!(f, ", on {}", kind.name())?,
                    Rule::Handler => write!(f, ", on {} as the handler checks", kind.name())?,
                    Rule::Untouched => {}
                }
            }
            if let Some(weight) = weight {
                write!(f, ", counts {weight}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for OperationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, of)| (name, of.access.to_string())))
            .finish()
    }
}
