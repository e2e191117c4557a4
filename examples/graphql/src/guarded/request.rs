//! The extension, which checks the fields of requests.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{self, Poll},
};

use async_graphql::{
    ErrorExtensionValues, Name, PathSegment, QueryPathNode, QueryPathSegment, Request, Response,
    ServerError, ServerResult, ValidationResult, Value, Variables,
    async_trait::async_trait,
    extensions::{
        Extension, ExtensionContext, ExtensionFactory, NextExecute, NextParseQuery,
        NextPrepareRequest, NextRequest, NextResolve, NextSubscribe, NextValidation, ResolveInfo,
    },
    futures_util::{
        FutureExt as _, StreamExt as _,
        stream::{BoxStream, poll_fn},
    },
    parser::types::{
        ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
    },
};
use keyway::{
    Principal, VerifyError, grant::OutsideGrant, operations::OperationError, scope::Scope,
    verifier::Ended,
};

use super::{Checks, Found, Guarded, Shared, end_of};

impl ExtensionFactory for Guarded {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Guard { shared: Arc::clone(&self.0), ..Guard::default() })
    }
}

/// The extension during one request or subscription.
#[derive(Default)]
struct Guard {
    shared: Arc<Shared>,
    operation_name: OnceLock<Option<String>>,
    variables: OnceLock<BTreeMap<Name, Value>>,
    /// The document, if its operation is a subscription.
    subscription: OnceLock<ExecutableDocument>,
    /// The end of the subscription. Its stream takes it.
    end: Arc<Mutex<Option<Ended>>>,
    /// The refusals of fields that are null.
    refused: Mutex<Vec<ServerError>>,
}

impl Guard {
    fn check(
        &self,
        context: &ExtensionContext<'_>,
        parent: &str,
        field: &Field,
    ) -> Result<(), OperationError> {
        let checks = self.shared.checks.get().ok_or(OperationError::Unknown)?;
        let found = self.shared.found.get().ok_or(OperationError::Unknown)?;
        let caller = context.data_opt::<Principal>();
        let name = format!("{parent}.{}", field.name.node);
        match found.interfaces.get(&name) {
            None => self.check_one(checks, &name, caller, field),
            Some(types) => {
                types.iter().try_for_each(|name| self.check_one(checks, name, caller, field))
            }
        }
    }

    fn check_one(
        &self,
        Checks { table, arguments, .. }: &Checks,
        name: &str,
        caller: Option<&Principal>,
        field: &Field,
    ) -> Result<(), OperationError> {
        let mut ids: Vec<(&str, String)> = Vec::new();
        for (kind, path) in arguments.get(name).into_iter().flatten() {
            let mut of_argument = Vec::new();
            let mut steps = path.split('.');
            let value = steps.next().and_then(|argument| self.value(field, argument));
            if !read_ids(value.as_ref(), steps, &mut of_argument) {
                return Err(OutsideGrant::Resource(kind.as_str().into()).into());
            }
            if of_argument.is_empty() {
                table.check(name, caller, &[])?;
            }
            ids.extend(of_argument.into_iter().map(|id| (kind.as_str(), id)));
        }
        let ids: Vec<(&str, &str)> = ids.iter().map(|(kind, id)| (*kind, id.as_str())).collect();
        table.check(name, caller, &ids)
    }

    /// Returns the value of an argument as the resolver gets it, with the values of variables.
    fn value(&self, field: &Field, argument: &str) -> Option<Value> {
        let (_, value) = field.arguments.iter().find(|(name, _)| name.node == argument)?;
        let variable = |name: Name| self.variables.get().and_then(|all| all.get(&name)).cloned();
        value.node.clone().into_const_with(|name| variable(name).ok_or(())).ok()
    }
}

