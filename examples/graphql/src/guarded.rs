//! Requirements of GraphQL fields. Copy this file and its folder into an application with async-graphql.
//!
//! [`Fields`] declare the needs of each field of a schema. [`Fields::guard`] compares them with the schema and returns it
//! with an extension that checks each field before its resolver runs. A field without a declaration stops the start, and so
//! does a declaration without a field. A field that is unknown at a request is refused.
//!
//! - The caller is the [`Principal`] in the data of the request, or in those of the connection. Without one, only fields
//!   that need nothing are resolved.
//! - A field that is selected through an interface needs what it needs in each type that implements the interface. The
//!   guards of async-graphql do not see the type behind an interface.
//! - The fields of a subscription are checked before its stream is opened, and again for each event.
//! - A subscription ends with an error when its key may do less than it could at the beginning.
//! - A refused field that may be null is null, beside an error. A refused field of a type such as `String!` is left out, or
//!   makes its parent null, as async-graphql does for each error.

mod request;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use async_graphql::{
    Context, ObjectType, Schema, SchemaBuilder, SubscriptionType,
    registry::{MetaType, MetaTypeName, Registry},
};
use keyway::{
    ConfigError, Policy, Principal,
    operations::{Needs, OperationTable, Operations},
    verifier::Ended,
};

/// The fields of a schema, each with its needs.
#[must_use = "fields do nothing until they guard a schema"]
pub struct Fields {
    policy: Policy,
    operations: Operations,
    arguments: Arguments,
}

/// For each field, by name: the arguments with ids of resources, as kind and path.
type Arguments = BTreeMap<String, Vec<(String, String)>>;

/// The declarations do not fit the schema.
#[derive(Debug, thiserror::Error)]
pub enum FieldsError {
    /// A field is not declared, is declared twice or does not exist, or names an unknown scope or kind.
    #[error("the fields of the GraphQL schema: {0}")]
    Fields(#[from] ConfigError),
    /// The ids of a field cannot be read from this argument.
    #[error("the argument `{path}` of the field `{field}` {problem}")]
    Argument {
        /// The field, as `Type.field`.
        field: String,
        /// The argument.
        path: String,
        /// The reason.
        problem: &'static str,
    },
    /// An extension that was added to the schema before responds in place of the schema.
    #[error("another extension of the GraphQL schema responds before the fields are guarded")]
    Unreached,
}

impl Fields {
    /// Creates an empty set of fields, whose scopes and kinds of resources are those of `policy`.
    pub fn new(policy: &Policy) -> Self {
        let operations = Operations::new(policy);
        Self { policy: policy.clone(), operations, arguments: Arguments::new() }
    }

    /// Declares what the field `name` needs, for example `Query.machines`. Names are those of the schema.
    pub fn field(mut self, name: &str, needs: Needs) -> Self {
        self.operations = self.operations.operation(name, needs);
        self
    }

    /// Declares a field that touches the resources in its arguments. `arguments` are kinds and arguments, such as
    /// `("machine", "id")`. A field of an input object is written `input.machine`. A list has several ids. A call without
    /// an id needs a key for all resources of the kind.
    pub fn field_on<const N: usize>(
        mut self,
        name: &str,
        mut needs: Needs,
        arguments: [(&str, &str); N],
    ) -> Self {
        let kinds: BTreeSet<_> = arguments.iter().map(|(kind, _)| *kind).collect();
        for kind in kinds {
            needs = needs.resource(kind);
        }
        let arguments = arguments.map(|(kind, path)| (kind.into(), path.into()));
        self.arguments.insert(name.into(), arguments.into());
        self.field(name, needs)
    }

    /// Declares fields of the type `parent` that need no more than the field which returned the object.
    pub fn with_parent<const N: usize>(mut self, parent: &str, fields: [&str; N]) -> Self {
        for field in fields {
            self = self.field(&format!("{parent}.{field}"), Needs::nothing());
        }
        self
    }

