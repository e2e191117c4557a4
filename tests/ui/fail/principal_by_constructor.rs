use std::sync::Arc;

use keyway::decision::{Principal, ResolvedKey};

fn pretend(key: Arc<ResolvedKey>) -> Principal {
    Principal::new(key, todo!())
}

fn main() {}
