//! Tokens that somebody presents: the key of one, and reports of a leak.

use clap::{Args, Subcommand, ValueEnum};
use keyway::LeakResponse;

use crate::{
    failure::{Failure, Reason},
    keys::report,
    secrets::read_token,
    session::Session,
    views::{key_fields, key_value},
};

/// The commands on a token, which is read from stdin.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Show the key of the token on stdin, whatever its state.
    Show,
    /// Check that the token on stdin can be used now. The exit code is 1 if not.
    Verify,
    /// Report that the token on stdin was found where it should not be.
    ReportLeak(ReportLeak),
}

/// A report of a leak.
#[derive(Args, Debug)]
pub struct ReportLeak {
    /// The reason, such as the place where the token was found. The tenant may read it.
    #[arg(long)]
    reason: String,
    /// The effect on the key.
    #[arg(long, value_enum, default_value_t = Response::Suspend)]
    response: Response,
    /// A scope that a quarantined key keeps, if it has it. It can be repeated.
    #[arg(long = "floor", value_name = "SCOPE")]
    floor: Vec<String>,
}

/// The effect of a report on the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Response {
    /// The key cannot be used until it is resumed.
    Suspend,
    /// The key keeps only the scopes of the floor.
    Quarantine,
    /// The key does not change.
    ReportOnly,
}

/// Runs a command.
pub async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    let keyring = &session.keyring;
    match command {
        Command::Show => {
            let described = keyring.describe(read_token(session.out)?.as_bytes()).await?;
            let tenant = keyring.find_tenant(described.key.tenant()).await?;
            let (key, policy) = (&described.key, keyring.policy());
            session.out.result(&key_value(key, &tenant, policy), || {
                key_fields(key, &tenant, policy).to_string()
            })
        }
        Command::Verify => {
            let described = keyring.describe(read_token(session.out)?.as_bytes()).await?;
            report(session, &described.key, "found").await?;
            if described.state.is_active() {
                Ok(())
            } else {
                Err(Failure::reported(Reason::Refused))
            }
        }
        Command::ReportLeak(leak) => {
            if leak.response != Response::Quarantine && !leak.floor.is_empty() {
                return Err(Failure::usage("--floor is for --response quarantine"));
            }
            let response = match leak.response {
                Response::Suspend => LeakResponse::Suspend,
                Response::Quarantine => {
                    LeakResponse::Quarantine(keyring.policy().catalog().set(&leak.floor)?)
                }
                Response::ReportOnly => LeakResponse::ReportOnly,
            };
            let token = read_token(session.out)?;
            let key = keyring.report_leak(token.as_bytes(), &leak.reason, response).await?;
            report(session, &key, "reported").await?;
            if leak.response != Response::ReportOnly {
                let id = key.id();
                session.out.note(&format!(
                    "before the key is used again: `keyctl keys rotate {id} --grace none`"
                ));
            }
            Ok(())
        }
    }
}
