use keyway::OneTimeToken;
use zeroize::Zeroizing;

fn main() {
    let _ = OneTimeToken::new(Zeroizing::new(String::new()));
}
