//! Tools with the access that each requires: the glue between `OperationTable` and rmcp. Copy it.
//!
//! A guard in front of the endpoint leaves the `Principal` in the extensions of the HTTP request, and rmcp passes these
//! on to each call. Without a guard, or over another transport, there is no caller, and only public tools remain.

use std::{collections::BTreeMap, fmt, pin::pin};

use axum::http::request::Parts;
use futures_util::future::{Either, select};
use keyway::{
    ConfigError, Policy, Principal, VerifyError,
    grant::OutsideGrant,
    http::problem::ProblemTypes,
    operations::{Needs, OperationError, OperationTable, Operations},
    scope::Scope,
};
use rmcp::{
    ErrorData, RoleServer,
    handler::server::{common::FromContextPart, router::tool::ToolRouter, tool::ToolCallContext},
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, ErrorCode, JsonObject, ListToolsResult,
    },
    service::RequestContext,
};
use serde_json::{Value, json};

/// The arguments of a tool that have ids of resources: the kind, and the name of the argument.
pub type Ids = &'static [(&'static str, &'static str)];

/// The tools of a server, each with the access that it requires. They are complete only together with their handlers.
#[must_use = "declarations do nothing until they are built"]
pub struct Declarations {
    operations: Operations,
    ids: BTreeMap<&'static str, Ids>,
    are_concealed: bool,
}

impl Declarations {
    /// Creates an empty set of tools, whose scopes and kinds of resources are those of `policy`.
    pub fn new(policy: &Policy) -> Self {
        let operations = Operations::new(policy);
        Self { operations, ids: BTreeMap::new(), are_concealed: false }
    }

    /// Declares what the tool `name` needs. `ids` are its arguments with ids of resources. Such an argument is text or a
    /// list of texts.
    pub fn tool(mut self, name: &'static str, needs: Needs, ids: Ids) -> Self {
        self.operations = self.operations.operation(name, needs);
        self.ids.insert(name, ids);
        self
    }

    /// Refuses tools that the list does not show like tools that do not exist. This is for servers whose names of tools
    /// are confidential. Agents are then not informed which scope they lack.
    pub fn concealed(mut self) -> Self {
        self.are_concealed = true;
        self
    }

    /// Joins the declarations with the handlers of `router`.
    ///
    /// # Errors
    ///
    /// `ConfigError::Operations` names each tool that only one side has. An argument that is not in the schema of its tool
    /// is an error too, since callers with limits could never call the tool.
    pub fn build<S>(self, router: ToolRouter<S>) -> Result<GuardedTools<S>, WrongTools> {
        // Disabled tools are included. They may be enabled later.
        let table = self.operations.build(router.map.keys())?;
        for (name, ids) in &self.ids {
            let schema = router.map.get(*name).map(|route| &route.attr.input_schema);
            let properties = schema.and_then(|schema| schema.get("properties"));
            for (_, argument) in *ids {
                if properties.and_then(|known| known.get(argument)).is_none() {
                    return Err(WrongTools::Argument(format!("{name}({argument})")));
                }
            }
        }
        Ok(GuardedTools { router, table, ids: self.ids, are_concealed: self.are_concealed })
    }
}

/// The declarations do not fit the tools of the server.
#[derive(Debug)]
pub enum WrongTools {
    /// Names of tools, scopes or kinds are wrong.
    Config(ConfigError),
    /// The tool has no such argument.
    Argument(String),
}

impl From<ConfigError> for WrongTools {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl fmt::Display for WrongTools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::Argument(name) => write!(f, "the schema of the tool has no argument `{name}`"),
        }
    }
}

impl std::error::Error for WrongTools {}

/// The handlers of tools behind the table of what each requires.
pub struct GuardedTools<S> {
    router: ToolRouter<S>,
    table: OperationTable,
    ids: BTreeMap<&'static str, Ids>,
    are_concealed: bool,
}

