use keyway::{KeyRecord, Timestamp};

fn extend(key: &mut KeyRecord) {
    key.expires_at = Some(Timestamp::MAX);
}

fn main() {}
