//! The versions that a plan was made from, kept in a file between the plan and its execution.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use keyway::{KeyId, KeyRecord, TenantId, record::TenantRecord};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::failure::Failure;

/// The tenants and keys that a plan has read. Others did not exist.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    tenants: BTreeMap<String, SeenTenant>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SeenTenant {
    version: u64,
    keys: BTreeMap<String, SeenKey>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SeenKey {
    name: String,
    version: u64,
}

/// A plan that was saved.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SavedPlan {
    keyctl_plan: u32,
    manifest_sha256: String,
    seen: Seen,
}

/// The version of the format of saved plans.
const FORMAT: u32 = 1;

impl Seen {
    /// Adds a tenant and its keys.
    pub fn add(&mut self, tenant: &TenantRecord, keys: &[KeyRecord]) {
        let seen = |key: &KeyRecord| SeenKey { name: key.name().into(), version: key.version() };
        let keys = keys.iter().map(|key| (key.id().to_string(), seen(key))).collect();
        let seen = SeenTenant { version: tenant.version(), keys };
        self.tenants.insert(tenant.id().to_string(), seen);
    }

    /// Returns the version in which a tenant was seen.
    pub fn tenant(&self, id: &TenantId) -> Option<u64> {
        self.tenants.get(id.as_str()).map(|tenant| tenant.version)
    }

    /// Returns the version in which a key was seen.
    pub fn key(&self, tenant: &TenantId, id: KeyId) -> Option<u64> {
        self.tenants.get(tenant.as_str())?.keys.get(id.as_str()).map(|key| key.version)
    }

    /// Returns whether a key of this name was seen.
    pub fn has_key_named(&self, tenant: &TenantId, name: &str) -> bool {
        let tenant = self.tenants.get(tenant.as_str());
        tenant.is_some_and(|tenant| tenant.keys.values().any(|key| key.name == name))
    }

    /// Writes a saved plan.
    pub fn write(&self, path: &Path, manifest_sha256: String) -> Result<(), Failure> {
        let plan = SavedPlan { keyctl_plan: FORMAT, manifest_sha256, seen: self.clone() };
        let text = serde_json::to_string_pretty(&plan).map_err(std::io::Error::from)?;
        fs::write(path, text + "\n").map_err(|error| {
            Failure::refused(format!("`{}` cannot be written: {error}", path.display()))
        })
    }
}

impl SavedPlan {
    /// Reads a saved plan of this manifest.
    pub fn read(path: &Path, manifest: &str) -> Result<Seen, Failure> {
        let place = path.display();
        let text = fs::read_to_string(path)
            .map_err(|error| Failure::usage(format!("`{place}` cannot be read: {error}")))?;
        let plan: Self = serde_json::from_str(&text)
            .map_err(|error| Failure::usage(format!("`{place}` is not a saved plan: {error}")))?;
        if plan.keyctl_plan != FORMAT {
            return Err(Failure::usage(format!(
                "`{place}` is a plan of another version of keyctl"
            )));
        }
        if plan.manifest_sha256 != fingerprint(manifest) {
            return Err(Failure::refused(format!("`{place}` is the plan of another manifest"))
                .remedy("make a plan of this one with --dry-run --save-plan"));
        }
        Ok(plan.seen)
    }
}

/// Returns the SHA-256 of a manifest.
pub fn fingerprint(manifest: &str) -> String {
    let mut text = String::new();
    for byte in Sha256::digest(manifest.as_bytes()) {
        _ = write!(text, "{byte:02x}");
    }
    text
}
