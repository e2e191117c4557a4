//! Points in time, and the clock that reads them.

#[cfg(feature = "std")]
mod clock;
#[cfg(feature = "std")]
mod rfc3339;
mod span;
pub(crate) mod timestamp;

#[cfg(feature = "std")]
pub use self::clock::{ManualClock, SystemClock};
pub(crate) use self::span::Span;
pub(crate) use self::timestamp::Timestamp;

/// One reading of a [`Clock`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day. An administrator may set it, so it can go back.
    pub now: Timestamp,
    /// The time since a fixed start, in milliseconds. It never goes back. The ages of cached keys are
    /// measured with it.
    pub uptime: u64,
}

/// A source of time.
///
/// Applications rarely implement it: `SystemClock` is the default, and `ManualClock` is for tests.
pub trait Clock: Send + Sync + 'static {
    /// Returns the present moment. It is called once per verification, and twice more where a rate is
    /// counted.
    fn moment(&self) -> Moment;
}
