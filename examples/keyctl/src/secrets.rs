//! Tokens: read from stdin alone, and written to stdout or to a file that only its owner can read.

use std::{
    fs::{File, OpenOptions},
    io::{IsTerminal as _, Read as _, Write as _, stdin},
    path::{Path, PathBuf},
};

use clap::Args;
use keyway::IssuedKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{failure::Failure, output::Output, views::masked_key};

/// The longest token that is read, in bytes.
const MAX_TOKEN: u64 = 4_096;

/// The place for the tokens of issued keys.
#[derive(Args, Debug)]
pub struct TokenPlace {
    /// Write the token to this file, which must not exist, instead of stdout. Its mode is 0600.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An open place for tokens.
#[derive(Debug)]
pub struct TokenSink {
    file: Option<(PathBuf, File)>,
    out: Output,
}

impl TokenPlace {
    /// Opens the place. Call it before a key is issued, so that its token cannot be lost for want of a place.
    pub fn open(&self, out: Output) -> Result<TokenSink, Failure> {
        let Some(path) = &self.token_file else { return Ok(TokenSink { file: None, out }) };
        let file = create_private(path).map_err(|error| {
            Failure::refused(format!("the file `{}` cannot be created: {error}", path.display()))
                .remedy("no key was issued: name a file that does not exist yet")
        })?;
        Ok(TokenSink { file: Some((path.clone(), file)), out })
    }
}

impl TokenSink {
    /// Writes the result of a command that issued one key.
    pub fn write_one(&mut self, issued: IssuedKey, done: &str) -> Result<(), Failure> {
        let (key, token) = (issued.key, issued.token.reveal());
        let id = key.id();
        let written = match &mut self.file {
            Some((path, file)) => {
                let place = path.display().to_string();
                let kept = writeln!(file, "{}", &*token).and_then(|()| file.sync_all());
                kept.map_err(|error| lost(&error.into(), id.as_str()))?;
                let value = json!({ "key": key, "token_file": place });
                let text = || format!("{done} {}\nits token is in {place}\n", masked_key(&key));
                return self.out.result(&value, text);
            }
            None if self.out.json => {
                let text = format!("{:#}\n", json!({ "key": key, "token": &*token }));
                self.out.write(&Zeroizing::new(text))
            }
            None => {
                self.out.note(&format!("{done} {}", masked_key(&key)));
                self.out.note("the token is shown this once:");
                self.out.write(&Zeroizing::new(format!("{}\n", &*token)))
            }
        };
        written.map_err(|failure| lost(&failure, id.as_str()))
    }

    /// Writes the token of one of many keys. For JSON on stdout it returns the token, for the line of its step.
    pub fn write_of_many(&mut self, issued: IssuedKey) -> Result<Value, Failure> {
        let (key, token) = (issued.key, issued.token.reveal());
        let written = match &mut self.file {
            Some((_, file)) => {
                let (tenant, name, id) = (key.tenant(), key.name(), key.id());
                let line = json!({ "tenant": tenant, "name": name, "id": id, "token": &*token });
                let line = Zeroizing::new(format!("{line}\n"));
                file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).map_err(Into::into)
            }
            None if self.out.json => return Ok(json!(&*token)),
            None => {
                let name = format!("{}/{}", key.tenant(), key.name());
                let line = Zeroizing::new(format!("token of {name}: {}\n", &*token));
                self.out.write(&line)
            }
        };
        written.map(|()| Value::Null).map_err(|failure| lost(&failure, key.id().as_str()))
    }
}

/// Adds to a failure that the key exists although nobody has its token.
pub fn lost(failure: &Failure, id: &str) -> Failure {
    let message = format!("the key {id} exists, and its token was not written");
    let message = match failure.message() {
        "" => message,
        reason => format!("{message}: {reason}"),
    };
    Failure::refused(message).remedy(format!("`keyctl keys rotate {id}` makes a new token"))
}

/// Reads a token from stdin. Arguments are visible to every user of the machine, so a token is never one.
pub fn read_token(out: Output) -> Result<Zeroizing<String>, Failure> {
    if stdin().is_terminal() {
        out.note("Paste the token, then press Enter and Ctrl-D:");
    }
    let mut text = Zeroizing::new(String::new());
    let read = stdin().lock().take(MAX_TOKEN).read_to_string(&mut text);
    read.map_err(|_| Failure::usage("stdin is not text"))?;
    let token = text.trim();
    if token.is_empty() {
        let remedy = "write the token to stdin, such as `keyctl token show < token.txt`";
        return Err(Failure::usage("there is no token on stdin").remedy(remedy));
    }
    Ok(token.to_owned().into())
}

#[cfg(unix)]
fn create_private(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Elsewhere the rights of the folder apply.
#[cfg(not(unix))]
fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}
