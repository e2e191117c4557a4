//! The table, and the circumstances of the run.

use std::{
    collections::BTreeMap,
    fmt, fs,
    time::{SystemTime, UNIX_EPOCH},
};

use keyway::Timestamp;

use crate::harness::{KEYS, Measured};

pub struct Report {
    pub floor: Measured,
    pub rounds: usize,
    pub rows: Vec<Row>,
    pub left_out: Vec<&'static str>,
}

pub struct Row {
    pub name: &'static str,
    pub crates: &'static [&'static str],
    pub checks: &'static str,
    pub verify: Measured,
    pub made_up: Option<Measured>,
    pub wrong_secret: Option<Measured>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| library | verify, ns | × two compressions | allocations | refuse a made-up token, ns \
             | refuse a wrong secret of a known key, ns | what it checks |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|---|")?;
        for row in &self.rows {
            writeln!(
                f,
                "| {} | {} | {} | {} | {} | {} | {} |",
                row.name,
                nanoseconds(row.verify),
                ratio(row.verify.median_ns / self.floor.median_ns),
                row.verify.allocations,
                row.made_up.map_or("–".into(), nanoseconds),
                row.wrong_secret.map_or("–".into(), nanoseconds),
                row.checks,
            )?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "Medians of {} interleaved rounds, {KEYS} keys in every store; two SHA-256 compressions \
             took {:.1} ns. {}; {}; {}; {}.",
            self.rounds,
            self.floor.median_ns,
            today(),
            processor(),
            env!("PEERS_RUSTC"),
            self.versions(),
        )?;
        if !self.left_out.is_empty() {
            writeln!(f, "\nNot built and so not measured: {}.", self.left_out.join(", "))?;
        }
        Ok(())
    }
}

impl Report {
    /// Returns the names and versions of all crates in the table, each once.
    fn versions(&self) -> String {
        let locked = locked();
        let mut named = Vec::new();
        for name in self.rows.iter().flat_map(|row| row.crates).chain(&["sha2"]) {
            let version = locked.get(name).copied().unwrap_or("of unknown version");
            let text = format!("{name} {version}");
            if !named.contains(&text) {
                named.push(text);
            }
        }
        named.join(", ")
    }
}

fn nanoseconds(measured: Measured) -> String {
    let ns = measured.median_ns;
    if ns < 100.0 { format!("{ns:.1}") } else { grouped(ns) }
}

fn ratio(ratio: f64) -> String {
    if ratio < 100.0 { format!("{ratio:.1}") } else { grouped(ratio) }
}

/// Formats a whole number with commas between its thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = now.map_or(0, |since| since.as_millis().try_into().unwrap_or(0));
    let mut text = Timestamp::saturating_from_millis(millis).to_string();
    text.truncate("2026-01-01".len());
    text
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim())
    };
    let model = field("model name").unwrap_or("unknown processor");
    match field("flags") {
        Some(flags) if flags.split(' ').any(|flag| flag == "sha_ni") => {
            format!("{model} with SHA extensions")
        }
        _ => model.to_owned(),
    }
}

/// Returns the versions that this crate depends on, from its lock file.
fn locked() -> BTreeMap<&'static str, &'static str> {
    let packages = || {
        include_str!("../Cargo.lock")
            .split("[[package]]")
            .filter_map(|package| Some((quoted(package, "name")?, package)))
    };
    let mut versions = BTreeMap::new();
    for (name, package) in packages() {
        versions.insert(name, quoted(package, "version").unwrap_or_default());
    }
    // If several versions of a crate are locked, the dependency names its version.
    let own = packages().find(|(name, _)| *name == env!("CARGO_PKG_NAME"));
    for line in own.map_or("", |(_, package)| package).lines() {
        let entry = line.trim().trim_matches([',', '"']);
        if let Some((name, version)) = entry.split_once(' ')
            && line.starts_with(" \"")
        {
            versions.insert(name, version);
        }
    }
    versions
}

/// Returns the text of `name = "text"`.
fn quoted(package: &'static str, name: &str) -> Option<&'static str> {
    let line = package.lines().find(|line| line.split(" = ").next() == Some(name))?;
    line.split('"').nth(1)
}
