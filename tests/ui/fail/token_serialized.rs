use keyway::OneTimeToken;

fn is_serialized<T: serde::Serialize>() {}

fn main() {
    is_serialized::<OneTimeToken>();
}
