//! Checks that files import only from their own layer and from those below it, and that no files of the console
//! import each other in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The layers from the bottom up. A name covers its file and all files in its folder, except those listed
/// themselves.
const LAYERS: &[&[&str]] = &[
    &[
        "base64",
        "bearer",
        "codec",
        "config",
        "field",
        "grant",
        "mac",
        "network",
        "resource",
        "scope",
        "swar",
        "sync",
        "text",
        "tier/allowance",
        "time",
    ],
    &["pepper", "tier", "token"],
    &["children", "event", "import", "policy", "record", "usage"],
    &["authority", "decision", "seal", "store"],
    &["allowance", "audit", "cache", "meter", "operations", "rate", "store/memory", "store/sql"],
    &["store/audit_table", "store/postgres", "store/sqlite"],
    &["verifier"],
    &["keyring"],
    &["http", "store/conformance", "testing"],
    &["http/actix", "http/tower"],
    &["http/axum"],
    &["console"],
];

/// The root, the guide and the names of the pure layer, which may import anything. Nothing imports them.
const FACE: [&str; 3] = ["lib", "guide", "lowlevel"];

/// Returns the layer of a file or item, such as `store/memory` or `store/StoreError`.
fn layer(path: &str) -> Option<usize> {
    let mut name = path;
    loop {
        if let Some(layer) = LAYERS.iter().position(|layer| layer.contains(&name)) {
            return Some(layer);
        }
        (name, _) = name.rsplit_once('/')?;
    }
}

/// Returns the imports that break the order in a file with this text, in words.
fn faults(file: &str, text: &str) -> Vec<String> {
    if FACE.contains(&file) {
        return Vec::new();
    }
    let Some(own) = layer(file) else {
        return vec![format!("`{file}` is in no layer")];
    };
    imports(file, text)
        .iter()
        .filter_map(|import| match layer(import) {
            Some(other) if other <= own => None,
            Some(_) => Some(format!("`{file}` imports `{import}` from above")),
            None => Some(format!("`{file}` imports `{import}`, which is in no layer")),
        })
        .collect()
}

/// Returns all paths of the crate in `text`, such as `store/memory/MemoryStore`. Tests may import from above.
/// So may links in documentation, and code that a macro generates for the application (`$crate`).
fn imports(file: &str, text: &str) -> BTreeSet<String> {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    // In a top-level file, an inline module refers to the file itself by `super::`.
    for (keyword, base) in [("crate::", ""), ("super::", parent(file))] {
        if keyword == "super::" && base.is_empty() {
            continue;
        }
        for (start, _) in code.match_indices(keyword) {
            let (before, path) = code.split_at(start);
            if !before.ends_with(|c: char| c.is_alphanumeric() || "_:$".contains(c)) {
                expand(base, &path[keyword.len()..], &mut found);
            }
        }
    }
    found
}

fn parent(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Reads a path, or a tree of paths in braces, and returns the text after it.
fn expand<'t>(base: &str, text: &'t str, found: &mut BTreeSet<String>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            assert!(!rest.is_empty(), "a brace is open in the imports of `{base}`");
            rest = expand(base, rest, found);
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = match (name, base) {
        ("self" | "", base) => base.to_owned(),
        ("super", base) => parent(base).to_owned(),
        (name, "") => name.to_owned(),
        (name, base) => format!("{base}/{name}"),
    };
    if let Some(rest) = rest.strip_prefix("::") {
        return expand(&path, rest, found);
    }
    found.insert(path);
    let rest = rest.trim_start();
    // The rest is `*`, or an alias.
    let end = rest.find([',', '}', ';', '\n']).unwrap_or(rest.len());
    &rest[end..]
}

/// Returns the imports of each of these files, by name and text, from the others. Imports from the own folder
/// (`self::`) count as well.
fn imports_among<'f>(files: &[(&'f str, &str)]) -> BTreeMap<&'f str, BTreeSet<&'f str>> {
    let owner = |import: &str| {
        let owns = |name: &&str| {
            import.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        files.iter().map(|(name, _)| *name).filter(owns).max_by_key(|name| name.len())
    };
    let of_file = |(name, text): &(&'f str, &str)| {
        let text = text.replace("self::", &format!("crate::{}::", name.replace('/', "::")));
        let imported = imports(name, &text);
        // `keys::create::create_key` names a file by a path that begins with an imported module.
        let is_named = |(other, _): &&(&str, &str)| {
            other.rsplit_once('/').is_some_and(|(folder, file)| {
                let module = folder.rsplit('/').next().unwrap_or_default();
                imported.contains(folder) && text.contains(&format!("{module}::{file}::"))
            })
        };
        let named = files.iter().filter(is_named).map(|(other, _)| *other);
        let owners = imported.iter().filter_map(|import| owner(import)).chain(named);
        (*name, owners.filter(|owner| owner != name).collect())
    };
    files.iter().map(of_file).collect()
}

/// Returns the files that import each other in circles, or lie between circles.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let mut left = imports_among(files);
    loop {
        let known: BTreeSet<_> = left.keys().copied().collect();
        let before = left.len();
        // A file that imports nothing of the rest, or that nothing imports, is in no circle.
        left.retain(|_, imports| imports.iter().any(|import| known.contains(import)));
        let imported: BTreeSet<_> = left.values().flatten().copied().collect();
        left.retain(|name, _| imported.contains(name));
        if left.len() == before {
            return left.into_keys().map(str::to_owned).collect();
        }
    }
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Returns the name and the text of each file in `src`.
fn sources() -> Vec<(String, String)> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    assert!(paths.len() > 40, "only {} files were found", paths.len());
    let read = |path: PathBuf| {
        let name = path.strip_prefix(&source).unwrap().with_extension("");
        (name.to_str().unwrap().replace('\\', "/"), fs::read_to_string(&path).unwrap())
    };
    paths.into_iter().map(read).collect()
}

