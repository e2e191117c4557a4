//! The parts of JSON bodies that several endpoints read, and the problems of bodies that cannot be read.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString as _},
    vec::Vec,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{problem::Problem, secret_json::Fault};
use crate::{grant::Resources, time::Timestamp};

impl Fault {
    /// Returns the problem that describes the error in a body. It repeats no value of the body, which may be secret.
    pub(crate) fn problem(self) -> Problem {
        let unreadable = |detail: String| {
            Problem::new(400, "unreadable-body", "The body cannot be read").detail(detail)
        };
        let at =
            |name: &str, detail: &str| unreadable(format!("`{name}` {detail}")).with("field", name);
        match self {
            Self::Syntax { line } => {
                unreadable(format!("the body is not JSON from line {line} on"))
            }
            Self::Unknown(known) => {
                let known: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
                let known = known.join(", ");
                unreadable(format!("the body has a member that is not known; these are: {known}"))
            }
            Self::Missing(name) => at(name, "is missing"),
            Self::Twice(name) => at(name, "is there twice"),
            // INVARIANT: only the values of known fields are read, so `name` is a known name and not a secret.
            Self::Type(name) => at(&name.unwrap_or_default(), "is of another type"),
            Self::Value(name, detail) => invalid_field(name.unwrap_or_default(), detail),
        }
    }
}

/// Returns the problem of an invalid value of `field`, which `detail` describes.
pub(crate) fn invalid_field(field: impl Into<String>, detail: impl Into<String>) -> Problem {
    let problem = Problem::new(422, "invalid-field", "A value cannot be taken");
    problem.detail(detail.into()).with("field", field.into())
}

/// Deserializes a field that may be left out but must not be `null`.
pub(crate) fn some<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// A time in a request body.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Time(pub(crate) Timestamp);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// The resources of each kind that a request names.
pub(crate) type ByKind = BTreeMap<String, Resources>;

/// Deserializes resources by kind, which may be left out but must not be `null`. Each is `"all"` or a list of ids.
pub(crate) fn resources<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<ByKind>, D::Error> {
    #[derive(Deserialize)]
    enum All {
        #[serde(rename = "all")]
        All,
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Wanted {
        All(All),
        Only(Vec<String>),
    }

    let wanted = BTreeMap::<String, Wanted>::deserialize(deserializer)?;
    let resources = wanted.into_iter().map(|(kind, wanted)| match wanted {
        Wanted::All(All::All) => Ok((kind, Resources::All)),
        Wanted::Only(ids) => {
            let ids = Resources::only(ids);
            Ok((kind, ids.map_err(|invalid| D::Error::custom(invalid.to_string()))?))
        }
    });
    resources.collect::<Result<_, _>>().map(Some)
}
