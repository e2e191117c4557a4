//! The page and what belongs to it, wherever it is mounted.

use axum::{Router, body::Body, http::Request};
use keyway::console::ConsoleError;
use tower::ServiceExt;

use crate::{
    client::{Place, console},
    common::{World, block_on},
};

fn get(app: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).header("x-test-who", "acme").body(Body::empty()).unwrap();
    let response = block_on(app.clone().oneshot(request)).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// The path that the page at `path` loads its script from.
fn script(app: &Router, path: &str) -> String {
    let (status, page) = get(app, path);
    assert_eq!(status, 200, "{path}");
    assert!(!page.contains("{{"), "{page}");
    let end = page.find("app.js").unwrap();
    let start = page[..end].rfind('"').unwrap() + 1;
    let relative = page[start..end].strip_prefix("./").unwrap_or(&page[start..end]);
    let folder = path.rsplit_once('/').unwrap().0;
    format!("{folder}/{relative}app.js")
}

#[test]
fn the_page_finds_its_files_wherever_it_is_mounted() {
    let world = World::new();
    block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let console = || console(&world.keyring);
    let nested = Router::new().nest("/settings/api-keys", console().router());
    let service = Router::new().nest_service("/settings/api-keys", console().router::<()>());
    let deep = Router::new().nest("/a/{id}", service.clone());
    let root: Router = console().router();
    let merged = Router::new().merge(console().router::<()>());
    for (app, page, mount) in [
        (&nested, "/settings/api-keys", "/settings/api-keys"),
        (&service, "/settings/api-keys", "/settings/api-keys"),
        (&service, "/settings/api-keys/", "/settings/api-keys"),
        (&deep, "/a/b%22c/settings/api-keys", "/a/b%22c/settings/api-keys"),
        (&root, "/", ""),
        (&merged, "/", ""),
    ] {
        let script = script(app, page);
        assert_eq!(script, format!("{mount}/app.js"), "{page}");
        assert_eq!(get(app, &script).0, 200, "{script}");
        assert_eq!(get(app, &format!("{mount}/api/session")).0, 200, "{mount}");
        let (_, document) = get(app, &format!("{mount}/openapi.json"));
        let server = if mount.is_empty() { "/" } else { mount };
        assert!(document.contains(&format!(r#""servers":[{{"url":"{server}"}}]"#)), "{document}");
        assert_eq!(get(app, &format!("{mount}/api/keys/A000000000000000")).0, 404);
    }
    // That path is the host's: `nest` does not give it to the console.
    assert_eq!(get(&nested, "/settings/api-keys/").0, 404);
}

#[test]
fn files_are_asked_for_again_and_sent_once() {
    let Place { client, .. } = Place::new();
    for (path, kind) in [
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/app.css", "text/css; charset=utf-8"),
        ("/theme.css", "text/css; charset=utf-8"),
        ("/text.json", "application/json"),
    ] {
        let first = client.get("", path);
        assert_eq!((first.status, first.field("content-type")), (200, kind));
        assert_eq!(first.field("cache-control"), "no-cache");
        let etag = first.field("etag").to_owned();
        assert!(etag.len() > 10 && etag.starts_with('"'));
        let ask = |tag: &str| client.ask("", "GET", path).field("if-none-match", tag).send();
        for tag in [&etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
            let again = ask(tag);
            assert_eq!((again.status, &*again.text, again.field("etag")), (304, "", &*etag));
        }
        assert_eq!(ask("\"x\"").status, 200);
    }
}

#[test]
fn the_host_decides_how_it_looks() {
    let Place { client, .. } = Place::with(|console| {
        console
            .service_name("Machines & \"<script>\"")
            .logo("image/svg+xml", *b"<svg/>")
            .unwrap()
            .accent("#FFD500")
            .unwrap()
            .curl("curl -H 'Authorization: Bearer {token}' https://api.example")
            .unwrap()
            .support("help@example.com")
    });
    let page = client.get("operator", "/");
    assert_eq!(page.field("content-type"), "text/html; charset=utf-8");
    assert!(page.text.contains("<title>API keys</title>"), "{}", page.text);
    assert!(page.text.contains(r#"<html lang="en""#));
    let theme = client.get("", "/theme.css").text;
    assert_eq!(theme, ":root{--accent:#ffd500;--on-accent:#000000}\n");
    let service = client.get("operator", "/api/session").json()["service"].clone();
    assert_eq!(service["name"], "Machines & \"<script>\"");
    assert_eq!(service["logo"], true);
    // Whoever opens it as a document runs nothing of it.
    let logo = client.get("", "/logo");
    assert_eq!((&*logo.text, logo.field("content-type")), ("<svg/>", "image/svg+xml"));
    assert!(logo.field("content-security-policy").ends_with("; sandbox"));
    assert_eq!(service["support"], "help@example.com");
    assert!(service["curl"].as_str().unwrap().contains("{token}"));
    Place::new().client.get("acme", "/logo").is(404, "not-found", "");
}

#[test]
fn texts_are_replaced_by_their_keys() {
    let text = Place::new().client.get("", "/text.json").json();
    let (key, value) = text.as_object().unwrap().iter().next().unwrap();
    assert!(value.is_string());
    let json = format!(r#"{{ "{key}": "Schlüssel" }}"#);
    let Place { client, .. } = Place::with(|console| console.text("de", &json).unwrap());
    let replaced = client.get("", "/text.json").json();
    assert_eq!(replaced[key], "Schlüssel");
    assert_eq!(replaced.as_object().unwrap().len(), text.as_object().unwrap().len());
    assert!(client.get("operator", "/").text.contains(r#"<html lang="de""#));
    let title = r#"{ "title": "Schlüssel & \"<script>\"" }"#;
    let Place { client, .. } = Place::with(|console| console.text("de", title).unwrap());
    let page = client.get("operator", "/").text;
    assert!(page.contains("<title>Schlüssel &amp; &quot;&lt;script&gt;&quot;</title>"), "{page}");
}

#[test]
fn what_a_host_cannot_have_meant_is_refused() {
    let world = World::new();
    let console = || console(&world.keyring);
    let error = |result: Result<_, ConsoleError>| result.err().unwrap().to_string();
    assert_eq!(
        error(console().logo("text/html", "")),
        "a logo is of a type such as `image/png`, not `text/html`"
    );
    error(console().logo("image/png\r\nx: y", ""));
    assert_eq!(error(console().accent("red")), "a colour is written as `#rrggbb`, not `red`");
    for line in ["curl", "{token} {token}", "a\n{token}"] {
        error(console().curl(line));
    }
    error(console().text("", "{}"));
    error(console().text("de\"", "{}"));
    // `Intl` of browsers refuses these, and with them the whole page.
    for language in ["x", "abcd", "en-a", "de-1", "de-DE-x"] {
        error(console().text(language, "{}"));
    }
    for language in ["de", "de-CH", "zh-Hant", "zh-Hant-TW", "es-419", "gsw"] {
        assert!(console().text(language, "{}").is_ok(), "{language}");
    }
    assert_eq!(
        error(console().text("de", r#"{ "no such text": "" }"#)),
        "the page has no text `no such text`"
    );
    let error = error(console().text("de", "[]"));
    assert_eq!(error, "the texts are not a JSON object of strings");
}
