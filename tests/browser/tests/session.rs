//! WebDriver, as far as the tests need it.
//!
//! Each command blocks its test and nobody else: the service runs on threads of its own.

use std::net::SocketAddr;

use base64ct::{Base64, Encoding};
use keyway_browser_tests::client;
use serde_json::{Value, json};

/// A browser as its driver sees it. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Session {
    driver: SocketAddr,
    path: String,
}

/// What the driver could not do, in its words.
pub type Answer<T> = Result<T, String>;

/// The name that the standard gives to a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Session {
    pub fn start(driver: SocketAddr, capabilities: Value) -> Self {
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let started = ask(driver, "POST", "/session", &wanted).expect("the browser does not start");
        let id = started["sessionId"].as_str().unwrap();
        Self { driver, path: format!("/session/{id}") }
    }

    pub async fn goto(&self, url: &str) -> Answer<()> {
        self.post("url", json!({ "url": url })).map(drop)
    }

    pub async fn back(&self) -> Answer<()> {
        self.post("back", json!({})).map(drop)
    }

    pub async fn forward(&self) -> Answer<()> {
        self.post("forward", json!({})).map(drop)
    }

    pub async fn refresh(&self) -> Answer<()> {
        self.post("refresh", json!({})).map(drop)
    }

    /// What a script gives, or the promise of one.
    pub async fn execute(&self, script: &str, arguments: &[Value]) -> Answer<Value> {
        self.post("execute/sync", json!({ "script": script, "args": arguments }))
    }

    pub async fn click(&self, selector: &str) -> Answer<()> {
        self.post(&format!("{}/click", self.find(selector)?), json!({})).map(drop)
    }

    pub async fn send_keys(&self, selector: &str, text: &str) -> Answer<()> {
        self.post(&format!("{}/value", self.find(selector)?), json!({ "text": text })).map(drop)
    }

    /// Presses and releases keys.
    pub async fn press_keys(&self, actions: Vec<Value>) -> Answer<()> {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("actions", json!({ "actions": [keyboard] })).map(drop)
    }

    pub async fn screenshot(&self) -> Answer<Vec<u8>> {
        let picture = ask(self.driver, "GET", &format!("{}/screenshot", self.path), &Value::Null)?;
        Base64::decode_vec(picture.as_str().unwrap_or_default()).map_err(|error| error.to_string())
    }

    pub async fn delete_all_cookies(&self) -> Answer<()> {
        self.devtools("Network.clearBrowserCookies", json!({})).await.map(drop)
    }

    /// A command of the DevTools protocol, which ChromeDriver passes on.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Answer<Value> {
        self.post("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// All that was written to a log since the last time, in the way of ChromeDriver.
    pub async fn log(&self, kind: &str) -> Answer<Vec<Value>> {
        let entries = self.post("se/log", json!({ "type": kind }))?;
        Ok(entries.as_array().cloned().unwrap_or_default())
    }

    /// Goes on in a window that was nowhere yet.
    pub async fn change_window(&self) -> Answer<()> {
        let window = self.post("window/new", json!({ "type": "tab" }))?;
        ask(self.driver, "DELETE", &format!("{}/window", self.path), &Value::Null)?;
        self.post("window", json!({ "handle": window["handle"] })).map(drop)
    }

    fn find(&self, selector: &str) -> Answer<String> {
        let found = self.post("element", json!({ "using": "css selector", "value": selector }))?;
        Ok(format!("element/{}", found[ELEMENT].as_str().unwrap_or_default()))
    }

    fn post(&self, command: &str, body: Value) -> Answer<Value> {
        ask(self.driver, "POST", &format!("{}/{command}", self.path), &body)
    }
}

fn ask(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Answer<Value> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let kind = ("content-type", "application/json; charset=utf-8");
    let answer = client::send(driver, method, path, &[kind], &body);
    let mut told: Value = serde_json::from_str(answer.body()).map_err(|_| answer.text.clone())?;
    match answer.status {
        200 => Ok(told["value"].take()),
        _ => Err(told["value"]["message"].to_string()),
    }
}
