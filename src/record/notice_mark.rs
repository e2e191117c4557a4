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
    /// The key has not been used for long, and will be disabled for that.
    Idle,
}

/// A notice that was sent, or that a node is sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoticeMark {
    /// The end of the key, or its last use. With another one, there is another notice.
    pub(crate) about: Timestamp,
    pub(crate) state: NoticeState,
}

/// How far a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoticeState {
    /// A node is sending it until this time.
    ClaimedUntil(Timestamp),
    /// It was confirmed as sent at this time.
    SentAt(Timestamp),
}

/// The latest notice of each kind about a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NoticeMarks {
    expiring: Option<NoticeMark>,
    unused: Option<NoticeMark>,
    idle: Option<NoticeMark>,
}

impl NoticeMark {
    /// Returns whether no node may send this notice at `now`.
    #[cfg(feature = "std")]
    pub(crate) fn is_taken(&self, now: Timestamp) -> bool {
        match self.state {
            NoticeState::ClaimedUntil(until) => now < until,
            NoticeState::SentAt(_) => true,
        }
    }

    /// Returns when the notice was sent.
    #[cfg(feature = "std")]
    pub(crate) fn sent_at(&self) -> Option<Timestamp> {
        match self.state {
            NoticeState::ClaimedUntil(_) => None,
            NoticeState::SentAt(at) => Some(at),
        }
    }

    fn write(writer: &mut Writer, mark: &Self) {
        writer.time(mark.about);
        let (is_sent, at) = match mark.state {
            NoticeState::ClaimedUntil(until) => (false, until),
            NoticeState::SentAt(at) => (true, at),
        };
        writer.bool(is_sent);
        writer.time(at);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let about = reader.time()?;
        let state = if reader.bool()? { NoticeState::SentAt } else { NoticeState::ClaimedUntil };
        Some(Self { about, state: state(reader.time()?) })
    }
}

impl NoticeMarks {
    /// Returns the latest notice of this kind.
    #[cfg(feature = "std")]
    pub(crate) fn of(&self, kind: NoticeKind) -> Option<&NoticeMark> {
        match kind {
            NoticeKind::Expiring => self.expiring.as_ref(),
            NoticeKind::Unused => self.unused.as_ref(),
            NoticeKind::Idle => self.idle.as_ref(),
        }
    }

    /// Replaces the latest notice of this kind.
    #[cfg(feature = "std")]
    pub(crate) fn set(&mut self, kind: NoticeKind, mark: NoticeMark) {
        *match kind {
            NoticeKind::Expiring => &mut self.expiring,
            NoticeKind::Unused => &mut self.unused,
            NoticeKind::Idle => &mut self.idle,
        } = Some(mark);
    }

    /// Forgets that the key will be disabled for not being used. Another notice comes before that.
    pub(crate) fn forget_idle(&mut self) {
        self.idle = None;
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        for mark in [&self.expiring, &self.unused, &self.idle] {
            writer.option(mark.as_ref(), NoticeMark::write);
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            expiring: reader.option(NoticeMark::read)?,
            unused: reader.option(NoticeMark::read)?,
            idle: reader.option(NoticeMark::read)?,
        })
    }
}
