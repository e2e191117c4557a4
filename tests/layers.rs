//! Files import only from their own layer and from those below it.

#![allow(clippy::unwrap_used, clippy::string_slice, reason = "a test that goes wrong stops")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The layers from the bottom up. A name stands for its file and all files in its folder, unless they
/// are named themselves.
const LAYERS: &[&[&str]] = &[
    &["authorization", "mac", "scope", "sync", "text", "time"],
    &["pepper", "tier", "token"],
    &["import", "policy", "record"],
    &["authority", "decision", "seal", "store"],
    &["audit", "cache", "rate", "store/memory", "store/sql"],
    &["store/postgres", "store/sqlite"],
    &["verifier"],
    &["keyring"],
    &["http", "store/conformance"],
    &["http/actix", "http/tower"],
    &["http/axum"],
    &["console"],
];

/// The crate's face, which everything may be part of and nothing imports.
const FACE: [&str; 2] = ["lib", "guide"];

/// The layer of a file or item, such as `store/memory` or `store/StoreError`.
fn layer(path: &str) -> Option<usize> {
    let mut name = path;
    loop {
        if let Some(layer) = LAYERS.iter().position(|layer| layer.contains(&name)) {
            return Some(layer);
        }
        (name, _) = name.rsplit_once('/')?;
    }
}

/// What breaks the order in a file with this text, in words.
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

/// All paths of the crate in `text`, such as `store/memory/MemoryStore`. Tests may reach up, and so
/// may links in documentation and what a macro writes for the host (`$crate`).
fn imports(file: &str, text: &str) -> BTreeSet<String> {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    // In a file at the top, `super::` is how an inline module names the file itself.
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

/// Reads a path, or a tree of them in braces, and gives what stands behind it.
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
    // `*`, or another name for it.
    let end = rest.find([',', '}', ';', '\n']).unwrap_or(rest.len());
    &rest[end..]
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

#[test]
fn imports_go_downward() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    assert!(paths.len() > 40, "only {} files were found", paths.len());
    let mut all = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&source).unwrap().with_extension("");
        let name = name.to_str().unwrap().replace('\\', "/");
        all.extend(faults(&name, &fs::read_to_string(&path).unwrap()));
    }
    assert!(all.is_empty(), "{all:#?}");
}

#[test]
fn every_way_to_import_is_read() {
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
