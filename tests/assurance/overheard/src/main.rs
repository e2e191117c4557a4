//! Searches the output and the logs of the tests for any eight bytes in a row of a secret that the tests
//! revealed, of a pepper that they shared, or of a digest under one of these peppers. Each is searched
//! unchanged, in base64, in hexadecimal digits and as a list of numbers. Control characters are searched as
//! well.
//!
//! The directory has these files:
//!
//! - `secrets`: one token, child or other secret in each line.
//! - `peppers`: one pepper in each line, in hexadecimal digits.
//! - Files that begin with `log-`: the logs.
//! - `output`: the output of the tests.
//!
//! Lines that begin with `planted` contain a planted fault and are counted separately.

mod digests;
mod forms;

use std::{
    collections::HashSet,
    env,
    error::Error,
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use digests::Digests;
use forms::{Windows, base64_windows, numbers};

/// The text that the tests put after each control character that they allow.
const MARK: &[u8] = b"hostile";

/// The number of characters at the end of a child that hold nothing but its signature of 64 bytes.
const SIGNATURE: usize = 85;

#[derive(Default)]
struct Tally {
    lines: u64,
    bytes: u64,
    windows: usize,
    controls: usize,
    stored: usize,
    planted_windows: usize,
    planted_stored: usize,
    planted_controls: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("the folder?")?;
    let least = arguments.next().ok_or("how many secrets there are at least?")?;
    let Revealed { secrets, ids, tokens } = revealed(Path::new(&folder))?;
    let mut windows = windows_of(&secrets);
    // Tests that use one seed twice have secrets that are another key's id, which is public.
    for id in &ids {
        windows.remove(id);
    }
    windows.index();
    let peppers = peppers(Path::new(&folder))?;
    let digests: Texts = Digests::new(&peppers).of(&tokens);
    let mut stored = windows_of(&peppers);
    for digest in &digests {
        add(&mut stored, digest);
    }
    stored.index();
    let windows = [windows, stored];

    let (mut logs, mut output) = (Tally::default(), Tally::default());
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("output") => search(&path, &windows, &mut output)?,
            Some(name) if name.starts_with("log-") => search(&path, &windows, &mut logs)?,
            _ => {}
        }
    }
    let secrets = secrets.len();
    println!("figure {secrets} >= {least} secrets that the tests revealed");
    let Tally { lines, bytes, .. } = logs;
    let (found, said) = (logs.windows, output.windows);
    println!(
        "figure {found} = 0 windows of eight characters of {secrets} secrets in {lines} log lines"
    );
    let of_output = format!("{} lines of the tests' output", output.lines);
    println!("figure {said} = 0 windows of eight characters of {secrets} secrets in {of_output}");
    let (peppers, digests) = (peppers.len(), digests.len());
    println!(
        "figure {} = 0 windows of eight bytes of {peppers} peppers and {digests} digests in all of these lines",
        logs.stored + output.stored
    );
    println!("figure {} = 0 control characters of the input in {lines} log lines", logs.controls);
    println!("measured {}kB of logs and of output were searched", (bytes + output.bytes) / 1_000);
    let planted = logs.planted_windows;
    println!("control {planted} > 0 windows where a derived `Debug` with a token was logged");
    println!("control {} > 0 windows where a pepper was logged", logs.planted_stored);
    let planted = logs.planted_controls;
    println!("control {planted} > 0 control characters where a text was logged as it came");
    Ok(())
}

type Texts = HashSet<Vec<u8>>;

fn windows_of(texts: &Texts) -> Windows {
    let mut windows = Windows::default();
    for text in texts {
        add(&mut windows, text);
    }
    windows
}

fn add(windows: &mut Windows, text: &[u8]) {
    windows.add(text);
    base64_windows(text, |window| windows.add(window));
}

/// The secrets that the tests revealed.
struct Revealed {
    /// The secret part of each token of keyway, the signature of each child, and every other secret whole.
    secrets: Texts,
    /// The ids of the tokens, which are public.
    ids: Texts,
    /// The tokens of keyway, whole.
    tokens: Texts,
}

fn peppers(folder: &Path) -> io::Result<Texts> {
    let text = fs::read(folder.join("peppers"))?;
    // `numbers` reads each line from its first digit and from its second one. The first reading is the
    // pepper.
    Ok(text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| numbers(line).into_iter().next())
        .collect())
}

/// Reads the revealed tokens. In keyway's own tokens the secret follows the id.
fn revealed(folder: &Path) -> io::Result<Revealed> {
    let text = fs::read(folder.join("secrets"))?;
    let (mut secrets, mut ids, mut tokens) = (HashSet::new(), HashSet::new(), HashSet::new());
    for line in text.split(|byte| *byte == b'\n') {
        match line.split_last_chunk::<57>() {
            Some((_, [b'_', body @ ..])) if body.iter().all(u8::is_ascii_alphanumeric) => {
                let (id, secret) = body.split_at(16);
                ids.insert(id.to_vec());
                secrets.insert(secret.to_vec());
                tokens.insert(line.to_vec());
            }
            _ if line.len() >= 8 => _ = secrets.insert(signature(line).unwrap_or(line).to_vec()),
            _ => {}
        }
    }
    Ok(Revealed { secrets, ids, tokens })
}

/// Returns the characters that hold nothing but the signature, if the text has the form of a child. The id of its parent, its
/// tag and its limits are public.
fn signature(line: &[u8]) -> Option<&[u8]> {
    let mark = line.iter().position(|byte| *byte == b'~')?;
    let (head, payload) = line.split_at_checked(mark)?;
    let start = head.len().checked_sub(1 + 16 + 8)?;
    let is_child = head.get(start) == Some(&b'_') && payload.len() > SIGNATURE;
    is_child.then(|| &payload[payload.len() - SIGNATURE..])
}

/// Counts the windows of the revealed secrets, and those of the peppers and digests.
fn search(path: &Path, [revealed, kept]: &[Windows; 2], tally: &mut Tally) -> io::Result<()> {
    let mut reader = BufReader::new(fs::File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        tally.lines += 1;
        tally.bytes += line.len() as u64;
        let mut found = revealed.count(&line);
        let mut stored = kept.count(&line);
        for bytes in numbers(&line) {
            found += revealed.count(&bytes);
            stored += kept.count(&bytes);
        }
        let controls = controls(&line);
        // A control character that ends a line puts the rest of the text into another line.
        if line.starts_with(b"planted ") || line.windows(9).any(|part| part == b" planted ") {
            tally.planted_windows += found;
            tally.planted_stored += stored;
            tally.planted_controls += controls;
        } else {
            if found + stored + controls > 0 && tally.windows + tally.stored + tally.controls < 20 {
                let line = String::from_utf8_lossy(&line);
                println!("{}: {}", path.display(), line.escape_debug());
            }
            tally.windows += found;
            tally.stored += stored;
            tally.controls += controls;
        }
        line.clear();
    }
    Ok(())
}

/// Counts control characters, except the end of the line and tabs. A tab before the mark is counted.
fn controls(line: &[u8]) -> usize {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let is_control = |at: usize, byte: u8| match byte {
        b'\t' => line[at + 1..].starts_with(MARK),
        0..=0x1f | 0x7f => true,
        // The second byte of U+0080 to U+009F.
        0x80..=0x9f => at > 0 && line[at - 1] == 0xc2,
        _ => false,
    };
    let inside = line.iter().enumerate().filter(|(at, byte)| is_control(*at, **byte)).count();
    inside + usize::from(line.starts_with(MARK))
}
