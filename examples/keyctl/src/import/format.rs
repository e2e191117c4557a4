//! The form of the other system's tokens.

use std::{ops::RangeInclusive, path::PathBuf};

use clap::{Args, ValueEnum};
use keyway::import::{ForeignFormat, ForeignHash};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// The form of the other system's tokens, and how they were digested.
#[derive(Args, Debug)]
pub struct FormatArguments {
    /// The hash of the digests.
    #[arg(long, value_enum, default_value_t = Hash::Sha256)]
    hash: Hash,
    /// The text with which every token begins.
    #[arg(long)]
    prefix: Option<String>,
    /// The lengths of tokens in bytes, such as `32` or `20-64`.
    #[arg(long, value_name = "FROM-TO", value_parser = lengths)]
    lengths: Option<RangeInclusive<usize>>,
    /// Only the part after this separator was digested, counted from the start, such as `_:2`.
    #[arg(long, value_name = "SEPARATOR:COUNT", value_parser = separator)]
    secret_after: Option<(char, u8)>,
    /// The tokens are of the crate `prefixed-api-key`, with this company.
    #[arg(long, value_name = "COMPANY", conflicts_with_all = ["hash", "prefix", "secret_after"])]
    prefixed_api_key: Option<String>,
    /// The digests are HMACs with the key in this file, byte for byte.
    #[arg(long, value_name = "FILE")]
    hmac_key_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Hash {
    Sha256,
    Sha512,
}

fn lengths(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let range = from.parse().ok().zip(to.parse().ok());
    let (from, to) = range.ok_or("write lengths such as `32` or `20-64`")?;
    Ok(from..=to)
}

fn separator(text: &str) -> Result<(char, u8), String> {
    let parts = text.rsplit_once(':').and_then(|(separator, count)| {
        let mut characters = separator.chars();
        let only = characters.next().filter(|_| characters.as_str().is_empty())?;
        Some((only, count.parse().ok()?))
    });
    parts.ok_or("write a separator and a count, such as `_:2`".into())
}

impl FormatArguments {
    /// Returns the format.
    pub fn format(&self) -> Result<ForeignFormat, Failure> {
        let hash = match self.hash {
            Hash::Sha256 => ForeignHash::Sha256,
            Hash::Sha512 => ForeignHash::Sha512,
        };
        let mut format = match (&self.prefixed_api_key, self.secret_after) {
            (Some(company), _) => ForeignFormat::prefixed_api_key(company)?,
            (None, Some((separator, count))) => ForeignFormat::secret_part(hash, separator, count)?,
            (None, None) => ForeignFormat::whole_token(hash),
        };
        if let Some(prefix) = &self.prefix {
            format = format.prefix(prefix)?;
        }
        if let Some(lengths) = &self.lengths {
            format = format.lengths(lengths.clone())?;
        }
        if let Some(path) = &self.hmac_key_file {
            let key = std::fs::read(path).map(Zeroizing::new).map_err(|error| {
                Failure::usage(format!("`{}` cannot be read: {error}", path.display()))
            })?;
            format = format.keyed(&key)?;
        }
        Ok(format)
    }
}
