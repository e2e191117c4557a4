//! The usage in SQL: the tables, and what both engines do with their rows.
//!
//! | `usage_days`, `usage_months` | |
//! |---|---|
//! | `tenant` | the text as bytes |
//! | `day` | the number of days since 1970-01-01; in `usage_months` that of the first day of the month |
//! | `key_id` | 16 bytes |
//! | `admitted`, `forbidden`, `limited` | the counts, from 0 to 2^63 - 1 |
//!
//! The primary key is `tenant`, `day`, `key_id`: a page reads keys of one tenant, a sum reads days of one tenant, and a copy
//! reads all rows in its order.
//! An index over `day`, `tenant`, `key_id` finds the days that are rolled up.
//!
//! | `usage_nodes` | |
//! |---|---|
//! | `node` | 16 bytes |
//! | `number` | the number of the last flush that was added |
//! | `day` | the day of this flush |

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use crate::{
    record::TenantId,
    store::StoreError,
    token::KeyId,
    usage::{Counts, Day, KeyUsage, Period, UsageFlush},
};

/// The place of a row in its table.
///
/// Its order is that in which transactions lock rows. With several orders, two transactions could wait for each other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct Place {
    pub(in crate::store) day: i32,
    pub(in crate::store) tenant: Vec<u8>,
    pub(in crate::store) key: Vec<u8>,
}

/// Rows of usage in the order of their places.
#[derive(Debug, Default)]
pub(in crate::store) struct UsageRows(BTreeMap<Place, Counts>);

impl UsageRows {
    pub(in crate::store) fn of(usage: &[KeyUsage]) -> Self {
        let mut rows = Self::default();
        for row in usage {
            let place = Place {
                day: row.day.number(),
                tenant: row.tenant.as_str().as_bytes().to_vec(),
                key: row.key.as_bytes().to_vec(),
            };
            rows.add(place, row.counts);
        }
        rows
    }

    pub(in crate::store) fn add(&mut self, place: Place, counts: Counts) {
        let sum = self.0.entry(place).or_default();
        *sum = sum.plus(counts);
    }

    /// Returns the sums of these days in their months.
    pub(in crate::store) fn to_months(&self) -> Self {
        let mut months = Self::default();
        for (place, counts) in &self.0 {
            // Another program may have written a day that does not exist. It is moved as it is.
            let month = Day::from_number(place.day).map(|day| day.first_of_month().number());
            months.add(Place { day: month.unwrap_or(place.day), ..place.clone() }, *counts);
        }
        months
    }

    pub(in crate::store) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(feature = "postgres")]
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the places in ascending order, each with the columns of its counts.
    pub(in crate::store) fn iter(&self) -> impl Iterator<Item = (&Place, [i64; 3])> {
        self.0.iter().map(|(place, counts)| (place, columns(*counts)))
    }
}

/// Converts counts for SQL. A count that does not fit becomes the largest one that does.
fn columns(counts: Counts) -> [i64; 3] {
    [counts.admitted, counts.forbidden, counts.limited]
        .map(|count| i64::try_from(count).unwrap_or(i64::MAX))
}

/// Converts counts from SQL. A negative count was written by another program and is none.
pub(in crate::store) fn counts(columns: [i64; 3]) -> Counts {
    Counts::from(columns.map(|column| u64::try_from(column).unwrap_or(0)))
}

/// Rows that were read, summed into periods.
#[derive(Debug)]
pub(in crate::store) struct Sums<K> {
    period: Period,
    rows: BTreeMap<(Day, K), Counts>,
}

impl<K: Ord> Sums<K> {
    pub(in crate::store) fn new(period: Period) -> Self {
        Self { period, rows: BTreeMap::new() }
    }

    pub(in crate::store) fn add(&mut self, day: i32, key: K, counts: Counts) {
        let Some(day) = Day::from_number(day) else { return };
        let day = match self.period {
            Period::Day => day,
            Period::Month => day.first_of_month(),
        };
        let sum = self.rows.entry((day, key)).or_default();
        *sum = sum.plus(counts);
    }

    /// Returns the sums that are not zero, in ascending order.
    pub(in crate::store) fn into_rows(self) -> impl Iterator<Item = (Day, K, Counts)> {
        let rows = self.rows.into_iter().filter(|(_, counts)| *counts != Counts::ZERO);
        rows.map(|((day, key), counts)| (day, key, counts))
    }
}

/// Returns the number of a flush for SQL. No node makes so many flushes that it does not fit.
pub(in crate::store) fn number(flush: &UsageFlush) -> i64 {
    i64::try_from(flush.number).unwrap_or(i64::MAX)
}

/// Returns the keys in ascending order, each once. A join with a key that is named twice would count it twice.
pub(in crate::store) fn distinct(keys: &[KeyId]) -> Vec<KeyId> {
    keys.iter().copied().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Returns the tenant, the day and the key after which a page of rows begins. No tenant has an empty id, so it begins with
/// the first row without `after`.
pub(in crate::store) fn start(after: Option<&KeyUsage>) -> (Vec<u8>, i32, Vec<u8>) {
    after.map_or((Vec::new(), i32::MIN, Vec::new()), |row| {
        (blob(&row.tenant), row.day.number(), row.key.as_bytes().to_vec())
    })
}

/// Returns a row with all of its columns.
pub(in crate::store) fn usage_row(
    Place { day, tenant, key }: &Place,
    counts: Counts,
) -> Result<KeyUsage, StoreError> {
    let tenant = tenant_of(tenant);
    let key = <&[u8; 16]>::try_from(&**key).ok().copied().and_then(KeyId::from_bytes);
    let row = (tenant, key, Day::from_number(*day));
    let (Some(tenant), Some(key), Some(day)) = row else {
        return Err(StoreError::unavailable("a row of the usage cannot be read"));
    };
    Ok(KeyUsage { tenant, key, day, counts })
}

/// Returns the tenant of a column, or `None` if another program wrote an id that no tenant can have.
pub(in crate::store) fn tenant_of(column: &[u8]) -> Option<TenantId> {
    TenantId::stored(str::from_utf8(column).ok()?).ok()
}

/// Returns the id of a tenant as its column holds it.
pub(in crate::store) fn blob(tenant: &TenantId) -> Vec<u8> {
    tenant.as_str().as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_that_do_not_fit_are_the_largest() {
        let huge = Counts { admitted: u64::MAX, forbidden: 1 << 63, limited: (1 << 63) - 1 };
        assert_eq!(columns(huge), [i64::MAX; 3]);
        assert_eq!(counts([-1, i64::MIN, 3]), Counts { limited: 3, ..Counts::ZERO });
    }

    #[test]
    fn row_of_a_day_that_does_not_exist_is_moved_once() {
        let mut rows = UsageRows::default();
        let one = Counts { admitted: 1, ..Counts::ZERO };
        let place = |day| Place { day, tenant: b"acme".to_vec(), key: b"k".to_vec() };
        for day in [i32::MIN, 0, 30, 31] {
            rows.add(place(day), one);
        }
        let months = rows.to_months();
        let months: Vec<_> = months.iter().map(|(place, [sum, ..])| (place.day, sum)).collect();
        assert_eq!(months, [(i32::MIN, 1), (0, 2), (31, 1)]);
    }
}
