//! The page: static files, and what of them depends on the host.

use alloc::{format, string::String, sync::Arc, vec::Vec};

use axum::{
    Router,
    body::Body,
    extract::{OriginalUri, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    app::App,
    body::text_of,
    settings::{Settings, TITLE},
};

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const JSON: &str = "application/json";

/// The document that loads all others. It names nothing but the script and the styles.
const INDEX: &str = include_str!("page/index.html");

/// What is the same for every host, one line for each file of the folder.
const FILES: &[(&str, &str, &str)] = &[
    ("/api.js", SCRIPT, include_str!("page/api.js")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/dialogs.js", SCRIPT, include_str!("page/dialogs.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
    ("/forms.js", SCRIPT, include_str!("page/forms.js")),
    ("/keys.js", SCRIPT, include_str!("page/keys.js")),
    ("/list.js", SCRIPT, include_str!("page/list.js")),
    ("/one-time.js", SCRIPT, include_str!("page/one-time.js")),
    ("/operator.js", SCRIPT, include_str!("page/operator.js")),
    ("/scopes.js", SCRIPT, include_str!("page/scopes.js")),
    ("/text.js", SCRIPT, include_str!("page/text.js")),
    ("/app.css", STYLE, include_str!("page/app.css")),
];

const LOGO: &str = "/logo";
/// An image may be a document with scripts, and is opened as such if somebody follows a link to it.
const IMAGE_ALONE: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

/// The routes of the page.
pub(super) fn routes(settings: &Settings) -> Router<Arc<App>> {
    let mut router = Router::new().route("/", get(index));
    for file in files(settings) {
        let path = file.path;
        router = router.route(path, get(async move |fields: HeaderMap| file.answer(&fields)));
    }
    router
}

fn files(settings: &Settings) -> Vec<File> {
    let of = |(path, kind, text): &(&'static str, &'static str, &'static str)| {
        File::new(path, HeaderValue::from_static(kind), Bytes::from_static(text.as_bytes()))
    };
    let mut files: Vec<File> = FILES.iter().map(of).collect();
    let texts = serde_json::to_string(&settings.texts).unwrap_or_default();
    files.push(File::new("/text.json", HeaderValue::from_static(JSON), texts.into()));
    let theme = settings.accent.to_css();
    files.push(File::new("/theme.css", HeaderValue::from_static(STYLE), theme.into()));
    if let Some(logo) = &settings.logo
        && let Ok(kind) = HeaderValue::from_str(&logo.content_type)
    {
        files.push(File::new(LOGO, kind, logo.image.clone().into()));
    }
    files
}

/// Something that stays as it is while the process lives.
#[derive(Clone)]
struct File {
    path: &'static str,
    kind: HeaderValue,
    content: Bytes,
    etag: HeaderValue,
}

impl File {
    fn new(path: &'static str, kind: HeaderValue, content: Bytes) -> Self {
        // Half of the digest tells any two files apart.
        let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            <[u8; 32]>::from(Sha256::digest(&content));
        let etag = format!("\"{:032x}\"", u128::from_be_bytes(head));
        // INVARIANT: digits and quotes can stand in a field.
        let etag = HeaderValue::try_from(etag);
        Self { path, kind, content, etag: etag.unwrap_or(HeaderValue::from_static("\"\"")) }
    }

    fn answer(&self, fields: &HeaderMap) -> Response {
        let is_known = self.is_known_by(fields);
        let body = if is_known { Body::empty() } else { Body::from(self.content.clone()) };
        let mut response = Response::new(body);
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(header::CONTENT_TYPE, self.kind.clone());
        }
        let fields = response.headers_mut();
        fields.insert(header::ETAG, self.etag.clone());
        // It may be kept, and is asked for each time, so that a new version of the host is seen at once.
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.path == LOGO {
            fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(IMAGE_ALONE));
        }
        response
    }

    /// RFC 9110, section 13.1.2.
    fn is_known_by(&self, fields: &HeaderMap) -> bool {
        let values = fields.get_all(header::IF_NONE_MATCH).into_iter();
        let mut tags = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        tags.any(|tag| {
            let tag = tag.trim_ascii();
            let tag = tag.strip_prefix(b"W/").unwrap_or(tag);
            tag == b"*" || tag == self.etag.as_bytes()
        })
    }
}

/// The document, for whoever the host knows; others get the answer of the host.
async fn index(
    State(app): State<Arc<App>>,
    OriginalUri(uri): OriginalUri,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Err(answer) = app.admin(&mut parts).await {
        return answer;
    }
    let title = app.settings.texts.get(TITLE).map_or("", String::as_str);
    let document = INDEX
        .replace("{{lang}}", &escape(&app.settings.language))
        .replace("{{base}}", &escape(&base(uri.path())))
        .replace("{{title}}", &escape(title));
    text_of(StatusCode::OK, "text/html; charset=utf-8", document)
}

/// What leads from the address of the page to the folder of its files: nothing where that ends with a slash.
fn base(path: &str) -> String {
    match path.rsplit('/').next() {
        None | Some("") => String::new(),
        // With a dot before it, a colon in it makes no scheme.
        Some(last) => ["./", last, "/"].concat(),
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
        assert!(files + INDEX.len() + texts.len() < 60_000);
    }

    #[test]
    fn the_files_are_found_with_and_without_a_slash() {
        assert_eq!(base("/settings/api-keys"), "./api-keys/");
        assert_eq!(base("/settings/api-keys/"), "");
        assert_eq!(base("/"), "");
        assert_eq!(base("/javascript:alert(1)"), "./javascript:alert(1)/");
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
