use keyway::OneTimeToken;

fn is_copied<T: Copy>() {}

fn main() {
    is_copied::<OneTimeToken>();
}
