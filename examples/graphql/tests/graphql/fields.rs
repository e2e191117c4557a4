//! Declarations that do not fit the schema stop the start.

use async_graphql::{
    Context, EmptyMutation, EmptySubscription, ID, InputObject, Object, ObjectType, Schema,
    SchemaBuilder, SimpleObject, Subscription, SubscriptionType, Union,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextRequest},
};
use graphql_service::guarded::{Fields, FieldsError, sees};
use keyway::{ConfigError, operations::Needs};
use std::sync::Arc;

use crate::world::policy;

struct Query;

#[derive(SimpleObject)]
struct Part {
    name: String,
    /// Introspection shows it to nobody.
    #[graphql(visible = false)]
    secret: String,
}

#[derive(SimpleObject)]
struct Bin {
    size: i32,
}

#[derive(Union)]
enum Item {
    Part(Part),
    Bin(Bin),
}

#[derive(InputObject)]
struct Wanted {
    id: ID,
    count: f64,
}

#[Object]
impl Query {
    async fn item(
        &self,
        id: ID,
        #[graphql(default = 1)] count: i32,
        wanted: Option<Wanted>,
    ) -> Item {
        match (id.as_str(), count, wanted) {
            ("bin", size, None) => Item::Bin(Bin { size }),
            (id, _, wanted) => {
                let wanted = wanted.map(|wanted| format!("{} {}", *wanted.id, wanted.count));
                Item::Part(Part { name: id.into(), secret: wanted.unwrap_or_default() })
            }
        }
    }

    #[graphql(visible = "hidden")]
    async fn hidden(&self) -> Option<&str> {
        Some("hidden")
    }
}

fn hidden(context: &Context<'_>) -> bool {
    sees(context, "Query.hidden")
}

struct Events;

#[Subscription]
impl Events {
    async fn ticks(&self) -> impl async_graphql::futures_util::Stream<Item = i32> {
        async_graphql::futures_util::stream::iter([1])
    }
}

fn builder() -> SchemaBuilder<Query, EmptyMutation, Events> {
    Schema::build(Query, EmptyMutation, Events)
}

const NAMES: [&str; 8] = [
    "Bin.size",
    "Events.ticks",
    "Part.name",
    "Part.secret",
    "Query.__schema",
    "Query.__type",
    "Query.hidden",
    "Query.item",
];

fn declared<'n>(names: impl IntoIterator<Item = &'n str>) -> Fields {
    names
        .into_iter()
        .fold(Fields::new(&policy()), |fields, name| fields.field(name, Needs::nothing()))
}

