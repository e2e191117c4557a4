//! The findings of axe-core, and elements that do not fit.

use std::{env, fs, path::Path};

use serde_json::{Value, json};

use crate::page::Page;

/// Every rule for WCAG 2.2, level AA, and the best practices.
const TAGS: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// Width and height of a window, and the colours that its person likes.
const LOOKS: [(u32, u32, &str); 4] =
    [(1280, 800, "light"), (1280, 800, "dark"), (320, 640, "dark"), (320, 640, "light")];

/// The elements that the page is wider for than its window, and dialogs that are narrower than what is in them.
const OVERFLOWING: &str = "
    const width = document.documentElement.clientWidth;
    const wide = [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility() \
        && each.getBoundingClientRect().right > width + 1 && !each.closest('.hidden, .skip'));
    const dialogs = [...document.querySelectorAll('dialog')].filter((each) => each.scrollWidth > each.clientWidth);
    const scrolls = document.documentElement.scrollWidth > width ? [document.documentElement] : [];
    return [...scrolls, ...dialogs, ...wide].map((each) => each.outerHTML.slice(0, 120));";

/// Loads axe-core into the document, unless it is there. A driver's script needs no permission of the policy.
async fn load(page: &Page) {
    if page.run("return Boolean(window.axe)", &[]).await == true {
        return;
    }
    let folder =
        env::var("KEYWAY_AXE").expect("KEYWAY_AXE: tests/console.sh says where axe-core is");
    let source = fs::read_to_string(Path::new(&folder).join("axe.min.js")).unwrap();
    page.run(&source, &[]).await;
}

/// The rules that the page breaks, each with the elements that do so.
pub async fn violations(page: &Page) -> Vec<String> {
    load(page).await;
    let script = "return window.axe.run(document, { runOnly: arguments[0], resultTypes: ['violations'] })\
        .then((found) => found.violations.map((each) => each.id + ': ' + each.nodes.map((node) => \
        node.html + ' ' + node.failureSummary).join(' | ')))";
    let Value::Array(found) = page.run(script, &[json!(TAGS)]).await else { unreachable!() };
    found.iter().map(Value::to_string).collect()
}

pub async fn overflowing(page: &Page) -> Vec<String> {
    let Value::Array(found) = page.run(OVERFLOWING, &[]).await else { unreachable!() };
    found.iter().map(Value::to_string).collect()
}

/// Fails unless the page, as it is now, can be used by everybody: in wide and in narrow windows, in light and
/// in dark colours.
pub async fn check(page: &Page, state: &str) {
    for (width, height, scheme) in LOOKS {
        page.look(width, height, scheme).await;
        let look = format!("{state}, {width} px wide, {scheme}");
        let found = overflowing(page).await;
        assert!(found.is_empty(), "{look}: too wide: {found:#?}");
        let found = violations(page).await;
        assert!(found.is_empty(), "{look}: {found:#?}");
    }
    page.look(1280, 800, "light").await;
}
