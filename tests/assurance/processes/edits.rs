//! No edit of a key is lost, however many processes edit it at once.

use keyway::{KeyEdit, KeyId, KeyringError, NewKey, record::Labels, store::AnyEventStore};

use crate::{
    databases::{Database, Folder, keyring},
    faults::Fault,
    runtime,
    support::figures::{caught, none, scale},
    support::server,
    workers::{Worker, say, told},
};

const EDITORS: usize = 4;

#[test]
fn none_is_lost_on_sqlite() {
    none_is_lost(&Folder::new().database("keys.db"));
}

#[test]
fn none_is_lost_on_postgres() {
    let server = server::shared();
    none_is_lost(&Database::on(server));
}

fn none_is_lost(database: &Database) {
    let each = scale(15, 250);
    let edited = edit_at_once(database, None, each);
    let Edited { acknowledged, versions, counted, conflicts } = edited;
    none(
        acknowledged.abs_diff(counted).max(acknowledged.abs_diff(versions)),
        &format!(
            "edits lost of {acknowledged} by {EDITORS} processes at once on {}, with {conflicts} conflicts",
            database.name()
        ),
    );
    assert_eq!((acknowledged, versions), (EDITORS * each, acknowledged));
    assert_eq!(counted, acknowledged);
}

#[test]
fn a_store_that_does_not_compare_is_caught() {
    let edited = edit_at_once(&Folder::new().database("keys.db"), Some(Fault::IgnoresVersions), 60);
    let lost = edited.acknowledged - edited.counted;
    caught(lost, &format!("edits lost of {} without a comparison", edited.acknowledged));
    assert!(lost > 0);
}

struct Edited {
    acknowledged: usize,
    /// By how much the version of the key has grown.
    versions: usize,
    /// The counter in the label, to which each edit adds one.
    counted: usize,
    conflicts: usize,
}

fn edit_at_once(database: &Database, fault: Option<Fault>, each: usize) -> Edited {
    let runtime = runtime();
    let store = runtime.block_on(database.open(None));
    let keyring = keyring(&store);
    let request = NewKey::named("edited").labels(count(0));
    let (keys, first) =
        runtime.block_on(keyring.create_tenant_with("acme", "lite", request)).unwrap();
    let (id, each) = (first.key.id(), each.to_string());
    let editor = |_| Worker::start("editor", database, fault, &[id.as_str(), &each]);
    let mut editors: Vec<Worker> = (0..EDITORS).map(editor).collect();
    for editor in &editors {
        assert_eq!(editor.hear().as_deref(), Some("ready"));
    }
    for editor in &mut editors {
        editor.tell("go");
    }
    let lines: Vec<String> = editors.into_iter().flat_map(Worker::finish).collect();
    let key = runtime.block_on(keys.find(id)).unwrap();
    Edited {
        acknowledged: lines.iter().filter(|&line| line == "edited").count(),
        versions: usize::try_from(key.version() - first.key.version()).unwrap(),
        counted: counted(key.labels()),
        conflicts: lines.iter().filter(|&line| line == "conflict").count(),
    }
}

/// Edits a key the given number of times.
pub async fn editor(store: &AnyEventStore, arguments: &[&str]) {
    let [id, times] = arguments else { panic!("an editor needs a key and a number") };
    let (id, times): (KeyId, usize) = (id.parse().unwrap(), times.parse().unwrap());
    let keys = keyring(store).tenant("acme".parse().unwrap());
    told().next();
    let mut done = 0;
    while done < times {
        let key = keys.find(id).await.unwrap();
        let edit = KeyEdit::new().labels(count(counted(key.labels()) + 1));
        match keys.edit(id, key.version(), edit).await {
            Ok(_) => {
                say("edited");
                done += 1;
            }
            Err(KeyringError::Conflict) => say("conflict"),
            Err(error) => panic!("{error:?}"),
        }
    }
}

fn count(number: usize) -> Labels {
    Labels::new([("edits", number.to_string())]).unwrap()
}

fn counted(labels: &Labels) -> usize {
    let (_, value) = labels.iter().next().unwrap();
    value.parse().unwrap()
}
