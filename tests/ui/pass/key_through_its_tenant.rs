use keyway::{
    keyring::{Keyring, KeyringError},
    record::{KeyRecord, TenantId},
    token::KeyId,
};

async fn reach(keyring: Keyring, tenant: TenantId, id: KeyId) -> Result<KeyRecord, KeyringError> {
    keyring.tenant(tenant).find(id).await
}

fn main() {}
