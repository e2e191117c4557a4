//! The slices that a node holds of the allowances of one tenant.

use alloc::vec::Vec;
use core::time::Duration;

use crate::{
    store::Leased,
    tier::{Allowance, Window},
    time::{Moment, Timestamp},
};

/// A slice that is used up within this time, in milliseconds, makes the next one twice as large.
const SHORT: u64 = 1_000;

/// A slice that lasts longer than this time, in milliseconds, is followed by one of the [first size](Slice::first_size).
const LONG: u64 = 10_000;

/// A request that comes later than this time after the one before, in milliseconds, leases only its own units. The
/// rest of a larger slice would be returned unused.
const QUIET: u64 = 20_000;

/// The most units of a slice that follows a pause.
const FIRST: u64 = 32;

/// The time in milliseconds for which an allowance that was used up is not asked for again.
const REFUSED_FOR: u64 = 1_000;

/// The windows in which a request was counted.
pub(crate) type Counted = [Option<Window>; Allowance::MAX];

/// The result of an attempt to take units.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// The units were taken from each allowance.
    Taken(Counted),
    /// Nothing was taken. A slice has to be leased first.
    Short,
    /// Nothing was taken. An allowance has not enough units left.
    UsedUp(UsedUp),
}

/// An allowance that has not enough units left for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http"), allow(dead_code, reason = "responses show all fields"))]
pub(crate) struct UsedUp {
    pub(crate) allowance: Allowance,
    pub(crate) window: Window,
    /// The units that are left, fewer than the request needs.
    pub(crate) left: u64,
    /// The time until the next window.
    pub(crate) retry_after: Duration,
}

/// A lease that the store is to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    pub(crate) window: Window,
    pub(crate) units: u64,
    pub(crate) limit: u64,
}

/// The slices of one tenant, one for each of its allowances.
#[derive(Debug, Default)]
pub(crate) struct Slices(Vec<Slice>);

#[derive(Debug)]
struct Slice {
    allowance: Allowance,
    window: Window,
    /// The units that are leased and not used.
    units: u64,
    /// The units that were used without a lease.
    owed: u64,
    /// The units that are used or leased by all nodes, when the store was last asked.
    used: u64,
    /// The units of the last lease that was asked for, and the uptime of the response.
    last: Option<(u64, u64)>,
    /// The uptime of the last request that took units.
    taken_at: u64,
    /// The uptime at which the store had fewer units than were asked for.
    refused_at: Option<u64>,
}

impl Slice {
    fn new(allowance: Allowance, now: Timestamp) -> Self {
        Self {
            allowance,
            window: Window::of(allowance.period, now),
            units: 0,
            owed: 0,
            used: 0,
            last: None,
            taken_at: 0,
            refused_at: None,
        }
    }

    fn is_refused(&self, uptime: u64) -> bool {
        self.refused_at.is_some_and(|at| uptime.saturating_sub(at) < REFUSED_FOR)
    }

    /// Returns the units to lease for a request that needs `units` and is waiting for them.
    fn want(&self, units: u64, uptime: u64) -> u64 {
        let needed = units.saturating_sub(self.units).saturating_add(self.owed);
        let most = (self.allowance.units / 64).min(self.left() / 8);
        let next = match self.last {
            Some((size, at)) if !self.is_quiet(uptime) => {
                self.first_size().max(match uptime.saturating_sub(at) {
                    0..SHORT => size.saturating_mul(2),
                    SHORT..LONG => size,
                    _ => 0,
                })
            }
            _ => 0,
        };
        needed.max(next.min(most))
    }

    /// Returns the units that were left when the store was last asked.
    fn left(&self) -> u64 {
        self.allowance.units.saturating_sub(self.used)
    }

    /// Returns the units of a slice that follows a pause. A node that uses them slowly withholds little of what is left from
    /// the others.
    fn first_size(&self) -> u64 {
        (self.left() / 1_024).min(FIRST)
    }

    fn is_quiet(&self, uptime: u64) -> bool {
        uptime.saturating_sub(self.taken_at) >= QUIET
    }

    /// Adds units that this node may use. They pay for what is owed first.
    fn add(&mut self, units: u64) {
        let paid = units.min(self.owed);
        self.owed -= paid;
        self.units = self.units.saturating_add(units - paid);
    }

