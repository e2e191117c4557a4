use keyway::KeyRecord;

fn raise(key: KeyRecord) -> KeyRecord {
    KeyRecord { enabled: true, ..key }
}

fn main() {}
