//! Tests that the enabled features leave out. They are listed as ignored, and fail if they are asked for, so
//! that nobody takes them for passed.

#[cfg(not(feature = "conformance"))]
#[test]
#[ignore = "needs `--features conformance`"]
fn contract_of_stores_is_left_out() {
    panic!("the contract of stores is tested with `--features conformance`");
}

#[cfg(not(feature = "sqlite"))]
#[test]
#[ignore = "needs `--features sqlite`"]
fn sqlite_is_left_out() {
    panic!("the store on SQLite is tested with `--features sqlite`");
}

#[cfg(not(feature = "http"))]
#[test]
#[ignore = "needs `-p keyway -p keyway-tests --all-features`"]
fn frameworks_console_and_postgres_are_left_out() {
    panic!("these are tested with `-p keyway -p keyway-tests --all-features`");
}
