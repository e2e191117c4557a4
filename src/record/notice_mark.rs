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
    /// The end of the key, or its last use. With another one, there is another notice.
    pub(crate) about: Timestamp,
    /// The time until which a node is sending the notice. `None` means that it was sent.
    pub(crate) claimed_until: Option<Timestamp>,
}

/// The latest notice of each kind about a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoticeMarks {
    expiring: Option<NoticeMark>,
    unused: Option<NoticeMark>,
}

impl NoticeMark {
    /// Returns whether no node may send this notice at `now`.
    #[cfg(feature = "std")]
    pub(crate) fn is_taken(&self, now: Timestamp) -> bool {
        self.claimed_until.is_none_or(|until| now < until)
    }

    fn write(writer: &mut Writer, mark: &Self) {
        writer.time(mark.about);
        writer.option(mark.claimed_until, Writer::time);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { about: reader.time()?, claimed_until: reader.option(Reader::time)? })
    }
}

impl NoticeMarks {
    /// Returns the latest notice of this kind.
    #[cfg(feature = "std")]
    pub(crate) fn of(&self, kind: NoticeKind) -> Option<&NoticeMark> {
        match kind {
            NoticeKind::Expiring => self.expiring.as_ref(),
            NoticeKind::Unused => self.unused.as_ref(),
        }
    }

    /// Replaces the latest notice of this kind.
    #[cfg(feature = "std")]
    pub(crate) fn set(&mut self, kind: NoticeKind, mark: NoticeMark) {
        *match kind {
            NoticeKind::Expiring => &mut self.expiring,
            NoticeKind::Unused => &mut self.unused,
        } = Some(mark);
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        for mark in [&self.expiring, &self.unused] {
            writer.option(mark.as_ref(), NoticeMark::write);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            expiring: reader.option(NoticeMark::read)?,
            unused: reader.option(NoticeMark::read)?,
        })
    }
}
