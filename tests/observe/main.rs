//! Observability of requests: events, spans, counters and log lines.

mod log_lines;
mod requests;
#[path = "../support/mod.rs"]
mod support;
