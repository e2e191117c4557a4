#![deny(unused_must_use)]

use keyway::{OneTimeToken, lowlevel::TokenFormat};

fn mint(format: &TokenFormat) -> OneTimeToken {
    format.mint(&mut getrandom::SysRng).unwrap().token
}

fn show(format: &TokenFormat) -> usize {
    let token = mint(format);
    let redacted = format!("{token:?}");
    redacted.len() + token.reveal().len()
}

fn main() {}
