//! Open streams and the connections of the pool.

use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use crate::support::{
    overheard::RevealKnown as _,
    pepper, policy,
    server::{fresh_schema, shared},
};
use keyway::{Keyring, PostgresStore, VerifyError};
use tokio::time::{sleep, timeout};

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn stream_that_is_not_polled_keeps_no_connection() {
    let builder = PostgresStore::builder().schema(fresh_schema()).max_connections(1);
    let store = builder.connect(&shared().url()).await.unwrap();
    let keyring = Keyring::builder(policy(), pepper())
        .environment("live")
        .store(store)
        .max_staleness(Duration::from_secs(1))
        .build()
        .unwrap();
    let (acme, issued) = keyring.create_tenant("acme", "lite").await.unwrap();
    let (_, other) = keyring.create_tenant("globex", "lite").await.unwrap();
    let (token, other) = (issued.token.reveal_known(), other.token.reveal_known());
    let caller = keyring.verify(&*token).await.unwrap();
    let mut ended = pin!(caller.ended());
    let mut poll = || ended.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll().is_pending());
    // The key must be read again soon. This begins the read, and nobody polls it afterwards.
    sleep(Duration::from_millis(850)).await;
    assert!(poll().is_pending());
    for _ in 0..3 {
        sleep(Duration::from_millis(1_100)).await;
        let verified = timeout(Duration::from_secs(3), keyring.verify(&*other)).await;
        verified.expect("the only connection is held").unwrap();
    }
    // The client reads on, and the stream has its time to read the key.
    for _ in 0..10 {
        assert!(poll().is_pending());
        sleep(Duration::from_millis(10)).await;
    }
    acme.delete(issued.key.id()).await.unwrap();
    let end = timeout(Duration::from_secs(5), ended).await.unwrap();
    assert!(matches!(end, VerifyError::Rejected), "{end:?}");
}
