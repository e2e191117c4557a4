//! The built program against SQLite in a temporary folder.
//!
//! Every call checks that no secret of the session is in its output: see `support`.

mod apply;
mod import;
mod keys;
mod manifests;
mod secrets;
mod settings;
mod support;
mod tenants;
mod upkeep;
