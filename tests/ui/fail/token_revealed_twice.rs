use keyway::OneTimeToken;

fn twice(token: OneTimeToken) {
    let _ = token.reveal();
    let _ = token.reveal();
}

fn main() {}
