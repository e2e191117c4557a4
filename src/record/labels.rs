//! A tenant's own notes on a key.

use alloc::{collections::BTreeMap, string::String};

use super::{Field, InvalidField};
use crate::{
    codec::{Reader, Writer},
    text,
};

/// A rule for text with a maximum length in characters.
type Check = fn(&str, usize) -> Result<(), super::TextProblem>;

/// Names with values that a tenant attaches to a key, such as `team` = `billing`.
///
/// At most 16 labels. Names are 1 to 64 characters, values are at most 256 characters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Labels(BTreeMap<String, String>);

impl Labels {
    pub(crate) const NONE: Self = Self(BTreeMap::new());

    /// Maximum number of labels of a key.
    pub const MAX: usize = 16;
    /// Maximum length of a name, in characters.
    pub const MAX_NAME_LEN: usize = 64;
    /// Maximum length of a value, in characters.
    pub const MAX_VALUE_LEN: usize = 256;

    /// Creates labels. A later label replaces an earlier one of the same name.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if there are too many labels, or if a name or value is too long or cannot be shown.
    pub fn new<N: Into<String>, V: Into<String>>(
        labels: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, InvalidField> {
        Self::checked(labels, text::check_filled, text::check)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.len(self.0.len());
        for (name, value) in self.iter() {
            writer.str(name);
            writer.str(value);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let labels = reader.list(|reader| Some((reader.string()?, reader.string()?)))?;
        // Labels must be in the order in which they are written, so that a record has only one encoding.
        let is_sorted = labels.is_sorted_by(|(left, _), (right, _)| left < right);
        Self::stored(labels).ok().filter(|_| is_sorted)
    }

    /// Creates the labels of a stored record, under the rules for stored text.
    fn stored(labels: impl IntoIterator<Item = (String, String)>) -> Result<Self, InvalidField> {
        Self::checked(labels, text::check_stored_filled, text::check_stored)
    }

    fn checked<N: Into<String>, V: Into<String>>(
        labels: impl IntoIterator<Item = (N, V)>,
        check_name: Check,
        check_value: Check,
    ) -> Result<Self, InvalidField> {
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        if labels.len() > Self::MAX {
            let (len, max) = (labels.len(), Self::MAX);
            return Err(InvalidField::new(Field::Labels, super::TextProblem::TooLong { len, max }));
        }
        for (name, value) in &labels {
            check_name(name, Self::MAX_NAME_LEN)
                .map_err(|problem| InvalidField::new(Field::LabelName, problem))?;
            check_value(value, Self::MAX_VALUE_LEN)
                .map_err(|problem| InvalidField::new(Field::LabelValue, problem))?;
        }
        Ok(Self(labels))
    }

    /// Returns the value of the label `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the labels, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
