//! Selection of the keys in a list, and the position at which its next page begins.

use alloc::{string::String, sync::Arc};
use core::num::NonZeroUsize;

use zeroize::Zeroizing;

use super::{KeyFilter, filter::TenantFacts};
use crate::{
    record::{KeyRecord, Owner},
    time::Timestamp,
    token::KeyId,
};

/// Selects which of a tenant's keys to list.
///
/// ```
/// use keyway::store::KeyQuery;
///
/// let query = KeyQuery::all().containing("nightly").limit(20);
/// assert_eq!(query.text(), Some("nightly"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Wiped on drop. A user may have pasted a token that is not recognized here, such as one of another
    /// environment.
    text: Option<Zeroizing<String>>,
    filter: KeyFilter,
    facts: Option<Arc<TenantFacts>>,
    after: Option<KeyCursor>,
    limit: NonZeroUsize,
}

impl KeyQuery {
    /// The maximum number of keys on one page.
    pub const MAX_LIMIT: usize = 1_000;

    /// Selects the first 100 keys.
    pub fn all() -> Self {
        Self {
            text: None,
            filter: KeyFilter::all(),
            facts: None,
            after: None,
            limit: NonZeroUsize::MIN.saturating_add(99),
        }
    }

    /// Selects only keys whose name, masked key or id contains `text`. The match is literal, and ASCII
    /// letters match in either case. No character has a special meaning.
    #[must_use]
    pub fn containing(mut self, text: impl Into<String>) -> Self {
        self.text = Some(Zeroizing::new(text.into()));
        self
    }

    /// Selects only keys that match `filter`. Replaces an earlier filter.
    #[must_use]
    pub fn matching(mut self, filter: KeyFilter) -> Self {
        self.filter = filter;
        self
    }

    /// Adds the facts about the tenant on which the filter depends.
    pub(crate) fn with_facts(mut self, facts: TenantFacts) -> Self {
        self.facts = Some(Arc::new(facts));
        self
    }

    /// Selects only keys of `owner` among those that are selected so far.
    pub(crate) fn owned_by(mut self, owner: &Owner) -> Self {
        self.filter = self.filter.owner(owner.clone());
        self
    }

    /// Selects only keys that follow this position of an earlier page.
    #[must_use]
    pub fn after(mut self, cursor: KeyCursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Selects from the first key on.
    pub(crate) fn restarted(mut self) -> Self {
        self.after = None;
        self
    }

    /// Sets the maximum number of keys, clamped to 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = NonZeroUsize::new(limit.min(Self::MAX_LIMIT)).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Raises the limit by one. The extra key shows whether there is another page.
    pub(crate) fn one_more(mut self) -> Self {
        self.limit = self.limit.saturating_add(1);
        self
    }

    /// Returns the search text.
    pub fn text(&self) -> Option<&str> {
        self.text.as_ref().map(|text| text.as_str())
    }

    /// Returns the position after which the page begins.
    pub fn cursor(&self) -> Option<KeyCursor> {
        self.after
    }

    /// Returns the maximum number of keys to return.
    pub fn max(&self) -> NonZeroUsize {
        self.limit
    }

    /// Returns the filter.
    pub fn filter(&self) -> &KeyFilter {
        &self.filter
    }

    /// Returns whether every key that an index of the tenant or of the owner finds is selected.
    #[cfg(feature = "postgres")]
    pub(crate) fn is_indexed(&self) -> bool {
        self.text.is_none() && self.filter.is_only_owner()
    }

    /// Returns the owner whose keys are selected, if the filter has one. A store may have an index for it.
    pub fn owner(&self) -> Option<&Owner> {
        self.filter.owner.as_ref()
    }

    /// Checks whether `key` contains the search text, matches the filter and follows the cursor. A store without its own indexes
    /// applies this to each of a tenant's keys.
    pub fn matches(&self, key: &KeyRecord) -> bool {
        let behind = self.after.is_none_or(|cursor| KeyCursor::of(key) > cursor);
        behind
            && self.filter.matches_in(key, self.facts.as_deref())
            && self.text().is_none_or(|text| {
                contains(&key.name, text)
                    || contains(&key.masked, text)
                    || contains(key.id.as_str(), text)
            })
    }
}

/// Checks whether `field` contains `text`. Only ASCII letters are compared without case, and nothing is
/// copied.
fn contains(field: &str, text: &str) -> bool {
    // A window that begins inside a character never matches: its first byte differs from the first byte of
    // any text.
    text.is_empty()
        || field
            .as_bytes()
            .windows(text.len())
            .any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}

impl Default for KeyQuery {
    fn default() -> Self {
        Self::all()
    }
}

/// The position of a key in the order of its tenant's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyCursor {
    /// The creation time of the key.
    pub created_at: Timestamp,
    /// The id of the key.
    pub id: KeyId,
}

impl KeyCursor {
    /// Returns the position of `key`.
    pub fn of(key: &KeyRecord) -> Self {
        Self { created_at: key.created_at, id: key.id }
    }
}
