use std::sync::Arc;

use keyway::decision::{Principal, ResolvedKey};

fn pretend(key: Arc<ResolvedKey>) -> Principal {
    Principal { key, proof: todo!() }
}

fn main() {}
