//! The life cycle of API keys in one short program: `cargo run -p quickstart`.

use std::{
    error::Error,
    fmt::Display,
    io::{Write, stdout},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use keyway::{
    GracePeriod, KeyEdit, KeyId, Keyring, NewKey, Pepper, Peppers, Policy, SqliteStore,
    grant::{Networks, Resources},
    record::Suspension,
    store::{KeyLookup, StoreError, StoredKey},
    time::{Clock, SystemClock},
    verifier::{Freshness, Verifier},
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::temp_dir().join(format!("keyway-quickstart-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let told = pollster::block_on(story(&folder.join("keys.db")));
    std::fs::remove_dir_all(folder)?;
    told
}

async fn story(database: &Path) -> Result<(), Box<dyn Error>> {
    let policy: Policy = serde_json::from_str(include_str!("../../machinemetrics.json"))?;
    let scopes = policy.catalog().iter().count();
    let store = SqliteStore::open(database).await?;
    // A service reads its own from the environment: Pepper::from_env("KEYWAY_PEPPER")?
    let pepper = || Pepper::from_base64("bm90IGEgc2VjcmV0LCBvbmx5IHRoZSBleGFtcGxlIG9mIG9uZSE=");
    let keyring = Keyring::builder(policy.clone(), pepper()?)
        .environment("live")
        .store(store.clone())
        .open()
        .await?;
    // Changes of other processes take effect in milliseconds, and keys that nobody changed are not read again.
    // With Tokio: tokio::spawn(keyring.verifier().follow(store.feed()));
    let following = keyring.verifier().follow(store.feed());
    std::thread::spawn(|| pollster::block_on(following));

    chapter("A tenant and its first key");
    say("store", database.display());
    say("policy", format!("{scopes} scopes, tiers lite (1 key) and advanced (5 keys)"));
    let first = NewKey::named("ERP nightly sync").scopes(["reporting", "operator"]);
    let (acme, first) = keyring.create_tenant_with("acme", "lite", first).await?;
    let token = first.token.reveal();
    say("created", format!("tenant {} on lite, with the key {:?}", acme.id(), first.key.name()));
    say("shown once", &*token);
    say("from now on", first.key.masked());
    let more = KeyEdit::new().scopes(["reporting", "metrics.advanced"]);
    say("refused", refusal(acme.edit(first.key.id(), first.key.version(), more).await));
    say("refused", refusal(acme.issue(NewKey::named("Dashboard")).await));

    chapter("A larger tier");
    let change = keyring.set_tier(acme.id(), "advanced").await?;
    say("moved", format!("to advanced: {} of {} keys held", change.held, change.allowed));
    let issue = async |new: NewKey| -> Result<_, Box<dyn Error>> {
        let issued = acme.issue(new).await?;
        say("issued", format!("{:<12} {}", issued.key.name(), issued.key.masked()));
        Ok(issued.token.reveal())
    };
    // A key may touch no machine and may be used from any network, unless its request says otherwise.
    let dashboard = NewKey::named("Dashboard")
        .scopes(["reporting"])
        .resources("machine", Resources::only(["mill-1", "mill-2"])?)
        .networks(Networks::only(["192.0.2.0/24"])?);
    let dashboard = issue(dashboard).await?;
    let reports = issue(NewKey::named("Reports").scopes(["reporting"])).await?;
    issue(NewKey::named("Edge gateway").scopes(["gateway"])).await?;
    issue(NewKey::named("Sandbox")).await?;
    say("refused", refusal(acme.issue(NewKey::named("A sixth")).await));

    chapter("Two machines, from one network");
    let machine = keyring.policy().catalog().resource("machine")?;
    let reporting = keyring.requirement(["reporting"])?;
    // The guard of a web service does this, with the address of its client.
    let dashboard_at = async |address: [u8; 4]| {
        let address = Some(address.into());
        keyring.verify_from(&*dashboard, Freshness::Cached, address).await
    };
    let caller = dashboard_at([192, 0, 2, 7]).await?;
    let mut machines = vec!["mill-1", "mill-2", "lathe-1"];
    machines.retain(|id| caller.resources(&machine).contains(id));
    say("its list", machines.join(", "));
    for id in ["mill-1", "lathe-1"] {
        match caller.permit(&reporting, &machine, id) {
            Ok(()) => say("allowed", id),
            Err(outside) => say("refused", format!("{id}: {outside}")),
        }
    }
    say("elsewhere", refusal(dashboard_at([198, 51, 100, 7]).await));

    chapter("A request");
    let header = format!("Bearer {}", &*token);
    let caller = keyring.verify_authorization(Some(&header)).await?;
    say("verified", format!("{} of {}", caller.name(), caller.tenant()));
    say("may do", keyring.policy().catalog().text(caller.scopes()));
    for scope in ["reporting", "operator.jobs", "manager"] {
        let requirement = keyring.requirement([scope])?;
        match caller.require(&requirement) {
            Ok(()) => say("allowed", scope),
            Err(missing) => say("refused", format!("{scope}: {missing}")),
        }
    }

    chapter("Less, off, on, and a ban");
    let id = first.key.id();
    let edit = KeyEdit::new().scopes(["reporting", "operator.read"]);
    let key = acme.edit(id, first.key.version(), edit).await?;
    let caller = keyring.verify(&*token).await?;
    say("narrowed", keyring.policy().catalog().text(caller.scopes()));
    say("lost race", refusal(acme.edit(id, 1, KeyEdit::new().name("Too late")).await));
    acme.disable(id).await?;
    say("disabled", refusal(keyring.verify(&*token).await));
    acme.enable(id).await?;
    say("enabled", accepted(keyring.verify(&*token).await.is_ok()));
    let end = SystemClock.moment().now.checked_add(Duration::from_secs(3_600)).ok_or("clock")?;
    keyring.suspend_key(id, Suspension::until(end, "floods the report endpoint")?).await?;
    acme.enable(id).await?;
    say(
        "suspended",
        format!("{}, and the tenant cannot lift it", refusal(keyring.verify(&*token).await)),
    );
    keyring.resume_key(id).await?;
    say("resumed", accepted(keyring.verify(&*token).await.is_ok()));

    chapter("A new secret without downtime");
    let version = acme.find(id).await?.version();
    assert!(version > key.version());
    let rotated = acme.rotate(id, version, GracePeriod::UntilFirstUse).await?;
    let successor = rotated.token.reveal();
    say("rotated", format!("{} becomes {}", first.key.masked(), rotated.key.masked()));
    say("old secret", accepted(keyring.verify(&*token).await.is_ok()));
    say("new secret", accepted(keyring.verify(&*successor).await.is_ok()));
    say("old secret", refusal(keyring.verify(&*token).await));

    chapter("Finding and deleting");
    let found = acme.search("dash").await?.items;
    say("by name", format!("\"dash\" finds {}", names(&found)));
    let found = acme.search(&successor).await?.items;
    say("by token", format!("the full token finds {}", names(&found)));
    acme.delete(id).await?;
    say("deleted", refusal(keyring.verify(&*successor).await));

    chapter("A made-up token");
    let reads = Arc::new(AtomicUsize::new(0));
    let node = Verifier::builder(policy.clone(), pepper()?)
        .environment("live")
        .lookup(Counting { store: store.clone(), reads: Arc::clone(&reads) })
        .build()?;
    let mut forged = reports.clone();
    let last = if forged.pop() == Some('A') { 'B' } else { 'A' };
    forged.push(last);
    say("forged", refusal(node.verify(&*forged).await));
    say("store reads", reads.load(Ordering::Relaxed));
    say("genuine", accepted(node.verify(&*reports).await.is_ok()));
    say("store reads", reads.load(Ordering::Relaxed));

    let written = keyring.flush_uses().await?;
    say("last use", format!("written for {written} keys in one batch"));

    chapter("A restart, and a new pepper");
    for number in 1..=400 {
        keyring.create_empty_tenant(&format!("tenant {number}"), "lite").await?;
    }
    drop((keyring, node, store));
    let renewed = Pepper::from_base64("YW5vdGhlciBvbmUsIG5vIG1vcmUgYSBzZWNyZXQgdGhhbiBpdA==")?;
    let peppers = Peppers::new(renewed.in_slot(1)?).retiring(pepper()?)?;
    let keyring = Keyring::builder(policy, peppers)
        .environment("live")
        .store(SqliteStore::open(database).await?)
        .build()?;
    say("reopened", accepted(keyring.verify(&*reports).await.is_ok()));
    let tenants = 401;
    let done = keyring.reseal(None, |so_far| bar("re-sealing", so_far.tenants, tenants)).await?;
    say("re-sealed", format!("{} rows with the new pepper, without any token", done.changed));
    say("genuine", accepted(keyring.verify(&*reports).await.is_ok()));
    let purged = keyring.purge_expired(Duration::from_secs(90 * 86_400), None, |_| {}).await?;
    say("purged", format!("{} keys that expired over 90 days ago", purged.changed));
    Ok(())
}

/// A node that only verifies needs one method of its store. This one counts.
struct Counting {
    store: SqliteStore,
    reads: Arc<AtomicUsize>,
}

impl KeyLookup for Counting {
    async fn lookup(&self, id: KeyId) -> Result<Option<StoredKey>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.lookup(id).await
    }

    async fn lookup_many(&self, ids: &[KeyId]) -> Result<keyway::store::Lookups, StoreError> {
        keyway::store::lookup_each(self, ids).await
    }

    fn max_lag(&self) -> core::time::Duration {
        core::time::Duration::ZERO
    }

    async fn marker(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

fn chapter(title: &str) {
    println!("\n{title}");
}

fn say(what: &str, how: impl Display) {
    println!("  {what:<12} {how}");
}

fn bar(what: &str, done: u64, all: u64) {
    let filled = usize::try_from(done * 40 / all).unwrap_or_default();
    print!("\r  {what:<12} [{:<40}] {done} of {all}", "#".repeat(filled));
    if done == all {
        println!();
    }
    let _ = stdout().flush();
}

fn accepted(yes: bool) -> &'static str {
    if yes { "accepted" } else { "refused" }
}

fn refusal<T>(result: Result<T, impl Display>) -> String {
    match result {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

fn names(keys: &[keyway::KeyRecord]) -> String {
    let names: Vec<_> = keys.iter().map(|key| format!("{:?}", key.name())).collect();
    names.join(", ")
}
