#![deny(unused_must_use)]

use keyway::{OneTimeToken, lowlevel::TokenFormat};

fn mint(format: &TokenFormat) -> OneTimeToken {
    format.mint(&mut getrandom::SysRng).unwrap().token
}

fn lose(format: &TokenFormat) {
    mint(format);
}

fn main() {}
