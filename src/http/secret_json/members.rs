//! Deserialization of values, with errors that never repeat a value.

use alloc::{string::ToString, vec};
use core::fmt::{self, Display};

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, Error, Expected, IntoDeserializer, MapAccess, Unexpected, Visitor,
        value::{SeqDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{Fault, Secret, Value};

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body cannot be read")
    }
}

impl core::error::Error for Fault {}

impl Error for Fault {
    /// Keeps the message.
    ///
    /// INVARIANT: it repeats no value. Only keyway's own types call this. Messages of serde, which repeat values,
    /// come through the four functions below.
    fn custom<T: Display>(message: T) -> Self {
        Self::Value(None, message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::Type(None)
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::Type(None)
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::Type(None)
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::Type(None)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(expected)
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::Twice(field)
    }
}

/// The bound up to which every integer is an `f64`.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;

impl<'de> Deserializer<'de> for Value {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            // `60.0` is an integer in JSON.
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is whole"
            )]
            Self::Number(value) if value.fract() == 0.0 && (0.0..=MAX_WHOLE).contains(&value) => {
                visitor.visit_u64(value as u64)
            }
            Self::Number(value) => visitor.visit_f64(value),
            Self::Text(text) => visitor.visit_str(&text),
            Self::List(values) => {
                let mut values = SeqDeserializer::new(values.into_iter());
                let read = visitor.visit_seq(&mut values)?;
                values.end()?;
                Ok(read)
            }
            Self::Members(members) => {
                visitor.visit_map(Members { rest: members.into_iter(), value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads a variant without content by its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Self::Text(text) = self else { return Err(Fault::Type(None)) };
        let text: StrDeserializer<'_, Fault> = (*text).into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Fault> for Value {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct Members {
    rest: vec::IntoIter<(Secret, Value)>,
    value: Option<(Secret, Value)>,
}

impl<'de> MapAccess<'de> for Members {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Fault> {
        self.value = self.rest.next();
        let Some((name, _)) = &self.value else { return Ok(None) };
        let name: StrDeserializer<'_, Fault> = (**name).into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let (name, value) = self.value.take().ok_or(Fault::Type(None))?;
        seed.deserialize(value).map_err(|fault| match fault {
            Fault::Type(_) => Fault::Type(Some((*name).into())),
            Fault::Value(_, reason) => Fault::Value(Some((*name).into()), reason),
            fault => fault,
        })
    }
}
