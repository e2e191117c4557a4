//! What routes ask of a caller, and the table of it.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use crate::scope::{Requirement, Scope};

/// What a route asks of its callers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Access {
    /// Nothing: whoever can reach the service may call it.
    Public,
    /// Nothing, but who presents a key must present a valid one.
    Optional,
    /// An active key whose scopes meet this.
    Required(Requirement),
    /// Something else than an API key, which the handler sees to, in the host's words.
    Elsewhere(Cow<'static, str>),
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Public => f.write_str("public"),
            Self::Optional => f.write_str("any key, or none"),
            Self::Required(requirement) => {
                let scopes: Vec<_> = requirement.scopes().map(Scope::as_str).collect();
                match &*scopes {
                    [] => f.write_str("any key"),
                    scopes => f.write_str(&scopes.join(if requirement.is_any() {
                        " or "
                    } else {
                        " and "
                    })),
                }
            }
            Self::Elsewhere(how) => write!(f, "({how})"),
        }
    }
}

/// One route and method, and what it asks of its callers.
#[derive(Clone, Debug)]
pub struct Row {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) access: Access,
}

impl Row {
    /// The method, in upper case; `*` is any.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path, as the framework writes it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it asks of its callers.
    pub fn access(&self) -> &Access {
        &self.access
    }
}

/// The table of all routes: method, path, and what it asks. It is printed as one row per line.
#[derive(Clone, Debug)]
pub struct Matrix(pub(super) Vec<Row>);

impl Matrix {
    /// The rows, in the order of their declaration.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.0.iter()
    }

    /// What the route at `path`, as the framework writes it, asks for `method`.
    pub fn access(&self, method: &str, path: &str) -> Option<&Access> {
        let is_it = |row: &&Row| row.path == path && (row.method == method || row.method == "*");
        self.0.iter().find(is_it).map(|row| &row.access)
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|row| row.path.chars().count()).max().unwrap_or_default();
        for Row { method, path, access } in &self.0 {
            writeln!(f, "{method:<7} {path:<width$}  {access}")?;
        }
        Ok(())
    }
}
