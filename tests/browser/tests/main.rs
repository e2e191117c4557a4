//! The console in a real browser. `tests/console.sh` installs what it needs.

mod axe;
mod driver;
mod hostile;
mod keyboard;
mod measure;
mod network;
mod one_time;
mod operator;
mod page;
mod races;
mod screenshots;
mod seeds;
mod session;
mod states;
mod verbs;
mod visit;
