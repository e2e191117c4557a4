use keyway::OneTimeToken;

fn print(token: &OneTimeToken) {
    println!("{token}");
}

fn main() {}
