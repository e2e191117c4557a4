use keyway::OneTimeToken;

fn same(left: &OneTimeToken, right: &OneTimeToken) -> bool {
    left == right
}

fn main() {}
