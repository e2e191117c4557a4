//! The page and its files, under any mount.

use axum::{Router, body::Body, http::Request};
use keyway::ConfigError;
use tower::ServiceExt;
use url::Url;

use crate::{
    client::{Place, console},
    support::{World, block_on},
};

fn get(app: &Router, path: &str) -> (u16, String) {
    let request = Request::get(path).header("x-test-who", "acme").body(Body::empty()).unwrap();
    let response = block_on(app.clone().oneshot(request)).unwrap();
    let status = response.status().as_u16();
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Returns the path from which the page at `path` loads its script.
fn script(app: &Router, path: &str) -> String {
    let (status, page) = get(app, path);
    assert_eq!(status, 200, "{path}");
    assert!(!page.contains("{{"), "{page}");
    let end = page.find("app.js").unwrap();
    let start = page[..end].rfind('"').unwrap() + 1;
    let relative = page[start..end].strip_prefix("./").unwrap_or(&page[start..end]);
    let folder = path.rsplit_once('/').unwrap().0;
    let script = format!("{folder}/{relative}app.js");
    if get(app, &script).0 != 307 {
        return script;
    }
    // Follows the redirect to `../app.js`.
    format!("{}/app.js", script.rsplitn(3, '/').nth(2).unwrap())
}

#[test]
fn page_finds_its_files_under_any_mount() {
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
    // `nest` does not pass the path with a slash to the console.
    assert_eq!(get(&nested, "/settings/api-keys/").0, 404);
}

/// Checks that a browser at `address` gets the page and its files, although the service sees other paths.
/// `seen` converts the browser's path to the path that the service sees.
fn finds_its_files(app: &Router, address: &str, prefix: &str, seen: impl Fn(&str) -> String) {
    let ask = |path: &str| {
        let mut request = Request::get(seen(path)).header("x-test-who", "acme");
        if !prefix.is_empty() {
            request = request.header("x-forwarded-prefix", prefix);
        }
        block_on(app.clone().oneshot(request.body(Body::empty()).unwrap())).unwrap()
    };
    let response = ask(address);
    assert_eq!(response.status(), 200, "{address}");
    let body = block_on(axum::body::to_bytes(response.into_body(), usize::MAX)).unwrap();
    let page = String::from_utf8(body.to_vec()).unwrap();
    let origin = Url::parse("https://service.example").unwrap();
    let page_url = origin.join(address).unwrap();
    for file in ["app.js", "app.css", "theme.css"] {
        let end = page.find(file).unwrap();
        let start = page[..end].rfind('"').unwrap() + 1;
        let mut url = page_url.join(&format!("{}{file}", &page[start..end])).unwrap();
        let mut response = ask(url.path());
        if response.status() == 307 {
            url = url.join(response.headers()["location"].to_str().unwrap()).unwrap();
            response = ask(url.path());
        }
        assert_eq!(response.status(), 200, "{address}: {url}");
        if file == "app.js" {
            let session = url.join("api/session").unwrap();
            assert_eq!(ask(session.path()).status(), 200, "{address}: {session}");
        }
    }
}

#[test]
fn page_finds_its_files_behind_layers_and_proxies() {
    let world = World::new();
    block_on(world.keyring.create_empty_tenant("acme", "lite")).unwrap();
    let console = || console(&world.keyring).router::<()>();
    let service = Router::new().nest_service("/settings/api-keys", console());
    let nested = Router::new().nest("/settings/api-keys", console());
    let root: Router = console();
    let same = str::to_owned;
    for address in ["/settings/api-keys", "/settings/api-keys/"] {
        finds_its_files(&service, address, "", same);
        // A layer that trims slashes, such as tower-http's `NormalizePath`.
        let trimmed = |path: &str| path.trim_end_matches('/').to_owned();
        finds_its_files(&service, address, "", trimmed);
        finds_its_files(&nested, address, "", trimmed);
        // A proxy that adds a slash.
        let with_slash = |path: &str| {
            if path == "/settings/api-keys" { format!("{path}/") } else { path.into() }
        };
        finds_its_files(&service, address, "", with_slash);
        // A layer that appends slashes to every path.
        let appended = |path: &str| format!("{}/", path.trim_end_matches('/'));
        finds_its_files(&service, address, "", appended);
        // A proxy that removes the beginning of the path, or adds one.
        let below = format!("/app{address}");
        finds_its_files(&service, &below, "", |path| path.strip_prefix("/app").unwrap().into());
        let below = address.strip_prefix("/settings").unwrap();
        finds_its_files(&service, below, "", |path| format!("/settings{path}"));
        finds_its_files(&nested, below, "", |path| trimmed(&format!("/settings{path}")));
    }
    // A proxy that removes the whole path must send `X-Forwarded-Prefix`, unless the address ends with a
    // slash.
    let removed = |path: &str| match path.strip_prefix("/keys").unwrap() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    };
    finds_its_files(&root, "/keys", "/keys", removed);
    finds_its_files(&root, "/keys", "/keys/", removed);
    finds_its_files(&root, "/keys/", "/keys", removed);
    finds_its_files(&root, "/keys/", "", removed);
    // A proxy that serves the console at its root.
    finds_its_files(&service, "/", "", |path| format!("/settings/api-keys{path}"));
    finds_its_files(&nested, "/", "", |path| {
        format!("/settings/api-keys{path}").trim_end_matches('/').into()
    });
}

