//! Marker: `set_marker` stores a few bytes that identify the owner of the store, if the stored bytes are
//! those that the call names.

use alloc::{vec, vec::Vec};

use super::expect::{conflict, done, one_done, same};
use crate::store::KeyStore;

/// A marker is read as it was written, byte for byte, with any bytes and any length.
pub(super) async fn a_marker_comes_back_whole<S: KeyStore>(store: &S) {
    expect_marker("of a fresh store", store, None).await;
    let mut stored: Option<Vec<u8>> = None;
    for marker in [vec![0, 255, b'\'', 0], (0..=255).collect(), vec![7; 4_096], vec![1]] {
        let set = store.set_marker(&marker, stored.as_deref()).await;
        done(format_args!("setting a marker of {} bytes", marker.len()), set);
        expect_marker("that was set", store, Some(&marker)).await;
        stored = Some(marker);
    }
}

/// A call that names another marker than the stored one is a conflict, and nothing is written.
pub(super) async fn a_marker_names_what_it_replaces<S: KeyStore>(store: &S) {
    let wrong = store.set_marker(b"new", Some(b"old")).await;
    conflict("replacing a marker where there is none", wrong);
    expect_marker("after a conflict", store, None).await;
    done("setting the first marker", store.set_marker(b"first", None).await);
    for replaces in [None, Some(&b"firs"[..]), Some(b"first\0"), Some(b"FIRST"), Some(b"")] {
        let set = store.set_marker(b"second", replaces).await;
        conflict(format_args!("replacing {replaces:?} where another marker is"), set);
        expect_marker("after a conflict", store, Some(b"first")).await;
    }
    done("replacing it", store.set_marker(b"second", Some(b"first")).await);
    expect_marker("that replaced it", store, Some(b"second")).await;
}

/// If several first markers are set at once, one is kept and the others are conflicts.
pub(super) async fn of_concurrent_markers_one_is_kept<S: KeyStore>(store: &S) {
    let markers = [b"a", b"b", b"c", b"d", b"e", b"f"];
    let calls = markers.iter().map(|marker| store.set_marker(*marker, None));
    let place = one_done("setting the first marker", calls, conflict).await;
    expect_marker("that was kept", store, markers.get(place).map(|marker| &marker[..])).await;
}

/// Expects that this marker is stored.
async fn expect_marker<S: KeyStore>(when: &str, store: &S, expected: Option<&[u8]>) {
    let stored = done("reading the marker", store.marker().await);
    same(format_args!("the marker {when}"), &stored.as_deref(), &expected);
}
