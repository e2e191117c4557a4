//! What a person does with a page, in small verbs. Each waits until it can be done, and fails if that takes
//! longer than anybody would.

use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::session::{Answer, Session};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether it is there.
const GLANCE: Duration = Duration::from_millis(10);

/// Whether the element is to be seen, whatever its ancestors do.
const VISIBLE: &str = "const seen = (element) => element && element.checkVisibility({ visibilityProperty: true }) \
    && element.getClientRects().length > 0;";

pub struct Page {
    pub client: Session,
    /// What the browser's console may say of answers in this test.
    pub(crate) expected: RefCell<Vec<&'static str>>,
}

impl Page {
    pub fn new(client: Session) -> Self {
        Self { client, expected: RefCell::default() }
    }

    /// Waits until the page's first requests are answered, whatever the answers are.
    pub async fn settled(&self) {
        let script = "return document.querySelector('#main:not([aria-busy])') && \
            !document.querySelector('#results[aria-busy]')";
        self.until("the page has loaded", script, &[]).await;
    }

    /// What a script gives, which is the body of a function. It may give a promise.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        match self.client.execute(script, arguments).await {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// Runs a script until it gives something that counts as true.
    pub async fn until(&self, what: &str, script: &str, arguments: &[Value]) -> Value {
        let start = Instant::now();
        loop {
            // The document may be on its way out, which is an error.
            let value = self.client.execute(script, arguments).await;
            match &value {
                Err(_) | Ok(Value::Null | Value::Bool(false)) => {}
                Ok(value) => return value.clone(),
            }
            if start.elapsed() > PATIENCE {
                panic!("waited in vain until {what}: {value:?}\n{}", self.all_text().await);
            }
            sleep(GLANCE).await;
        }
    }

    pub async fn visible(&self, selector: &str) {
        let script = format!("{VISIBLE} return seen(document.querySelector(arguments[0]))");
        self.until(&format!("{selector} is visible"), &script, &[selector.into()]).await;
    }

    /// Waits until nothing of the kind is to be seen.
    pub async fn gone(&self, selector: &str) {
        let script =
            format!("{VISIBLE} return ![...document.querySelectorAll(arguments[0])].some(seen)");
        self.until(&format!("{selector} is gone"), &script, &[selector.into()]).await;
    }

    /// Waits until there is no dialog any more. It is hidden a moment before.
    pub async fn closed(&self) {
        self.until("all dialogs are closed", "return !document.querySelector('dialog')", &[]).await;
    }

    /// Waits until an element shows a text.
    pub async fn shows(&self, selector: &str, text: &str) {
        let script = format!(
            "{VISIBLE} return [...document.querySelectorAll(arguments[0])]\
             .some((each) => seen(each) && each.innerText.includes(arguments[1]))"
        );
        let what = format!("{selector} shows {text:?}");
        self.until(&what, &script, &[selector.into(), text.into()]).await;
    }

    /// Presses what is visible with the pointer.
    pub async fn press(&self, selector: &str) {
        self.visible(selector).await;
        let start = Instant::now();
        loop {
            // It may be rendered again or be covered for a moment.
            match self.try_to_press(selector).await {
                Ok(()) => return,
                Err(error) if start.elapsed() > PATIENCE => panic!("{selector}: {error}"),
                Err(_) => sleep(GLANCE).await,
            }
        }
    }

    async fn try_to_press(&self, selector: &str) -> Answer<()> {
        // As far as a person would scroll: the driver itself leaves it below what sticks to the edge.
        let script = "document.querySelector(arguments[0])?.scrollIntoView({ block: 'nearest' })";
        self.client.execute(script, &[selector.into()]).await?;
        self.client.click(selector).await
    }

    /// Types into an empty field with a keyboard, letter by letter.
    pub async fn type_into(&self, selector: &str, text: &str) {
        self.visible(selector).await;
        self.client.send_keys(selector, text).await.unwrap();
    }

    /// Replaces what stands in a field, at once, as an input method does.
    pub async fn fill(&self, selector: &str, text: &str) {
        self.visible(selector).await;
        let script =
            "const field = document.querySelector(arguments[0]); field.focus(); field.select();";
        self.run(script, &[selector.into()]).await;
        if text.is_empty() {
            self.keys(&["\u{e017}"]).await;
        } else {
            self.devtools("Input.insertText", json!({ "text": text })).await;
        }
    }

    /// Sets a field of dates, for which each browser has its own way to type.
    pub async fn set(&self, selector: &str, value: &str) {
        self.visible(selector).await;
        let script = "const field = document.querySelector(arguments[0]); field.value = arguments[1]; \
            for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, { bubbles: true }));";
        self.run(script, &[selector.into(), value.into()]).await;
    }

    pub async fn choose(&self, selector: &str, value: &str) {
        self.visible(selector).await;
        self.client.click(&format!("{selector} option[value='{value}']")).await.unwrap();
    }

    /// Presses keys one after the other, wherever the focus is. A key is held down while the rest of its
    /// text is pressed.
    pub async fn keys(&self, keys: &[&str]) {
        let mut actions = Vec::new();
        for key in keys {
            let press = |kind: &str, key: char| json!({ "type": kind, "value": key });
            actions.extend(key.chars().map(|key| press("keyDown", key)));
            actions.extend(key.chars().rev().map(|key| press("keyUp", key)));
        }
        self.client.press_keys(actions).await.unwrap();
    }

    /// What stands in a field.
    pub async fn value(&self, selector: &str) -> String {
        self.visible(selector).await;
        let script = "return document.querySelector(arguments[0]).value";
        self.run(script, &[selector.into()]).await.as_str().unwrap().into()
    }

    /// What is to be read in the first such element.
    pub async fn text(&self, selector: &str) -> String {
        self.visible(selector).await;
        let script = "return document.querySelector(arguments[0]).innerText";
        self.run(script, &[selector.into()]).await.as_str().unwrap().into()
    }

    /// What is to be read in all such elements.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let script =
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)";
        let Value::Array(texts) = self.run(script, &[selector.into()]).await else {
            unreachable!()
        };
        texts.into_iter().map(|text| text.as_str().unwrap().into()).collect()
    }

    pub async fn has(&self, selector: &str) -> bool {
        self.run("return Boolean(document.querySelector(arguments[0]))", &[selector.into()]).await
            == true
    }

    pub async fn is_focused(&self, selector: &str) -> bool {
        let script = "return document.activeElement.matches(arguments[0])";
        self.run(script, &[selector.into()]).await == true
    }

    pub async fn focused(&self, selector: &str) {
        let script = "return document.activeElement.matches(arguments[0])";
        self.until(&format!("{selector} has the focus"), script, &[selector.into()]).await;
    }

    /// A command of the DevTools protocol.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let sent = self.client.devtools(command, parameters).await;
        sent.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// How wide the window is, and whether the person likes it dark. Nothing moves, so that nothing is looked
    /// at half-way.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]});
        self.devtools("Emulation.setEmulatedMedia", features).await;
    }

    /// All that is to be read, for who looks why a test failed.
    pub async fn all_text(&self) -> String {
        let text = self.client.execute("return document.body.innerText", &[]).await;
        let text = text.unwrap_or_default();
        format!("the page: {}", text.as_str().unwrap_or_default())
    }
}
