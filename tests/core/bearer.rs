//! The token in an `Authorization` header.

use keyway::lowlevel::{
    CredentialError::{self, Missing, Unreadable},
    bearer_token,
};

/// A header value, and the expected result.
type Row = (&'static [u8], Result<&'static [u8], CredentialError>);

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
fn token_is_returned_unchanged() {
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
fn missing_credential_differs_from_an_unreadable_one() {
    check(&[
        (b"", Err(Missing)),
        (b"Bear", Err(Missing)),
        (b"Bearer", Err(Unreadable)),
        (b"Bearer ", Err(Unreadable)),
        (b"Bearer   ", Err(Unreadable)),
    ]);
}

#[test]
fn other_schemes_are_not_credentials() {
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
    assert_eq!(Unreadable.to_string(), "the credential cannot be read");
}