/// The redirect leads to files of the page only, and never out of the console.
#[test]
fn redirect_leads_to_files_of_the_page_only() {
    let Place { client, .. } = Place::new();
    let answer = client.ask("", "GET", "/x/app.js").send();
    assert_eq!((answer.status, answer.field("location")), (307, "../app.js"));
    for path in ["/x/secret.js", "/x/y/app.js", "/x/app.js//", "/x/index.html", "/x/..%2Fapp.js"] {
        client.get("acme", path).is(404, "not-found", "");
    }
    client.ask("acme", "POST", "/x/app.js").send().is(404, "not-found", "");
    client.get("acme", "/api/app.js").is(404, "not-found", "");
}

/// If no script runs, the document itself shows a message.
#[test]
fn page_without_scripts_shows_a_message() {
    let Place { client, .. } = Place::new();
    let page = client.get("operator", "/").text;
    let failed = page.find("<p id=\"failed\">This page could not start.");
    assert!(failed.is_some() && !page.contains("hidden"), "{page}");
    assert!(page.contains("<noscript><p>This page needs JavaScript.</p></noscript>"), "{page}");
    let words = r#"{ "page.failed": "Kaputt & \"aus\"", "page.scripts": "Skripte" }"#;
    let Place { client, .. } = Place::with(|console| console.text("de", words).unwrap());
    let page = client.get("operator", "/").text;
    assert!(page.contains("<p id=\"failed\">Kaputt &amp; &quot;aus&quot;</p>"), "{page}");
}

#[test]
fn unchanged_file_is_revalidated_with_304() {
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
fn settings_change_the_look_of_the_page() {
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
    // Scripts in the logo do not run if it is opened as a document.
    let logo = client.get("", "/logo");
    assert_eq!((&*logo.text, logo.field("content-type")), ("<svg/>", "image/svg+xml"));
    assert!(logo.field("content-security-policy").ends_with("; sandbox"));
    assert_eq!(service["support"], "help@example.com");
    assert!(service["curl"].as_str().unwrap().contains("{token}"));
    Place::new().client.get("acme", "/logo").is(404, "not-found", "");
}

#[test]
fn replaced_texts_are_served() {
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
fn invalid_settings_are_refused() {
    let world = World::new();
    let console = || console(&world.keyring);
    let error = |result: Result<_, ConfigError>| result.err().unwrap().to_string();
    assert_eq!(
        error(console().logo("text/html", "")),
        "a logo is of a type such as `image/png`, not `text/html`"
    );
    error(console().logo("image/png\r\nx: y", ""));
    assert_eq!(error(console().accent("red")), "a color is written as `#rrggbb`, not `red`");
    for line in ["curl", "{token} {token}", "a\n{token}"] {
        error(console().curl(line));
    }
    error(console().text("", "{}"));
    error(console().text("de\"", "{}"));
    // The browser's `Intl` throws on these, and the whole page would fail.
    for language in ["x", "abcd", "en-a", "de-1", "de-DE-x"] {
        error(console().text(language, "{}"));
    }
    for language in ["de", "de-CH", "zh-Hant", "zh-Hant-TW", "es-419", "gsw"] {
        assert!(console().text(language, "{}").is_ok(), "{language}");
    }
    // Other languages have plural forms that English does not have.
    assert!(console().text("pl", r#"{ "quota.few": "", "quota.many": "" }"#).is_ok());
    error(console().text("pl", r#"{ "lead.few": "" }"#));
    error(console().text("pl", r#"{ "quota.some": "" }"#));
    assert_eq!(
        error(console().text("de", r#"{ "no such text": "" }"#)),
        "the page has no text `no such text`"
    );
    let error = error(console().text("de", "[]"));
    assert!(error.starts_with("the JSON object of texts cannot be read: "), "{error}");
}
