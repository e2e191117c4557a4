//! The authority alone, without a keyring that reads and checks records first.

use crate::support::pure::{authority, issue, tenant};
use keyway::{ChangeError, KeyRecord, LeakResponse, NewKey, record::RecordError};

#[test]
fn leak_response_to_a_forged_record_is_refused() {
    let authority = authority();
    let tenant = tenant(&authority, "acme", "advanced");
    let (key, _) = issue(&authority, &tenant, NewKey::named("ERP sync").scopes(["user"]), 1);
    let mut bytes = key.encode();
    let place = bytes.windows(8).position(|part| part == b"ERP sync").unwrap();
    bytes[place] = b'F';
    let forged = KeyRecord::decode(&bytes).unwrap();
    let none = authority.policy().catalog().none();
    for response in [LeakResponse::Suspend, LeakResponse::Quarantine(none)] {
        let done = |key| authority.respond_to_leak(key, "found", response);
        assert!(
            matches!(done(&forged), Err(ChangeError::Record(RecordError::Tampered))),
            "{response:?}"
        );
        assert!(done(&key).is_ok_and(|changed| changed.is_some()), "{response:?}");
    }
}

#[test]
fn quarantine_leaves_scopes_in_both_key_and_floor() {
    let authority = authority();
    let tenant = tenant(&authority, "acme", "advanced");
    let catalog = authority.policy().catalog();
    for (granted, floor, left) in [
        (&["operator"][..], &["operator.read", "reporting"][..], &["operator.read"][..]),
        (&["reporting"], &["operator"], &[]),
        (&[], &["operator"], &[]),
        (&["operator.read", "user"], &["operator", "user"], &["operator.read", "user"]),
    ] {
        let request = NewKey::named("ERP sync").scopes(granted.iter().copied());
        let (key, _) = issue(&authority, &tenant, request, 1);
        let response = LeakResponse::Quarantine(catalog.set(floor).unwrap());
        let changed = authority.respond_to_leak(&key, "found", response).unwrap();
        let scopes = changed.as_ref().unwrap_or(&key).scopes();
        assert!(
            scopes.iter().map(keyway::scope::Scope::as_str).eq(left.iter().copied()),
            "{granted:?}"
        );
    }
}
