//! Reading of JSON that may hold tokens, without a copy that outlives its use.
//!
//! `serde_json` alone leaves two kinds of copies behind. A string with an escape is unescaped in a buffer of
//! its own, and an error repeats the value that caused it. Here `serde_json` checks the syntax and finds
//! where each value begins and ends, which copies nothing. Strings are unescaped into [`Secret`]s, which are
//! wiped. A [`Fault`] never holds a value.

mod members;

use alloc::{string::String, vec::Vec};
use core::{fmt, str::Chars};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// A string that is wiped when it is dropped. It has no `Debug`.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl core::ops::Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Reads a string from any deserializer that makes no copy of its own, as the values of this module do.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(Zeroizing::new(text.into())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// An error in a body. It never repeats a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The body is not JSON from this line on, or its values are nested too deeply.
    Syntax {
        /// The line, counted from 1.
        line: usize,
    },
    /// A member is not known. The known members are listed.
    Unknown(&'static [&'static str]),
    /// This member is missing.
    Missing(&'static str),
    /// This member occurs twice.
    Twice(&'static str),
    /// A value has another type. The member of the body is named if the body is an object.
    Type(Option<String>),
    /// A value of the right type is not valid, for the reason given.
    Value(Option<String>, String),
}

/// Reads `body` into a `T`. Its secret texts must be [`Secret`]s.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let syntax = |error: &serde_json::Error| Fault::Syntax { line: error.line() };
    // Lines cannot be counted in a body that is not UTF-8.
    let body = str::from_utf8(body).map_err(|_| Fault::Syntax { line: 1 })?;
    let raw: &RawValue = serde_json::from_str(body).map_err(|error| syntax(&error))?;
    let value = Value::of(raw, MAX_DEPTH).ok_or(Fault::Syntax { line: 1 })?;
    T::deserialize(value)
}

/// The maximum depth of nested values.
const MAX_DEPTH: usize = 32;

/// A value whose strings are wiped when it is dropped.
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Secret),
    List(Vec<Value>),
    Members(Vec<(Secret, Value)>),
}

impl Value {
    /// Reads a value whose syntax was checked. Returns `None` if it is nested too deeply, has a number that
    /// is not finite as `f64`, or half of a surrogate pair.
    fn of(raw: &RawValue, depth: usize) -> Option<Self> {
        let text = raw.get();
        let deeper = depth.checked_sub(1);
        Some(match text.as_bytes().first()? {
            b'n' => Self::Null,
            b't' => Self::Bool(true),
            b'f' => Self::Bool(false),
            b'"' => Self::Text(unescape(text)?),
            b'[' => {
                let raw: Raw<'_> = serde_json::from_str(text).ok()?;
                let values = raw.0.iter().map(|(_, value)| Self::of(value, deeper?));
                Self::List(values.collect::<Option<_>>()?)
            }
            b'{' => {
                let raw: Raw<'_> = serde_json::from_str(text).ok()?;
                let member = |(name, value): &(Option<&RawValue>, &RawValue)| {
                    Some((unescape(name.as_ref()?.get())?, Self::of(value, deeper?)?))
                };
                Self::Members(raw.0.iter().map(member).collect::<Option<_>>()?)
            }
            _ => Self::Number(text.parse().ok().filter(|number: &f64| number.is_finite())?),
        })
    }
}

/// The values of a list, or the members of an object, as raw text.
struct Raw<'b>(Vec<(Option<&'b RawValue>, &'b RawValue)>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Raw<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push((None, value));
                }
                Ok(Raw(values))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry()? {
                    members.push((Some(name), value));
                }
                Ok(Raw(members))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Returns the text of a quoted string whose syntax was checked (RFC 8259, section 7).
fn unescape(quoted: &str) -> Option<Secret> {
    // INVARIANT: no escape gets longer, so the buffer never grows and leaves no copy.
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted.strip_prefix('"')?.strip_suffix('"')?;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut characters = escape.chars();
        text.push(match characters.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => code_point(&mut characters)?,
            itself @ ('"' | '\\' | '/') => itself,
            _ => return None,
        });
        rest = characters.as_str();
    }
    text.push_str(rest);
    Some(Secret(text))
}