#[test]
fn imports_go_downward() {
    let all: Vec<_> = sources().iter().flat_map(|(name, text)| faults(name, text)).collect();
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn console_imports_form_no_circle() {
    let sources = sources();
    let is_of_console = |name: &str| name == "console" || name.starts_with("console/");
    let console = sources.iter().filter(|(name, _)| is_of_console(name));
    let console: Vec<_> = console.map(|(name, text)| (&**name, &**text)).collect();
    assert!(console.len() > 20, "only {} files were found", console.len());
    assert_eq!(circles(&console), [""; 0]);
}

#[test]
fn circle_of_imports_is_found() {
    let files = [
        ("console", "use self::{app::App, router::router};"),
        ("console/app", "use crate::keyring::Keyring;"),
        ("console/keys", "pub(super) mod create;\nuse super::app::App;"),
        ("console/keys/create", "use super::{super::app::App, query};"),
        ("console/router", "use super::{app::App, keys::{self, create}};"),
    ];
    assert_eq!(circles(&files), [""; 0]);
    // The state imports a handler, a parent file imports its child, and a child imports the root.
    for (file, import, circle) in [
        (1, "use super::keys::list;", &["console/app", "console/keys"][..]),
        (2, "use self::create::Body;", &["console/keys", "console/keys/create"]),
        (1, "use super::Console;", &["console", "console/app"]),
        (
            1,
            "use super::keys; fn of() { keys::create::key() }",
            &["console/app", "console/keys/create"],
        ),
        (1, "fn of(router: crate::console::router::Router) {}", &["console/app", "console/router"]),
    ] {
        let mut files = files;
        let text = format!("{}\n{import}", files[file].1);
        files[file].1 = &text;
        let found = circles(&files);
        assert!(circle.iter().all(|name| found.contains(&(*name).to_owned())), "{found:?}");
    }
}

#[test]
fn every_import_form_is_parsed() {
    let text = "
use crate::{
    scope::{Scope, set::{self, Bits as B}},
    store::memory::*,
    // crate::keyring::Keyring
    time::Timestamp, // crate::verifier::Verifier
};
pub use crate::text::TextProblem;
pub(crate) use super::tag;
use super::super::mac;
fn of(policy: &crate::policy::Policy) -> subcrate::Thing {}
macro_rules! host { () => { $crate::keyring::Keyring } }

#[cfg(test)]
mod tests { use crate::keyring::Keyring; }
";
    let imports = imports("token/mint", text);
    let expected = [
        "mac",
        "policy/Policy",
        "scope/Scope",
        "scope/set",
        "scope/set/Bits",
        "store/memory",
        "text/TextProblem",
        "time/Timestamp",
        "token/tag",
    ];
    assert_eq!(imports.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn every_fault_is_found() {
    let fine = [
        ("keyring/tenant", "use crate::{store::AnyStore, verifier::Verifier};"),
        ("store/memory", "use super::{KeyStore, StoreError};"),
        ("seal", "use crate::decision::KeyState;"),
        ("store/conformance/cached", "use crate::keyring::Keyring;"),
        ("lib", "pub mod keyring;"),
    ];
    for (file, text) in fine {
        assert_eq!(faults(file, text), [""; 0]);
    }
    let faulty = [
        ("token", "use crate::record::KeyRecord;"),
        ("token/mint", "use crate::{mac, record::{KeyRecord}};"),
        ("scope", "fn of(policy: &crate::policy::Policy) {}"),
        ("store/erased", "use super::memory::MemoryStore;"),
        ("store", "use self::conformance::clauses; use crate::store::conformance::Clause;"),
        ("store", "use crate::{\n    store::{\n        memory::MemoryStore\n    }\n};"),
        ("store", "use crate::novelty::Thing;"),
        ("novelty", ""),
    ];
    for (file, text) in faulty {
        assert_eq!(faults(file, text).len(), 1, "{file}: {text}");
    }
}
