//! Paths that a SQLite store accepts, files that it creates, and its behavior when a file is removed or
//! replaced while it is open.

use std::{
    env,
    error::Error,
    fs,
    num::NonZeroUsize,
    os::unix::{
        fs::{PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use crate::support::{block_on, overheard::RevealKnown as _, pepper, policy, tenant_id};
use keyway::{
    KeyRecord, Keyring, SqliteStore, Timestamp,
    event::{Event, EventId},
    record::TenantRecord,
    store::{
        EventStore as _, KeyLookup as _, KeyQuery, KeyStore as _, KeyUse, SqliteError, StoreError,
        UsageStore as _,
    },
    usage::{Day, Period, Span, UsageFlush},
    verifier::Freshness,
};
use tempfile::TempDir;

fn keyring(path: &Path) -> Keyring {
    open(path).1
}

/// Opens a store, and a keyring on it.
fn open(path: &Path) -> (SqliteStore, Keyring) {
    let store = block_on(SqliteStore::open(path)).unwrap();
    let keyring = Keyring::builder(policy(), pepper()).environment("live").store(store.clone());
    (store, keyring.build().unwrap())
}

/// Opens a store with a keyring, creates the tenant `before`, and then makes a backup. Returns the backup's
/// path last.
fn open_and_back_up(folder: &TempDir, file: &Path) -> (SqliteStore, Keyring, PathBuf) {
    let (store, keyring) = open(file);
    let _ = block_on(keyring.create_tenant("before", "lite")).unwrap();
    let backup = folder.path().join("backup.db");
    block_on(store.backup(&backup)).unwrap();
    (store, keyring, backup)
}

/// Drops `keyring`, the last one on `file`, and waits until its connections are closed.
fn close(keyring: Keyring, file: &Path) {
    drop(keyring);
    let deadline = Instant::now() + Duration::from_secs(10);
    while beside(file, "-wal").exists() {
        assert!(Instant::now() < deadline, "the connections stay open");
        thread::sleep(Duration::from_millis(2));
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    (folder, path)
}

/// Appends `end` to the last component of `path`.
fn beside(path: &Path, end: &str) -> PathBuf {
    format!("{}{end}", path.display()).into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn problem(path: impl AsRef<Path>) -> String {
    let error = block_on(SqliteStore::open(&path)).unwrap_err();
    // The message contains at least the name of the file. The path itself may be shown as an absolute one.
    let name = path.as_ref().file_name().unwrap_or_default().to_string_lossy().into_owned();
    assert!(error.to_string().contains(&name), "{error}");
    match error {
        SqliteError::Path { problem, .. } => problem,
        error => panic!("{error:?}"),
    }
}

fn no_folder(path: &Path) -> String {
    format!("there is no folder `{}`; create it first", path.display())
}

/// Returns whether `error` was caused by a file that is no longer where it was opened.
fn is_replaced(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(cause) = error {
        if matches!(cause.downcast_ref(), Some(SqliteError::Replaced { .. })) {
            return true;
        }
        error = cause.source();
    }
    false
}

#[test]
fn path_that_holds_no_database_is_refused_by_name() {
    let (folder, file) = folder();
    assert_eq!(problem(""), "the path is empty");
    assert_eq!(problem(":memory:"), "`SqliteStore::in_memory` opens a database in memory");
    assert_eq!(problem("keys\0.db"), "the path holds a NUL character");
    assert_eq!(problem(folder.path()), "it is a folder; name a file in it");
    assert_eq!(problem(folder.path().join("")), "it is a folder; name a file in it");

    let missing = folder.path().join("missing");
    assert_eq!(problem(missing.join("keys.db")), no_folder(&missing));
    drop(keyring(&file));
    assert_eq!(problem(file.join("keys.db")), no_folder(&file.clone()));

    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert_eq!(problem(&pipe), "it is not a regular file");

    let link = folder.path().join("link");
    symlink(folder.path().join("nothing"), &link).unwrap();
    assert_eq!(
        problem(&link),
        "it is a symbolic link to a file that does not exist; create that file first"
    );
    assert!(!folder.path().join("nothing").exists());

    let second = folder.path().join("second.db");
    fs::hard_link(&file, &second).unwrap();
    assert_eq!(problem(&second), "the file has more than one hard link; remove the others");
    fs::remove_file(&second).unwrap();
    drop(keyring(&file));
}

#[test]
fn path_that_ends_like_a_folder_is_refused() {
    let (folder, file) = folder();
    for path in [folder.path().join("new.db/"), file.join("")] {
        assert_eq!(problem(&path), "it is a folder; name a file in it");
    }
    close(keyring(&file), &file);
    assert_eq!(problem(file.join("")), "it is a folder; name a file in it");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// The test runs in its own mount namespace, which needs root.
#[test]
#[cfg(target_os = "linux")]
fn file_that_is_a_mount_point_is_refused() {
    let (folder, file) = folder();
    close(keyring(&file), &file);
    let (inner, mounted) = (folder.path().join("inner"), folder.path().join("inner/keys.db"));
    fs::create_dir(&inner).unwrap();
    let run = |from: &Path, to: &Path| {
        let script = "mount --bind \"$1\" \"$2\" || exit 77; \
                      exec \"$0\" --exact files::as_child --ignored --nocapture";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script]).arg(env::current_exe().unwrap());
        command.args([from, to]).env("KEYWAY_TEST_PATH", &mounted).current_dir("/");
        let output = command.output();
        let output = output.ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // The control: with the folder mounted, the store opens.
    let Some(text) = run(folder.path(), &inner) else {
        println!("not run: this user cannot mount");
        return;
    };
    assert_eq!(text.matches("mode: ").count(), 3, "{text}");
    fs::write(&mounted, "").unwrap();
    let text = run(&file, &mounted).unwrap();
    assert!(text.contains("refused: ") && text.contains("mount its folder"), "{text}");
}

#[test]
fn dropped_store_leaves_the_database_in_one_file() {
    let (_folder, file) = folder();
    for _ in 0..40 {
        close(keyring(&file), &file);
    }
}

/// This is the only test that changes the working directory. All others use absolute paths.
#[test]
fn relative_path_is_plain_and_resolved_when_it_opens() {
    let (folder, _) = folder();
    let elsewhere = tempfile::tempdir().unwrap();
    let names = ["keys.db", "file:x?nolock=1", "file:percent%41.db", "file::memory:", "file:a"];
    for name in names {
        env::set_current_dir(folder.path()).unwrap();
        let keyring = keyring(Path::new(name));
        env::set_current_dir(elsewhere.path()).unwrap();
        let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
        drop(keyring);
        assert!(folder.path().join(name).is_file(), "{name}");
        let reopened = self::keyring(&folder.path().join(name));
        assert!(block_on(reopened.find_tenant(&tenant_id("acme"))).is_ok(), "{name}");
    }
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    assert!(!folder.path().join("percentA.db").exists());
}

#[test]
fn symbolic_link_opens_the_file_that_it_points_to() {
    let (folder, file) = folder();
    drop(keyring(&file));
    let link = folder.path().join("link.db");
    symlink(&file, &link).unwrap();
    let keyring = keyring(&link);
    let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    assert!(beside(&file, "-wal").exists() && !beside(&link, "-wal").exists());

    // The link now points to another database.
    let other = folder.path().join("other.db");
    drop(self::keyring(&other));
    fs::remove_file(&link).unwrap();
    symlink(&other, &link).unwrap();
    assert!(is_replaced(&block_on(keyring.create_tenant("beta", "lite")).unwrap_err()));
}

/// Runs [`as_child`] in its own process.
fn child(path: &Path, umask: &str, user: Option<u32>) -> Output {
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            &format!("umask {umask}; exec \"$0\" --exact files::as_child --ignored --nocapture"),
        ])
        .arg(env::current_exe().unwrap())
        .env("KEYWAY_TEST_PATH", path)
        .current_dir("/");
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.output().unwrap()
}

/// Opens a store, writes, prints the modes of its files, and ends. Does nothing unless [`child`] started it.
#[test]
#[ignore = "run by other tests as a process of its own"]
fn as_child() {
    let Some(path) = env::var_os("KEYWAY_TEST_PATH").map(PathBuf::from) else { return };
    match block_on(SqliteStore::open(&path)) {
        Err(error) => println!("refused: {error}: {:?}", error.source().map(ToString::to_string)),
        Ok(_open) => {
            for end in ["", "-wal", "-shm"] {
                println!("mode: {:o}", mode(&beside(&path, end)));
            }
        }
    }
}

#[test]
fn new_file_is_private_whatever_the_umask() {
    for umask in ["000", "022", "277"] {
        let (_folder, file) = folder();
        let output = child(&file, umask, None);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(text.matches("mode: 600\n").count(), 3, "{umask}: {text}");
        // The control: the shell applied the umask.
        if umask == "000" {
            let control = file.with_file_name("control");
            let script = format!("umask {umask}; : >\"$0\"");
            let status = Command::new("sh").args(["-c", &script]).arg(&control).status().unwrap();
            assert!(status.success() && mode(&control) == 0o666);
        }
    }
}

#[test]
fn existing_file_keeps_its_mode_and_passes_it_on() {
    let (_folder, file) = folder();
    close(keyring(&file), &file);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let _keyring = keyring(&file);
    for end in ["", "-wal", "-shm"] {
        assert_eq!(mode(&beside(&file, end)), 0o640, "{end}");
    }
}

/// This test runs as root, which has every right. The child therefore runs as another user.
#[test]
fn missing_right_is_named_with_its_path() {
    const NOBODY: u32 = 65_534;
    let (folder, file) = folder();
    close(keyring(&file), &file);
    if mode(folder.path()) != 0o700 || fs::set_permissions(folder.path(), mode_of(0o755)).is_err() {
        return;
    }
    let program = env::current_exe().unwrap();
    let can_run = Command::new("test").arg("-x").arg(program).uid(NOBODY).gid(NOBODY).status();
    if !can_run.is_ok_and(|status| status.success()) {
        println!("not run: another user cannot run this program");
        return;
    }
    let refusal = |path: &Path| {
        let output = child(path, "022", Some(NOBODY));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().find(|line| line.starts_with("refused: ")).unwrap_or_default().to_owned()
    };
    let denied = |text: &str, path: &Path| {
        text.contains(&format!("may not read and write `{}`", path.display()))
            && text.contains("Permission denied")
    };
    // The user may not access the file.
    let text = refusal(&file);
    assert!(denied(&text, &file), "{text}");
    // The user may access the file, but not the folder.
    fs::set_permissions(&file, mode_of(0o666)).unwrap();
    let text = refusal(&file);
    assert!(denied(&text, folder.path()), "{text}");
    // The user may not create a file in the folder.
    let text = refusal(&folder.path().join("new.db"));
    assert!(denied(&text, folder.path()), "{text}");
    // The user may not access the `-wal` file, which another user created.
    fs::set_permissions(folder.path(), mode_of(0o777)).unwrap();
    fs::write(beside(&file, "-wal"), "").unwrap();
    fs::set_permissions(beside(&file, "-wal"), mode_of(0o600)).unwrap();
    let text = refusal(&file);
    assert!(denied(&text, &beside(&file, "-wal")), "{text}");
    fs::remove_file(beside(&file, "-wal")).unwrap();
    // The control: with all rights it opens.
    fs::set_permissions(folder.path(), mode_of(0o777)).unwrap();
    assert_eq!(refusal(&file), "");
}

fn mode_of(mode: u32) -> fs::Permissions {
    fs::Permissions::from_mode(mode)
}

#[test]
fn nothing_is_acknowledged_once_a_file_is_gone() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 10] = [
        ("removed", |file| fs::remove_file(file).unwrap()),
        ("moved", |file| fs::rename(file, beside(file, ".old")).unwrap()),
        ("replaced", |file| {
            let other = beside(file, ".new");
            close(keyring(&other), &other);
            fs::rename(other, file).unwrap();
        }),
        ("overwritten with another", |file| {
            let other = beside(file, ".new");
            close(keyring(&other), &other);
            fs::copy(other, file).unwrap();
        }),
        ("overwritten with text", |file| fs::write(file, "text".repeat(10_000)).unwrap()),
        ("emptied", |file| fs::write(file, "").unwrap()),
        ("its folder moved", |file| {
            let folder = file.parent().unwrap();
            fs::rename(folder, beside(folder, ".old")).unwrap();
        }),
        ("-wal removed", |file| fs::remove_file(beside(file, "-wal")).unwrap()),
        ("-wal replaced", |file| {
            fs::copy(beside(file, "-wal"), beside(file, ".copy")).unwrap();
            fs::rename(beside(file, ".copy"), beside(file, "-wal")).unwrap();
        }),
        ("-shm removed", |file| fs::remove_file(beside(file, "-shm")).unwrap()),
    ];
    for (what, change) in changes {
        let outer = tempfile::tempdir().unwrap();
        let file = outer.path().join("data/keys.db");
        fs::create_dir(file.parent().unwrap()).unwrap();
        let keyring = keyring(&file);
        let (acme, issued) = block_on(keyring.create_tenant("acme", "advanced")).unwrap();
        let token = issued.token.reveal_known();
        let now = || block_on(keyring.verify_as_of(&*token, Freshness::Now));
        // The control: the verification succeeds before the change.
        now().unwrap();

        change(&file);
        assert!(is_replaced(&now().unwrap_err()), "{what}: a read is believed");
        let writes: [Result<(), _>; 3] = [
            block_on(keyring.create_tenant("beta", "lite")).map(drop),
            block_on(acme.disable(issued.key.id())).map(drop),
            block_on(acme.delete(issued.key.id())).map(drop),
        ];
        for write in writes {
            assert!(is_replaced(&write.unwrap_err()), "{what}: a write is acknowledged");
        }
    }
}

/// A connection that has not read yet finds no database at the path. It returns the same error as a
/// connection that has read.
#[test]
fn first_read_of_an_overwritten_file_returns_replaced() {
    let spoilt: [fn(&Path); 2] = [
        |file| fs::write(file, "").unwrap(),
        |file| fs::write(file, "text".repeat(10_000)).unwrap(),
    ];
    for spoil in spoilt {
        let (_folder, file) = folder();
        let store = block_on(SqliteStore::open(&file)).unwrap();
        block_on(store.set_marker(b"marker", None)).unwrap();
        spoil(&file);
        // No reading connection has been used since that write, so their caches are out of date.
        let error = block_on(store.tenant(&tenant_id("acme"))).unwrap_err();
        assert!(is_replaced(&error), "{error:?}");
    }
}

#[test]
fn backup_copied_over_an_open_database_stays_whole() {
    let (folder, file) = folder();
    let (store, keyring, backup) = open_and_back_up(&folder, &file);
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();

    fs::copy(&backup, &file).unwrap();
    assert!(is_replaced(&block_on(keyring.create_tenant("lost", "lite")).unwrap_err()));
    // Closing the store does not write to the backup, and does not remove the `-wal` file with the missing
    // writes.
    drop((store, keyring));
    thread::sleep(Duration::from_millis(300));
    assert!(fs::read(&file).unwrap() == fs::read(&backup).unwrap());
    let error = block_on(SqliteStore::open(&file)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
}

#[test]
fn file_that_is_put_back_is_used_again() {
    let (_folder, file) = folder();
    let keyring = keyring(&file);
    let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    let away = beside(&file, ".away");
    fs::rename(&file, &away).unwrap();
    assert!(is_replaced(&block_on(keyring.create_tenant("lost", "lite")).unwrap_err()));
    fs::rename(&away, &file).unwrap();
    // The refused operation wrote nothing.
    assert!(block_on(keyring.find_tenant(&tenant_id("lost"))).is_err());
    let _ = block_on(keyring.create_tenant("lost", "lite")).unwrap();
}

/// Creates the folder that a crash would leave: the files of an open database, copied unchanged.
fn crash(file: &Path, into: &Path) -> PathBuf {
    fs::create_dir_all(into).unwrap();
    let copied = into.join("keys.db");
    for end in ["", "-wal"] {
        fs::copy(beside(file, end), beside(&copied, end)).unwrap();
    }
    copied
}

fn has(path: &Path, tenant: &str) -> bool {
    block_on(keyring(path).find_tenant(&tenant_id(tenant))).is_ok()
}

#[test]
fn backup_beside_an_old_wal_is_refused_and_unharmed() {
    let (folder, file) = folder();
    let (store, keyring, backup) = open_and_back_up(&folder, &file);
    assert_eq!(mode(&backup), 0o600);
    let again = block_on(store.backup(&backup)).unwrap_err();
    assert!(again.to_string().contains("there is a file already"), "{again}");
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();

    // The control: without the backup, the files that the crash left are complete.
    assert!(has(&crash(&file, &folder.path().join("control")), "after"));

    let crashed = crash(&file, &folder.path().join("crashed"));
    fs::copy(&backup, &crashed).unwrap();
    let wal = fs::read(beside(&crashed, "-wal")).unwrap();
    let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
    assert!(error.to_string().contains("crashed/keys.db-wal`"), "{error}");
    // Neither file was changed.
    assert!(fs::read(&crashed).unwrap() == fs::read(&backup).unwrap());
    assert!(fs::read(beside(&crashed, "-wal")).unwrap() == wal);

    // Do what the error message asks for.
    fs::remove_file(beside(&crashed, "-wal")).unwrap();
    fs::remove_file(beside(&crashed, "-shm")).unwrap();
    assert!(has(&crashed, "before") && !has(&crashed, "after"));
}

#[test]
fn older_copy_beside_an_old_wal_is_refused() {
    let copies: [fn(&Path, &Path); 2] = [
        |file, copy| assert!(fs::copy(file, copy).is_ok()),
        // This copy has its pages in another order.
        |file, copy| {
            let connection = rusqlite::Connection::open(file).unwrap();
            connection.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        },
    ];
    for copied in copies {
        let (folder, file) = folder();
        close(keyring(&file), &file);
        let copy = folder.path().join("copy.db");
        copied(&file, &copy);
        let keyring = keyring(&file);
        let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();
        let crashed = crash(&file, &folder.path().join("crashed"));
        fs::copy(&copy, &crashed).unwrap();
        let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
        assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
    }
}

#[test]
fn backup_of_memory_and_of_odd_paths_opens() {
    let folder = tempfile::tempdir().unwrap();
    let store = block_on(SqliteStore::in_memory()).unwrap();
    let keyring =
        Keyring::builder(policy(), pepper()).environment("live").store(store.clone()).build();
    let _ = block_on(keyring.unwrap().create_tenant("acme", "lite")).unwrap();
    let odd = std::os::unix::ffi::OsStrExt::from_bytes(b"b\xff?immutable=1#%41.db".as_slice());
    let odd = folder.path().join::<&std::ffi::OsStr>(odd);
    block_on(store.backup(&odd)).unwrap();
    // This is done twice. The second time there is a nonce to compare, at a path that must be escaped.
    for _ in 0..2 {
        assert!(has(&odd, "acme"));
        let again = block_on(SqliteStore::open(&odd)).unwrap();
        let more = folder.path().join("more.db");
        block_on(again.backup(&more)).unwrap();
        assert!(has(&more, "acme"));
        fs::remove_file(more).unwrap();
    }
    let nowhere = block_on(store.backup(folder.path().join("missing/copy.db"))).unwrap_err();
    assert!(nowhere.to_string().contains("no folder"), "{nowhere}");
}

#[test]
fn writes_whose_database_is_gone_are_not_deleted() {
    let (folder, file) = folder();
    close(keyring(&file), &file);
    let keyring = keyring(&file);
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();
    let crashed = crash(&file, &folder.path().join("crashed"));
    let (database, wal) =
        (fs::read(&crashed).unwrap(), fs::read(beside(&crashed, "-wal")).unwrap());
    assert!(!wal.is_empty());
    let ways: [fn(&Path); 2] =
        [|file| fs::remove_file(file).unwrap(), |file| fs::write(file, "").unwrap()];
    for lose in ways {
        lose(&crashed);
        let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
        assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
        assert!(fs::read(beside(&crashed, "-wal")).unwrap() == wal);
    }
    // The control: with the database back, every acknowledged write is there.
    fs::write(&crashed, database).unwrap();
    assert!(has(&crashed, "after"));
}

/// Opens a read transaction of another program, which prevents the `-wal` file from being copied.
fn reader(file: &Path) -> rusqlite::Connection {
    let reader = rusqlite::Connection::open(file).unwrap();
    reader.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    reader.execute_batch("CREATE TABLE host (a); BEGIN; SELECT * FROM host").unwrap();
    reader
}

#[test]
fn backup_beside_the_wal_of_a_new_database_is_refused() {
    let (folder, file) = folder();
    let (_store, _keyring, backup) = open_and_back_up(&folder, &file);

    // The file of the new database is still empty: everything is in its `-wal` file.
    let fresh = folder.path().join("fresh.db");
    let _reader = reader(&fresh);
    let keyring = keyring(&fresh);
    let _ = block_on(keyring.create_tenant("fresh", "lite")).unwrap();
    // The control: the files that the crash left are complete.
    assert!(has(&crash(&fresh, &folder.path().join("control")), "fresh"));
    let crashed = crash(&fresh, &folder.path().join("crashed"));
    fs::copy(&backup, &crashed).unwrap();
    let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
    assert!(fs::read(&crashed).unwrap() == fs::read(&backup).unwrap());

    // The same holds for a database that never had keyway's tables.
    let host = folder.path().join("host.db");
    let _reader = reader(&host);
    let crashed = crash(&host, &folder.path().join("crashed host"));
    fs::copy(&backup, &crashed).unwrap();
    let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
    assert!(fs::read(&crashed).unwrap() == fs::read(&backup).unwrap());
}

#[test]
fn copy_from_before_the_last_renewal_is_recognized() {
    let (folder, file) = folder();
    let keyring = keyring(&file);
    let copy = folder.path().join("copy.db");
    fs::copy(&file, &copy).unwrap();
    thread::sleep(Duration::from_millis(5_100));
    let _ = block_on(keyring.create_tenant("before", "lite")).unwrap();
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();
    // The control: the files that the crash left are complete.
    assert!(has(&crash(&file, &folder.path().join("control")), "after"));
    let crashed = crash(&file, &folder.path().join("crashed"));
    fs::copy(&copy, &crashed).unwrap();
    let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
}

#[test]
fn wal_of_any_write_identifies_its_database() {
    let (folder, file) = folder();
    close(keyring(&file), &file);
    let copy = folder.path().join("copy.db");
    fs::copy(&file, &copy).unwrap();
    let keyring = keyring(&file);
    let _ = block_on(keyring.create_tenant("before", "lite")).unwrap();
    // The `-wal` file starts again, and then holds only one write.
    let other = rusqlite::Connection::open(&file).unwrap();
    let begin = "PRAGMA wal_checkpoint(TRUNCATE)";
    let busy: i64 = other.query_row(begin, [], |row| row.get(0)).unwrap();
    assert_eq!((busy, fs::metadata(beside(&file, "-wal")).unwrap().len()), (0, 0));
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();
    let crashed = crash(&file, &folder.path().join("crashed"));
    // The control: together with its own database the `-wal` file is complete.
    assert!(has(&crash(&file, &folder.path().join("control")), "after"));
    fs::copy(&copy, &crashed).unwrap();
    let error = block_on(SqliteStore::open(&crashed)).unwrap_err();
    assert!(matches!(error, SqliteError::ForeignWal { .. }), "{error:?}");
}

#[test]
fn crash_in_the_middle_of_a_renewal_loses_nothing() {
    let (folder, file) = folder();
    let keyring = keyring(&file);
    let _ = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    // This is the first write of a renewal. It is not copied into the database before the crash.
    let other = rusqlite::Connection::open(&file).unwrap();
    let copied = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
    let (log, copied) = other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], copied).unwrap();
    assert_eq!(log, copied);
    let renew = "UPDATE keyway_file SET previous = nonce, nonce = randomblob(16)";
    other.execute(renew, []).unwrap();
    assert!(has(&crash(&file, &folder.path().join("crashed")), "acme"));
    // The control: after a second renewal the file is not recognized.
    other.execute(renew, []).unwrap();
    let crashed = crash(&file, &folder.path().join("control"));
    assert!(block_on(SqliteStore::open(&crashed)).is_err());
}

