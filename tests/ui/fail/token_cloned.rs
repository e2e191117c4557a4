use keyway::OneTimeToken;

fn second(token: &OneTimeToken) -> OneTimeToken {
    token.clone()
}

fn main() {}
