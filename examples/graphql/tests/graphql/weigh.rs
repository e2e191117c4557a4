//! The rate counts fields, however they get into a request.

use graphql_service::client::summary;
use keyway::grant::Resources;
use serde_json::{Value, json};

use crate::world::{World, policy_with};

/// A service whose keys have 20 requests in an hour.
async fn world() -> World {
    let policy = policy_with(|policy| {
        for tier in policy["tiers"].as_array_mut().unwrap() {
            tier["rate"] = json!({ "requests": 20, "per_seconds": 72_000 });
        }
    });
    World::start_with(policy).await
}

fn aliases(count: usize) -> String {
    let fields: Vec<_> = (0..count).map(|index| format!("a{index}: company")).collect();
    format!("{{ {} }}", fields.join(" "))
}

fn is_limited(response: &Value) -> bool {
    let code = &response["errors"][0]["extensions"]["code"];
    let waits = response["errors"][0]["extensions"]["retryAfter"].as_u64();
    code == "RATE_LIMITED" && waits.is_some_and(|wait| wait > 1)
}

#[tokio::test]
async fn aliases_count_as_requests() {
    let world = world().await;
    let key = world.key(&["reporting"], Resources::All).await;
    let ask = async |query: String| world.post(&key, &json!({ "query": query })).await;
    assert!(!is_limited(&ask(aliases(15)).await));
    // One was counted for the HTTP request, and the next 14 do not fit into what is left.
    let limited = ask(aliases(15)).await;
    assert!(is_limited(&limited), "{limited}");
    assert_eq!(limited["data"], Value::Null);
    // Single fields use up the rest.
    for _ in 0..4 {
        assert_eq!(summary(&ask("{ company }".into()).await), r#"{"company":"acme"}"#);
    }
    // The guard refuses the next one.
    let refused = ask("{ company }".into()).await;
    assert_eq!(refused["status"], 429, "{refused}");
}

#[tokio::test]
async fn batch_counts_each_operation() {
    let world = world().await;
    let key = world.key(&["reporting"], Resources::All).await;
    let batch = json!(vec![json!({ "query": "{ a: company b: company c: company }" }); 7]);
    let responses = world.post(&key, &batch).await;
    let limited = responses.as_array().unwrap().iter().filter(|response| is_limited(response));
    assert_eq!(limited.count(), 1);
}

#[tokio::test]
async fn operation_above_the_limit_is_not_valid() {
    let world = World::start().await;
    let key = world.key(&["reporting"], Resources::All).await;
    assert!(world.ask(&key, &aliases(300)).await.contains("acme"));
    assert_eq!(world.ask(&key, &aliases(301)).await, "null ERROR ");
}