#[test]
fn backup_of_a_replaced_file_harms_neither_and_leaves_nothing() {
    let (folder, file) = folder();
    let (store, keyring, backup) = open_and_back_up(&folder, &file);
    let _ = block_on(keyring.create_tenant("after", "lite")).unwrap();
    let wal = fs::read(beside(&file, "-wal")).unwrap();
    let more = folder.path().join("more.db");

    let away = folder.path().join("away.db");
    fs::rename(&file, &away).unwrap();
    let error = block_on(store.backup(&more)).unwrap_err();
    assert!(matches!(error, SqliteError::Replaced { .. }), "{error:?}");
    assert!(!more.exists());

    fs::copy(&backup, &file).unwrap();
    let error = block_on(store.backup(&more)).unwrap_err();
    assert!(matches!(error, SqliteError::Replaced { .. }), "{error:?}");
    assert!(!more.exists());
    assert!(fs::read(&file).unwrap() == fs::read(&backup).unwrap());
    assert!(fs::read(beside(&file, "-wal")).unwrap() == wal);

    // The control: with the file back, the backup succeeds.
    fs::rename(&away, &file).unwrap();
    block_on(store.backup(&more)).unwrap();
    assert!(has(&more, "after"));
}

#[test]
fn backup_is_one_file_without_a_log() {
    let (folder, file) = folder();
    let (_store, _keyring, backup) = open_and_back_up(&folder, &file);
    let names = fs::read_dir(folder.path()).unwrap();
    let names: Vec<_> =
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("backup.db")).count(), 1, "{names:?}");
    // Bytes 18 and 19 of the file header are 1 for a rollback journal and 2 for a `-wal` file.
    assert_eq!(fs::read(&backup).unwrap()[18..20], [1, 1]);
    assert_eq!(fs::read(&file).unwrap()[18..20], [2, 2]);
}

