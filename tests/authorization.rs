//! The token in an `Authorization` field.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::std_instead_of_alloc,
    reason = "a test fails by panicking, and has the standard library"
)]

use keyway::authorization::{
    BearerError::{self, Missing, Unreadable},
    bearer_token,
};

/// A value, and what is read from it.
type Row = (&'static [u8], Result<&'static [u8], BearerError>);

#[track_caller]
fn check(table: &[Row]) {
    for (value, expected) in table {
        let text = value.escape_ascii();
        assert_eq!(bearer_token(value), *expected, "`{text}`");
    }
}

#[test]
fn the_token_follows_the_scheme() {
    check(&[(b"Bearer mm_live_7Kf3", Ok(b"mm_live_7Kf3")), (b"Bearer x", Ok(b"x"))]);
}

#[test]
fn the_scheme_is_read_in_any_case() {
    check(&[(b"bearer x", Ok(b"x")), (b"BEARER x", Ok(b"x")), (b"bEaReR x", Ok(b"x"))]);
}

#[test]
fn more_spaces_may_separate_scheme_and_token() {
    check(&[(b"Bearer   x", Ok(b"x"))]);
}

#[test]
fn only_spaces_separate_scheme_and_token() {
    check(&[
        (b"Bearer\tx", Err(Unreadable)),
        (b"Bearer\nx", Err(Unreadable)),
        (b"Bearer:x", Err(Unreadable)),
        (b"Bearer\xa0x", Err(Unreadable)),
    ]);
}

#[test]
fn the_token_is_given_as_it_is() {
    check(&[
        (b"Bearer x ", Ok(b"x ")),
        (b"Bearer x y", Ok(b"x y")),
        (b"Bearer \tx", Ok(b"\tx")),
        (b"Bearer \xff\x00", Ok(b"\xff\x00")),
        (b"Bearer Bearer x", Ok(b"Bearer x")),
        (b"Bearer \"x\"", Ok(b"\"x\"")),
    ]);
}

#[test]
fn the_name_of_the_uri_scheme_for_secrets_is_dropped() {
    check(&[
        (b"Bearer secret-token:x", Ok(b"x")),
        (b"Bearer secret-token:secret-token:x", Ok(b"secret-token:x")),
        (b"Bearer Secret-Token:x", Ok(b"Secret-Token:x")),
        (b"Bearer secret-tokenx", Ok(b"secret-tokenx")),
    ]);
}

#[test]
fn no_credential_is_told_apart_from_one_that_cannot_be_read() {
    check(&[
        (b"", Err(Missing)),
        (b"Bear", Err(Missing)),
        (b"Bearer", Err(Unreadable)),
        (b"Bearer ", Err(Unreadable)),
        (b"Bearer   ", Err(Unreadable)),
    ]);
}

#[test]
fn another_scheme_is_no_credential() {
    check(&[
        (b"Basic YTpi", Err(Missing)),
        (b"Digest username=x", Err(Missing)),
        (b"BearerX x", Err(Missing)),
        (b"Bearer2 x", Err(Missing)),
        (b" Bearer x", Err(Missing)),
        (b"mm_live_7Kf3", Err(Missing)),
    ]);
}

#[test]
fn the_errors_say_what_is_missing() {
    assert_eq!(Missing.to_string(), "no bearer token was presented");
    assert_eq!(Unreadable.to_string(), "no token follows the scheme `Bearer`");
}
