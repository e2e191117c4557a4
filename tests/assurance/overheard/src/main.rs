//! Searches all that the tests said and logged for any eight characters in a row of any secret that they
//! revealed, as they are, in base64, in hexadecimal digits and as a list of numbers, and for control
//! characters.
//!
//! The folder has the file `secrets`, one in each line; what was logged in files that begin with `log-`;
//! and what the tests said in the file `output`. Lines that begin with `planted` are those where a fault
//! was planted on purpose, and count for themselves.

mod forms;

use std::{
    collections::HashSet,
    env,
    error::Error,
    fs,
    io::{self, BufRead, BufReader},
    path::Path,
};

use forms::{Windows, base64_windows, numbers};

/// What the tests put behind each control character that they let in.
const MARK: &[u8] = b"hostile";

#[derive(Default)]
struct Tally {
    lines: u64,
    bytes: u64,
    windows: usize,
    controls: usize,
    planted_windows: usize,
    planted_controls: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().ok_or("the folder?")?;
    let least = arguments.next().ok_or("how many secrets there are at least?")?;
    let (secrets, ids) = secrets(Path::new(&folder))?;
    let mut windows = Windows::default();
    for secret in &secrets {
        windows.add(secret);
        base64_windows(secret, |window| windows.add(window));
    }
    // Tests that draw from one seed twice have secrets that are another key's id, which is public.
    for id in &ids {
        windows.remove(id);
    }
    windows.index();

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
    println!("figure {} = 0 control characters of the input in {lines} log lines", logs.controls);
    println!("measured {}kB of logs and of output were searched", (bytes + output.bytes) / 1_000);
    let planted = logs.planted_windows;
    println!("control {planted} > 0 windows where a derived `Debug` with a token was logged");
    let planted = logs.planted_controls;
    println!("control {planted} > 0 control characters where a text was logged as it came");
    Ok(())
}

type Texts = HashSet<Vec<u8>>;

/// What is secret of each line, and the ids: of keyway's own tokens the secret stands behind the id.
fn secrets(folder: &Path) -> io::Result<(Texts, Texts)> {
    let text = fs::read(folder.join("secrets"))?;
    let (mut secrets, mut ids) = (HashSet::new(), HashSet::new());
    for line in text.split(|byte| *byte == b'\n') {
        match line.split_last_chunk::<57>() {
            Some((_, [b'_', body @ ..])) if body.iter().all(u8::is_ascii_alphanumeric) => {
                let (id, secret) = body.split_at(16);
                ids.insert(id.to_vec());
                secrets.insert(secret.to_vec());
            }
            _ if line.len() >= 8 => _ = secrets.insert(line.to_vec()),
            _ => {}
        }
    }
    Ok((secrets, ids))
}

fn search(path: &Path, windows: &Windows, tally: &mut Tally) -> io::Result<()> {
    let mut reader = BufReader::new(fs::File::open(path)?);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        tally.lines += 1;
        tally.bytes += line.len() as u64;
        let mut found = windows.count(&line);
        for bytes in numbers(&line) {
            found += windows.count(&bytes);
        }
        let controls = controls(&line);
        // A control character that ends the line makes another one of the rest.
        if line.starts_with(b"planted ") || line.windows(9).any(|part| part == b" planted ") {
            tally.planted_windows += found;
            tally.planted_controls += controls;
        } else {
            if found + controls > 0 && tally.windows + tally.controls < 20 {
                let line = String::from_utf8_lossy(&line);
                println!("{}: {}", path.display(), line.escape_debug());
            }
            tally.windows += found;
            tally.controls += controls;
        }
        line.clear();
    }
    Ok(())
}

/// Control characters but for the line's end and tabs, and those too before the mark.
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
