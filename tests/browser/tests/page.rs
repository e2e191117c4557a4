//! The actions of a person on a page, as small verbs. Each waits until it is possible, and fails if that takes
//! longer than anybody would.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use fantoccini::{
    Client,
    actions::{InputSource, KeyAction, KeyActions},
    elements::Element,
};
use keyway_browser_tests::Wire;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{commands, driver::Kind};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long to wait between two attempts: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(50));

/// Whether the element is to be seen, whatever its ancestors do.
const VISIBLE: &str = "const seen = (element) => element && element.checkVisibility({ visibilityProperty: true }) \
    && element.getClientRects().length > 0;";

/// The name that the standard gives to a reference to an element.
const ELEMENT_IDENTIFIER: &str = "element-6066-11e4-a52e-4f735466cecf";

pub struct Page {
    pub client: Client,
    pub(crate) wire: Arc<Wire>,
    /// The messages about responses that the browser's console may have in this test.
    pub(crate) expected: RefCell<Vec<&'static str>>,
}

impl Page {
    pub fn new(client: Client, wire: Arc<Wire>) -> Self {
        Self { client, wire, expected: RefCell::default() }
    }

    /// Waits for the responses to the page's first requests, whatever their status.
    pub async fn settled(&self) {
        let script = "return document.querySelector('#main:not([aria-busy])') && \
            !document.querySelector('#results[aria-busy]')";
        self.until("the page has loaded", script, &[]).await;
    }

    /// Runs a script, the body of a function, and returns its result. A promise is awaited.
    pub async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        match self.client.execute(script, arguments.to_vec()).await {
            Ok(value) => value,
            Err(error) => panic!("{script}: {error}"),
        }
    }

    /// Runs a script until it gives something that counts as true.
    pub async fn until(&self, what: &str, script: &str, arguments: &[Value]) -> Value {
        let start = Instant::now();
        let mut pause = PAUSES.0;
        loop {
            // The document may be on its way out, which is an error.
            let value = self.client.execute(script, arguments.to_vec()).await;
            match &value {
                Err(_) | Ok(Value::Null | Value::Bool(false)) => {}
                Ok(value) => return value.clone(),
            }
            if start.elapsed() > PATIENCE {
                // A driver that runs no script would let the second one wait as long.
                let text = if value.is_ok() { self.all_text().await } else { String::new() };
                panic!("waited in vain until {what}: {value:?}\n{text}");
            }
            sleep(pause).await;
            pause = PAUSES.1.min(pause * 2);
        }
    }

    /// Waits until the first such element is visible, and runs the rest of a script with it as `element`. The rest
    /// gets `argument` as `arguments[1]`, and returns neither `null` nor `false`.
    async fn with_visible(&self, selector: &str, rest: &str, argument: &str) -> Value {
        let script = format!(
            "{VISIBLE} const element = document.querySelector(arguments[0]); \
             if (!seen(element)) return null; {rest}"
        );
        let what = format!("{selector} is visible");
        self.until(&what, &script, &[selector.into(), argument.into()]).await
    }

    /// As [`with_visible`](Self::with_visible), with a script that returns an element.
    async fn visible_element(&self, selector: &str, rest: &str, argument: &str) -> Element {
        let found = self.with_visible(selector, rest, argument).await;
        let id = found[ELEMENT_IDENTIFIER].as_str().unwrap().to_owned();
        Element::from_element_id(self.client.clone(), id.into())
    }

    pub async fn visible(&self, selector: &str) {
        self.with_visible(selector, "return true", "").await;
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
        // As far as a person would scroll: the driver itself leaves it below what sticks to the edge.
        let scroll = "element.scrollIntoView({ block: 'nearest' }); return element";
        let start = Instant::now();
        // It may be rendered again or be covered for a moment.
        while let Err(error) = self.visible_element(selector, scroll, "").await.click().await {
            assert!(start.elapsed() < PATIENCE, "{selector}: {error}");
            sleep(PAUSES.0).await;
        }
    }

    /// Types into an empty field with a keyboard, letter by letter.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let field = self.visible_element(selector, "return element", "").await;
        field.send_keys(text).await.unwrap();
    }

    /// Replaces what stands in a field, at once, as an input method does.
    pub async fn fill(&self, selector: &str, text: &str) {
        let insert = "element.focus(); element.select(); \
            document.execCommand(arguments[1] ? 'insertText' : 'delete', false, arguments[1]); return true";
        self.with_visible(selector, insert, text).await;
    }

    /// Sets a field of dates, for which each browser has its own way to type.
    pub async fn set(&self, selector: &str, value: &str) {
        let set = "element.value = arguments[1]; \
            for (const kind of ['input', 'change']) element.dispatchEvent(new Event(kind, { bubbles: true })); \
            return true";
        self.with_visible(selector, set, value).await;
    }

    pub async fn choose(&self, selector: &str, value: &str) {
        let option = "element.scrollIntoView({ block: 'nearest' }); \
            return [...element.options].find((each) => each.value === arguments[1]) ?? null";
        self.visible_element(selector, option, value).await.click().await.unwrap();
    }

    /// Presses keys one after the other, wherever the focus is. A key is held down while the rest of its
    /// text is pressed.
    pub async fn keys(&self, keys: &[&str]) {
        let mut actions = KeyActions::new("keyboard".into());
        for key in keys {
            for value in key.chars() {
                actions = actions.then(KeyAction::Down { value });
            }
            for value in key.chars().rev() {
                actions = actions.then(KeyAction::Up { value });
            }
        }
        self.client.perform_actions(actions).await.unwrap();
    }

    /// Returns the value of a field.
    pub async fn value(&self, selector: &str) -> String {
        let value = self.with_visible(selector, "return element.value", "").await;
        value.as_str().unwrap().into()
    }

    /// Returns the visible text of the first such element.
    pub async fn text(&self, selector: &str) -> String {
        let text = self.with_visible(selector, "return element.innerText", "").await;
        text.as_str().unwrap().into()
    }

    /// Returns the visible texts of all such elements.
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

    /// Returns the accessible name of an element.
    pub async fn label(&self, selector: &str) -> String {
        self.visible(selector).await;
        let label = commands::label(&self.client, selector).await;
        label.unwrap().as_str().unwrap().into()
    }

    /// Sends a command of the DevTools protocol, which only Chromium has.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let sent = commands::devtools(&self.client, command, parameters).await;
        sent.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Sets the size of the page and its colours, and ends all movement, so that no state between two is seen.
    ///
    /// Only Chromium lets a driver set what a person prefers, and makes a page narrower than its window can be,
    /// which is about 450 pixels.
    pub async fn look(&self, width: u32, height: u32, scheme: &str) {
        if Kind::chosen() == Kind::Chromium {
            let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
            self.devtools("Emulation.setDeviceMetricsOverride", size).await;
            let features = json!({ "features": [
                { "name": "prefers-color-scheme", "value": scheme },
                { "name": "prefers-reduced-motion", "value": "reduce" },
            ]});
            self.devtools("Emulation.setEmulatedMedia", features).await;
        } else {
            self.client.set_window_rect(0, 0, width, height).await.unwrap();
            let script = "document.documentElement.style.colorScheme = arguments[0]; \
                document.getAnimations().forEach((each) => each.finish())";
            self.run(script, &[scheme.into()]).await;
        }
    }

    /// All that is to be read, for who looks why a test failed.
    pub async fn all_text(&self) -> String {
        let text = self.client.execute("return document.body.innerText", vec![]).await;
        let text = text.unwrap_or_default();
        format!("the page: {}", text.as_str().unwrap_or_default())
    }
}
