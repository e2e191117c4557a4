//! The declared paths, as a tree of their segments.

use alloc::{
    borrow::{Cow, ToOwned as _},
    boxed::Box,
    collections::BTreeMap,
    string::String,
    vec::Vec,
};

use super::{
    Ambiguity,
    pattern::{Part, Pattern},
    target::{Segment, Target},
};
use crate::config::ConfigError;

/// A tree of paths, each with a value. In each segment a literal comes before a parameter, and a parameter
/// before the rest of the path, as in axum.
#[derive(Debug)]
pub(super) struct Tree<T>(Node<T>);

#[derive(Debug)]
struct Node<T> {
    /// The literal segments, by their folded text. Those that differ in case only share one entry.
    literals: BTreeMap<Box<str>, Vec<(Box<str>, Self)>>,
    parameter: Option<Box<Self>>,
    /// The path that takes one or more further segments.
    rest: Option<Leaf<T>>,
    /// The path that ends here.
    end: Option<Leaf<T>>,
    /// The path that ends here with a slash.
    slashed: Option<Leaf<T>>,
}

/// A declared path.
#[derive(Debug)]
pub(super) struct Leaf<T> {
    path: Box<str>,
    /// The names of the parameters, in the order of the path.
    pub(super) names: Vec<Box<str>>,
    pub(super) value: T,
}

/// The declared path of a request, with the values of its parameters.
#[derive(Debug)]
pub(super) struct Found<'t, T> {
    pub(super) leaf: &'t Leaf<T>,
    pub(super) values: Vec<String>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        let (literals, parameter, rest, end, slashed) = Default::default();
        Self { literals, parameter, rest, end, slashed }
    }
}

impl<T: Default> Tree<T> {
    pub(super) fn new() -> Self {
        Self(Node::default())
    }

    /// Returns the value of `path`, which is added if it is not there.
    pub(super) fn value(&mut self, path: &str) -> Result<&mut T, ConfigError> {
        let Pattern { parts, is_slashed, .. } = Pattern::parse(path)?;
        let mut node = &mut self.0;
        let mut names: Vec<Box<str>> = Vec::new();
        let mut takes_rest = false;
        for part in parts {
            match part {
                Part::Literal(text) => {
                    let alike = node.literals.entry(folded(text).into()).or_default();
                    let place = alike.iter().position(|(other, _)| **other == *text);
                    let place = place.unwrap_or_else(|| {
                        alike.push((text.into(), Node::default()));
                        alike.len() - 1
                    });
                    let Some((_, next)) = alike.get_mut(place) else {
                        let problem = "it cannot be added";
                        return Err(ConfigError::GatewayPath { path: path.to_owned(), problem });
                    };
                    node = next;
                }
                Part::Parameter(name) => {
                    names.push(name.into());
                    node = node.parameter.get_or_insert_default();
                }
                Part::Rest(name) => {
                    names.push(name.into());
                    takes_rest = true;
                }
            }
        }
        let place = match (takes_rest, is_slashed) {
            (true, _) => &mut node.rest,
            (false, true) => &mut node.slashed,
            (false, false) => &mut node.end,
        };
        let leaf =
            place.get_or_insert_with(|| Leaf { path: path.into(), names, value: T::default() });
        if *leaf.path != *path {
            return Err(ConfigError::AmbiguousPaths(leaf.path.clone().into(), path.to_owned()));
        }
        Ok(&mut leaf.value)
    }
}

