//! All tests of the core as one program: what is built once for every mutant, and measured for coverage.

#![allow(clippy::duplicate_mod, reason = "each file brings the helpers that it shares with others")]

#[path = "../authorization.rs"]
mod authorization;
#[path = "../autotraits.rs"]
mod autotraits;
#[path = "../canary.rs"]
mod canary;
#[path = "../corpus.rs"]
mod corpus;
#[path = "../decision.rs"]
mod decision;
#[path = "../feed.rs"]
mod feed;
#[path = "../idempotency.rs"]
mod idempotency;
#[path = "../import.rs"]
mod import;
#[path = "../isolation.rs"]
mod isolation;
#[path = "../keyring.rs"]
mod keyring;
#[path = "../model.rs"]
mod model;
#[path = "../pepper.rs"]
mod pepper;
#[path = "../policy.rs"]
mod policy;
#[path = "../records.rs"]
mod records;
#[path = "../scopes.rs"]
mod scopes;
#[path = "../store.rs"]
mod store;
#[path = "../time.rs"]
mod time;
#[path = "../token.rs"]
mod token;
#[path = "../upkeep.rs"]
mod upkeep;
#[path = "../verification.rs"]
mod verification;
