//! Lists in caveats: items that are joined by a newline, ascend by their bytes, and differ.

use alloc::{string::String, vec::Vec};

/// Separates the items.
const SEPARATOR: char = '\n';

/// Returns the items of a list in their one order.
pub(super) fn write<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.as_ref().into()).collect();
    items.sort();
    items.dedup();
    items.join("\n")
}

/// Reads the items of a list, of which there is at least one. Returns `None` if they are in another order or repeat, or if
/// `read` refuses one of them.
pub(super) fn read<'b, T>(
    value: &'b [u8],
    read: impl FnMut(&'b str) -> Option<T>,
) -> Option<Vec<T>> {
    let items: Vec<&str> = str::from_utf8(value).ok()?.split(SEPARATOR).collect();
    if items.iter().any(|item| item.is_empty()) || !items.is_sorted_by(|left, right| left < right) {
        return None;
    }
    items.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Option<Vec<&str>> {
        read(text.as_bytes(), Some)
    }

    #[test]
    fn list_has_one_order_and_no_repetition() {
        assert_eq!(write(["b", "a", "b"]), "a\nb");
        assert_eq!(all("a\nb"), Some(["a", "b"].into()));
        for other in ["", "\n", "a\n", "\na", "b\na", "a\na", "a\n\nb"] {
            assert_eq!(all(other), None, "{other:?}");
        }
        assert_eq!(read(b"\xff", Some), None);
        assert_eq!(read(b"a\nb", |item| (item == "a").then_some(item)), None);
    }
}
