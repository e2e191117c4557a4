//! The console in a real browser, which `KEYWAY_BROWSER` names. `tests/console.sh` installs what the tests need,
//! and skips what a browser cannot do.

mod allowances;
mod axe;
mod children;
mod commands;
mod driver;
mod exceptions;
mod hostile;
mod keyboard;
mod limits;
mod measure;
mod network;
mod one_time;
mod operator;
mod owners;
mod page;
mod races;
mod screenshots;
mod seeds;
mod states;
mod trouble;
mod usage;
mod verbs;
mod visit;
