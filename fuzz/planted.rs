//! Switches on the planted fault of a target. A campaign that finds nothing must be shown able to find
//! something. The committed corpus finds none of the planted faults.

use std::{env, sync::LazyLock};

/// Returns whether `KEYWAY_PLANTED` is set.
pub(crate) fn is_planted() -> bool {
    static IS_PLANTED: LazyLock<bool> = LazyLock::new(|| env::var_os("KEYWAY_PLANTED").is_some());
    *IS_PLANTED
}
