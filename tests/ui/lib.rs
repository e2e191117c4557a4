//! Empty. See `compile.rs` and the folders beside this file.
