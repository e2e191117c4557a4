//! The page: static files, and the few that depend on the application's settings.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use axum::{
    body::Body,
    extract::{OriginalUri, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    app::App,
    auth,
    body::response_of,
    problem,
    settings::{Settings, TITLE},
};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";

/// The document that loads all other files. It refers to the script and the styles only.
const INDEX: &str = include_str!("page/index.html");

/// The files that are the same in every application, one line for each file of the folder.
const FILES: &[(&str, &str, &str)] = &[
    ("/allowances.js", SCRIPT, include_str!("page/allowances.js")),
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/bulk.js", SCRIPT, include_str!("page/bulk.js")),
    ("/dialogs.js", SCRIPT, include_str!("page/dialogs.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/exceptions.js", SCRIPT, include_str!("page/exceptions.js")),
    ("/forms.js", SCRIPT, include_str!("page/forms.js")),
    ("/keys.js", SCRIPT, include_str!("page/keys.js")),
    ("/limits.js", SCRIPT, include_str!("page/limits.js")),
    ("/list.js", SCRIPT, include_str!("page/list.js")),
    ("/one-time.js", SCRIPT, include_str!("page/one-time.js")),
    ("/operator.js", SCRIPT, include_str!("page/operator.js")),
    ("/scopes.js", SCRIPT, include_str!("page/scopes.js")),
    ("/text.js", SCRIPT, include_str!("page/text.js")),
    ("/usage.js", SCRIPT, include_str!("page/usage.js")),
    ("/app.css", STYLE, include_str!("page/app.css")),
];

const LOGO: &str = "/logo";
const THEME: &str = "/theme.css";
/// The policy of the logo. An image may be a document with scripts, such as an SVG, and is opened as one if
/// somebody follows a link to it.
const IMAGE_ALONE: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// Returns the routes of the files.
pub(super) fn files_with_paths(settings: &Settings) -> Vec<(&'static str, MethodRouter<Arc<App>>)> {
    let route = |file: File| {
        let path = file.path;
        (path, get(async move |headers: HeaderMap| file.response(&headers)))
    };
    files(settings).into_iter().map(route).collect()
}

fn files(settings: &Settings) -> Vec<File> {
    let of = |(path, kind, text): &(&'static str, &'static str, &'static str)| {
        File::new(path, HeaderValue::from_static(kind), Bytes::from_static(text.as_bytes()))
    };
    let mut files: Vec<File> = FILES.iter().map(of).collect();
    let texts = serde_json::to_string(&settings.texts).unwrap_or_default();
    files.push(File::new("/text.json", HeaderValue::from_static(JSON), texts.into()));
    let theme = settings.accent.to_css();
    files.push(File::new(THEME, HeaderValue::from_static(STYLE), theme.into()));
    if let Some(logo) = &settings.logo
        && let Ok(kind) = HeaderValue::from_str(&logo.content_type)
    {
        files.push(File::new(LOGO, kind, logo.image.clone().into()));
    }
    files
}

/// A file that does not change while the process runs.
#[derive(Clone)]
struct File {
    path: &'static str,
    kind: HeaderValue,
    content: Bytes,
    etag: HeaderValue,
}

impl File {
    fn new(path: &'static str, kind: HeaderValue, content: Bytes) -> Self {
        // Half of the digest is enough to distinguish any two files.
        let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            <[u8; 32]>::from(Sha256::digest(&content));
        let etag = format!("\"{:032x}\"", u128::from_be_bytes(head));
        // INVARIANT: digits and quotes are valid in a header value, so the conversion does not fail.
        let etag = HeaderValue::try_from(etag);
        Self { path, kind, content, etag: etag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    fn response(&self, headers: &HeaderMap) -> Response {
        let is_known = self.is_known_by(headers);
        let body = if is_known { Body::empty() } else { Body::from(self.content.clone()) };
        let mut response = Response::new(body);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(header::CONTENT_TYPE, self.kind.clone());
        }
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        // Browsers may store the file and revalidate it on each use, so that a new version of the application
        // is seen at once.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.path == LOGO {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(IMAGE_ALONE));
        }
        response
    }

    /// Checks whether the client has this version of the file: `If-None-Match`, RFC 9110, section 13.1.2.
    fn is_known_by(&self, headers: &HeaderMap) -> bool {
        let values = headers.get_all(header::IF_NONE_MATCH).into_iter();
        let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
            tag == b"*" || tag == self.etag.as_bytes()
        })
    }
}

/// Returns the document to a caller that the application admits. Others get the application's response.
pub(super) async fn index(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Err(response) = auth::identify(&app, &mut parts).await {
        return response;
    }
    let mut document = INDEX
        .replace("{{lang}}", &escape(&app.settings.language))
        .replace("{{base}}", &escape(&base(uri.path(), &parts.headers)));
    for name in DOCUMENT_TEXTS {
        let text = app.settings.texts.get(name).map_or("", String::as_str);
        document = document.replace(&["{{", name, "}}"].concat(), &escape(text));
    }
    response_of(StatusCode::OK, "text/html; charset=utf-8", Body::from(document))
}