impl<T> Tree<T> {
    /// Returns the declared path that `target` has, or `None` if there is none.
    pub(super) fn find(&self, target: &Target<'_>) -> Result<Option<Found<'_, T>>, Ambiguity> {
        let mut values = Vec::new();
        let leaf = self.0.find(&target.segments, target.is_slashed, &mut values)?;
        if leaf.is_none() && target.is_slashed {
            // A server that ignores the slash serves another path, whose requirement would not be checked.
            return Err(Ambiguity::TrailingSlash);
        }
        Ok(leaf.map(|leaf| Found { leaf, values }))
    }
}

impl<T> Node<T> {
    fn find(
        &self,
        segments: &[Segment<'_>],
        is_slashed: bool,
        values: &mut Vec<String>,
    ) -> Result<Option<&Leaf<T>>, Ambiguity> {
        let Some((first, others)) = segments.split_first() else {
            return Ok(if is_slashed { self.slashed.as_ref() } else { self.end.as_ref() });
        };
        if let Some(alike) = self.literals.get(&*folded(&first.text)) {
            // INVARIANT: a segment that some server could take for a literal is that literal. A parameter that
            // took `NEW` or `n%65w` beside a declared `new` would skip the requirement of `new`.
            let Some((_, node)) = alike.iter().find(|(literal, _)| **literal == *first.raw) else {
                return Err(Ambiguity::NearDeclared);
            };
            if let Some(leaf) = node.find(others, is_slashed, values)? {
                return Ok(Some(leaf));
            }
        }
        if let Some(node) = &self.parameter {
            let held = values.len();
            values.push(first.text.clone().into_owned());
            if let Some(leaf) = node.find(others, is_slashed, values)? {
                return Ok(Some(leaf));
            }
            values.truncate(held);
        }
        let Some(rest) = self.rest.as_ref().filter(|_| !is_slashed) else { return Ok(None) };
        let texts: Vec<&str> = segments.iter().map(|segment| &*segment.text).collect();
        values.push(texts.join("/"));
        Ok(Some(rest))
    }
}

/// Returns the text in which letters of any case are the same, for comparisons as the least exact server makes
/// them.
fn folded(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect())
}

#[cfg(test)]
mod tests {
    use alloc::{format, string::ToString as _};

    use super::*;

    const PATHS: [&str; 9] = [
        "/",
        "/jobs",
        "/slashed/",
        "/machines/{id}",
        "/machines/new",
        "/machines/{id}/status",
        "/files/{*path}",
        "/files/a/secret",
        "/a@b/x",
    ];

    fn tree(paths: &[&str]) -> Result<Tree<()>, ConfigError> {
        let mut tree = Tree::new();
        for path in paths {
            tree.value(path)?;
        }
        Ok(tree)
    }

    fn found(tree: &Tree<()>, target: &str) -> String {
        let found = Target::parse(target.as_bytes()).and_then(|target| {
            let found = tree.find(&target)?;
            Ok(found.map_or("none".into(), |Found { leaf, values }| {
                assert_eq!(leaf.names.len(), values.len());
                [&*leaf.path, " ", &values.join(" ")].concat().trim_end().to_string()
            }))
        });
        found.unwrap_or_else(|ambiguity| ambiguity.as_str().into())
    }

    #[test]
    fn most_exact_path_is_found() {
        let tree = tree(&PATHS).unwrap();
        for (target, expected) in [
            ("/", "/"),
            ("/jobs", "/jobs"),
            ("/slashed/", "/slashed/"),
            ("/machines/mill-1", "/machines/{id} mill-1"),
            ("/machines/new", "/machines/new"),
            ("/machines/new/status", "/machines/{id}/status new"),
            ("/machines/mill%201/status", "/machines/{id}/status mill 1"),
            ("/files/a/b%20c", "/files/{*path} a/b c"),
            ("/files/a", "/files/{*path} a"),
            ("/files/a/secret", "/files/a/secret"),
            ("/a@b/x", "/a@b/x"),
            ("/files", "none"),
            ("/machines", "none"),
            ("/machines/a/b", "none"),
            ("/slashed", "none"),
        ] {
            assert_eq!(found(&tree, target), expected, "{target}");
        }
    }

    #[test]
    fn segment_like_a_literal_is_refused() {
        let tree = tree(&PATHS).unwrap();
        for target in [
            "/machines/NEW",
            "/files/A/secret",
            "/files/a/Secret",
            "/a%40b/x",
            // The long s, which Unicode folds to an ASCII letter.
            "/job%C5%BF",
        ] {
            assert_eq!(found(&tree, target), "near-declared", "{target}");
        }
        for target in ["/jobs/", "/machines/mill-1/", "/files/a/secret/", "/files/b/"] {
            assert_eq!(found(&tree, target), "trailing-slash", "{target}");
        }
    }

    #[test]
    fn declared_paths_are_checked() {
        for path in [
            "jobs",
            "/a//b",
            "/a{id}",
            "/{id}-x",
            "/{id:[0-9]+}",
            "/{}",
            "/{{id}}",
            "/{*rest}/x",
            "/{*rest}/",
            "/a b",
            "/a%20b",
            "/a;b",
            "/..",
            "/é",
        ] {
            assert!(tree(&[path]).is_err(), "{path}");
        }
        let error = tree(&["/x/{a}", "/x/{b}"]).unwrap_err();
        assert_eq!(format!("{error}"), "the paths `/x/{a}` and `/x/{b}` match the same requests");
        assert!(tree(&["/x/{a}", "/x/{a}", "/x/{a}/y", "/x/{b}/z", "/x/{*c}"]).is_ok());
    }
}
