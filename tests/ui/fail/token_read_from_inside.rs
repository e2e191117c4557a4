use keyway::OneTimeToken;

fn print(token: &OneTimeToken) {
    println!("{}", *token.text);
}

fn main() {}
