//! Confirmation of changes that cannot be undone.

use std::io::{IsTerminal as _, stderr, stdin};

use clap::Args;

use crate::{failure::Failure, hidden::complain};

/// The consent to a change that cannot be undone.
#[derive(Args, Clone, Copy, Debug)]
pub struct Consent {
    /// Do not ask. Without a terminal nothing is done unless this is given.
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Returns if the operator agrees to `change`.
    ///
    /// # Errors
    ///
    /// Without a terminal, or if the operator does not type `yes`. Nothing was changed then.
    pub fn ask(self, change: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !(stdin().is_terminal() && stderr().is_terminal()) {
            let message =
                format!("nothing was changed, since nobody can confirm this here: {change}");
            return Err(Failure::usage(message).remedy("repeat the command with --yes"));
        }
        complain(&format!("{change}\nType `yes` to continue: "));
        let mut reply = String::new();
        stdin().read_line(&mut reply)?;
        if reply.trim() == "yes" {
            return Ok(());
        }
        Err(Failure::refused("nothing was changed: it was not confirmed"))
    }
}
