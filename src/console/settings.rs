//! What the host decides about how the console looks and what it says.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::str::FromStr;

/// How the console looks and what it says.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) logo: Option<Arc<Logo>>,
    pub(super) accent: Accent,
    pub(super) curl: Option<String>,
    pub(super) support: Option<String>,
    pub(super) language: String,
    pub(super) texts: BTreeMap<String, String>,
}

/// An image.
#[derive(Debug)]
pub(super) struct Logo {
    pub(super) content_type: String,
    pub(super) image: Vec<u8>,
}

impl Settings {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            logo: None,
            accent: Accent([0x1f, 0x5f, 0xbf]),
            curl: None,
            support: None,
            language: "en".into(),
            texts: built_in_texts(),
        }
    }

    pub(super) fn set_logo(&mut self, kind: &str, image: Vec<u8>) -> Result<(), ConsoleError> {
        let is_visible = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let subtype = kind.strip_prefix("image/").unwrap_or_default();
        if subtype.is_empty() || !subtype.bytes().all(is_visible) {
            return Err(ConsoleError::Logo(kind.into()));
        }
        self.logo = Some(Arc::new(Logo { content_type: kind.into(), image }));
        Ok(())
    }

    pub(super) fn set_curl(&mut self, line: String) -> Result<(), ConsoleError> {
        if line.matches("{token}").count() != 1 || line.chars().any(char::is_control) {
            return Err(ConsoleError::Curl(line));
        }
        self.curl = Some(line);
        Ok(())
    }

    pub(super) fn set_text(&mut self, language: &str, json: &str) -> Result<(), ConsoleError> {
        // Of BCP 47 what every browser knows: a language, a script, a region.
        let is_letters = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        let mut parts = language.split('-').peekable();
        let is_language =
            parts.next().is_some_and(|part| matches!(part.len(), 2 | 3) && is_letters(part));
        parts.next_if(|part| part.len() == 4 && is_letters(part));
        parts.next_if(|part| {
            part.len() == 2 && is_letters(part) || part.len() == 3 && is_digits(part)
        });
        if !is_language || parts.next().is_some() {
            return Err(ConsoleError::Language(language.into()));
        }
        let texts: BTreeMap<String, String> =
            serde_json::from_str(json).map_err(ConsoleError::TextFormat)?;
        if let Some(key) = texts.keys().find(|key| !self.texts.contains_key(*key)) {
            return Err(ConsoleError::Text(key.clone()));
        }
        self.language = language.into();
        self.texts.extend(texts);
        Ok(())
    }
}

/// The text that stands in the document itself.
pub(super) const TITLE: &str = "title";

/// The texts of the page, in English.
fn built_in_texts() -> BTreeMap<String, String> {
    // INVARIANT: a test reads it.
    let texts = serde_json::from_str(include_str!("page/text.json"));
    let mut texts: BTreeMap<String, String> = texts.unwrap_or_default();
    texts.entry(TITLE.into()).or_insert_with(|| "API keys".into());
    texts
}

/// A colour, as red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accent([u8; 3]);

impl Accent {
    /// As a style sheet, with the colour of text on it.
    pub(super) fn to_css(self) -> String {
        let [red, green, blue] = self.0;
        let on = if self.takes_white() { "#ffffff" } else { "#000000" };
        alloc::format!(":root{{--accent:#{red:02x}{green:02x}{blue:02x};--on-accent:{on}}}\n")
    }

    /// Whether white has the higher contrast to it than black (WCAG 2.2, contrast ratio).
    fn takes_white(self) -> bool {
        let luminance = self.luminance() + 0.05;
        1.05 / luminance > luminance / 0.05
    }

    /// WCAG 2.2, relative luminance.
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|value| {
            let share = f64::from(value) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl FromStr for Accent {
    type Err = ConsoleError;

    fn from_str(text: &str) -> Result<Self, ConsoleError> {
        let digits = text.strip_prefix('#').filter(|digits| {
            digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| ConsoleError::Accent(text.to_string()))?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

/// A console cannot be set up this way.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsoleError {
    /// This is not the type of an image.
    #[error("a logo is of a type such as `image/png`, not `{}`", .0.escape_debug())]
    Logo(String),
    /// This is not a colour.
    #[error("a colour is written as `#rrggbb`, not `{}`", .0.escape_debug())]
    Accent(String),
    /// A token would be nowhere in the line, or not once.
    #[error("a line for new keys has one `{{token}}` and one line, unlike `{}`", .0.escape_debug())]
    Curl(String),
    /// This is not the tag of a language.
    #[error("a language is written as `de` or `pt-BR`, not `{}`", .0.escape_debug())]
    Language(String),
    /// The texts cannot be read.
    #[error("the texts are not a JSON object of strings")]
    TextFormat(#[source] serde_json::Error),
    /// The page has no such text.
    #[error("the page has no text `{}`", .0.escape_debug())]
    Text(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_the_page_can_be_read() {
        let texts: Result<BTreeMap<String, String>, _> =
            serde_json::from_str(include_str!("page/text.json"));
        assert!(!texts.unwrap().is_empty());
    }

    #[test]
    fn text_on_the_accent_has_the_higher_contrast() {
        let css = |text: &str| text.parse::<Accent>().unwrap().to_css();
        assert_eq!(css("#0A6ebd"), ":root{--accent:#0a6ebd;--on-accent:#ffffff}\n");
        for (accent, on) in [
            ("#000000", "#ffffff"),
            ("#ffffff", "#000000"),
            ("#ffd500", "#000000"),
            // On either side of the grey with equal contrasts.
            ("#757575", "#ffffff"),
            ("#777777", "#000000"),
        ] {
            assert!(css(accent).contains(&["--on-accent:", on].concat()), "{accent}");
        }
        for bad in ["", "#", "#fff", "red", "#12345g", "123456", "#1234567", "#+12345", "#ff000}"] {
            assert!(bad.parse::<Accent>().is_err(), "{bad}");
        }
    }
}