/// Adds the ids in `value`, as text. Returns whether all of them could be read.
fn read_ids<'p>(
    value: Option<&Value>,
    mut steps: impl Iterator<Item = &'p str> + Clone,
    ids: &mut Vec<String>,
) -> bool {
    match value {
        None | Some(Value::Null) => return true,
        Some(Value::List(values)) => {
            return values
                .iter()
                .all(|value| *value != Value::Null && read_ids(Some(value), steps.clone(), ids));
        }
        Some(Value::Object(fields)) => {
            return steps.next().is_some_and(|step| read_ids(fields.get(step), steps, ids));
        }
        _ if steps.next().is_some() => return false,
        Some(Value::String(id)) => ids.push(id.clone()),
        // The scalars `ID` and `Int` take whole numbers.
        Some(Value::Number(id)) if id.is_i64() => ids.push(id.to_string()),
        Some(_) => return false,
    }
    true
}

#[async_trait]
impl Extension for Guard {
    async fn request(&self, context: &ExtensionContext<'_>, next: NextRequest<'_>) -> Response {
        if self.shared.checks.get().is_none() {
            self.shared.found.get_or_init(|| Found::of(&context.schema_env.registry));
            let error = ServerError::new("the fields are not guarded yet", None);
            return Response::from_errors(vec![error]);
        }
        next.run(context).await
    }

    async fn prepare_request(
        &self,
        context: &ExtensionContext<'_>,
        request: Request,
        next: NextPrepareRequest<'_>,
    ) -> ServerResult<Request> {
        let request = next.run(context, request).await?;
        let _ = self.operation_name.set(request.operation_name.clone());
        Ok(request)
    }

    async fn parse_query(
        &self,
        context: &ExtensionContext<'_>,
        query: &str,
        variables: &Variables,
        next: NextParseQuery<'_>,
    ) -> ServerResult<ExecutableDocument> {
        let document = next.run(context, query, variables).await?;
        let name = self.operation_name.get().and_then(Option::as_deref);
        if let Some(operation) = selected(&document, name) {
            let given = |name: &Name| variables.get(name);
            let values = operation.variable_definitions.iter().filter_map(|definition| {
                let name = &definition.node.name.node;
                let value = given(name).or_else(|| definition.node.default_value())?;
                Some((name.clone(), value.clone()))
            });
            let _ = self.variables.set(values.collect());
            if operation.ty == OperationType::Subscription {
                let _ = self.subscription.set(document.clone());
            }
        }
        Ok(document)
    }

    /// Checks the fields of a subscription. Its stream is opened after this, and before `resolve`.
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let valid = next.run(context).await?;
        let Some(document) = self.subscription.get() else { return Ok(valid) };
        let name = self.operation_name.get().and_then(Option::as_deref);
        let mut fields = Vec::new();
        if let Some(operation) = selected(document, name) {
            collect(document, &operation.selection_set.node, &mut BTreeSet::new(), &mut fields);
        }
        let parent = context.schema_env.registry.subscription_type.as_deref().unwrap_or_default();
        let fields = fields.into_iter().filter(|field| field.name.node != "__typename");
        let refused: Vec<_> = fields
            .filter_map(|field| {
                let error = self.check(context, parent, field).err()?;
                let key = field.response_key().node.to_string();
                Some(refusal(error, field, vec![PathSegment::Field(key)]))
            })
            .collect();
        if !refused.is_empty() {
            return Err(refused);
        }
        if let (Some(checks), Some(caller)) =
            (self.shared.checks.get(), context.data_opt::<Principal>())
        {
            *locked(&self.end) = Some(end_of(&checks.policy, caller));
        }
        Ok(valid)
    }

    fn subscribe<'s>(
        &self,
        context: &ExtensionContext<'_>,
        stream: BoxStream<'s, Response>,
        next: NextSubscribe<'_>,
    ) -> BoxStream<'s, Response> {
        let mut stream = next.run(context, stream);
        let set = Arc::clone(&self.end);
        let mut end: Option<Ended> = None;
        let mut is_over = false;
        poll_fn(move |context| {
            if is_over {
                return Poll::Ready(None);
            }
            let mut ends = |end: &mut Option<Ended>, context: &mut task::Context<'_>| {
                let Poll::Ready(error) = end.as_mut()?.poll_unpin(context) else { return None };
                is_over = true;
                Some(Poll::Ready(Some(Response::from_errors(vec![end_error(&error)]))))
            };
            // INVARIANT: the end is polled before each event, so that no event follows it.
            if let Some(last) = ends(&mut end, context) {
                return last;
            }
            let event = stream.poll_next_unpin(context);
            // The first poll has validated the operation, which sets the end.
            if end.is_none() {
                end = locked(&set).take();
                return ends(&mut end, context).unwrap_or(event);
            }
            event
        })
        .boxed()
    }

    async fn execute(
        &self,
        context: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(context, operation_name).await;
        response.errors.append(&mut locked(&self.refused));
        response
    }

    async fn resolve(
        &self,
        context: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        // The field was checked before its items, and `Query.__schema` before the types that it returns.
        let is_item = matches!(info.path_node.segment, QueryPathSegment::Index(_));
        let is_described = info.is_for_introspection && info.parent_type.starts_with("__");
        if is_item || is_described {
            return next.run(context, info).await;
        }
        let Err(error) = self.check(context, info.parent_type, info.field) else {
            return next.run(context, info).await;
        };
        let error = refusal(error, info.field, path_of(info.path_node));
        if info.return_type.ends_with('!') {
            return Err(error);
        }
        locked(&self.refused).push(error);
        Ok(None)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the last error of a subscription.
fn end_error(error: &VerifyError) -> ServerError {
    let mut extensions = ErrorExtensionValues::default();
    let code = match error {
        VerifyError::Forbidden(_) => "FORBIDDEN",
        VerifyError::Unavailable(_) => "SERVICE_UNAVAILABLE",
        _ => "UNAUTHENTICATED",
    };
    extensions.set("code", code);
    let mut last = ServerError::new(error.to_string(), None);
    last.extensions = Some(extensions);
    last
}

/// Returns the operation that async-graphql executes.
fn selected<'d>(
    document: &'d ExecutableDocument,
    name: Option<&str>,
) -> Option<&'d OperationDefinition> {
    let mut operations = document.operations.iter();
    match name {
        Some(name) => operations.find(|(known, _)| known.is_some_and(|known| known == name)),
        None => operations.next(),
    }
    .map(|(_, operation)| &operation.node)
}

