//! The requests of a company's keys as a chart of text, and what is left of its allowances.

use std::fmt::Write as _;

use keyway::{
    Keyring, KeyringError, TenantId,
    store::KeyQuery,
    usage::{Counts, Span},
};

/// Returns a line for each key of the tenant, with a mark for each request of the last 30 days, and a line for each
/// allowance.
pub async fn chart(keyring: &Keyring, tenant: &TenantId) -> Result<String, KeyringError> {
    let Some(usage) = keyring.usage() else { return Ok(String::new()) };
    // Requests are counted in memory, and reach the store with a flush.
    keyring.flush_uses().await?;
    let today = usage.today();
    let month = Span::days(today.plus(-29), today);
    let keys = keyring.tenant(tenant.clone()).list(&KeyQuery::all()).await?.items;
    let ids: Vec<_> = keys.iter().map(|key| key.id()).collect();
    let rows = usage.of_keys(tenant, &ids, month).await?;
    let mut chart = String::new();
    for key in &keys {
        let of_key = rows.iter().filter(|row| row.key == key.id());
        let Counts { admitted, forbidden, limited, .. } =
            of_key.fold(Counts::ZERO, |sum, row| sum.plus(row.counts));
        let marks =
            |mark: &str, count: u64| mark.repeat(usize::try_from(count.min(40)).unwrap_or(40));
        let bar = marks("█", admitted) + &marks("░", forbidden + limited);
        // Writing to a text cannot fail.
        let _ = writeln!(
            chart,
            "{:<18} {bar} {admitted} admitted, {forbidden} forbidden, {limited} above a limit",
            key.name()
        );
    }
    if let Some(limits) = keyring.limits() {
        for state in limits.of_tenant(tenant).await? {
            let _ = writeln!(chart, "{} left of {}", state.left(), state.allowance);
        }
    }
    Ok(chart)
}
