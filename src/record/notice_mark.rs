//! The mark that a notice about a key was sent.

use crate::{
    codec::{Reader, Writer},
    time::Timestamp,
};

/// The subject of a notice about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
pub enum NoticeKind {
    /// The key ends soon.
    Expiring,
    /// The key has not been used for long.
    Unused,
}

/// A notice that was sent, or that a node is sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoticeMark {
    pub(crate) kind: NoticeKind,
    /// The end of the key, or its last use. With another one, there is another notice.
    pub(crate) about: Timestamp,
    /// The time until which a node is sending the notice. `None` means that it was sent.
    pub(crate) claimed_until: Option<Timestamp>,
}

impl NoticeMark {
    /// The most marks of a key: one of each kind.
    pub(crate) const MAX: usize = 2;

    /// Returns whether no node may send this notice at `now`.
    #[cfg(feature = "std")]
    pub(crate) fn is_taken(&self, now: Timestamp) -> bool {
        self.claimed_until.is_none_or(|until| now < until)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.bool(self.kind == NoticeKind::Unused);
        writer.time(self.about);
        writer.option(self.claimed_until, Writer::time);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            kind: if reader.bool()? { NoticeKind::Unused } else { NoticeKind::Expiring },
            about: reader.time()?,
            claimed_until: reader.option(Reader::time)?,
        })
    }
}
