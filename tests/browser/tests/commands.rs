//! Commands of drivers that `fantoccini` has no functions for.

use fantoccini::{Client, Locator, error::CmdError, wd::WebDriverCompatibleCommand};
use http::Method;
use serde_json::{Value, json};
use url::{ParseError, Url};

/// A command by its path below that of the session: `POST` if it has a body, otherwise `GET`.
#[derive(Debug)]
struct Command {
    path: String,
    body: Option<Value>,
}

impl WebDriverCompatibleCommand for Command {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        match &self.body {
            None => (Method::GET, None),
            Some(body) => (Method::POST, Some(body.to_string())),
        }
    }
}

/// Sends a command of the DevTools protocol, which only Chromium has.
pub async fn devtools(
    client: &Client,
    command: &str,
    parameters: Value,
) -> Result<Value, CmdError> {
    let body = Some(json!({ "cmd": command, "params": parameters }));
    client.issue_cmd(Command { path: "goog/cdp/execute".into(), body }).await
}

/// Returns the entries of a log since the last time. Only Chromium has logs.
pub async fn log(client: &Client, kind: &str) -> Result<Vec<Value>, CmdError> {
    let body = Some(json!({ "type": kind }));
    let entries = client.issue_cmd(Command { path: "se/log".into(), body }).await?;
    Ok(entries.as_array().cloned().unwrap_or_default())
}

/// Returns the accessible name of an element.
pub async fn label(client: &Client, selector: &str) -> Result<Value, CmdError> {
    let element = client.find(Locator::Css(selector)).await?.element_id();
    let path = format!("element/{element}/computedlabel");
    client.issue_cmd(Command { path, body: None }).await
}
