//! One table of requests over real sockets, against every framework.

mod alike;
mod answers;
mod client;
mod columns;
mod drive;
mod every_row;
mod hang_up;
mod identity;
mod leaks;
mod logs;
mod outage;
mod raw_table;
mod row;
mod server;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod tokens;
mod unguarded;
mod well_formed;
