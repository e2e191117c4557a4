use keyway::token::{Claim, KeyId};

fn pretend(id: KeyId) -> Claim {
    Claim { id, digest: todo!() }
}

fn main() {}
