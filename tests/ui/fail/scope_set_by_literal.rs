use keyway::scope::ScopeSet;

fn main() {
    let _ = ScopeSet { bits: [u64::MAX; 4], catalog: 0 };
}
