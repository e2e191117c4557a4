use keyway::{keyring::{Keyring, TenantKeys}, record::TenantId};

fn reach(keyring: Keyring, tenant: TenantId) -> TenantKeys {
    TenantKeys { keyring, tenant, granter: None }
}

fn main() {}
