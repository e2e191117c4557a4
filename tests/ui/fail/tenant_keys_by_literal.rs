use keyway::{Keyring, TenantId, TenantKeys};

fn reach(keyring: Keyring, tenant: TenantId) -> TenantKeys {
    TenantKeys { keyring, tenant, granter: None, owners: Vec::new() }
}

fn main() {}
