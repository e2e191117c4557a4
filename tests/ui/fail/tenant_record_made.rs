use keyway::{record::TenantRecord, time::Timestamp};

fn main() {
    let _ = TenantRecord::new("acme".parse().unwrap(), "advanced".into(), Timestamp::MAX);
}
