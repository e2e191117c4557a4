//! The lines of the CSV file, each read as a key.

use csv::{Position, ReaderBuilder, StringRecord, Trim};
use keyway::{
    ImportedKey, NewKey, TenantId,
    import::{ForeignDigest, ForeignFormat},
};

use super::Problem;
use crate::failure::Failure;

const REQUIRED: [&str; 3] = ["tenant", "name", "digest"];
const OPTIONAL: [&str; 7] =
    ["public", "scopes", "owner", "expires_at", "enabled", "last_used", "masked"];

/// A line of the file.
#[derive(Debug)]
pub struct Row {
    /// The number of the line, from 1.
    pub line: u64,
    /// The tenant of the key.
    pub tenant: TenantId,
    /// The name of the key.
    pub name: String,
    /// The key.
    pub key: ImportedKey,
}

/// Reads all lines. A line that cannot be read is a problem, and does not end the reading.
pub fn read(
    text: &[u8],
    format: &ForeignFormat,
    over_quota: bool,
) -> Result<(Vec<Row>, Vec<Problem>), Failure> {
    let mut reader = ReaderBuilder::new().flexible(true).trim(Trim::All).from_reader(text);
    let heading =
        reader.headers().map_err(|error| Failure::refused(format!("line 1: {error}")))?.clone();
    check_heading(&heading)?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = line_of(text, error.position());
                problems.push(Problem { line, message: "the line is not UTF-8".into() });
                continue;
            }
        };
        let line = line_of(text, record.position());
        if record.len() != heading.len() {
            let (found, expected) = (record.len(), heading.len());
            let message = format!("the line has {found} fields, and the first line has {expected}");
            problems.push(Problem { line, message });
            continue;
        }
        match row(&Fields { heading: &heading, record: &record }, format, over_quota) {
            Ok((tenant, name, key)) => rows.push(Row { line, tenant, name, key }),
            Err(message) => problems.push(Problem { line, message }),
        }
    }
    Ok((rows, problems))
}

/// Returns the number of the line at which a record begins. The position of the reader is before the empty lines that
/// it skips.
fn line_of(text: &[u8], position: Option<&Position>) -> u64 {
    let Some(position) = position else { return 0 };
    let start = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let rest = text.get(start..).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| matches!(byte, b'\n' | b'\r'));
    position.line() + skipped.fold(0, |lines, byte| lines + u64::from(*byte == b'\n'))
}

fn check_heading(heading: &StringRecord) -> Result<(), Failure> {
    let known = || REQUIRED.iter().chain(&OPTIONAL);
    let all = || known().copied().collect::<Vec<_>>().join(", ");
    if let Some(missing) = REQUIRED.iter().find(|name| !heading.iter().any(|found| found == **name))
    {
        let message = format!("line 1: the column `{missing}` is missing");
        return Err(Failure::refused(message).remedy(format!("the columns are {}", all())));
    }
    let mut seen = Vec::new();
    for (number, name) in heading.iter().enumerate() {
        // The text itself is not repeated: without a first line of names, it may be a secret.
        if !known().any(|known| *known == name) {
            let message = format!("line 1: column {} has an unknown name", number + 1);
            return Err(Failure::refused(message).remedy(format!("the columns are {}", all())));
        }
        if seen.contains(&name) {
            return Err(Failure::refused(format!("line 1: the column `{name}` occurs twice")));
        }
        seen.push(name);
    }
    Ok(())
}

/// The fields of one line by the names of their columns.
struct Fields<'r> {
    heading: &'r StringRecord,
    record: &'r StringRecord,
}

impl Fields<'_> {
    /// Returns a field, or `None` if it is empty or its column is missing.
    fn get(&self, name: &str) -> Option<&str> {
        let place = self.heading.iter().position(|column| column == name)?;
        self.record.get(place).filter(|field| !field.is_empty())
    }

    fn required(&self, name: &str) -> Result<&str, String> {
        self.get(name).ok_or_else(|| format!("{name}: the field is empty"))
    }

    /// Returns a field as another type. The message names the column.
    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, String> {
        let parsed = self.get(name).map(str::parse).transpose();
        parsed.map_err(|error| format!("{name}: {error}"))
    }
}

fn row(
    fields: &Fields<'_>,
    format: &ForeignFormat,
    over_quota: bool,
) -> Result<(TenantId, String, ImportedKey), String> {
    let tenant = fields.required("tenant")?;
    let tenant: TenantId = tenant.parse().map_err(|error| format!("tenant: {error}"))?;
    let name = fields.required("name")?.to_owned();
    let digest = digest(fields.required("digest")?).map_err(|error| format!("digest: {error}"))?;
    let mut request = NewKey::named(&name);
    if let Some(scopes) = fields.get("scopes") {
        request = request.scopes(scopes.split_whitespace());
    }
    if let Some(owner) = fields.parsed("owner")? {
        request = request.owner(owner);
    }
    if let Some(end) = fields.parsed("expires_at")? {
        request = request.expires_at(end);
    }
    let made = match fields.get("public") {
        Some(public) => ImportedKey::with_public_part(format, public, digest, request),
        None => ImportedKey::new(format, digest, request),
    };
    let mut key = made.map_err(|error| format!("digest: {error}"))?;
    if over_quota {
        key = key.over_quota();
    }
    if let Some(enabled) = fields.get("enabled") {
        key = key.enabled(match enabled {
            "true" => true,
            "false" => false,
            _ => return Err("enabled: write `true` or `false`".into()),
        });
    }
    if let Some(at) = fields.parsed("last_used")? {
        key = key.last_used(at);
    }
    if let Some(masked) = fields.get("masked") {
        key = key.masked(masked).map_err(|error| format!("masked: {error}"))?;
    }
    Ok((tenant, name, key))
}

/// Reads a digest. SHA-256 and SHA-512 have 64 and 128 hexadecimal digits, and no base64 of them is as long.
fn digest(text: &str) -> Result<ForeignDigest, keyway::import::ImportError> {
    if matches!(text.len(), 64 | 128) {
        ForeignDigest::from_hex(text)
    } else {
        ForeignDigest::from_base64(text)
    }
}