/// Calls each method of the store, and returns its name and result.
async fn every_operation(
    store: &SqliteStore,
    key: &KeyRecord,
    tenant: &TenantRecord,
) -> Vec<(&'static str, Result<(), StoreError>)> {
    let (id, acme) = (key.id(), tenant.id());
    let uses = [KeyUse { id, at: Timestamp::MIN }];
    let limit = NonZeroUsize::MIN;
    let flush = UsageFlush { node: 1, number: 1, day: Day::MIN, rows: Vec::new() };
    let span = Span::days(Day::MIN, Day::MAX);
    let event = Event {
        id: EventId::from_bytes([7; 16]),
        at: Timestamp::MIN,
        actor: String::new(),
        tenant: None,
        key: None,
        kind: "change_refused".into(),
        detail: String::new(),
    };
    vec![
        ("lookup", store.lookup(id).await.map(drop)),
        ("lookup_many", store.lookup_many(&[id]).await.map(drop)),
        ("marker", store.marker().await.map(drop)),
        ("tenant", store.tenant(acme).await.map(drop)),
        ("tenants", store.tenants(None, limit).await.map(drop)),
        ("key", store.key(acme, id).await.map(drop)),
        ("keys", store.keys(acme, &KeyQuery::all()).await.map(drop)),
        ("count_keys", store.count_keys(acme, 9).await.map(drop)),
        ("insert_tenant", store.insert_tenant(tenant.clone(), None, &[]).await),
        ("update_tenant", store.update_tenant(tenant.clone(), tenant.version(), &[]).await),
        ("insert_key", store.insert_key(key.clone(), tenant.version(), None, &[]).await),
        ("update_key", store.update_key(key.clone(), key.version(), &[]).await),
        ("record_uses", store.record_uses(&uses, Timestamp::MAX).await),
        ("set_marker", store.set_marker(b"marker", None).await),
        ("delete_key", store.delete_key(acme, id, Some(key.version()), &[]).await),
        ("delete_tenant", store.delete_tenant(acme, &[]).await),
        ("add_usage", store.add_usage(&flush).await),
        ("key_usage", store.key_usage(acme, &[id], span).await.map(drop)),
        ("tenant_usage", store.tenant_usage(acme, span).await.map(drop)),
        ("roll_up_usage", store.roll_up_usage(Day::MIN, Day::MIN).await.map(drop)),
        ("delete_usage", store.delete_usage(acme).await),
        ("usage_rows", store.usage_rows(Period::Day, None, limit).await.map(drop)),
        ("raise_usage", store.raise_usage(Period::Day, &[]).await),
        ("add_events", store.add_events(&[event]).await),
        ("claim_events", store.claim_events(Timestamp::MAX, Duration::ZERO, limit).await.map(drop)),
        ("settle_events", store.settle_events(None, 1, 1, Timestamp::MIN).await),
        ("events_of", store.events_of(None, None, None, limit).await.map(drop)),
        ("purge_events", store.purge_events(Timestamp::MAX, true).await.map(drop)),
        ("has_undelivered_events", store.has_undelivered_events().await.map(drop)),
    ]
}