impl<S: Send + Sync + 'static> GuardedTools<S> {
    /// Returns the table, for example to print it at the start.
    pub fn table(&self) -> &OperationTable {
        &self.table
    }

    /// Returns the response to `tools/list`: the tools that the caller may call, sorted by name.
    pub fn list(&self, context: &RequestContext<RoleServer>) -> ListToolsResult {
        let caller = caller(context);
        let mut tools = self.router.list_all();
        tools.retain(|tool| self.is_listed(&tool.name, caller.as_ref()));
        // INVARIANT: the list is private. A client or gateway that shared it would show one key's tools to another key.
        ListToolsResult::with_all_items(tools).with_ttl_ms(0).with_cache_scope(CacheScope::Private)
    }

    /// Calls a tool, if the caller may. A tool that is still running when the caller may no longer call it is dropped.
    ///
    /// # Errors
    ///
    /// A refusal has the code of [`OperationError::mcp_code`], and data with the members of the problem document that HTTP
    /// would have.
    pub async fn call(
        &self,
        server: &S,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let caller = caller(&context);
        // INVARIANT: the ids are read from the same map as the handler's parameters. If each parsed the body, a repeated
        // member could show one id to the check and another one to the handler.
        let ids = self.ids_in(&request.name, request.arguments.as_ref());
        let admitted = match &caller {
            Some(_) => self.table.ended(&request.name, caller.as_ref(), &ids).map(Some),
            None => self.table.check(&request.name, None, &ids).map(|()| None),
        };
        let ended = admitted.map_err(|error| {
            let is_hidden = self.are_concealed && !self.is_listed(&request.name, caller.as_ref());
            refusal(if is_hidden { &OperationError::Unknown } else { &error })
        })?;
        let call = self.router.call(ToolCallContext::new(server, request, context));
        let Some(ended) = ended else { return call.await };
        match select(pin!(call), ended).await {
            Either::Left((response, _)) => response,
            Either::Right((reason, _)) => Err(end(&reason)),
        }
    }

    fn is_listed(&self, name: &str, caller: Option<&Principal>) -> bool {
        self.table.permitted(caller).any(|permitted| permitted == name)
    }

    /// Returns the ids of resources in the arguments. An argument that is neither text nor a list of texts has none, and
    /// the table then refuses callers that are limited to some resources.
    fn ids_in<'a>(
        &self,
        name: &str,
        arguments: Option<&'a JsonObject>,
    ) -> Vec<(&'static str, &'a str)> {
        let ids = self.ids.get(name).copied().unwrap_or_default();
        let mut found = Vec::new();
        for (kind, argument) in ids {
            let texts: Option<Vec<&str>> = match arguments.and_then(|given| given.get(*argument)) {
                Some(Value::String(id)) => Some(vec![id]),
                Some(Value::Array(list)) => list.iter().map(Value::as_str).collect(),
                _ => None,
            };
            // INVARIANT: one unreadable argument takes the ids of all others away. If they stayed, the check would pass
            // an operation on two resources by the id of one.
            let Some(texts) = texts else { return Vec::new() };
            found.extend(texts.into_iter().map(|id| (*kind, id)));
        }
        found
    }
}

/// The caller as an argument of tools that need a key.
pub struct Caller(pub Principal);

impl<S> FromContextPart<ToolCallContext<'_, S>> for Caller {
    fn from_context_part(context: &mut ToolCallContext<'_, S>) -> Result<Self, ErrorData> {
        let caller = caller(context.request_context());
        caller.map(Self).ok_or_else(|| refusal(&OperationError::Missing))
    }
}

/// Returns the caller that the guard has admitted with the HTTP request of this call. A session has no caller of its own.
pub fn caller(context: &RequestContext<RoleServer>) -> Option<Principal> {
    context.extensions.get::<Parts>()?.extensions.get::<Principal>().cloned()
}

/// Returns the JSON-RPC error of a refusal.
pub fn refusal(error: &OperationError) -> ErrorData {
    let message = match error {
        OperationError::Unknown => "unknown tool".to_string(),
        other => other.to_string(),
    };
    ErrorData::new(ErrorCode(error.mcp_code()), message, reason(error))
}

/// Returns the JSON-RPC error of a call whose key has ended.
fn end(reason: &VerifyError) -> ErrorData {
    let kind = |name| ProblemTypes::default().link(name);
    let (code, data) = match reason {
        VerifyError::Forbidden(outside) => return refusal(&outside.clone().into()),
        VerifyError::Unavailable(_) => (503, json!({ "type": kind("unavailable") })),
        VerifyError::Inactive(state) => {
            (401, json!({ "type": kind("inactive-key"), "state": state.as_str() }))
        }
        _ => (401, json!({ "type": kind("invalid-token") })),
    };
    ErrorData::new(ErrorCode(code), reason.to_string(), Some(data))
}

/// Returns the members of the problem document.
fn reason(error: &OperationError) -> Option<Value> {
    let kind = |name| ProblemTypes::default().link(name);
    let names = |scopes: &[Scope]| -> Value { scopes.iter().map(Scope::as_str).collect() };
    Some(match error {
        OperationError::Missing => json!({ "type": kind("missing-credential") }),
        OperationError::Outside(OutsideGrant::Scope(missing)) => {
            let mut data = json!({
                "type": kind("insufficient-scope"),
                "scopes": names(missing.scopes()),
                "match": if missing.is_any() { "any" } else { "all" },
            });
            if !missing.withheld().is_empty() {
                data["withheld"] = names(missing.withheld());
            }
            data
        }
        OperationError::Outside(OutsideGrant::Resource(name)) => {
            json!({ "type": kind("other-resource"), "resource": name })
        }
        OperationError::Outside(OutsideGrant::Network) => json!({ "type": kind("other-network") }),
        OperationError::Outside(OutsideGrant::Audience) => {
            json!({ "type": kind("other-audience") })
        }
        _ => return None,
    })
}