/// The names of the texts in the document itself.
const DOCUMENT_TEXTS: [&str; 3] = [TITLE, "page.failed", "page.scripts"];

/// The header in which a proxy names the part of the path that it has removed.
const FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// Returns the relative URL from the page to the folder of its files, as the browser resolves it. The browser
/// may see another address than the service does.
///
/// The URL is the last segment of the path, whether or not the service sees a slash after it, because layers
/// and proxies trim that slash or append it. If the browser's address ends with a slash, the URL leads to a
/// folder below the right one, and [`elsewhere`] redirects from there. If a proxy has removed the whole path,
/// the last segment comes from `X-Forwarded-Prefix`.
fn base(path: &str, headers: &HeaderMap) -> String {
    // If there are several proxies, the last value is of the nearest one, which has removed the end of the
    // path.
    let prefix = || headers.get_all(FORWARDED_PREFIX).into_iter().next_back()?.to_str().ok();
    let path = if matches!(path, "" | "/") { prefix().unwrap_or_default() } else { path };
    match path.trim_end_matches('/').rsplit('/').next() {
        None | Some("") => String::new(),
        // After `./`, a colon in the segment does not end a URL scheme.
        Some(last) => ["./", last, "/"].concat(),
    }
}

/// Redirects a request for a file in a folder below the console to the file itself.
///
/// The browser asks there if its address of the page ends with a slash; see [`base`]. The service does not
/// know whether it does, because a layer may have trimmed or appended the slash.
pub(super) async fn elsewhere(method: Method, uri: Uri) -> Response {
    let path = uri.path();
    let mut segments = path.strip_suffix('/').unwrap_or(path).split('/').skip(1);
    let (folder, file, end) = (segments.next(), segments.next(), segments.next());
    let is_file = |file: &str| {
        let of = |path: &str| path.strip_prefix('/') == Some(file);
        [THEME, LOGO].into_iter().chain(FILES.iter().map(|(path, ..)| *path)).any(of)
    };
    match (folder, file.filter(|file| is_file(file)), end) {
        (Some(_), Some(file), None) if matches!(method, Method::GET | Method::HEAD) => {
            let mut response = StatusCode::TEMPORARY_REDIRECT.into_response();
            // INVARIANT: `file` equals the name of one of the files. No other text of the request gets into
            // the header, so it cannot redirect to another site.
            if let Ok(place) = HeaderValue::try_from(["../", file].concat()) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        _ => problem::not_found().into_response(),
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small() {
        let texts = include_str!("page/text.json");
        let files = FILES.iter().map(|(_, _, text)| text.len()).sum::<usize>();
        assert!(files > 40_000);
        // 5 kB of it are texts: the meaning of each problem, and the message of a page that cannot start. 4 kB are the
        // limits of keys on resources and networks. 6 kB are the form for exceptions of a tenant, which only operators
        // load, 8 kB are owners, filters and changes of many keys, 2 kB are children, 8 kB are usage, 1 kB is what
        // is due, and 6 kB are allowances with their form.
        assert!(files + INDEX.len() + texts.len() < 104_000);
    }

    #[test]
    fn the_files_are_found_with_and_without_a_slash() {
        let base = |path: &str| super::base(path, &HeaderMap::new());
        assert_eq!(base("/settings/api-keys"), "./api-keys/");
        assert_eq!(base("/settings/api-keys/"), "./api-keys/");
        assert_eq!(base("/"), "");
        assert_eq!(base("/javascript:alert(1)"), "./javascript:alert(1)/");
        for (prefix, expected) in
            [("/keys", "./keys/"), ("/a/keys", "./keys/"), ("/keys/", "./keys/"), ("", "")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(FORWARDED_PREFIX, HeaderValue::from_static("/other"));
            headers.append(FORWARDED_PREFIX, HeaderValue::from_static(prefix));
            assert_eq!(super::base("/", &headers), expected);
            assert_eq!(super::base("/settings/api-keys", &headers), "./api-keys/");
        }
        assert_eq!(escape("\"><script>&'"), "&quot;&gt;&lt;script&gt;&amp;&#39;");
    }

    #[test]
    fn every_file_of_the_folder_is_served() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/page");
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.map(|name| ["/", &name].concat()).collect();
        names.sort_unstable();
        let mut served: Vec<_> = FILES.iter().map(|(path, ..)| *path).collect();
        served.extend(["/index.html", "/text.json"]);
        served.sort_unstable();
        assert_eq!(names, served);
    }
}