#[test]
fn every_operation_checks_that_the_file_is_there() {
    let (folder, file) = folder();
    let (store, keyring) = open(&file);
    let (_, issued) = block_on(keyring.create_tenant("acme", "lite")).unwrap();
    let tenant = block_on(store.tenant(&tenant_id("acme"))).unwrap().unwrap();
    let usage = include_str!("../../src/store/usage.rs");
    let (usage, _) = usage.split_once("\n}\n").unwrap();
    let events = include_str!("../../src/store/events.rs");
    let (events, _) = events.split_once("\n}\n").unwrap();
    let names: Vec<_> = include_str!("../../src/store.rs")
        .lines()
        .chain(usage.lines())
        .chain(events.lines())
        .filter_map(|line| line.strip_prefix("    fn ")?.split('(').next())
        .filter(|name| !["announce_with", "detach", "max_lag"].contains(name))
        .collect();
    let away = folder.path().join("away.db");
    fs::rename(&file, &away).unwrap();
    let told = block_on(every_operation(&store, &issued.key, &tenant));
    for name in &names {
        assert!(told.iter().any(|(told, _)| told == name), "{name} is not tried");
    }
    assert_eq!(told.len(), names.len());
    for (name, result) in told {
        assert!(is_replaced(&result.expect_err(name)), "{name}");
    }
    // The control: with the file back no operation fails for this reason. It also shows that none took effect
    // before.
    fs::rename(&away, &file).unwrap();
    for (name, result) in block_on(every_operation(&store, &issued.key, &tenant)) {
        let is_taken = ["insert_tenant", "insert_key"].contains(&name);
        assert!(result.is_ok() != is_taken, "{name}: {result:?}");
    }
}
