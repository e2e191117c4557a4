//! The memory of another process.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    thread,
    time::Duration,
};

use crate::needles::{Needles, WIDTH, What};

/// A window that was found.
pub struct Found {
    pub mapping: String,
    /// The distance to the end of the mapping, in bytes.
    pub before_end: u64,
    pub what: What,
}

pub struct Search {
    pub found: Vec<Found>,
    /// How many bytes were searched.
    pub bytes: u64,
}

impl Search {
    /// Returns the runs of adjacent windows.
    pub fn pieces(&self) -> impl Iterator<Item = &[Found]> {
        let follows = |left: &Found, right: &Found| left.before_end == right.before_end + 1;
        self.found.chunk_by(follows)
    }
}

/// Returns how many bytes adjacent windows cover.
pub fn bytes_of(piece: &[Found]) -> u64 {
    (piece.len() + WIDTH - 1) as u64
}

/// Waits until all threads of the process `id` sleep and none ends.
pub fn wait_until_still(id: u32) -> io::Result<()> {
    let mut before = Vec::new();
    for _ in 0..10_000 {
        let mut threads = Vec::new();
        for thread in fs::read_dir(format!("/proc/{id}/task"))? {
            let stat = fs::read_to_string(thread?.path().join("stat"));
            // A thread that ends while this is read counts as not sleeping.
            threads.push(stat.unwrap_or_default());
        }
        let sleeps = |stat: &String| stat.split(' ').nth(2) == Some("S");
        if threads.iter().all(sleeps) && threads == before {
            return Ok(());
        }
        before = threads;
        thread::sleep(Duration::from_millis(2));
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// Searches all memory that the process `id` can write to: heaps, stacks, statics.
pub fn search(id: u32, needles: &Needles) -> io::Result<Search> {
    let mut memory = File::open(format!("/proc/{id}/mem"))?;
    let mut search = Search { found: Vec::new(), bytes: 0 };
    for line in fs::read_to_string(format!("/proc/{id}/maps"))?.lines() {
        let mut columns = line.split_whitespace();
        let (Some(range), Some(rights)) = (columns.next(), columns.next()) else { continue };
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').ok_or(io::ErrorKind::InvalidData)?;
        let address = |text| u64::from_str_radix(text, 16).map_err(io::Error::other);
        let (start, end) = (address(start)?, address(end)?);
        let mut bytes = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
        memory.seek(SeekFrom::Start(start))?;
        memory
            .read_exact(&mut bytes)
            .map_err(|error| io::Error::new(error.kind(), format!("{error} in {line}")))?;
        search.bytes += end - start;
        let mapping = columns.nth(3).unwrap_or("anonymous");
        let found = needles.find(&bytes).into_iter();
        search.found.extend(found.map(|(at, what)| Found {
            mapping: mapping.into(),
            before_end: end - start - at as u64,
            what,
        }));
    }
    Ok(search)
}
