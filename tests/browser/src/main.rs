//! The service alone: prints its address, and runs until its standard input ends. `acme` has keys in all
//! states and room for many more, on SQLite.

use std::{error::Error, io::Read};

use keyway::{
    KeyEdit, MemoryStore, NewKey, SqliteStore,
    record::{Labels, Suspension},
};
use keyway_browser_tests::{
    Host,
    host::{HUGE, MOUNT},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("keys.db")).await?;
    let host = Host::over_with_usage(store, MemoryStore::new());
    host.keyring.create_empty_tenant("acme", HUGE).await?;
    let (_, first) = host.keyring.create_tenant("globex", "lite").await?;
    drop(first);

    let acme = host.tenant("acme");
    let labels = Labels::new([("team", "erp")])?;
    let erp = NewKey::named("ERP nightly sync").scopes(["erp", "reporting"]).labels(labels);
    let erp = acme.issue(erp).await?.key;
    drop(acme.rotate(erp.id(), erp.version(), Default::default()).await?);
    drop(acme.issue(NewKey::named("Laptop").owner("mia".parse()?)).await?);
    let off = acme.issue(NewKey::named("Switched off").scopes(["operator"])).await?.key;
    acme.edit(off.id(), off.version(), KeyEdit::new().enabled(false)).await?;
    let held = acme.issue(NewKey::named("Suspended")).await?.key;
    host.keyring.suspend_key(held.id(), Suspension::permanent("too many requests")?).await?;

    println!("{}", host.url(MOUNT));
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
