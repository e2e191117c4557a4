//! Changes of many keys of one tenant: what a change would hit, and the change of exactly that.

use alloc::{string::String, vec::Vec};

use super::{KeyringError, TenantKeys};
use crate::{
    audit::ChangeKind,
    record::TenantId,
    store::{BrokenRow, KeyQuery},
    token::KeyId,
};

/// Keys that a query found, each in the version in which it was read. Created by [`TenantKeys::select`].
///
/// It is the dry run of a change of all of them: it lists what the change would hit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    tenant: TenantId,
    /// The keys, in the order of their creation.
    pub keys: Vec<SelectedKey>,
    /// The rows that cannot be shown. No change reaches them.
    pub broken: Vec<BrokenRow>,
    /// Whether all keys that match are in the selection. If not, select again after the change.
    pub complete: bool,
}

impl Selection {
    /// The maximum number of keys of a selection.
    pub const MAX: usize = 100_000;

    #[cfg(feature = "console")]
    pub(crate) fn of(tenant: TenantId, keys: Vec<SelectedKey>) -> Self {
        Self { tenant, keys, broken: Vec::new(), complete: true }
    }
}

/// A key of a [`Selection`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedKey {
    /// The id of the key.
    pub id: KeyId,
    /// The name of the key.
    pub name: String,
    /// The version in which it was read.
    pub version: u64,
}

/// The result of a change of many keys.
#[derive(Debug)]
#[non_exhaustive]
#[must_use = "some keys may not have been changed"]
pub struct BulkOutcome {
    /// The number of keys that are now as requested.
    pub done: usize,
    /// The keys that were changed or deleted by another caller since they were read. They are left as they are.
    pub changed_since: Vec<KeyId>,
    /// The error that ended the work early, if there was one. Select again, and repeat the change.
    pub error: Option<KeyringError>,
}

impl TenantKeys {
    /// Selects the keys that match `query`, for [`disable_all`](Self::disable_all) or [`delete_all`](Self::delete_all), and
    /// changes nothing. The position and the limit of the query are ignored.
    ///
    /// ```
    /// # use keyway::{Keyring, MemoryStore, NewKey, Pepper, Policy};
    /// use keyway::store::{KeyFilter, KeyQuery};
    ///
    /// # pollster::block_on(async {
    /// # let policy: Policy = serde_json::from_str(r#"{ "issuer": "mm", "scopes": [] }"#)?;
    /// # let keyring = Keyring::builder(policy, Pepper::from_bytes(&[7; 32])?)
    /// #     .environment("live").store(MemoryStore::new()).build()?;
    /// # let acme = keyring.create_empty_tenant("acme", "advanced").await?;
    /// # acme.issue(NewKey::named("laptop").owner("ann".parse()?)).await?;
    /// let of_ann = KeyQuery::all().matching(KeyFilter::all().owner("ann".parse()?));
    /// let selection = acme.select(&of_ann).await?;
    /// for key in &selection.keys {
    ///     println!("{} would be deleted", key.name);
    /// }
    /// let outcome = acme.delete_all(&selection).await?;
    /// assert_eq!((outcome.done, outcome.changed_since.len()), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// Like [`list`](Self::list).
    pub async fn select(&self, query: &KeyQuery) -> Result<Selection, KeyringError> {
        let (mut keys, mut broken) = (Vec::new(), Vec::new());
        let mut query = query.clone().restarted().limit(KeyQuery::MAX_LIMIT);
        loop {
            let page = self.list(&query).await?;
            keys.extend(page.items.into_iter().map(|key| SelectedKey {
                id: key.id,
                version: key.version,
                name: key.name,
            }));
            broken.extend(page.broken);
            let complete = page.next.is_none();
            match page.next {
                Some(next) if keys.len() < Selection::MAX => query = query.after(next),
                _ => return Ok(Selection { tenant: self.tenant.clone(), keys, broken, complete }),
            }
        }
    }

    /// Disables the selected keys, one after the other. A key that was changed since it was selected is left as it is.
    ///
    /// If the future is dropped, the keys that it has not reached stay as they are.
    ///
    /// # Errors
    ///
    /// [`KeyringError::NoKey`] if the selection is of another tenant. Other errors are in the outcome.
    pub async fn disable_all(&self, selection: &Selection) -> Result<BulkOutcome, KeyringError> {
        self.check_own(selection, ChangeKind::EditKey).await?;
        let mut outcome = BulkOutcome::new();
        for SelectedKey { id, version, .. } in &selection.keys {
            let disabled = self.disable_version(*id, *version).await;
            if !outcome.count(*id, disabled) {
                break;
            }
        }
        Ok(outcome)
    }

    /// Deletes the selected keys permanently, one after the other. A key that was changed since it was selected stays.
    ///
    /// If the future is dropped, the keys that it has not reached stay.
    ///
    /// # Errors
    ///
    /// Like [`disable_all`](Self::disable_all).
    pub async fn delete_all(&self, selection: &Selection) -> Result<BulkOutcome, KeyringError> {
        self.check_own(selection, ChangeKind::DeleteKey).await?;
        let mut outcome = BulkOutcome::new();
        for SelectedKey { id, version, .. } in &selection.keys {
            let deleted = self.delete_version(*id, *version).await;
            if !outcome.count(*id, deleted) {
                break;
            }
        }
        Ok(outcome)
    }

    async fn check_own(
        &self,
        selection: &Selection,
        change: ChangeKind,
    ) -> Result<(), KeyringError> {
        if selection.tenant == self.tenant {
            return Ok(());
        }
        self.audited(change, None, Err(KeyringError::NoKey)).await
    }
}

impl BulkOutcome {
    fn new() -> Self {
        Self { done: 0, changed_since: Vec::new(), error: None }
    }

    /// Adds the result for the key `id`. Returns whether the next key can be tried.
    fn count(&mut self, id: KeyId, done: Result<(), KeyringError>) -> bool {
        match done {
            Ok(()) => self.done += 1,
            Err(KeyringError::Conflict | KeyringError::NoKey) => self.changed_since.push(id),
            Err(error) => {
                self.error = Some(error);
                return false;
            }
        }
        true
    }
}
