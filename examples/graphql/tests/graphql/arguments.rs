//! The ids in arguments are those that the resolver gets.

use async_graphql::{EmptyMutation, EmptySubscription, ID, Object, Request, Schema, Variables};
use graphql_service::{client::summary, guarded::Fields};
use keyway::{NewKey, grant::Resources, operations::Needs, testing};
use serde_json::json;

use crate::world::{World, mills, policy};

#[tokio::test]
async fn ids_in_arguments_are_checked() {
    let world = World::start().await;
    let key = world.key(&["reporting", "operator"], mills()).await;
    let ask = async |query: &str, variables: serde_json::Value| {
        let request = json!({ "query": query, "variables": variables });
        summary(&world.post(&key, &request).await)
    };
    let by_variable = "query ($id: ID!) { machine(id: $id) { name } }";
    let by_default = "query ($id: ID! = \"lathe-1\") { machine(id: $id) { name } }";
    let by_default_of_own = "query ($id: ID! = \"mill-1\") { machine(id: $id) { name } }";
    let written = "mutation ($d: DowntimeInput!) { writeDowntime(downtime: $d) }";
    let in_part = "mutation ($m: ID!) { writeDowntime(downtime: { machine: $m, reason: \"r\" }) }";
    let refused = r#"{"machine":null} FORBIDDEN machine resource=machine"#;
    let not_written = r#"{"writeDowntime":null} FORBIDDEN writeDowntime resource=machine"#;
    let mill = r#"{"machine":{"name":"Haas VF-2"}}"#;
    for (query, variables, expected) in [
        ("{ machine(id: \"mill-1\") { name } }", json!({}), mill),
        ("{ machine(id: \"lathe-1\") { name } }", json!({}), refused),
        ("{ machine(id: \"\"\"lathe-1\"\"\") { name } }", json!({}), refused),
        ("{ machine(id: 7) { name } }", json!({}), refused),
        // The refusal does not say whether there is such a machine.
        ("{ machine(id: \"gone-1\") { name } }", json!({}), refused),
        (by_variable, json!({ "id": "mill-1" }), mill),
        (by_variable, json!({ "id": "lathe-1" }), refused),
        (by_variable, json!({ "id": 7 }), refused),
        (by_default, json!({}), refused),
        (by_default, json!({ "id": "mill-1" }), mill),
        (by_default_of_own, json!({}), mill),
        (
            written,
            json!({ "d": { "machine": "mill-1", "reason": "r" } }),
            r#"{"writeDowntime":true}"#,
        ),
        (written, json!({ "d": { "machine": "lathe-1", "reason": "r" } }), not_written),
        (in_part, json!({ "m": "mill-1" }), r#"{"writeDowntime":true}"#),
        (in_part, json!({ "m": "lathe-1" }), not_written),
    ] {
        assert_eq!(ask(query, variables.clone()).await, expected, "{query} {variables}");
    }
    // Each operation of a document has its own defaults.
    let machines = ["mill-1", "lathe-1", "mill-2", "gone-1"];
    let operations = machines.map(|id| {
        let name = id.replace('-', "");
        format!("query {name}($id: ID! = \"{id}\") {{ machine(id: $id) {{ id }} }}")
    });
    for id in machines {
        let name = id.replace('-', "");
        let request = json!({ "query": operations.join(" "), "operationName": name });
        let outcome = summary(&world.post(&key, &request).await);
        assert_eq!(outcome.contains("FORBIDDEN"), !id.starts_with("mill"), "{outcome}");
    }
    // A key for all machines reads the third one.
    let all = world.key(&["reporting"], Resources::All).await;
    let lathe = world.ask(&all, "{ machine(id: \"lathe-1\") { name } }").await;
    assert_eq!(lathe, r#"{"machine":{"name":"Mazak QTN-200"}}"#);
}

struct Query;

#[Object]
impl Query {
    /// Returns the ids that it got.
    async fn transfer(&self, from: Option<ID>, to: Option<Vec<Option<ID>>>) -> Option<String> {
        let to = to.map(|ids| ids.into_iter().map(|id| id.map(|id| id.0)).collect::<Vec<_>>());
        Some(format!("{:?} {to:?}", from.map(|id| id.0)))
    }

    /// Returns the number of a machine.
    async fn number(&self, number: i32) -> Option<i32> {
        Some(number)
    }
}

#[tokio::test]
async fn each_id_of_a_call_is_checked() {
    let fields = Fields::new(&policy())
        .with_parent("Query", ["__schema", "__type"])
        .field_on("Query.number", Needs::any_key(), [("machine", "number")])
        .field_on("Query.transfer", Needs::any_key(), [("machine", "from"), ("machine", "to")]);
    let builder = Schema::build(Query, EmptyMutation, EmptySubscription);
    let (schema, _) = fields.guard(builder).await.unwrap();
    let keyring = testing::keyring(policy()).unwrap();
    let caller = async |tenant: &str, machines: Resources| {
        let request = NewKey::named("test").scopes(["reporting"]).resources("machine", machines);
        let value = testing::authorization_of(&keyring, tenant, request).await.unwrap();
        keyring.verify_authorization(Some(value)).await.unwrap()
    };
    let some = caller("acme", Resources::only(["a", "b", "7"]).unwrap()).await;
    let all = caller("globex", Resources::All).await;
    for (call, variables, is_permitted) in [
        ("transfer(from: \"a\", to: [\"b\"])", json!({}), true),
        ("transfer(from: \"a\", to: \"b\")", json!({}), true),
        ("transfer(to: [\"b\"], from: \"a\")", json!({}), true),
        ("transfer(from: \"a\", to: [\"b\", \"c\"])", json!({}), false),
        ("transfer(from: \"c\", to: [\"b\"])", json!({}), false),
        ("transfer(from: $x, to: [\"b\", $y])", json!({ "x": "a", "y": "a" }), true),
        ("transfer(from: $x, to: [\"b\", $y])", json!({ "x": "a", "y": "c" }), false),
        ("transfer(from: $x, to: $z)", json!({ "x": "a", "z": ["b", "c"] }), false),
        // No id is any id.
        ("transfer(from: \"a\")", json!({}), false),
        ("transfer(from: \"a\", to: null)", json!({}), false),
        ("transfer(from: \"a\", to: [])", json!({}), false),
        ("transfer(from: \"a\", to: [\"b\", null])", json!({}), false),
        ("transfer(from: $x, to: [\"b\"])", json!({}), false),
        ("transfer", json!({}), false),
        ("number(number: 7)", json!({}), true),
        ("number(number: 8)", json!({}), false),
        ("number(number: $n)", json!({ "n": 7 }), true),
        ("number(number: $n)", json!({ "n": 8 }), false),
    ] {
        let mut definitions = Vec::new();
        for (name, of) in [("$x", "ID"), ("$y", "ID"), ("$z", "[ID]"), ("$n", "Int!")] {
            if call.contains(name) {
                definitions.push(format!("{name}: {of}"));
            }
        }
        let definitions = match &definitions[..] {
            [] => String::new(),
            some => format!("({})", some.join(", ")),
        };
        let query = format!("query {definitions} {{ {call} }}");
        let ask = async |caller: &keyway::Principal| {
            let variables = Variables::from_json(variables.clone());
            let request = Request::new(&query).variables(variables).data(caller.clone());
            schema.execute(request).await
        };
        let response = ask(&some).await;
        assert_eq!(response.is_ok(), is_permitted, "{query} {variables}: {response:?}");
        // A list with an empty place is refused to everyone.
        let response = ask(&all).await;
        assert_eq!(response.is_ok(), !call.contains("\"b\", null"), "{query}: {response:?}");
    }
}
