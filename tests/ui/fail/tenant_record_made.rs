use keyway::{Timestamp, record::TenantRecord};

fn main() {
    let _ = TenantRecord::new("acme".parse().unwrap(), "advanced".into(), Timestamp::MAX);
}
