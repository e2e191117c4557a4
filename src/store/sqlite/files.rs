//! The file of a database: which paths are accepted, and how a new file is created or filled.

use alloc::{borrow::ToOwned, string::ToString as _};
use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rusqlite::{
    Connection,
    backup::{Backup, StepResult},
    ffi,
};

use super::SqliteError;

/// An accepted path of a database, at which a file exists.
#[derive(Clone, Debug)]
pub(super) struct DatabaseFile {
    /// Absolute, so that a later change of the working directory does not matter. An absolute path cannot
    /// begin with `file:`, which this build of SQLite would treat as a URI.
    path: PathBuf,
}

impl DatabaseFile {
    /// Checks `path`, and creates an empty file there if there is none.
    pub(super) fn at(path: &Path) -> Result<Self, SqliteError> {
        let file = Self::named(path)?;
        // The `-wal` file is checked before the database file. A process that creates a database writes its
        // first page before the `-wal` file. In this order, a database that is being created is not mistaken
        // for an empty one beside a `-wal` file.
        let is_left_over = file.has_wal();
        let _creating = creating();
        let is_there = file.exists()?;
        if is_left_over && (!is_there || file.is_empty()) {
            // SQLite would delete the `-wal` file.
            return Err(SqliteError::ForeignWal { path: file.path });
        }
        if !is_there {
            file.create()?;
        }
        file.check_rights()?;
        Ok(file)
    }

    /// Creates an empty file at `path`, where no file may exist.
    pub(super) fn new_at(path: &Path) -> Result<Self, SqliteError> {
        let file = Self::named(path)?;
        let _creating = creating();
        if file.exists()? || !file.create()? {
            return Err(file.refuse(&PathProblem::Exists));
        }
        Ok(file)
    }

    fn named(path: &Path) -> Result<Self, SqliteError> {
        let refuse = |problem: PathProblem| SqliteError::Path {
            path: path.to_owned(),
            problem: problem.to_string(),
        };
        if path.as_os_str().is_empty() {
            return Err(refuse(PathProblem::Empty));
        }
        if path.as_os_str() == ":memory:" {
            return Err(refuse(PathProblem::Memory));
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(refuse(PathProblem::Nul));
        }
        let last = path.as_os_str().as_encoded_bytes().last();
        if last.is_some_and(|last| std::path::is_separator(char::from(*last))) {
            return Err(refuse(PathProblem::Folder));
        }
        Ok(Self { path: std::path::absolute(path).map_err(|error| denied(path, error))? })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn refuse(&self, problem: &PathProblem) -> SqliteError {
        SqliteError::Path { path: self.path.clone(), problem: problem.to_string() }
    }

    /// Checks whether a file exists that may hold a database.
    fn exists(&self) -> Result<bool, SqliteError> {
        match fs::metadata(&self.path) {
            Ok(there) if there.is_dir() => Err(self.refuse(&PathProblem::Folder)),
            // Opening a pipe would block until its other end is opened.
            Ok(there) if !there.is_file() => Err(self.refuse(&PathProblem::NotAFile)),
            Ok(there) if links(&there) > 1 => Err(self.refuse(&PathProblem::HardLinks)),
            Ok(_) if is_mounted(&self.path) => Err(self.refuse(&PathProblem::Mounted)),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(self.no_folder()),
            Err(error) => Err(denied(&self.path, error)),
        }
    }

    /// Returns whether a `-wal` file with content is beside the database.
    fn has_wal(&self) -> bool {
        let real = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        fs::metadata(beside(&real, "-wal")).is_ok_and(|there| there.len() > 0)
    }

    fn is_empty(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|there| there.len() == 0)
    }

    /// Creates an empty file that no other user may read, whatever the umask is. SQLite gives the `-wal` and
    /// `-shm` files the mode of this file. Returns `false` if another process created the file first.
    fn create(&self) -> Result<bool, SqliteError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, PRIVATE);
        match options.open(&self.path) {
            Ok(file) => match make_private(&file) {
                Ok(()) => Ok(true),
                Err(error) => Err(denied(&self.path, error)),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if self.exists()? {
                    Ok(false)
                } else {
                    Err(self.refuse(&PathProblem::DanglingLink))
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(self.no_folder()),
            Err(error) => Err(denied(self.folder(), error)),
        }
    }

    /// Checks that the process can read and write the file, and can create the `-wal` and `-shm` files beside
    /// it. Without this check SQLite would open a file that it may not write as read-only.
    fn check_rights(&self) -> Result<(), SqliteError> {
        may_write(&self.path).map_err(|error| denied(&self.path, error))?;
        let real = fs::canonicalize(&self.path).map_err(|error| denied(&self.path, error))?;
        for path in BESIDE.map(|end| beside(&real, end)) {
            match may_write(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(denied(&path, error));
                }
                _ => {}
            }
        }
        let has_both = BESIDE.into_iter().all(|end| beside(&real, end).exists());
        match real.parent() {
            Some(folder) if !has_both => {
                may_create_in(folder).map_err(|error| denied(folder, error))
            }
            _ => Ok(()),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    fn no_folder(&self) -> SqliteError {
        self.refuse(&PathProblem::NoFolder(self.folder().to_owned()))
    }

    /// Writes the whole database of `source` to this file, which is empty. Removes the file if that fails.
    pub(super) fn fill_from(&self, source: &Connection) -> rusqlite::Result<()> {
        let fill = || {
            let mut copy = super::builder::connect(self)?;
            copy.pragma_update(None, "synchronous", "EXTRA")?;
            copy.pragma_update(None, "fullfsync", true)?;
            copy.pragma_update(None, "checkpoint_fullfsync", true)?;
            // All pages are copied in one step, and therefore in one transaction.
            if Backup::new(source, &mut copy)?.step(-1)? != StepResult::Done {
                return Err(rusqlite::Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_BUSY),
                    None,
                ));
            }
            super::origin::separate(&copy)?;
            // In this mode the copy is a single file.
            copy.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
        };
        let done = fill();
        if done.is_err() {
            self.remove();
        }
        done
    }

    /// Removes the file, which is an incomplete copy, and the files that SQLite created beside it.
    pub(super) fn remove(&self) {
        for end in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(&self.path, end));
        }
    }
}

