use keyway::IssuedKey;

fn second(issued: &IssuedKey) -> IssuedKey {
    issued.clone()
}

fn main() {}
