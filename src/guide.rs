//! Longer texts.
