//! The server as agents see it: lists, calls, refusals, and the end of a key.

use std::{error::Error, time::Duration};

use rmcp::{
    RoleClient, ServiceError, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ContentBlock},
    service::RunningService,
    transport::{
        StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig,
    },
};
use serde_json::{Value, json};

use crate::Keys;

type Client = RunningService<RoleClient, ()>;

/// Runs the tour.
///
/// # Errors
///
/// An error names the first call with another outcome than the expected one.
pub async fn run(address: &str, keys: &Keys) -> Result<(), Box<dyn Error>> {
    let url = format!("{address}/mcp");
    let reader = connect(&url, &keys.reader).await?;
    let operator = connect(&url, &keys.operator).await?;
    let deleted = connect(&url, &keys.deleted).await?;

    println!("Each key sees the tools that it may call.");
    list("reader", &reader, "list_machines machine_status ping watch_machine").await?;
    let all = "list_jobs list_machines machine_status ping report_downtime start_job watch_machine";
    list("operator", &operator, all).await?;

    println!("\nThe reader may touch two of the three machines, and start nothing.");
    call("reader", &reader, "machine_status", json!({ "machine": "mill-1" }), "ok").await?;
    call("reader", &reader, "machine_status", json!({ "machine": "lathe-1" }), "403").await?;
    call("reader", &reader, "start_job", json!({ "job": "job-7" }), "403").await?;
    call("operator", &operator, "list_jobs", json!({}), "ok").await?;
    call("operator", &operator, "start_job", json!({ "job": "job-7" }), "ok").await?;
    call("operator", &operator, "machine_status", json!({ "machine": "lathe-1" }), "ok").await?;
    call("operator", &operator, "stop_world", json!({}), "-32602").await?;

    println!("\nA running tool and an open session end with their key. Its holder deletes it.");
    call("deleted", &deleted, "ping", json!({}), "ok").await?;
    let five_minutes = json!({ "machine": "mill-1", "readings": 3000 });
    let watch = call("deleted", &deleted, "watch_machine", five_minutes, "401");
    let delete = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let status = delete_key(address, &keys.deleted).await?;
        expect("DELETE /key with the key itself", &status.to_string(), "204")
    };
    tokio::try_join!(watch, delete)?;
    call("deleted", &deleted, "ping", json!({}), "HTTP 401").await?;
    let outcome = match connect(&url, "mm_live_forged").await {
        Ok(_) => "connected".to_string(),
        Err(error) => error.to_string(),
    };
    expect("a forged key connects", &outcome, "HTTP 401")
}

async fn connect(url: &str, key: &str) -> Result<Client, Box<dyn Error>> {
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(key);
    let transport = StreamableHttpClientTransport::from_config(config);
    ().serve(transport).await.map_err(|error| match error.auth_challenge() {
        Some(challenge) => format!("HTTP 401, challenge {challenge}").into(),
        None => error.into(),
    })
}

async fn list(name: &str, client: &Client, expected: &str) -> Result<(), Box<dyn Error>> {
    let tools = client.list_all_tools().await?;
    let names: Vec<_> = tools.iter().map(|tool| &*tool.name).collect();
    expect(&format!("{name} lists"), &names.join(" "), expected)
}

async fn call(
    name: &str,
    client: &Client,
    tool: &'static str,
    arguments: Value,
    expected: &str,
) -> Result<(), Box<dyn Error>> {
    let step = format!("{name} calls {tool}{arguments}");
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let request = CallToolRequestParams::new(tool).with_arguments(arguments);
    let outcome = match client.call_tool(request).await {
        Ok(result) => text(&result),
        Err(ServiceError::McpError(error)) => {
            let data = error.data.unwrap_or_default();
            format!("{} {} {data}", error.code.0, error.message)
        }
        Err(error) => match error.auth_challenge() {
            Some(challenge) => format!("HTTP 401, challenge {challenge}"),
            None => error.to_string(),
        },
    };
    expect(&step, &outcome, expected)
}

/// Returns `ok` or `error`, with the text of the tool.
fn text(result: &CallToolResult) -> String {
    let texts = result.content.iter().filter_map(ContentBlock::as_text);
    let texts: Vec<_> = texts.map(|text| &*text.text).collect();
    let word = if result.is_error == Some(true) { "error" } else { "ok" };
    format!("{word} {}", texts.join(" "))
}

/// Deletes the key by which the request is authenticated.
async fn delete_key(address: &str, key: &str) -> Result<u16, Box<dyn Error>> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = address.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(server).await?;
    let request = format!(
        "DELETE /key HTTP/1.1\r\nhost: {server}\r\nauthorization: Bearer {key}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = String::new();
    stream.read_to_string(&mut response).await?;
    Ok(response.split(' ').nth(1).unwrap_or_default().parse()?)
}

/// Prints the outcome, which must begin with the expected text.
fn expect(step: &str, outcome: &str, expected: &str) -> Result<(), Box<dyn Error>> {
    println!("  {step}: {outcome}");
    if outcome.starts_with(expected) {
        Ok(())
    } else {
        Err(format!("{step}: expected `{expected}`").into())
    }
}
