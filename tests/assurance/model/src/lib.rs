//! A naive model of keyway that shares no code with it, and random services that are compared with it.
//!
//! The tests of the keyring include this file as a module and run their own histories beside the model.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::option_option,
    clippy::too_many_arguments,
    reason = "a wish may be to have no end, and a naive rule names all that it depends on"
)]

pub mod declare;
pub mod draw;
pub mod fault;
pub mod met;
pub mod naive;
pub mod products;
pub mod random;
pub mod small;
pub mod translate;
pub mod world;
