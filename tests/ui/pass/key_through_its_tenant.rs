use keyway::{KeyId, KeyRecord, Keyring, KeyringError, TenantId};

async fn reach(keyring: Keyring, tenant: TenantId, id: KeyId) -> Result<KeyRecord, KeyringError> {
    keyring.tenant(tenant).find(id).await
}

fn main() {}
