//! The actions of an administrator, one function each.

use crate::page::Page;

/// The card of a key, by its name.
pub async fn card(page: &Page, name: &str) -> String {
    let script = "return [...document.querySelectorAll('.key')]\
        .find((each) => each.querySelector('h3').textContent === arguments[0])?.dataset.key ?? null";
    let id = page.until(&format!("there is a card of {name:?}"), script, &[name.into()]).await;
    format!("[data-key='{}']", id.as_str().unwrap())
}

/// Presses a button on the card of a key.
pub async fn press_on(page: &Page, name: &str, action: &str) {
    let card = card(page, name).await;
    page.press(&format!("{card} [data-action={action}]")).await;
}

/// Fills the form for a new key, which ends in 30 days, and saves it.
pub async fn ask_for_key(page: &Page, name: &str, scopes: &[&str]) {
    page.press("[data-action=create]").await;
    page.fill("#create [name=name]", name).await;
    for scope in scopes {
        page.press(&format!("#create [name=scopes][value='{scope}']")).await;
    }
    page.press("#create [name=expiry][value='30']").await;
    page.press("#create [type=submit]").await;
}

/// Creates a key and gives the token that is shown.
pub async fn create(page: &Page, name: &str, scopes: &[&str]) -> String {
    ask_for_key(page, name, scopes).await;
    let token = page.value("#one-time [name=token]").await;
    close_one_time(page).await;
    token
}

/// Copies the token and closes the dialog that shows it.
pub async fn close_one_time(page: &Page) {
    page.press("#one-time [data-action=copy]").await;
    page.shows("#one-time .live", "copied").await;
    page.press("#one-time [data-action=done]").await;
    page.closed().await;
}

/// Types into the field of the search, letter by letter.
pub async fn search(page: &Page, text: &str) {
    page.fill("#search", "").await;
    page.type_into("#search", text).await;
}

/// The names on all cards, when there are so many.
pub async fn names(page: &Page, count: usize) -> Vec<String> {
    let script = "return !document.querySelector('#results[aria-busy]') \
        && document.querySelectorAll('.key').length === arguments[0]";
    page.until(&format!("there are {count} cards"), script, &[count.into()]).await;
    page.texts(".key h3").await
}
