//! Ids that the application chooses: text under the same rules, in types of their own.

/// Implements a type that holds the text of an id. `$field` names it in errors.
macro_rules! text_id {
    ($id:ident, $field:ident) => {
        impl $id {
            /// Maximum length of an id, in bytes.
            pub const MAX_LEN: usize = 128;

            /// Returns the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Creates an id that may be stored, under the rules for stored text. It is used to read records and to name
            /// them.
            pub(crate) fn stored(id: &str) -> Result<Self, $crate::record::InvalidField> {
                Self::checked(id, $crate::text::check_stored_filled)
            }

            fn checked(
                id: &str,
                check: impl FnOnce(&str, usize) -> Result<(), $crate::record::TextProblem>,
            ) -> Result<Self, $crate::record::InvalidField> {
                use $crate::record::{Field, InvalidField, TextProblem};

                let problem = |problem| InvalidField::new(Field::$field, problem);
                check(id, Self::MAX_LEN).map_err(problem)?;
                if id.len() > Self::MAX_LEN {
                    let (len, max) = (id.len(), Self::MAX_LEN);
                    return Err(problem(TextProblem::TooLarge { len, max }));
                }
                Ok(Self(id.into()))
            }
        }

        impl TryFrom<&str> for $id {
            type Error = $crate::record::InvalidField;

            fn try_from(id: &str) -> Result<Self, Self::Error> {
                Self::checked(id, $crate::text::check_id)
            }
        }

        impl core::str::FromStr for $id {
            type Err = $crate::record::InvalidField;

            fn from_str(id: &str) -> Result<Self, Self::Err> {
                id.try_into()
            }
        }

        impl core::fmt::Display for $id {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl core::fmt::Debug for $id {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                core::fmt::Debug::fmt(&self.0, f)
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $id {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}

pub(super) use text_id;
