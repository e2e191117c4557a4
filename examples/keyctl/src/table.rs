//! Tables with aligned columns.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

/// Rows under a heading. Columns are as wide as their widest cell.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with this heading.
    pub fn new(heading: &[&str]) -> Self {
        Self { rows: vec![heading.iter().map(|cell| cell.to_uppercase()).collect()] }
    }

    /// Creates a table of names and values, without a heading.
    pub fn of_fields(fields: Vec<(&str, String)>) -> Self {
        let rows = fields.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
        Self { rows: rows.collect() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (width, cell) in widths.iter().zip(row) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width.saturating_sub(cell.width()) + 2));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns a value, or a dash for an empty or missing one.
pub fn or_dash(value: Option<impl fmt::Display>) -> String {
    let text = value.map(|value| value.to_string()).unwrap_or_default();
    if text.is_empty() { "-".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_under_wide_characters() {
        let mut table = Table::new(&["name", "tier"]);
        table.row(vec!["工場".into(), "lite".into()]);
        table.row(vec!["acme".into(), "lite".into()]);
        assert_eq!(table.to_string(), "NAME  TIER\n工場  lite\nacme  lite\n");
    }
}