/// Returns a lock that is held from the check whether a file exists until a new file is closed. Closing a
/// file drops all locks that this process holds on it, so no other store may open the file in between.
fn creating() -> MutexGuard<'static, ()> {
    static CREATING: Mutex<()> = Mutex::new(());
    CREATING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The endings of the names of the files beside a database in WAL mode.
pub(super) const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// The reason why a path cannot hold a database.
#[derive(Debug, thiserror::Error)]
enum PathProblem {
    /// The path is empty. SQLite would open a database that is deleted when it is closed.
    #[error("the path is empty")]
    Empty,
    /// The path is `:memory:`, which SQLite would not treat as a file.
    #[error("`SqliteStore::in_memory` opens a database in memory")]
    Memory,
    /// The path holds a NUL character.
    #[error("the path holds a NUL character")]
    Nul,
    /// A folder is at the path.
    #[error("it is a folder; name a file in it")]
    Folder,
    /// A pipe, a socket or a device is at the path.
    #[error("it is not a regular file")]
    NotAFile,
    /// The file has other names. A process that opens the file by another name uses another `-wal` file, and
    /// the two processes destroy each other's writes.
    #[error("the file has more than one hard link; remove the others")]
    HardLinks,
    /// The file itself is a mount point, as with `docker run -v keys.db:/keys.db`. Its `-wal` file would be
    /// on another file system, and acknowledged writes would be lost with the container.
    #[error("the file is a mount of its own; mount its folder instead")]
    Mounted,
    /// A file already exists at the path of a new file.
    #[error("there is a file already; remove it, or choose another name")]
    Exists,
    /// A symbolic link is at the path, and its target does not exist.
    #[error("it is a symbolic link to a file that does not exist; create that file first")]
    DanglingLink,
    /// The folder does not exist, or is not a folder.
    #[error("there is no folder `{}`; create it first", .0.display())]
    NoFolder(PathBuf),
}

fn denied(path: &Path, source: io::Error) -> SqliteError {
    SqliteError::Denied { path: path.to_owned(), source }
}

/// Appends `end` to the last component of `path`.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}

#[cfg(unix)]
const PRIVATE: u32 = 0o600;

#[cfg(unix)]
fn make_private(file: &fs::File) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(PRIVATE))
}

#[cfg(unix)]
fn links(file: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(file)
}

/// Returns whether the file itself is a mount point.
#[cfg(target_os = "linux")]
fn is_mounted(path: &Path) -> bool {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::empty());
    // A kernel before 5.8 does not report this attribute.
    told.is_ok_and(|told| {
        (told.stx_attributes & told.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT)
    })
}

#[cfg(not(target_os = "linux"))]
fn is_mounted(_: &Path) -> bool {
    false
}

#[cfg(unix)]
fn may_write(path: &Path) -> io::Result<()> {
    access(path, rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK)
}

#[cfg(unix)]
fn may_create_in(folder: &Path) -> io::Result<()> {
    access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
}

/// Checks the rights without opening the file. Closing it again would drop this process's locks on it.
#[cfg(unix)]
fn access(path: &Path, access: rustix::fs::Access) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD, accessat};
    Ok(accessat(CWD, path, access, AtFlags::EACCESS)?)
}

/// Windows has no file modes.
#[cfg(not(unix))]
mod elsewhere {
    use std::{fs, io, path::Path};

    pub(super) fn make_private(_: &fs::File) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn links(_: &fs::Metadata) -> u64 {
        1
    }

    pub(super) fn may_write(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn may_create_in(_: &Path) -> io::Result<()> {
        Ok(())
    }
}
#[cfg(not(unix))]
use elsewhere::{links, make_private, may_create_in, may_write};
