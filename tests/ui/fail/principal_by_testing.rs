use keyway::{Policy, Principal, testing};

fn pretend(policy: &Policy) -> Principal {
    testing::caller("acme").build(policy).unwrap()
}

fn main() {}