    /// Uses units, also those that are not there.
    fn charge(&mut self, units: u64) {
        let paid = units.min(self.units);
        self.units -= paid;
        self.owed = self.owed.saturating_add(units - paid);
    }
}

impl Slices {
    /// Sets the allowances. The slice of an allowance with the same period stays.
    #[inline]
    pub(crate) fn set(&mut self, allowances: &[Allowance], now: Timestamp) {
        let is_same = |slice: &Slice, allowance| slice.allowance == allowance;
        let mut pairs = self.0.iter().zip(allowances);
        if self.0.len() != allowances.len()
            || !pairs.all(|(slice, allowance)| is_same(slice, *allowance))
        {
            self.replace(allowances, now);
        }
    }

    #[cold]
    fn replace(&mut self, allowances: &[Allowance], now: Timestamp) {
        let mut before = core::mem::take(&mut self.0);
        self.0.extend(allowances.iter().map(|allowance| {
            let place = before.iter().position(|slice| slice.allowance.period == allowance.period);
            let mut slice = place
                .map_or_else(|| Slice::new(*allowance, now), |place| before.swap_remove(place));
            slice.allowance = *allowance;
            slice.refused_at = None;
            slice
        }));
    }

    /// Takes `units` from each slice, or nothing.
    #[inline]
    pub(crate) fn take(&mut self, units: u64, moment: Moment) -> Take {
        let mut is_short = false;
        for slice in &mut self.0 {
            if !slice.window.contains(moment.now) {
                // The units of the former window cannot be used any more, and its debts end with it.
                *slice = Slice::new(slice.allowance, moment.now);
            }
            is_short |= slice.units < units;
        }
        if is_short {
            return self.used_up(units, moment).map_or(Take::Short, Take::UsedUp);
        }
        let mut counted = [None; Allowance::MAX];
        for (slice, counted) in self.0.iter_mut().zip(&mut counted) {
            slice.units -= units;
            slice.taken_at = moment.uptime;
            *counted = Some(slice.window);
        }
        Take::Taken(counted)
    }

    /// Returns the allowance that refuses a request for these units. If several do, it is the one whose window ends last.
    #[cold]
    fn used_up(&self, units: u64, moment: Moment) -> Option<UsedUp> {
        let refuses = |slice: &&Slice| {
            units > slice.allowance.units
                || (slice.units < units && slice.is_refused(moment.uptime))
        };
        let last = self.0.iter().filter(refuses).max_by_key(|slice| slice.window.end())?;
        Some(UsedUp {
            allowance: last.allowance,
            window: last.window,
            left: last.units,
            retry_after: last.window.rest(moment.now),
        })
    }

    /// Returns the leases that a request for these units waits for.
    pub(crate) fn wants(&self, units: u64, moment: Moment) -> Vec<Want> {
        let short = self.0.iter().filter(|slice| slice.units < units);
        let want = |slice: &Slice| Want {
            window: slice.window,
            units: slice.want(units, moment.uptime),
            limit: slice.allowance.units,
        };
        short.map(want).collect()
    }

    /// Returns the lease that pays for what was used in a window without one, if anything was.
    pub(crate) fn debt(&mut self, window: Window) -> Option<Want> {
        let slice = self.in_window(window).filter(|slice| slice.owed > 0)?;
        Some(Want { window, units: slice.owed, limit: slice.allowance.units })
    }

    /// Adds a lease. It is lost if its window has ended.
    pub(crate) fn add(&mut self, want: Want, leased: Leased, uptime: u64) {
        let Some(slice) = self.in_window(want.window) else { return };
        let granted = leased.granted.min(want.units);
        slice.add(granted);
        slice.used = leased.used;
        slice.last = Some((want.units, uptime));
        slice.refused_at = (granted < want.units).then_some(uptime);
    }

    /// Counts `units` without a lease, where none can be had.
    pub(crate) fn take_without_lease(&mut self, units: u64) -> Counted {
        let mut counted = [None; Allowance::MAX];
        for (slice, counted) in self.0.iter_mut().zip(&mut counted) {
            slice.charge(units);
            *counted = Some(slice.window);
        }
        counted
    }

    /// Corrects a request that was counted with `reserved` units and has used `actual` ones. Windows that have ended stay as
    /// they are.
    pub(crate) fn settle(&mut self, counted: &Counted, reserved: u64, actual: u64) {
        for window in counted.iter().flatten() {
            if let Some(slice) = self.in_window(*window) {
                if actual < reserved {
                    slice.add(reserved - actual);
                } else {
                    slice.charge(actual - reserved);
                }
            }
        }
    }

