//! An operator's tool for keyway, to copy or to build on: `cargo run -p keyctl -- demo`.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | refused or failed |
//! | 2 | the command or its settings are wrong |
//! | 3 | the store is not available |
//!
//! Results are on stdout, as tables or with `--json` as one document or as one line for each item. Everything
//! else is on stderr. Tokens are read from stdin and written to stdout or a file of their own.

mod apply;
mod args;
mod children;
mod confirm;
mod contract;
mod demo;
mod exceptions;
mod failure;
mod grant;
mod hidden;
mod import;
mod key_list;
mod keys;
mod leak;
mod output;
mod progress;
mod secrets;
mod session;
mod settings;
mod table;
mod tenants;
mod tiers;
mod times;
mod upkeep;
mod views;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use serde_json::json;

use crate::{
    args::{Arguments, Command},
    failure::Failure,
    hidden::{complain, hide_arguments},
    output::Output,
    session::{Opening, Session},
};

fn main() -> ExitCode {
    let given = || std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    hide_arguments(given().skip(1));
    if given().len() <= 1 {
        return ended(print(&Arguments::command().render_long_help().to_string()), false);
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // The parser repeats arguments that it does not know.
        Err(error) if error.use_stderr() => {
            complain(&error.render().to_string());
            return ExitCode::from(2);
        }
        Err(help) => return ended(print(&help.to_string()), false),
    };
    let json = arguments.json;
    ended(start(arguments), json)
}

fn ended(outcome: Result<(), Failure>, json: bool) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.reason.code())
        }
    }
}

fn print(text: &str) -> Result<(), Failure> {
    Output { json: false }.write(text)
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let (out, settings) = (Output { json: arguments.json }, &arguments.settings);
    let opening = match &arguments.command {
        Command::Demo => return demo::run(out),
        Command::Tiers { .. } => return tiers::list(out, &settings.policy()?),
        Command::Init => Opening { creates: true, ..Opening::default() },
        Command::Import(import) => Opening { format: Some(import.format()?), ..Opening::default() },
        _ => Opening::default(),
    };
    let session = Session::open(settings, out, opening).await?;
    let outcome = match arguments.command {
        Command::Tenants(command) => tenants::run(&session, command).await,
        Command::Keys(command) => keys::run(&session, command).await,
        Command::Token(command) => leak::run(&session, command).await,
        Command::Reseal(command) => upkeep::reseal(&session, command).await,
        Command::Purge(command) => upkeep::purge(&session, command).await,
        Command::Import(command) => import::run(&session, settings, &command).await,
        Command::Apply(command) => apply::run(&session, &command).await,
        Command::Init | Command::Tiers { .. } | Command::Demo => ready(&session, settings),
    };
    session.close(outcome).await
}

fn ready(session: &Session, settings: &settings::Settings) -> Result<(), Failure> {
    let (issuer, environment) = (session.keyring.policy().issuer(), settings.environment());
    let value = json!({ "issuer": issuer, "environment": environment });
    session.out.result(&value, || format!("the store is ready for {issuer}_{environment} keys\n"))
}
