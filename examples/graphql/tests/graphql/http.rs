//! Batches, persisted queries, GET and multipart forms go the same way as a query in a POST.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};
use graphql_service::client::{send, summary};
use keyway::grant::Resources;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::world::{World, mills};

const COST: &str = "{ machine(id: \"mill-1\") { cost } }";
const REFUSED: &str =
    r#"{"machine":{"cost":null}} FORBIDDEN machine.cost missingScopes=manager.read"#;
const PERMITTED: &str = r#"{"machine":{"cost":81.0}}"#;
const START: &str = "mutation { startJob(machine: \"mill-1\", job: \"a\") }";

/// Escapes a text for the query of a URL.
fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn call(
    world: &World,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: String,
) -> (StatusCode, Value) {
    let uri = format!("http://{}{path}", world.running.address);
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (status, _, body) = send(request.body(Body::from(body)).unwrap()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn get(world: &World, key: &str, query: &str) -> (StatusCode, String) {
    let path = format!("/graphql?{query}");
    let (status, body) =
        call(world, Method::GET, &path, &[("authorization", key)], String::new()).await;
    (status, summary(&body))
}

#[tokio::test]
async fn each_operation_of_a_batch_is_checked() {
    let world = World::start().await;
    let key = world.key(&["reporting"], mills()).await;
    let batch = json!([{ "query": "{ version }" }, { "query": COST }, { "query": "{ company }" }]);
    let responses = world.post(&key, &batch).await;
    let summaries: Vec<_> = responses.as_array().unwrap().iter().map(summary).collect();
    assert_eq!(summaries, [r#"{"version":"1"}"#, REFUSED, r#"{"company":"acme"}"#]);
    let large = json!(vec![json!({ "query": "{ version }" }); 11]).to_string();
    let json = ("content-type", "application/json");
    let (status, _) = call(&world, Method::POST, "/graphql", &[json], large).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn persisted_query_is_checked_for_each_caller() {
    let world = World::start().await;
    let manager = world.key(&["reporting", "manager.read"], mills()).await;
    let reader = world.key(&["reporting"], mills()).await;
    let persisted = |query: &str| {
        let hash = Sha256::digest(query.as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } })
    };
    let hash = persisted(COST);
    let stored = world.post(&manager, &json!({ "query": COST, "extensions": hash })).await;
    assert_eq!(summary(&stored), PERMITTED);
    for (key, expected) in [(&manager, PERMITTED), (&reader, REFUSED)] {
        assert_eq!(summary(&world.post(key, &json!({ "extensions": hash })).await), expected);
        let query = format!("extensions={}", escaped(&hash.to_string()));
        assert_eq!(get(&world, key, &query).await, (StatusCode::OK, expected.into()));
    }
    // A mutation does not get into a URL by its hash.
    let operator = world.key(&["operator"], Resources::All).await;
    let hash = persisted(START);
    world.post(&operator, &json!({ "query": START, "extensions": hash })).await;
    let query = format!("extensions={}", escaped(&hash.to_string()));
    assert_eq!(get(&world, &operator, &query).await.0, 405);
    let jobs = world.ask(&operator, "{ jobs { name } }").await;
    assert_eq!(jobs, r#"{"jobs":[{"name":"a on mill-1"}]}"#);
}

#[tokio::test]
async fn get_is_for_queries() {
    let world = World::start().await;
    let key = world.key(&["reporting", "operator"], mills()).await;
    let query = |text| format!("query={}", escaped(text));
    assert_eq!(get(&world, &key, &query(COST)).await, (StatusCode::OK, REFUSED.into()));
    for refused in
        [START, "query A { version } mutation B { startJob(machine: \"mill-1\", job: \"a\") }"]
    {
        assert_eq!(get(&world, &key, &query(refused)).await.0, 405, "{refused}");
    }
    assert_eq!(world.ask(&key, "{ jobs { name } }").await, r#"{"jobs":[]}"#);
    // A key in the URL is none.
    let token = escaped(key.trim_start_matches("Bearer "));
    let path = format!("/graphql?{}&access_token={token}&authorization={token}", query(COST));
    let (_, body) = call(&world, Method::GET, &path, &[], String::new()).await;
    assert_eq!(summary(&body), r#"{"machine":null} UNAUTHENTICATED machine"#);
}

#[tokio::test]
async fn multipart_form_is_checked() {
    let world = World::start().await;
    let key = world.key(&["reporting"], mills()).await;
    let operations = json!({ "query": COST });
    let form = format!(
        "--x\r\ncontent-disposition: form-data; name=\"operations\"\r\n\r\n{operations}\r\n\
         --x\r\ncontent-disposition: form-data; name=\"map\"\r\n\r\n{{}}\r\n--x--\r\n"
    );
    let headers = [("authorization", &*key), ("content-type", "multipart/form-data; boundary=x")];
    let (status, body) = call(&world, Method::POST, "/graphql", &headers, form).await;
    assert_eq!((status, summary(&body)), (StatusCode::OK, REFUSED.into()));
}

#[tokio::test]
async fn subscription_does_not_run_over_http() {
    let world = World::start().await;
    let key = world.key(&["metrics"], mills()).await;
    let query = "subscription { readings(machine: \"mill-1\") { number } }";
    let response = world.post(&key, &json!({ "query": query })).await;
    assert_eq!(summary(&response), "null ERROR ");
}

#[tokio::test]
async fn invalid_key_is_rejected_before_graphql() {
    let world = World::start().await;
    let (issued, key) = world.issue(&["reporting"], mills()).await;
    let body = json!({ "query": "{ version }" }).to_string();
    let json = ("content-type", "application/json");
    let status = async |value: &str| {
        let headers = [json, ("authorization", value)];
        call(&world, Method::POST, "/graphql", &headers, body.clone()).await.0
    };
    assert_eq!(status(&key).await, 200);
    for wrong in ["Bearer mm_test_made-up", "Bearer ", &format!("{key}x")] {
        assert!([400, 401].contains(&status(wrong).await.as_u16()), "{wrong}");
    }
    world.acme.delete(issued.id()).await.unwrap();
    assert_eq!(status(&key).await, 401);
}
