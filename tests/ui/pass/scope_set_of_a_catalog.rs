use keyway::{ConfigError, ScopeCatalog, scope::ScopeSet};

fn set(catalog: &ScopeCatalog) -> Result<ScopeSet, ConfigError> {
    Ok(catalog.set(["reporting"])?.meet(catalog.all()))
}

fn main() {}
