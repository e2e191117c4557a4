//! Computes what a disk may hold when the power fails. The writes of a process, as `strace` reports them, are
//! replayed without some of those that were not synced.
//!
//! A synced file is on the disk together with its name, as on ext4, XFS and btrfs. Anything else may be on
//! the disk or not, whole or by sectors, in any order.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use crate::{Random, workers};

/// The number of bytes that a disk writes as a whole.
const SECTOR: usize = 512;

/// An action of the process, in order.
#[derive(Debug)]
pub enum Event {
    Changed {
        file: String,
        change: Change,
    },
    /// All changes of this file before event number `since` are on the disk. For the directory, these are the
    /// removals of its files.
    Synced {
        file: String,
        since: usize,
    },
    /// The process has sent this line to the test.
    Said(String),
}

#[derive(Clone, Debug)]
pub enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate { length: usize },
    Remove,
}

/// Which of the unsynced changes are on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    None,
    All,
    /// Each change independently, at random.
    Some,
    /// Each sector of each write independently, at random.
    Sectors,
}

impl Kept {
    /// The variants that are tried for each moment.
    pub const ANY: [Self; 6] =
        [Self::None, Self::All, Self::Some, Self::Some, Self::Sectors, Self::Sectors];
}

/// The files by name, without their directory.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A disk: what is certainly on it, and what may be.
#[derive(Debug, Default)]
pub struct Disk {
    synced: Image,
    /// The changes with their event numbers.
    unsynced: Vec<(usize, String, Change)>,
}

impl Disk {
    pub fn note(&mut self, number: usize, event: &Event) {
        match event {
            Event::Changed { file, change } => {
                self.unsynced.push((number, file.clone(), change.clone()));
            }
            Event::Synced { file, since } => {
                let is_removal = |(number, _, change): &&(usize, String, Change)| {
                    number < since && matches!(change, Change::Remove)
                };
                let removed = self.unsynced.iter().rev().filter(is_removal);
                let removed: Vec<_> =
                    removed.map(|(number, file, _)| (*number, file.clone())).collect();
                let is_synced = |(number, changed, _): &(usize, String, Change)| {
                    let mut removed = removed.iter();
                    changed == file && number < since
                        || file == FOLDER
                            && removed.any(|(at, file)| number <= at && file == changed)
                };
                let (synced, rest) = self.unsynced.drain(..).partition(is_synced);
                self.unsynced = rest;
                for (_, file, change) in synced {
                    change.apply(&mut self.synced, &file);
                }
            }
            Event::Said(_) => {}
        }
    }

    /// Returns a possible content of the disk after a power failure.
    pub fn image(&self, kept: Kept, random: &mut Random) -> Image {
        let mut image = self.synced.clone();
        // If the removal of a file is lost, so is everything that is written later to a file of that name.
        let mut remaining = Vec::new();
        for (_, file, change) in self.unsynced.iter().filter(|(_, file, _)| !file.ends_with("-shm"))
        {
            let is_kept = match kept {
                Kept::None => false,
                Kept::All => true,
                Kept::Sectors if matches!(change, Change::Write { .. }) => true,
                Kept::Some | Kept::Sectors => random.below(2) == 0,
            };
            if !is_kept && matches!(change, Change::Remove) {
                remaining.push(file);
            }
            if !is_kept || remaining.contains(&file) {
                continue;
            }
            match change {
                Change::Write { at, bytes } if kept == Kept::Sectors => {
                    for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                        if random.below(2) == 0 {
                            let at = at + number * SECTOR;
                            Change::Write { at, bytes: sector.to_vec() }.apply(&mut image, file);
                        }
                    }
                }
                change => change.apply(&mut image, file),
            }
        }
        image
    }
}

impl Change {
    fn apply(&self, image: &mut Image, file: &str) {
        if matches!(self, Self::Remove) {
            image.remove(file);
            return;
        }
        let content = image.entry(file.to_owned()).or_default();
        match self {
            Self::Write { at, bytes } => {
                let end = at + bytes.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*at..end].copy_from_slice(bytes);
            }
            Self::Truncate { length } => content.resize(*length, 0),
            Self::Remove => unreachable!(),
        }
    }
}