    /// Returns the windows that have not ended at `now`.
    pub(crate) fn windows(&self, now: Timestamp) -> Vec<Window> {
        self.0.iter().map(|slice| slice.window).filter(|window| window.contains(now)).collect()
    }

    /// Takes out the units of a window that are not used, for the store.
    pub(crate) fn take_unused(&mut self, window: Window) -> u64 {
        let Some(slice) = self.in_window(window) else { return 0 };
        if slice.units > 0 {
            // The store has these units again, also if it had none when it was last asked.
            slice.refused_at = None;
        }
        core::mem::take(&mut slice.units)
    }

    /// Returns whether nothing is held, owed or known to be useful in a window that has not ended.
    pub(crate) fn is_idle(&self, moment: Moment) -> bool {
        let is_idle =
            |slice: &Slice| slice.units == 0 && slice.owed == 0 && slice.is_quiet(moment.uptime);
        self.0.iter().all(|slice| is_idle(slice) || !slice.window.contains(moment.now))
    }

    fn in_window(&mut self, window: Window) -> Option<&mut Slice> {
        self.0.iter_mut().find(|slice| slice.window == window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 6_400;

    fn moment(millis: u64) -> Moment {
        let now = Timestamp::saturating_from_millis(i64::try_from(millis).unwrap());
        Moment { now, uptime: millis }
    }

    fn slices(allowances: &[Allowance]) -> Slices {
        let mut slices = Slices::default();
        slices.set(allowances, moment(0).now);
        slices
    }

    /// Leases what a request wants from a store in which `used` units are used.
    fn lease(slices: &mut Slices, used: &mut u64, units: u64, millis: u64) -> u64 {
        let wants = slices.wants(units, moment(millis));
        let mut all = 0;
        for want in wants {
            let granted = want.units.min(want.limit.saturating_sub(*used));
            *used += granted;
            all += want.units;
            slices.add(want, Leased { granted, used: *used }, millis);
        }
        all
    }

    #[test]
    fn slices_grow_with_use_and_shrink_with_what_is_left() {
        let mut slices = slices(&[Allowance::per_month(LIMIT)]);
        let (mut used, mut sizes) = (0, Vec::new());
        for _ in 0..10 {
            assert_eq!(slices.take(1, moment(0)), Take::Short);
            sizes.push(lease(&mut slices, &mut used, 1, 0));
            while matches!(slices.take(1, moment(0)), Take::Taken(_)) {}
        }
        assert_eq!(sizes, [1, 6, 12, 24, 48, 96, 100, 100, 100, 100]);
        // A slice that lasts ten seconds is followed by a small one.
        assert_eq!(lease(&mut slices, &mut used, 1, 19_999), 5);
        while matches!(slices.take(1, moment(19_999)), Take::Taken(_)) {}
        // After a pause of the tenant the node begins again.
        assert_eq!(lease(&mut slices, &mut used, 1, 39_999), 1);
        assert!(matches!(slices.take(1, moment(39_999)), Take::Taken(_)));
        slices.0[0].taken_at = 20_000;
        for (before, size) in [(LIMIT - 80, 10), (LIMIT - 8, 1), (LIMIT - 3, 1)] {
            slices.0[0].used = before;
            slices.0[0].last = Some((64, 20_000));
            assert_eq!(slices.0[0].want(1, 20_000), size);
        }
        // A request always gets what it needs.
        assert_eq!(slices.0[0].want(7, 20_000), 7);
    }

    #[test]
    fn slow_tenant_leases_for_the_requests_of_a_minute() {
        const MANY: u64 = 1 << 20;
        let mut slices = slices(&[Allowance::per_month(MANY)]);
        let (mut used, mut leases) = (0, Vec::new());
        // A request each eight seconds. Each minute returns what is left.
        for second in (0..180).step_by(8) {
            let millis = second * 1_000;
            if slices.take(1, moment(millis)) == Take::Short {
                leases.push((second, lease(&mut slices, &mut used, 1, millis)));
                assert!(matches!(slices.take(1, moment(millis)), Take::Taken(_)));
            }
            if second % 60 >= 52 {
                let window = slices.0[0].window;
                used -= slices.take_unused(window);
                assert!(!slices.is_idle(moment(millis)));
            }
        }
        assert_eq!(leases, [(0, 1), (8, 32), (64, 32), (120, 32)]);
        // With a request each 20 seconds, most of a larger slice would be returned.
        let window = slices.0[0].window;
        slices.take_unused(window);
        assert!(slices.is_idle(moment(196_000)));
        assert_eq!(lease(&mut slices, &mut used, 1, 196_000), 1);
    }

    #[test]
    fn request_takes_from_all_slices_or_from_none() {
        let both = [Allowance::per_month(10), Allowance::per_seconds(3, 60)];
        let mut slices = slices(&both);
        let (mut month, mut minute) = (0, 0);
        let mut try_take = |slices: &mut Slices, millis| {
            if slices.take(1, moment(millis)) == Take::Short {
                for want in slices.wants(1, moment(millis)) {
                    let used = if want.limit == 10 { &mut month } else { &mut minute };
                    let granted = want.units.min(want.limit.saturating_sub(*used));
                    *used += granted;
                    slices.add(want, Leased { granted, used: *used }, millis);
                }
            }
            slices.take(1, moment(millis))
        };
        let mut taken = 0;
        let refusal = loop {
            match try_take(&mut slices, 0) {
                Take::Taken(_) => taken += 1,
                Take::UsedUp(refusal) => break refusal,
                Take::Short => panic!("the store has replied"),
            }
        };
        assert_eq!(taken, 3);
        assert_eq!((refusal.allowance, refusal.left), (both[1], 0));
        assert_eq!(refusal.retry_after, Duration::from_secs(60));
        // The slice of the month is still held.
        let held =
            slices.windows(moment(0).now).into_iter().map(|window| slices.take_unused(window));
        assert_eq!(held.sum::<u64>() + 3, month);
    }

    #[test]
    fn refused_allowance_is_asked_for_again_after_a_second() {
        let mut slices = slices(&[Allowance::per_month(1)]);
        let mut used = 1;
        assert_eq!(slices.take(1, moment(5_000)), Take::Short);
        lease(&mut slices, &mut used, 1, 5_000);
        for millis in [5_000, 5_999] {
            assert!(matches!(slices.take(1, moment(millis)), Take::UsedUp(_)));
        }
        assert_eq!(slices.take(1, moment(6_000)), Take::Short);
    }

    #[test]
    fn debts_are_paid_by_the_next_lease() {
        let mut slices = slices(&[Allowance::per_month(LIMIT)]);
        let counted = slices.take_without_lease(5);
        slices.settle(&counted, 5, 8);
        assert_eq!((slices.0[0].units, slices.0[0].owed), (0, 8));
        assert_eq!(slices.debt(counted[0].unwrap()).unwrap().units, 8);
        let mut used = 0;
        assert_eq!(lease(&mut slices, &mut used, 2, 0), 10);
        assert_eq!((slices.0[0].units, slices.0[0].owed), (2, 0));
        // A refund pays for what is owed as well.
        slices.settle(&counted, 0, 5);
        slices.settle(&counted, 5, 0);
        assert_eq!((slices.0[0].units, slices.0[0].owed), (2, 0));
    }

    #[test]
    fn what_belongs_to_a_former_window_is_forgotten() {
        let mut slices = slices(&[Allowance::per_seconds(100, 1)]);
        let mut used = 0;
        let counted = slices.take_without_lease(7);
        lease(&mut slices, &mut used, 3, 0);
        let late = Want { window: slices.0[0].window, units: 9, limit: 100 };
        assert_eq!(slices.take(1, moment(1_000)), Take::Short);
        slices.settle(&counted, 7, 0);
        slices.add(late, Leased { granted: 9, used: 9 }, 1_000);
        assert_eq!((slices.0[0].units, slices.0[0].owed), (0, 0));
        assert!(slices.is_idle(Moment { now: moment(1_000).now, uptime: QUIET }));
    }

    #[test]
    fn allowances_with_the_same_period_keep_their_slices() {
        let mut slices = slices(&[Allowance::per_month(9), Allowance::per_seconds(5, 60)]);
        slices.0[0].units = 4;
        slices.set(&[Allowance::per_seconds(6, 60), Allowance::per_month(20)], moment(0).now);
        let held: Vec<_> =
            slices.0.iter().map(|slice| (slice.allowance.units, slice.units)).collect();
        assert_eq!(held, [(6, 0), (20, 4)]);
    }
}