/// The names in the error of the start.
async fn wrong<Q: ObjectType + 'static, S: SubscriptionType + 'static>(
    fields: Fields,
    builder: SchemaBuilder<Q, EmptyMutation, S>,
) -> String {
    match fields.guard(builder).await {
        Ok(_) => "started".into(),
        Err(FieldsError::Fields(ConfigError::Operations(wrong))) => wrong.join(" "),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn undeclared_field_stops_the_start() {
    assert_eq!(wrong(declared(NAMES), builder()).await, "started");
    // Also one that only a union leads to, one that introspection hides, and one of a subscription.
    for missing in NAMES {
        let others = NAMES.into_iter().filter(|name| *name != missing);
        assert_eq!(wrong(declared(others), builder()).await, missing);
    }
    let error = declared(["Query.item"]).guard(builder()).await.err().unwrap().to_string();
    assert!(error.contains("GraphQL schema") && error.contains("Query.hidden"), "{error}");
    // A schema that does not describe itself has the same fields.
    let silent = builder().disable_introspection();
    let others = NAMES.into_iter().filter(|name| *name != "Part.secret");
    assert_eq!(wrong(declared(others), silent).await, "Part.secret");
}

#[tokio::test]
async fn declared_field_that_does_not_exist_stops_the_start() {
    for planted in ["Query.planted", "query.item", "Item.name", "Mutation.start", "Part"] {
        let names = NAMES.into_iter().chain([planted]);
        assert_eq!(wrong(declared(names), builder()).await, planted);
    }
    let twice = NAMES.into_iter().chain(["Part.name"]);
    assert_eq!(wrong(declared(twice), builder()).await, "Part.name");
    let parent = declared(NAMES).with_parent("Part", ["weight"]);
    assert_eq!(wrong(parent, builder()).await, "Part.weight");
}

#[tokio::test]
async fn argument_without_an_id_stops_the_start() {
    for (path, problem) in [
        ("id", "started"),
        ("wanted.id", "started"),
        ("machine", "does not exist"),
        ("wanted.machine", "does not exist"),
        ("id.machine", "does not exist"),
        ("count", "has a default"),
        ("wanted", "is not an id"),
        ("wanted.count", "is not an id"),
    ] {
        let others = NAMES.into_iter().filter(|name| *name != "Query.item");
        let fields = declared(others).field_on("Query.item", Needs::any_key(), [("machine", path)]);
        let wrong = wrong(fields, builder()).await;
        assert!(wrong.ends_with(problem), "{path}: {wrong}");
    }
}

#[tokio::test]
async fn fields_of_a_federation_must_be_declared() {
    struct Federated;

    #[Object]
    impl Federated {
        async fn version(&self) -> i32 {
            1
        }

        #[graphql(entity)]
        async fn bin_by_size(&self, size: i32) -> Bin {
            Bin { size }
        }
    }

    let builder = || Schema::build(Federated, EmptyMutation, EmptySubscription);
    let names = ["Federated.version", "Federated.__schema", "Federated.__type", "Bin.size"];
    let missing = wrong(declared(names), builder()).await;
    assert_eq!(missing, "Federated._entities Federated._service _Service.sdl");
    // They are checked as well, also those that count as introspection.
    let key = || Needs::any_key().touches_no("machine");
    let fields = declared(names)
        .field("Federated._entities", key())
        .field("Federated._service", Needs::nothing())
        .field("_Service.sdl", key());
    let (schema, _) = fields.guard(builder()).await.unwrap();
    for query in [
        "{ _service { sdl } }",
        "{ _entities(representations: [{ __typename: \"Bin\", size: 7 }]) { ... on Bin { size } } }",
    ] {
        let response = schema.execute(query).await;
        assert_eq!(response.errors.len(), 1, "{query}: {response:?}");
        let data = response.data.to_string();
        assert!(!data.contains("type Bin") && !data.contains('7'), "{query}: {data}");
    }
}

#[tokio::test]
async fn extension_that_responds_before_stops_the_start() {
    struct Maintenance;

    impl ExtensionFactory for Maintenance {
        fn create(&self) -> Arc<dyn Extension> {
            Arc::new(Self)
        }
    }

    #[async_graphql::async_trait::async_trait]
    impl Extension for Maintenance {
        async fn request(
            &self,
            _: &ExtensionContext<'_>,
            _: NextRequest<'_>,
        ) -> async_graphql::Response {
            async_graphql::Response::default()
        }
    }

    let guarded = declared(NAMES).guard(builder().extension(Maintenance)).await;
    assert!(matches!(guarded, Err(FieldsError::Unreached)));
}

#[tokio::test]
async fn field_is_open_only_without_the_guard() {
    let open = builder().finish().execute("{ hidden }").await;
    assert_eq!(open.data.to_string(), r#"{hidden: "hidden"}"#);
    let others = NAMES.into_iter().filter(|name| *name != "Query.hidden");
    let needs = Needs::any_key().touches_no("machine");
    let fields = declared(others).field("Query.hidden", needs);
    let guarded = fields.guard(builder()).await.unwrap().0.execute("{ hidden }").await;
    assert_eq!(guarded.data.to_string(), "{hidden: null}");
    assert_eq!(guarded.errors.len(), 1);
}
