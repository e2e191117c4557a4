//! The canonical encoding of records.

use alloc::{string::String, vec::Vec};

use crate::time::Timestamp;

/// Writes values one after the other. Different lists of values give different bytes.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// Creates a writer whose buffer is large enough for most records.
    pub(crate) fn for_record() -> Self {
        Self(Vec::with_capacity(512))
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Writes bytes of a length that the format fixes.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn bool(&mut self, value: bool) {
        self.raw(&[value.into()]);
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.raw(&value.to_be_bytes());
    }

    pub(crate) fn time(&mut self, value: Timestamp) {
        self.raw(&value.as_millis().to_be_bytes());
    }

    pub(crate) fn len(&mut self, len: usize) {
        self.u64(len as u64);
    }

    pub(crate) fn str(&mut self, text: &str) {
        self.len(text.len());
        self.raw(text.as_bytes());
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads the values that a [`Writer`] wrote. Every other encoding is rejected.
pub(crate) struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Checks that everything has been read.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    pub(crate) fn raw<const N: usize>(&mut self) -> Option<&'b [u8; N]> {
        let (head, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn bool(&mut self) -> Option<bool> {
        match self.raw()? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.raw().copied().map(u64::from_be_bytes)
    }

    pub(crate) fn time(&mut self) -> Option<Timestamp> {
        Timestamp::from_millis(self.raw().copied().map(i64::from_be_bytes)?)
    }

    /// Reads the number of items, each of which takes at least one byte.
    pub(crate) fn len(&mut self) -> Option<usize> {
        let len = usize::try_from(self.u64()?).ok()?;
        (len <= self.0.len()).then_some(len)
    }

    pub(crate) fn str(&mut self) -> Option<&'b str> {
        let len = self.len()?;
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        str::from_utf8(head).ok()
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        self.str().map(Into::into)
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Option<Option<T>> {
        if self.bool()? { read(self).map(Some) } else { Some(None) }
    }

    pub(crate) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let len = self.len()?;
        (0..len).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_beyond_the_input_is_refused_before_allocation() {
        let mut writer = Writer::default();
        writer.u64(u64::MAX);
        let bytes = writer.into_bytes();
        assert_eq!(Reader::new(&bytes).str(), None);
        assert_eq!(Reader::new(&bytes).list(Reader::bool), None);
    }

    #[test]
    fn only_zero_and_one_are_booleans() {
        assert_eq!(Reader::new(&[1]).bool(), Some(true));
        assert_eq!(Reader::new(&[2]).bool(), None);
    }
}