pub fn write(image: &Image, folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    for (name, content) in image {
        fs::write(folder.join(name), content).unwrap();
    }
}

pub fn fingerprint(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}

/// The directory itself, among the names of files.
const FOLDER: &str = ".";

/// The system calls that [`events`] understands.
pub const SYSTEM_CALLS: &str = "pwrite64,write,fsync,fdatasync,ftruncate,unlink,unlinkat,rename,\
                                renameat,renameat2,pwritev,pwritev2,writev";

/// Parses the output of `strace -f -y -xx` into events, as far as it concerns the files in `folder`.
pub fn events(log: &str, folder: &Path) -> Vec<Event> {
    let mut reader = Reader { folder: folder.display().to_string(), ..Reader::default() };
    for line in log.lines() {
        reader.read(line);
    }
    reader.events
}

#[derive(Default)]
struct Reader {
    folder: String,
    events: Vec<Event>,
    /// The unfinished call of each thread, with the number of events before it.
    begun: BTreeMap<String, (String, usize)>,
    output: Vec<u8>,
}

impl Reader {
    fn read(&mut self, line: &str) {
        let (thread, call) = line.split_once(' ').unwrap();
        let call = call.trim_start();
        if let Some(begun) = call.strip_suffix("<unfinished ...>") {
            self.begun.insert(thread.to_owned(), (begun.to_owned(), self.events.len()));
        } else if call.starts_with("<... ") {
            let (_, rest) = call.split_once("resumed>").unwrap();
            // The first line of a call is missing if the thread was already in the call when tracing began.
            if let Some((begun, since)) = self.begun.remove(thread) {
                self.understand(&format!("{begun}{rest}"), since);
            }
        } else if call.contains(") = ") {
            self.understand(call, self.events.len());
        }
    }

    fn understand(&mut self, call: &str, since: usize) {
        let (name, rest) = call.split_once('(').unwrap();
        let (arguments, result) = rest.rsplit_once(" = ").unwrap();
        let arguments = arguments.trim_end().strip_suffix(')').unwrap();
        let Ok(result) = result.split(' ').next().unwrap().parse::<usize>() else {
            return;
        };
        let arguments: Vec<&str> = arguments.split(", ").map(str::trim).collect();
        let (descriptor, path) = match arguments[0].split_once('<') {
            // A write to a file that has been removed reaches no disk.
            Some((_, path)) if path.ends_with("(deleted)") => return,
            Some((descriptor, path)) => (descriptor, bytes(path.strip_suffix('>').unwrap())),
            None => ("", bytes(arguments[0])),
        };
        if (name, descriptor) == ("write", "1") {
            self.output.extend(&bytes(arguments[1])[..result]);
            self.hear();
            return;
        }
        let path = String::from_utf8(path).unwrap();
        let Some(file) = path.strip_prefix(&self.folder) else { return };
        let file = match file.strip_prefix('/') {
            Some(file) => file.to_owned(),
            None if file.is_empty() => FOLDER.to_owned(),
            None => return,
        };
        let number = |place: usize| arguments[place].parse::<usize>().unwrap();
        let change = match name {
            "pwrite64" => {
                Change::Write { at: number(3), bytes: bytes(arguments[1])[..result].to_vec() }
            }
            "ftruncate" => Change::Truncate { length: number(1) },
            "unlink" => Change::Remove,
            "fsync" | "fdatasync" => {
                self.events.push(Event::Synced { file, since });
                return;
            }
            other => panic!("{other} of {file}"),
        };
        self.events.push(Event::Changed { file, change });
    }

    /// Takes whole lines out of the process's output.
    fn hear(&mut self) {
        while let Some(end) = self.output.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.output.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            if let Some(said) = workers::said(line.trim_end()) {
                self.events.push(Event::Said(said.to_owned()));
            }
        }
    }
}

/// Decodes a string of the log, in which each byte is written as `\x` and two digits.
fn bytes(text: &str) -> Vec<u8> {
    let pairs = text.trim_matches('"').split("\\x").skip(1);
    let byte = |pair| u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("no bytes: {text}"));
    pairs.map(byte).collect()
}
