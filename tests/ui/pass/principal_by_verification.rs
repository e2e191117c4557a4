use std::sync::Arc;

use keyway::{
    decision::{Denial, Principal, ResolvedKey, decide},
    time::Timestamp,
    token::Claim,
};

fn verified(claim: &Claim, key: &Arc<ResolvedKey>) -> Result<Principal, Denial> {
    decide(claim, key, Timestamp::MAX)
}

fn main() {}
