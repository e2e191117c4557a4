//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    apply::Apply,
    import::Import,
    keys, leak,
    settings::Settings,
    tenants,
    upkeep::{Purge, Reseal},
};

/// Manages the API keys of a service that is built on keyway.
///
/// Begin with `keyctl demo`, which runs a whole session in a temporary folder.
#[derive(Parser, Debug)]
#[command(
    name = "keyctl",
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 wrong command or settings, 3 store not available."
)]
pub struct Arguments {
    #[command(flatten)]
    pub settings: Settings,
    /// Write results as JSON: one document, or for lists one line for each item.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Create the store, or check that it belongs to this policy, environment and pepper.
    Init,
    /// Manage tenants.
    #[command(subcommand)]
    Tenants(tenants::Command),
    /// List the tiers of the policy.
    Tiers {
        #[command(subcommand)]
        command: TierCommand,
    },
    /// Manage keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Find, verify or report a token, which is read from stdin.
    #[command(subcommand)]
    Token(leak::Command),
    /// Seal all rows with the current pepper, after a change of the pepper.
    Reseal(Reseal),
    /// Delete keys that expired long ago.
    Purge(Purge),
    /// Import the digests of another system's keys from CSV.
    Import(Import),
    /// Bring tenants and keys into the state that a JSON manifest describes.
    Apply(Apply),
    /// Run a whole session in a temporary folder, and show each command with its output.
    Demo,
}

/// The commands on tiers.
#[derive(Subcommand, Debug)]
pub enum TierCommand {
    /// List the tiers, in ascending order.
    List,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn arguments_of_all_commands_are_consistent() {
        Arguments::command().debug_assert();
    }
}
