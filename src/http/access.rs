//! The access that routes require, and the route table.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

#[cfg(feature = "openapi")]
use super::{alternative::Place, credential::KeyHeaders};
use super::{
    resource_rules::{ResourceRule, ResourceRules},
    routes::{ANY, RouteChildren},
};
use crate::scope::Requirement;

/// The access that a route requires of its callers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Access {
    /// Requires nothing: anyone who can reach the service may call the route.
    Public,
    /// Requires no key. A key that is presented must be active, and its scopes must meet the requirement.
    Optional(Requirement),
    /// Requires an active key whose scopes meet the requirement.
    Required(Requirement),
    /// Requires such a key or, for a request without any key, the other means that this text describes. The guard checks
    /// them if it has such an [`Alternative`](super::Alternative), and the handler otherwise.
    RequiredOr(Requirement, Cow<'static, str>),
    /// Authenticated by other means than an API key, described by this text. The handler checks them.
    Custom(Cow<'static, str>),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Optional(requirement) => write!(f, "{}, or none", requirement.in_words()),
            Self::Required(requirement) => f.write_str(&requirement.in_words()),
            Self::RequiredOr(requirement, other) => {
                write!(f, "{}, or ({other})", requirement.in_words())
            }
            Self::Custom(how) => write!(f, "({how})"),
        }
    }
}

/// One route and method, and the access that it requires.
#[derive(Clone, Debug)]
pub struct RouteEntry {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) access: Access,
    pub(super) resources: ResourceRules,
    /// The statements on resources, by the name of the kind.
    pub(super) stated: Vec<(String, ResourceRule)>,
    pub(super) weight: u32,
    pub(super) children: RouteChildren,
    /// The headers from which the route takes keys.
    #[cfg(feature = "openapi")]
    pub(super) key_headers: KeyHeaders,
    /// The place of the credential that the guard accepts besides a key.
    #[cfg(feature = "openapi")]
    pub(super) alternative: Option<Place>,
}

impl RouteEntry {
    /// Returns the method in upper case. `*` is any method.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Returns the path in the framework's syntax.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the access that the route requires of its callers.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Returns the number of requests as which the rate counts one.
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns whether the route [accepts children](super::Endpoint::accepts_children).
    #[cfg(feature = "children")]
    pub fn accepts_children(&self) -> bool {
        self.children.in_headers
    }

    /// Returns whether the route [accepts tickets](super::Endpoint::accept_ticket).
    #[cfg(feature = "children")]
    pub fn accepts_tickets(&self) -> bool {
        self.children.tickets
    }

    /// Returns whether this entry serves requests of `method`, unless another entry is for that method alone.
    pub(super) fn takes(&self, method: &str) -> bool {
        self.method == method || matches!((self.method, method), (ANY, _) | ("GET", "HEAD"))
    }
}

/// The table of all routes: method, path and required access. `Display` writes one route per line.
#[derive(Clone, Debug)]
pub struct RouteTable {
    pub(super) rows: Vec<RouteEntry>,
}

impl RouteTable {
    /// Returns the rows in the order of their declaration.
    pub fn rows(&self) -> impl Iterator<Item = &RouteEntry> {
        self.rows.iter()
    }

    /// Returns the rows that need a key, each with a path that leads to it. Parameters are filled with `x`.
    pub fn guarded(&self) -> impl Iterator<Item = (&RouteEntry, String)> {
        let is_guarded = |row: &&RouteEntry| matches!(row.access, Access::Required(_));
        self.rows.iter().filter(is_guarded).map(|row| (row, fill(&row.path, "x")))
    }

    /// Returns the access of the route at `path`, in the framework's syntax, for `method`.
    ///
    /// A `GET` row also serves `HEAD`, unless `HEAD` has its own row.
    pub fn access(&self, method: &str, path: &str) -> Option<&Access> {
        let rows = self.rows.iter().filter(|row| row.path == path && row.takes(method));
        rows.min_by_key(|row| row.method != method).map(|row| &row.access)
    }
}

/// Returns `path` with every parameter, written in braces, replaced by `parameter`.
pub(super) fn fill(path: &str, parameter: &str) -> String {
    let mut filled = String::with_capacity(path.len());
    let mut depth = 0_u32;
    for character in path.chars() {
        match character {
            '{' => {
                if depth == 0 {
                    filled.push_str(parameter);
                }
                depth += 1;
            }
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => filled.push(character),
            _ => {}
        }
    }
    filled
}

impl fmt::Display for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.path.chars().count()).max().unwrap_or_default();
        for RouteEntry { method, path, access, stated, weight, children, .. } in &self.rows {
            write!(f, "{method:<7} {path:<width$}  {access}{children}")?;
            for (kind, rule) in stated {
                match rule {
                    ResourceRule::Parameters(names) => {
                        write!(f, ", on {kind} {{{}}}", names.join("} and {"))?;
                    }
                    ResourceRule::Handler => write!(f, ", on {kind} as the handler checks")?,
                    ResourceRule::Unstated | ResourceRule::Untouched => {}
                }
            }
            if *weight > 1 {
                write!(f, ", counts {weight}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn parameters_are_filled_whatever_their_braces_hold() {
        for (path, filled) in [
            ("/", "/"),
            ("/keys/{id}/uses", "/keys/x/uses"),
            ("/{a}{b}/{*rest}", "/xx/x"),
            (r"/{year:\d{4}}/{month:\d{2}}-all", "/x/x-all"),
        ] {
            assert_eq!(fill(path, "x"), filled, "{path}");
        }
    }

    #[test]
    fn get_serves_head_unless_head_has_its_own_row() {
        let row = |method, access| RouteEntry {
            method,
            path: "/".into(),
            access,
            resources: ResourceRules::default(),
            stated: Vec::new(),
            weight: 1,
            children: RouteChildren::default(),
            #[cfg(feature = "openapi")]
            key_headers: KeyHeaders::Authorization,
            #[cfg(feature = "openapi")]
            alternative: None,
        };
        let get = row("GET", Access::Public);
        let table = RouteTable { rows: vec![get.clone(), row("HEAD", Access::Custom("".into()))] };
        assert!(matches!(table.access("GET", "/"), Some(Access::Public)));
        assert!(matches!(table.access("HEAD", "/"), Some(Access::Custom(_))));
        assert_eq!(table.rows().map(RouteEntry::method).collect::<Vec<_>>(), ["GET", "HEAD"]);
        let table = RouteTable { rows: vec![get] };
        assert!(matches!(table.access("HEAD", "/"), Some(Access::Public)));
        assert!(table.access("POST", "/").is_none());
    }
}
