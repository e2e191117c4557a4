//! What routes ask of a caller, and the table of it.

use alloc::{borrow::Cow, string::String, vec::Vec};
use core::fmt;

use super::routes::ANY;
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
    /// The field of the host's own that the key may come in.
    #[cfg(feature = "openapi")]
    pub(super) key_field: Option<String>,
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

    /// Whether it answers requests of `method`, unless there is a row for that alone.
    pub(super) fn takes(&self, method: &str) -> bool {
        self.method == method || matches!((self.method, method), (ANY, _) | ("GET", "HEAD"))
    }
}

/// The table of all routes: method, path, and what it asks. It is printed as one row per line.
#[derive(Clone, Debug)]
pub struct Matrix {
    pub(super) rows: Vec<Row>,
}

impl Matrix {
    /// The rows, in the order of their declaration.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// The rows that need a key, each with a path that leads to it: its parameters are filled with `x`.
    pub fn guarded(&self) -> impl Iterator<Item = (&Row, String)> {
        let is_guarded = |row: &&Row| matches!(row.access, Access::Required(_));
        self.rows.iter().filter(is_guarded).map(|row| (row, fill(&row.path, "x")))
    }

    /// What the route at `path`, as the framework writes it, asks for `method`. `GET` answers `HEAD` too.
    pub fn access(&self, method: &str, path: &str) -> Option<&Access> {
        let rows = self.rows.iter().filter(|row| row.path == path && row.takes(method));
        rows.min_by_key(|row| row.method != method).map(|row| &row.access)
    }
}

/// `path` with this in the place of every parameter, each of which stands in braces.
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

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.path.chars().count()).max().unwrap_or_default();
        for Row { method, path, access, .. } in &self.rows {
            writeln!(f, "{method:<7} {path:<width$}  {access}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn parameters_are_filled_whatever_stands_in_their_braces() {
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
    fn head_is_answered_by_get_unless_it_has_a_row_of_its_own() {
        let row = |method, access| Row {
            method,
            path: "/".into(),
            access,
            #[cfg(feature = "openapi")]
            key_field: None,
        };
        let get = row("GET", Access::Public);
        let matrix = Matrix { rows: vec![get.clone(), row("HEAD", Access::Optional)] };
        assert!(matches!(matrix.access("GET", "/"), Some(Access::Public)));
        assert!(matches!(matrix.access("HEAD", "/"), Some(Access::Optional)));
        assert_eq!(matrix.rows().map(Row::method).collect::<Vec<_>>(), ["GET", "HEAD"]);
        let matrix = Matrix { rows: vec![get] };
        assert!(matches!(matrix.access("HEAD", "/"), Some(Access::Public)));
        assert!(matrix.access("POST", "/").is_none());
    }
}
