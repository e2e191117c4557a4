//! The catalogue as a tree, as a page shows it.

use alloc::{string::String, vec::Vec};

use serde::Serialize;
use utoipa::ToSchema;

use crate::scope::{Scope, ScopeCatalog, ScopeSet};

/// The scopes in an order in which each stands behind its parent.
pub(super) struct ScopeTree(Vec<Node>);

struct Node {
    scope: Scope,
    description: String,
    parent: Option<Scope>,
    implies: Vec<Scope>,
    /// It and all that it implies.
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
            // Nobody stands between a scope and its nearest ones. Of several it is that of its own name.
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

    /// The tree for somebody who can grant what is in `grantable`.
    pub(super) fn view(&self, grantable: ScopeSet) -> Vec<ScopeView<'_>> {
        let view = |node| ScopeView::of(node, grantable);
        self.0.iter().map(view).collect()
    }
}

/// Whether `parent` is `name` cut off at one of its dots.
fn begins(name: &str, parent: &str) -> bool {
    name.strip_prefix(parent).is_some_and(|rest| rest.starts_with('.'))
}

/// Moves the children of `parent` with all that are below them behind what is ordered already.
fn take_children(nodes: &mut Vec<Node>, parent: Option<&Scope>, ordered: &mut Vec<Node>) {
    let is_child = |node: &mut Node| node.parent.as_ref() == parent;
    let children: Vec<Node> = nodes.extract_if(.., is_child).collect();
    for child in children {
        let scope = child.scope.clone();
        ordered.push(child);
        take_children(nodes, Some(&scope), ordered);
    }
}

/// A scope.
#[derive(Serialize, ToSchema)]
#[schema(as = Scope)]
pub(super) struct ScopeView<'s> {
    name: &'s str,
    description: &'s str,
    /// The nearest scope that implies it.
    parent: Option<&'s str>,
    /// All that it implies.
    implies: Vec<&'s str>,
    /// Whether whoever asks can give it to a key.
    grantable: bool,
}

impl<'s> ScopeView<'s> {
    fn of(node: &'s Node, grantable: ScopeSet) -> Self {
        Self {
            name: node.scope.as_str(),
            description: &node.description,
            parent: node.parent.as_ref().map(Scope::as_str),
            implies: node.implies.iter().map(Scope::as_str).collect(),
            grantable: grantable.covers(node.below),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scope::ScopeDeclaration;

    #[test]
    fn every_scope_stands_behind_its_parent() {
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
        let view: Vec<_> = tree
            .view(grantable)
            .into_iter()
            .map(|scope| (scope.name, scope.parent, scope.implies.join(" "), scope.grantable))
            .collect();
        assert_eq!(
            view,
            [
                ("a", None, "a.b a.b.c a.c".into(), false),
                // `zeta` implies it too.
                ("a.b", Some("a"), "a.b.c".into(), true),
                ("a.b.c", Some("a.b"), String::new(), true),
                ("a.c", Some("a"), String::new(), false),
                ("zeta", None, "a.b a.b.c b".into(), false),
                ("b", Some("zeta"), String::new(), false),
            ]
        );
    }
}
