//! The scope catalog as a tree, for display.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use crate::scope::{Scope, ScopeCatalog, ScopeSet};

/// The scopes in depth-first order: each comes after its parent.
pub(super) struct ScopeTree(Vec<Node>);

#[derive(Serialize)]
struct Node {
    #[serde(rename = "name")]
    scope: Scope,
    description: String,
    parent: Option<Scope>,
    implies: Vec<Scope>,
    /// The scope itself and all scopes that it implies.
    #[serde(skip)]
    below: ScopeSet,
}

impl ScopeTree {
    pub(super) fn of(catalog: &ScopeCatalog) -> Self {
        let scopes: Vec<(&Scope, &str, ScopeSet)> = catalog
            .iter()
            .map(|(scope, description)| {
                (scope, description, catalog.set([scope]).unwrap_or(catalog.none()))
            })
            .collect();
        let node = |(scope, description, below): &(&Scope, &str, ScopeSet)| {
            let is_other = |other: &Scope| other != *scope;
            let above = || {
                scopes.iter().filter(|(other, _, theirs)| is_other(other) && theirs.covers(*below))
            };
            // The parent is a nearest scope above: no other one lies between. If there are several, the
            // parent is the one whose name begins the scope's name.
            let nearest = above().filter(|(near, _, theirs)| {
                !above().any(|(other, _, less)| other != near && theirs.covers(*less))
            });
            let parent = nearest
                .map(|(other, ..)| *other)
                .min_by_key(|other| (!begins(scope.as_str(), other.as_str()), *other));
            let implied =
                scopes.iter().filter(|(other, _, theirs)| is_other(other) && below.covers(*theirs));
            Node {
                scope: (*scope).clone(),
                description: (*description).into(),
                parent: parent.cloned(),
                implies: implied.map(|(other, ..)| (*other).clone()).collect(),
                below: *below,
            }
        };
        let mut nodes: Vec<Node> = scopes.iter().map(node).collect();
        let mut ordered = Vec::with_capacity(nodes.len());
        take_children(&mut nodes, None, &mut ordered);
        Self(ordered)
    }

    /// Returns the tree for a caller that can grant the scopes in `grantable`.
    pub(super) fn view(&self, grantable: ScopeSet) -> Vec<ScopeView<'_>> {
        let nodes = self.0.iter();
        nodes.map(|node| ScopeView { node, grantable: grantable.covers(node.below) }).collect()
    }
}

/// Checks whether `parent` is `name` cut off at one of its dots.
fn begins(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// Moves the children of `parent`, each with all scopes below it, to the end of `ordered`.
fn take_children(nodes: &mut Vec<Node>, parent: Option<&Scope>, ordered: &mut Vec<Node>) {
    let is_child = |node: &mut Node| node.parent.as_ref() == parent;
    let children: Vec<Node> = nodes.extract_if(.., is_child).collect();
    for child in children {
        let scope = child.scope.clone();
        ordered.push(child);
        take_children(nodes, Some(&scope), ordered);
    }
}

/// A scope, and whether the caller can grant it to a key.
#[derive(Serialize)]
pub(super) struct ScopeView<'s> {
    #[serde(flatten)]
    node: &'s Node,
    grantable: bool,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::scope::ScopeDeclaration;

    #[test]
    fn every_scope_follows_its_parent() {
        let declare = |name| ScopeDeclaration::new(name, "");
        let catalog = ScopeCatalog::new([
            declare("a"),
            declare("a.b"),
            declare("a.b.c"),
            declare("b"),
            declare("zeta").implies(["a.b", "b"]),
            declare("a.c"),
        ])
        .unwrap();
        let tree = ScopeTree::of(&catalog);
        let grantable = catalog.set(["a.b"]).unwrap();
        let names = |scopes: &[Scope]| {
            let names: Vec<_> = scopes.iter().map(Scope::as_str).collect();
            names.join(" ")
        };
        let shown = |ScopeView { node, grantable }: ScopeView<'_>| {
            let parent = node.parent.as_ref().map(Scope::to_string);
            (node.scope.to_string(), parent, names(&node.implies), grantable)
        };
        let view: Vec<_> = tree.view(grantable).into_iter().map(shown).collect();
        let expected = [
            ("a", None, "a.b a.b.c a.c", false),
            // `zeta` implies it too.
            ("a.b", Some("a"), "a.b.c", true),
            ("a.b.c", Some("a.b"), "", true),
            ("a.c", Some("a"), "", false),
            ("zeta", None, "a.b a.b.c b", false),
            ("b", Some("zeta"), "", false),
        ];
        let owned = |(name, parent, implies, grantable): (&str, Option<&str>, &str, bool)| {
            (name.to_string(), parent.map(ToString::to_string), implies.to_string(), grantable)
        };
        assert_eq!(view, expected.map(owned));
    }
}
