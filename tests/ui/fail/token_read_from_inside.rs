use keyway::OneTimeToken;

fn print(token: &OneTimeToken) {
    println!("{}", *token.0);
}

fn main() {}