fn code_point(characters: &mut Chars<'_>) -> Option<char> {
    let first = code_unit(characters)?;
    let second = if (0xd800..0xdc00).contains(&first) {
        if (characters.next(), characters.next()) != (Some('\\'), Some('u')) {
            return None;
        }
        Some(code_unit(characters)?)
    } else {
        None
    };
    char::decode_utf16([first].into_iter().chain(second)).next()?.ok()
}

fn code_unit(characters: &mut Chars<'_>) -> Option<u16> {
    let (digits, rest) = characters.as_str().split_at_checked(4)?;
    let unit = u16::from_str_radix(digits, 16).ok();
    *characters = rest.chars();
    unit.filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, format, string::ToString, vec};

    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        text: Secret,
        #[serde(default)]
        list: Vec<String>,
        #[serde(default)]
        map: BTreeMap<String, String>,
        #[serde(default)]
        number: Option<u64>,
        #[serde(default)]
        flag: Option<bool>,
    }

    fn fault(body: &str) -> Option<Fault> {
        read::<Body>(body.as_bytes()).err()
    }

    #[test]
    fn body_of_every_type_is_read() {
        let body =
            r#" {"text":"a\u0041\n","list":["b"],"map":{"c\td":"e"},"number":6e1,"flag":true} "#;
        let body: Body = read(body.as_bytes()).unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(&*body.text, "aA\n");
        assert_eq!((body.list, body.number), (vec!["b".to_string()], Some(60)));
        assert_eq!((body.map.get("c\td").map(|e| &**e), body.flag), (Some("e"), Some(true)));
    }

    /// The expected text is that of `serde_json` alone.
    #[test]
    fn text_is_unescaped_as_serde_json_does() {
        let texts = ["", "a", "\u{0}\u{1f}\u{7f}", "\"\\/", "\u{8}\u{c}\n\r\t", "é€😀", "\u{2028}"];
        for text in texts {
            let utf16: Vec<_> = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            let utf16 = utf16.concat();
            for quoted in [serde_json::to_string(text).unwrap(), format!("\"{utf16}\"")] {
                let expected: String = serde_json::from_str(&quoted).unwrap();
                assert_eq!(unescape(&quoted).as_deref(), Some(&*expected), "{quoted}");
            }
        }
        for broken in [r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, r#""\ud800x""#] {
            assert!(unescape(broken).is_none(), "{broken}");
            assert!(serde_json::from_str::<String>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn fault_names_the_member_and_no_value() {
        let of_type = |name: &str| Some(Fault::Type(Some(name.into())));
        assert_eq!(fault("{}"), Some(Fault::Missing("text")));
        assert_eq!(fault(r#"{"text":"a","text":"b"}"#), Some(Fault::Twice("text")));
        assert_eq!(fault(r#"{"text":null}"#), of_type("text"));
        assert_eq!(fault(r#"{"text":"a","list":["a",5]}"#), of_type("list"));
        assert_eq!(fault(r#"{"text":"a","map":{"secret":5}}"#), of_type("map"));
        assert_eq!(fault(r#"{"text":"a","number":"secret"}"#), of_type("number"));
        assert_eq!(fault(r#"{"text":"a","number":1.5}"#), of_type("number"));
        assert_eq!(fault(r#""secret""#), Some(Fault::Type(None)));
        let known: &[&str] = &["text", "list", "map", "number", "flag"];
        assert_eq!(fault(r#"{"secret":1}"#), Some(Fault::Unknown(known)));
    }

    #[test]
    fn broken_json_is_refused_by_its_line() {
        for (body, line) in [
            ("", 1),
            ("{", 1),
            ("{\n\n\"text\":}", 3),
            (r#"{"text":"a"} x"#, 1),
            (r#"{"text":"\ud800"}"#, 1),
            (r#"{"text":1e999}"#, 1),
            ("{\"text\":\"\t\"}", 1),
        ] {
            assert_eq!(fault(body), Some(Fault::Syntax { line }), "{body}");
        }
        assert_eq!(read::<Body>(b"{\"text\":\"\xff\"}").err(), Some(Fault::Syntax { line: 1 }));
        for depth in [100, 100_000] {
            let deep = ["[".repeat(depth), "]".repeat(depth)].concat();
            assert!(matches!(fault(&deep), Some(Fault::Syntax { .. })));
            let deep = format!("{{\"text\":{deep}}}");
            assert!(matches!(fault(&deep), Some(Fault::Syntax { .. })));
        }
    }
}
