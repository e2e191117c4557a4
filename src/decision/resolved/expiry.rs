//! The time at which a token of a key is no longer accepted.

use super::ResolvedKey;
use crate::time::Timestamp;

impl ResolvedKey {
    /// Returns the time from which a token that is accepted at `now` is no longer accepted, unless the key is changed
    /// before. `None` if there is no such time.
    ///
    /// `is_older` is whether the token has a secret from before a rotation. Which of them it has is not known, so the
    /// earliest end counts. The first use of a newer secret may end it before.
    pub(crate) fn token_expiry(&self, is_older: bool, now: Timestamp) -> Option<Timestamp> {
        let rare = self.rare.as_deref().filter(|_| is_older);
        let older = rare.map_or(&[][..], |rare| &rare.older);
        let ends = older.iter().filter(|older| older.is_accepted(now));
        let end = ends.map(|older| older.until.as_millis()).min().unwrap_or(i64::MAX);
        match end.min(self.expires_at) {
            i64::MAX => None,
            end => Timestamp::from_millis(end),
        }
    }
}