    /// Builds the schema, whose fields are guarded, and the table of its fields. In the table, `public` is as public as the
    /// field that returned the object.
    ///
    /// # Errors
    ///
    /// [`FieldsError`] names each field that is not declared, and each declaration that does not fit.
    pub async fn guard<Q, M, S>(
        self,
        builder: SchemaBuilder<Q, M, S>,
    ) -> Result<(Schema<Q, M, S>, OperationTable), FieldsError>
    where
        Q: ObjectType + 'static,
        M: ObjectType + 'static,
        S: SubscriptionType + 'static,
    {
        let guarded = Guarded::default();
        let schema = builder.extension(guarded.clone()).data(guarded.clone()).finish();
        // The first request reaches no resolver. The extension reads the registry, which also has the fields that
        // introspection hides.
        schema.execute("{ __typename }").await;
        let found = guarded.0.found.get().ok_or(FieldsError::Unreached)?;
        let table = self.operations.build(&found.names)?;
        for (field, arguments) in &self.arguments {
            for (_, path) in arguments {
                found.check_argument(field, path)?;
            }
        }
        let checks =
            Checks { policy: self.policy, table: table.clone(), arguments: self.arguments };
        let _ = guarded.0.checks.set(checks);
        Ok((schema, table))
    }
}

/// Returns whether the caller may select the field `name`, for the attribute `visible` of async-graphql. Introspection
/// then hides the field. A hidden field is checked like any other.
pub fn sees(context: &Context<'_>, name: &str) -> bool {
    let checks = context.data_opt::<Guarded>().and_then(|guarded| guarded.0.checks.get());
    let caller = context.data_opt::<Principal>();
    checks.is_some_and(|checks| checks.table.permitted(caller).any(|known| known == name))
}

/// Returns the end of something that `caller` has begun: when its key is no longer valid, or may do less than it could. A
/// field deep inside a subscription may need any of its scopes.
pub fn end_of(policy: &Policy, caller: &Principal) -> Ended {
    let catalog = policy.catalog();
    match catalog.require_all(catalog.names(caller.scopes())) {
        Ok(all) => caller.ended().requiring(&all),
        // It has no scopes to lose.
        Err(_) => caller.ended(),
    }
}

/// The extension. Clones share the table.
#[derive(Clone, Default)]
pub struct Guarded(Arc<Shared>);

#[derive(Default)]
struct Shared {
    found: OnceLock<Found>,
    /// INVARIANT: unset until the declarations fit the schema, and no field is resolved before.
    checks: OnceLock<Checks>,
}

struct Checks {
    policy: Policy,
    table: OperationTable,
    arguments: Arguments,
}

/// The contents of a schema.
#[derive(Default)]
struct Found {
    /// The fields of all objects, as `Type.field`.
    names: BTreeSet<String>,
    /// The fields of each interface, with the same field of the types that implement it.
    interfaces: BTreeMap<String, Vec<String>>,
    /// The types of arguments and of fields of input objects, and whether they have a default.
    inputs: BTreeMap<String, (String, bool)>,
}

impl Found {
    fn of(registry: &Registry) -> Self {
        let mut found = Self::default();
        // The types of introspection begin with two underscores. `Query.__schema` leads to them, and is declared.
        let types = registry.types.iter().filter(|(name, _)| !name.starts_with("__"));
        for (name, of) in types {
            match of {
                MetaType::Object { fields, .. } => {
                    for (field, of) in fields {
                        let field = format!("{name}.{field}");
                        for (argument, of) in &of.args {
                            let of = (of.ty.clone(), of.default_value.is_some());
                            found.inputs.insert(format!("{field}.{argument}"), of);
                        }
                        found.names.insert(field);
                    }
                }
                MetaType::Interface { fields, possible_types, .. } => {
                    for field in fields.keys() {
                        let types = possible_types.iter().map(|of| format!("{of}.{field}"));
                        found.interfaces.insert(format!("{name}.{field}"), types.collect());
                    }
                }
                MetaType::InputObject { input_fields, .. } => {
                    for (field, of) in input_fields {
                        let of = (of.ty.clone(), of.default_value.is_some());
                        found.inputs.insert(format!("{name}.{field}"), of);
                    }
                }
                MetaType::Scalar { .. } | MetaType::Enum { .. } | MetaType::Union { .. } => {}
            }
        }
        found
    }

    /// Checks that an id can be read from this argument. With a default, the resolver would get an id that the caller did
    /// not send.
    fn check_argument(&self, field: &str, path: &str) -> Result<(), FieldsError> {
        let wrong = |problem| {
            let (field, path) = (field.into(), path.into());
            Err(FieldsError::Argument { field, path, problem })
        };
        let mut owner = field.to_owned();
        for step in path.split('.') {
            match self.inputs.get(&format!("{owner}.{step}")) {
                None => return wrong("does not exist"),
                Some((_, true)) => return wrong("has a default"),
                Some((of, false)) => MetaTypeName::concrete_typename(of).clone_into(&mut owner),
            }
        }
        if matches!(&*owner, "ID" | "Int" | "String") { Ok(()) } else { wrong("is not an id") }
    }
}
