use keyway::Pepper;

fn show(pepper: &Pepper) -> String {
    pepper.to_string()
}

fn is_cloned<T: Clone>() {}

fn main() {
    is_cloned::<Pepper>();
}
