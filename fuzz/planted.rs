//! Whether the fault of this target is planted: a campaign that finds nothing has to be shown able to find
//! something. None of the faults is seen in the committed corpus.

use std::{env, sync::LazyLock};

/// `KEYWAY_PLANTED` brings it in.
pub(crate) fn is_planted() -> bool {
    static IS_PLANTED: LazyLock<bool> = LazyLock::new(|| env::var_os("KEYWAY_PLANTED").is_some());
    *IS_PLANTED
}
