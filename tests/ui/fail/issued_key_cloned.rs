use keyway::keyring::IssuedKey;

fn second(issued: &IssuedKey) -> IssuedKey {
    issued.clone()
}

fn main() {}
