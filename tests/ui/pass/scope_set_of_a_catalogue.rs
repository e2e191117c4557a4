use keyway::scope::{CatalogError, ScopeCatalog, ScopeSet};

fn set(catalog: &ScopeCatalog) -> Result<ScopeSet, CatalogError> {
    Ok(catalog.set(["reporting"])?.meet(catalog.all()))
}

fn main() {}
