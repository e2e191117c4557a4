//! Nothing is here: see the examples beside this file.
