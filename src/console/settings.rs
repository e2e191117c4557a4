//! The application's settings of the console: how it looks, its texts, and its actions.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::str::FromStr;

use crate::config::ConfigError;
use crate::http::problem::ProblemTypes;

/// The settings of a console: how it looks, its texts, and its actions.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) name: String,
    pub(super) logo: Option<Arc<Logo>>,
    pub(super) accent: Accent,
    pub(super) curl: Option<String>,
    pub(super) support: Option<String>,
    pub(super) language: String,
    pub(super) texts: BTreeMap<String, String>,
    /// The actions that are removed from the console.
    pub(super) without: Vec<OperatorAction>,
    /// The link to the documentation of the problem types.
    pub(super) problem_types: ProblemTypes,
}

/// A group of actions of an operator. An application can remove it from the console with
/// [`Console::without`](super::Console::without).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OperatorAction {
    /// Moving tenants to other tiers, and previewing such a move.
    Tiers,
    /// Changing the exceptions of tenants from their tiers, and previewing such a change.
    Exceptions,
    /// Suspending and resuming tenants and keys.
    Suspensions,
    /// Reporting leaked tokens, and suspending their keys.
    LeakReports,
}

impl OperatorAction {
    /// Returns the API operations in the group, by their `operationId` in the OpenAPI document.
    pub(super) fn operations(self) -> &'static [&'static str] {
        match self {
            Self::Tiers => &["preview_tier", "set_tier"],
            Self::Exceptions => &["preview_exceptions", "set_exceptions"],
            Self::Suspensions => &["suspend_tenant", "resume_tenant", "suspend_key", "resume_key"],
            Self::LeakReports => &["report_leak"],
        }
    }
}

/// The logo on the page.
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
            without: Vec::new(),
            problem_types: ProblemTypes::default(),
        }
    }

    pub(super) fn set_logo(&mut self, kind: &str, image: Vec<u8>) -> Result<(), ConfigError> {
        let is_visible = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let subtype = kind.strip_prefix("image/").unwrap_or_default();
        if subtype.is_empty() || !subtype.bytes().all(is_visible) {
            return Err(ConfigError::Logo(kind.into()));
        }
        self.logo = Some(Arc::new(Logo { content_type: kind.into(), image }));
        Ok(())
    }

    pub(super) fn set_curl(&mut self, line: String) -> Result<(), ConfigError> {
        if line.matches("{token}").count() != 1 || line.chars().any(char::is_control) {
            return Err(ConfigError::Curl(line));
        }
        self.curl = Some(line);
        Ok(())
    }

    pub(super) fn set_text(&mut self, language: &str, json: &str) -> Result<(), ConfigError> {
        // Accepts the part of BCP 47 that every browser supports: a language, a script, a region.
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
            return Err(ConfigError::Language(language.into()));
        }
        let texts: BTreeMap<String, String> = serde_json::from_str(json)
            .map_err(|error| ConfigError::unreadable("the JSON object of texts", &error))?;
        // A language may have plural forms that English does not have.
        let is_known = |key: &String| {
            self.texts.contains_key(key)
                || key.rsplit_once('.').is_some_and(|(text, form)| {
                    matches!(form, "zero" | "two" | "few" | "many")
                        && self.texts.contains_key(&[text, ".other"].concat())
                })
        };
        if let Some(key) = texts.keys().find(|key| !is_known(key)) {
            return Err(ConfigError::PageText(key.clone()));
        }
        self.language = language.into();
        self.texts.extend(texts);
        Ok(())
    }
}

/// The name of the text that is the title of the document.
pub(super) const TITLE: &str = "title";

/// Returns the English texts of the page.
fn built_in_texts() -> BTreeMap<String, String> {
    // INVARIANT: the file is a JSON object of strings, which a test checks. Otherwise the page would have no
    // texts.
    let texts = serde_json::from_str(include_str!("page/text.json"));
    let mut texts: BTreeMap<String, String> = texts.unwrap_or_default();
    texts.entry(TITLE.into()).or_insert_with(|| "API keys".into());
    texts
}

/// A color, as red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accent([u8; 3]);

impl Accent {
    /// Returns a style sheet with this color and the color of text on it.
    pub(super) fn to_css(self) -> String {
        let [red, green, blue] = self.0;
        let on = if self.takes_white() { "#ffffff" } else { "#000000" };
        alloc::format!(":root{{--accent:#{red:02x}{green:02x}{blue:02x};--on-accent:{on}}}\n")
    }

    /// Checks whether white has a higher contrast to this color than black has (WCAG 2.2, contrast ratio).
    fn takes_white(self) -> bool {
        let luminance = self.luminance() + 0.05;
        1.05 / luminance > luminance / 0.05
    }

    /// Returns the relative luminance (WCAG 2.2).
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|value| {
            let share = f64::from(value) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl FromStr for Accent {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let digits = text.strip_prefix('#').filter(|digits| {
            digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let number = number.ok_or_else(|| ConfigError::Accent(text.to_string()))?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_texts_are_valid_json() {
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
            // On either side of the gray that has the same contrast to both.
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
