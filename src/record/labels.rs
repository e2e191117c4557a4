//! A tenant's own notes on a key.

use alloc::{collections::BTreeMap, string::String};

use super::InvalidField;
use crate::text;

/// Names with values that a tenant attaches to a key, such as `team` = `billing`.
///
/// At most 16, with names of 1 to 64 and values of up to 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    pub(crate) const NONE: Self = Self(BTreeMap::new());

    /// The most labels of a key.
    pub const MAX: usize = 16;
    /// The longest name, in characters.
    pub const MAX_NAME_LEN: usize = 64;
    /// The longest value, in characters.
    pub const MAX_VALUE_LEN: usize = 256;

    /// The labels, of which a later one replaces an earlier one of the same name.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if there are too many, or a name or value is too long or cannot be shown.
    pub fn new<N: Into<String>, V: Into<String>>(
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidField> {
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if labels.len() > Self::MAX {
            let (len, max) = (labels.len(), Self::MAX);
            return Err(InvalidField::new(
                "the list of labels",
                super::TextProblem::TooLong { len, max },
            ));
        }
        for (name, value) in &labels {
            text::check_filled(name, Self::MAX_NAME_LEN)
                .map_err(|problem| InvalidField::new("the name of a label", problem))?;
            text::check(value, Self::MAX_VALUE_LEN)
                .map_err(|problem| InvalidField::new("the value of a label", problem))?;
        }
        Ok(Self(labels))
    }

    /// The value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