/// Collects the fields of a selection, through its fragments.
fn collect<'d>(
    document: &'d ExecutableDocument,
    selection: &'d SelectionSet,
    seen: &mut BTreeSet<&'d str>,
    fields: &mut Vec<&'d Field>,
) {
    for item in &selection.items {
        match &item.node {
            Selection::Field(field) => fields.push(&field.node),
            Selection::InlineFragment(inline) => {
                collect(document, &inline.node.selection_set.node, seen, fields);
            }
            Selection::FragmentSpread(spread) => {
                let name = &spread.node.fragment_name.node;
                let fragment = document.fragments.get(name).filter(|_| seen.insert(name));
                if let Some(fragment) = fragment {
                    collect(document, &fragment.node.selection_set.node, seen, fields);
                }
            }
        }
    }
}

/// Returns the error of a refused field. Its source is the [`OperationError`].
fn refusal(error: OperationError, field: &Field, path: Vec<PathSegment>) -> ServerError {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.graphql_code());
    match &error {
        OperationError::Outside(OutsideGrant::Scope(missing)) => {
            let list = |scopes: &[Scope]| {
                Value::List(scopes.iter().map(|scope| Value::String(scope.to_string())).collect())
            };
            let name = if missing.is_any() { "missingOneOf" } else { "missingScopes" };
            extensions.set(name, list(missing.scopes()));
            if !missing.withheld().is_empty() {
                extensions.set("withheldByTier", list(missing.withheld()));
            }
        }
        OperationError::Outside(OutsideGrant::Resource(kind)) => {
            extensions.set("resource", &**kind);
        }
        _ => {}
    }
    let mut refusal = ServerError::new(error.to_string(), Some(field.response_key().pos));
    refusal.source = Some(Arc::new(error));
    refusal.path = path;
    refusal.extensions = Some(extensions);
    refusal
}

fn path_of(node: &QueryPathNode<'_>) -> Vec<PathSegment> {
    let mut path: Vec<_> = std::iter::once(node)
        .chain(node.parents())
        .map(|node| match node.segment {
            QueryPathSegment::Name(name) => PathSegment::Field(name.into()),
            QueryPathSegment::Index(index) => PathSegment::Index(index),
        })
        .collect();
    path.reverse();
    path
}
