//! A point in time.

use core::time::Duration;

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Its range is the years 1 to 9999, in which every value has an RFC 3339 text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub(super) i64);

impl Timestamp {
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Returns the time `millis` milliseconds after 1970, or `None` outside [`MIN`](Self::MIN) to
    /// [`MAX`](Self::MAX).
    pub const fn from_millis(millis: i64) -> Option<Self> {
        if millis < Self::MIN.0 || millis > Self::MAX.0 {
            return None;
        }
        Some(Self(millis))
    }

    /// Returns the nearest time in range to `millis` milliseconds after 1970.
    pub const fn saturating_from_millis(millis: i64) -> Self {
        match Self::from_millis(millis) {
            Some(time) => time,
            None if millis < 0 => Self::MIN,
            None => Self::MAX,
        }
    }

    /// Returns the milliseconds since 1970, which are negative before it.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this time plus `duration` (rounded down to a millisecond), or `None` past [`MAX`](Self::MAX).
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        Self::from_millis(self.0.checked_add(millis)?)
    }

    /// Returns this time minus `duration` (rounded down to a millisecond), or [`MIN`](Self::MIN) before that.
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::saturating_from_millis(self.0.saturating_sub(millis))
    }

    /// Returns the time from `earlier` to this one, or zero if `earlier` is later.
    pub fn saturating_since(self, earlier: Self) -> Duration {
        // Both are within a range whose width fits an `i64`.
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(not(feature = "std"))]
impl core::fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}ms", self.0)
    }
}
