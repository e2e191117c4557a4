use std::sync::Arc;

use keyway::{
    Principal, Timestamp,
    lowlevel::{CheckedToken, Denial, ResolvedKey, decide},
};

fn verified(claim: &CheckedToken, key: &Arc<ResolvedKey>) -> Result<Principal, Denial> {
    decide(claim, key, Timestamp::MAX)
}

fn main() {}
