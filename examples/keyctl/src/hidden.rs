//! Secrets that no message may repeat: the password of the store, and tokens among the arguments.

use std::{
    io::{Write as _, stderr},
    sync::{Mutex, PoisonError},
};

use zeroize::Zeroizing;

static HIDDEN: Mutex<Vec<Zeroizing<String>>> = Mutex::new(Vec::new());

/// The length from which an argument without spaces may be a token or a pepper.
const MIN_SECRET: usize = 32;

/// Keeps `secret` out of every message from now on.
pub fn hide(secret: &str) {
    if !secret.is_empty() {
        let mut hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
        hidden.push(secret.to_owned().into());
    }
}

/// Keeps arguments that look like a token or a pepper out of every message. The parser repeats arguments that
/// it does not know.
pub fn hide_arguments(arguments: impl Iterator<Item = String>) {
    for argument in arguments {
        let value = argument.rsplit('=').find(|part| !part.is_empty()).unwrap_or_default();
        for text in [argument.as_str(), value] {
            let is_secret = |byte: u8| byte.is_ascii_alphanumeric() || b"_-+/=".contains(&byte);
            let is_random = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
            if text.len() >= MIN_SECRET
                && text.bytes().any(is_random)
                && !text.starts_with("--")
                && text.bytes().all(is_secret)
            {
                hide(text);
            }
        }
    }
}

/// Returns `text` with every hidden secret replaced.
pub fn without_secrets(text: &str) -> String {
    let hidden = HIDDEN.lock().unwrap_or_else(PoisonError::into_inner);
    hidden.iter().fold(text.to_owned(), |text, secret| text.replace(&**secret, "[hidden]"))
}

/// Writes `text` without secrets to stderr. A stderr that cannot be written ends nothing.
pub fn complain(text: &str) {
    _ = stderr().lock().write_all(without_secrets(text).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_like_a_token_is_hidden() {
        let token = "mm_live_0123456789abcdef0123456789abcdef0123";
        hide_arguments([token.to_owned(), "--scope=reporting".to_owned()].into_iter());
        let text =
            without_secrets(&format!("unexpected argument '{token}' found, --scope=reporting"));
        assert_eq!(text, "unexpected argument '[hidden]' found, --scope=reporting");
    }

    #[test]
    fn path_of_ordinary_words_is_not_hidden() {
        let path = "/var/lib/a-rather-long-folder/of/keys/keys.db";
        hide_arguments([path.to_owned()].into_iter());
        assert_eq!(without_secrets(path), path);
    }
}
