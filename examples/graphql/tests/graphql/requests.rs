//! The verdict on a field is the same, however it is selected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_graphql::{
    EmptyMutation, Object, Request, Schema, Subscription,
    futures_util::{Stream, StreamExt as _, stream},
};
use graphql_service::guarded::Fields;
use keyway::{
    grant::{OutsideGrant, Resources},
    operations::{Needs, OperationError},
    testing,
};
use serde_json::json;
use tokio::time::timeout;

use crate::world::{World, mills, policy};

#[tokio::test]
async fn selection_does_not_change_the_verdict() {
    let world = World::start().await;
    let key = world.key(&["reporting"], mills()).await;
    let refused = "FORBIDDEN machine.cost missingScopes=manager.read";
    let aliased = "FORBIDDEN name.version missingScopes=manager.read";
    for (query, errors) in [
        ("{ machine(id: \"mill-1\") { cost } }", refused),
        ("{ name: machine(id: \"mill-1\") { version: cost } }", aliased),
        ("{ machine(id: \"mill-1\") { ... { cost } } }", refused),
        ("{ machine(id: \"mill-1\") { ... on Machine { cost } } }", refused),
        ("{ machine(id: \"mill-1\") { ... on Asset { cost } } }", refused),
        ("{ machine(id: \"mill-1\") { ...F } } fragment F on Machine { cost }", refused),
        ("{ machine(id: \"mill-1\") { ...F } } fragment F on Asset { cost }", refused),
        ("{ ...F } fragment F on Query { machine(id: \"mill-1\") { cost } }", refused),
        ("{ machine(id: \"mill-1\") { cost @include(if: true) } }", refused),
        ("query A { version } query B { machine(id: \"mill-1\") { cost } }", ""),
        ("{ machine(id: \"mill-1\") { cost @skip(if: true) name } }", ""),
        ("{ machine(id: \"mill-1\") { __typename } }", ""),
        ("{ __schema { __typename } machine(id: \"mill-1\") { cost } }", refused),
    ] {
        let request = json!({ "query": query, "operationName": if query.contains("query B") {
            json!("A") } else { json!(null) } });
        let summary = graphql_service::client::summary(&world.post(&key, &request).await);
        assert!(summary.ends_with(errors), "{query}: {summary}");
        assert_eq!(summary.contains("FORBIDDEN"), !errors.is_empty(), "{query}: {summary}");
    }
    // The other operation of the same document is refused.
    let query = "query A { version } query B { machine(id: \"mill-1\") { cost } }";
    let request = json!({ "query": query, "operationName": "B" });
    let summary = graphql_service::client::summary(&world.post(&key, &request).await);
    assert_eq!(summary, format!("{} {refused}", r#"{"machine":{"cost":null}}"#));
    // A key with the scope gets the cost in each of these ways.
    let manager = world.key(&["reporting", "manager.read"], mills()).await;
    let cost = world.ask(&manager, "{ name: machine(id: \"mill-1\") { version: cost } }").await;
    assert_eq!(cost, r#"{"name":{"version":81.0}}"#);
}

#[tokio::test]
async fn refused_field_is_null_and_nothing_else() {
    let world = World::start().await;
    let key = world.key(&["reporting"], mills()).await;
    let query = "{ version machines { id cost } jobs { name } company }";
    assert_eq!(
        world.ask(&key, query).await,
        concat!(
            r#"{"company":"acme","jobs":null,"#,
            r#""machines":[{"cost":null,"id":"mill-1"},{"cost":null,"id":"mill-2"}],"version":"1"}"#,
            " FORBIDDEN jobs missingScopes=operator.read",
            " FORBIDDEN machines.0.cost missingScopes=manager.read",
            " FORBIDDEN machines.1.cost missingScopes=manager.read",
        )
    );
}

#[tokio::test]
async fn caller_without_a_key_gets_only_what_needs_none() {
    let world = World::start().await;
    let query = "{ version company machines { id } machine(id: \"mill-1\") { id } __typename }";
    assert_eq!(
        world.ask("", query).await,
        concat!(
            r#"{"__typename":"Query","company":null,"machine":null,"machines":null,"version":"1"}"#,
            " UNAUTHENTICATED company UNAUTHENTICATED machine UNAUTHENTICATED machines"
        )
    );
}

#[tokio::test]
async fn lists_have_only_the_resources_of_the_key() {
    let world = World::start().await;
    let machines = "{ machines { id } }";
    let none = world.key(&["reporting"], Resources::Nothing).await;
    assert_eq!(world.ask(&none, machines).await, r#"{"machines":[]}"#);
    let mills = world.key(&["reporting"], mills()).await;
    let expected = r#"{"machines":[{"id":"mill-1"},{"id":"mill-2"}]}"#;
    assert_eq!(world.ask(&mills, machines).await, expected);
    // Everything that a search could find, with and without the scope for jobs.
    let operator = world.key(&["reporting", "operator"], Resources::All).await;
    world.ask(&operator, "mutation { startJob(machine: \"mill-1\", job: \"Mazak axle\") }").await;
    let search = "{ search(text: \"Mazak\") { __typename ... on Job { name } } }";
    assert_eq!(world.ask(&mills, search).await, r#"{"search":[]}"#);
    let found = r#"{"search":[{"__typename":"Machine"},{"__typename":"Job","name":"Mazak axle on mill-1"}]}"#;
    assert_eq!(world.ask(&operator, search).await, found);
}

/// The guards of async-graphql are not called for a field that is selected through an interface.
#[tokio::test]
async fn interface_needs_what_its_types_need() {
    let world = World::start().await;
    let key = world.key(&["reporting"], Resources::only(["mill-1"]).unwrap()).await;
    let refused = world.ask(&key, "{ assets { id cost } }").await;
    assert_eq!(
        refused,
        concat!(
            r#"{"assets":[{"cost":null,"id":"mill-1"},{"cost":null,"id":"gauge-1"}]}"#,
            " FORBIDDEN assets.0.cost missingScopes=manager.read",
            " FORBIDDEN assets.1.cost missingScopes=manager.read",
        )
    );
    // The cost of a gauge is no secret. The caller names the type.
    let gauge = world.ask(&key, "{ assets { id ... on Gauge { cost } } }").await;
    assert_eq!(gauge, r#"{"assets":[{"id":"mill-1"},{"cost":2.5,"id":"gauge-1"}]}"#);
    let manager = world.key(&["reporting", "manager.read"], mills()).await;
    assert!(!world.ask(&manager, "{ assets { cost } }").await.contains("FORBIDDEN"));
}

#[tokio::test]
async fn refused_mutation_does_not_run() {
    let world = World::start().await;
    let reader = world.key(&["reporting", "operator.read"], Resources::All).await;
    let both = "mutation { a: startJob(machine: \"mill-1\", job: \"a\") \
                b: startJob(machine: \"mill-2\", job: \"b\") }";
    let refused = concat!(
        r#"{"a":null,"b":null} FORBIDDEN a missingScopes=operator.jobs"#,
        " FORBIDDEN b missingScopes=operator.jobs"
    );
    assert_eq!(world.ask(&reader, both).await, refused);
    assert_eq!(world.ask(&reader, "{ jobs { name } }").await, r#"{"jobs":[]}"#);
    // One machine is another's. The other field runs.
    let one = Resources::only(["mill-2"]).unwrap();
    let one = world.key(&["operator.jobs"], one).await;
    let half = r#"{"a":null,"b":"b on mill-2 started by test"} FORBIDDEN a resource=machine"#;
    assert_eq!(world.ask(&one, both).await, half);
    let jobs = world.ask(&reader, "{ jobs { name } }").await;
    assert_eq!(jobs, r#"{"jobs":[{"name":"b on mill-2"}]}"#);
}

#[tokio::test]
async fn introspection_needs_a_key_and_hides_fields() {
    let world = World::start().await;
    let fields = "{ __type(name: \"Machine\") { fields { name } } }";
    assert_eq!(world.ask("", fields).await, r#"{"__type":null} UNAUTHENTICATED __type"#);
    let schema = world.ask("", "{ __schema { types { name } } version }").await;
    assert_eq!(schema, r#"{"__schema":null,"version":"1"} UNAUTHENTICATED __schema"#);
    let key = world.key(&["reporting"], mills()).await;
    let shown = world.ask(&key, fields).await;
    assert!(shown.contains("utilizationRate") && !shown.contains("cost"), "{shown}");
    let manager = world.key(&["manager.read"], mills()).await;
    assert!(world.ask(&manager, fields).await.contains("cost"));
    // No suggestion names what introspection hides.
    let typo = world.post(&key, &json!({ "query": "{ machines { costs } }" })).await;
    let text = typo["errors"][0]["message"].as_str().unwrap();
    assert!(text.contains("costs") && !text.contains("Did you mean"), "{text}");
}

struct Version;

#[Object]
impl Version {
    async fn version(&self) -> i32 {
        1
    }
}

struct Ticks(Arc<AtomicUsize>);

#[Subscription]
impl Ticks {
    async fn ticks(&self) -> impl Stream<Item = i32> {
        self.0.fetch_add(1, Ordering::Relaxed);
        stream::iter([1])
    }
}

#[tokio::test]
async fn refused_subscription_opens_no_stream() {
    let opened = Arc::<AtomicUsize>::default();
    let builder = Schema::build(Version, EmptyMutation, Ticks(opened.clone()));
    let fields = Fields::new(&policy())
        .with_parent("Version", ["version", "__schema", "__type"])
        .field("Ticks.ticks", Needs::all(["metrics"]).touches_no("machine"));
    let (schema, _) = fields.guard(builder).await.unwrap();
    let keyring = testing::keyring(policy()).unwrap();
    let caller = async |scope: &str| {
        let value = testing::authorization(&keyring, "acme", [scope]).await.unwrap();
        keyring.verify_authorization(Some(value)).await.unwrap()
    };
    let (reporting, metrics) = (caller("reporting").await, caller("metrics").await);
    for query in [
        "subscription { ticks }",
        "subscription { version: ticks }",
        "subscription { ...F } fragment F on Ticks { ticks }",
        "subscription A { ... { ticks } }",
        "query B { version } query C { version } subscription A { ticks } query D { version }",
    ] {
        let mut request = Request::new(query).data(reporting.clone());
        if query.contains("A {") {
            request = request.operation_name("A");
        }
        let responses = schema.execute_stream(request);
        let responses: Vec<_> = responses.collect().await;
        let [response] = &responses[..] else { panic!("{query}: {responses:?}") };
        let source = response.errors[0].source::<OperationError>();
        let is_typed = matches!(source, Some(OperationError::Outside(OutsideGrant::Scope(_))));
        assert!(is_typed, "{query}: {response:?}");
        assert_eq!(opened.load(Ordering::Relaxed), 0, "{query}");
    }
    // The permitted caller opens it.
    let query = Request::new("subscription { ticks }").data(metrics);
    let responses: Vec<_> = schema.execute_stream(query).collect().await;
    assert!(responses.iter().all(async_graphql::Response::is_ok), "{responses:?}");
    assert_eq!(opened.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn subscription_ends_with_the_key_of_its_request() {
    struct Forever;

    #[Subscription]
    impl Forever {
        async fn ticks(&self) -> impl Stream<Item = i32> {
            stream::iter([1]).chain(stream::pending())
        }

        async fn silent(&self) -> impl Stream<Item = i32> {
            stream::pending()
        }

        async fn open(&self) -> impl Stream<Item = i32> {
            stream::iter([1]).chain(stream::pending())
        }
    }

    let fields = Fields::new(&policy())
        .with_parent("Version", ["version", "__schema", "__type"])
        .with_parent("Forever", ["open"])
        .field("Forever.ticks", Needs::any_key().touches_no("machine"))
        .field("Forever.silent", Needs::any_key().touches_no("machine"));
    let builder = Schema::build(Version, EmptyMutation, Forever);
    let (schema, _) = fields.guard(builder).await.unwrap();
    let keyring = testing::keyring(policy()).unwrap();
    let value = testing::authorization(&keyring, "acme", ["metrics"]).await.unwrap();
    let caller = keyring.verify_authorization(Some(value)).await.unwrap();
    // The caller is in the data of the request, and of no connection.
    let request = Request::new("subscription { ticks }").data(caller.clone());
    let mut stream = schema.execute_stream(request);
    assert!(stream.next().await.unwrap().is_ok());
    // A stream without events ends too.
    let request = Request::new("subscription { silent }").data(caller.clone());
    let mut silent = schema.execute_stream(request);
    let silent = tokio::spawn(async move { silent.next().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!silent.is_finished());
    keyring.tenant("acme".parse().unwrap()).delete(caller.key_id()).await.unwrap();
    let last = timeout(Duration::from_secs(5), stream.next()).await.unwrap().unwrap();
    let code = last.errors[0].extensions.as_ref().unwrap().get("code").unwrap().to_string();
    assert_eq!(code, "\"UNAUTHENTICATED\"");
    assert!(stream.next().await.is_none());
    let last = timeout(Duration::from_secs(5), silent).await.unwrap().unwrap();
    assert_eq!(last.unwrap().errors.len(), 1);
    // Nothing ends a public subscription of a caller without a key.
    let mut open = schema.execute_stream(Request::new("subscription { open }"));
    assert!(open.next().await.unwrap().is_ok());
    assert!(timeout(Duration::from_millis(300), open.next()).await.is_err());
}
