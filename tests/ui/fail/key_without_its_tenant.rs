use keyway::{KeyId, Keyring};

async fn reach(keyring: Keyring, id: KeyId) {
    let _ = keyring.find(id).await;
    let _ = keyring.disable(id).await;
    let _ = keyring.delete(id).await;
}

fn main() {}
