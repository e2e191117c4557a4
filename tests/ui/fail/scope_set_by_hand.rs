use keyway::scope::ScopeSet;

fn main() {
    let _ = ScopeSet::new([u64::MAX; 4], 0);
    let _ = ScopeSet::default();
}
