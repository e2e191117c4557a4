//! Nothing is here: see `compile.rs` and the folders beside this file.
