use keyway::token::OneTimeToken;

fn print(token: &OneTimeToken) {
    println!("{token}");
}

fn main() {}
