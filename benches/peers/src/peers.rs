//! The compared libraries, each with 64 keys that expire in a year if the library's keys can expire.

mod argon;
mod biscuit;
mod jwt;
#[cfg(feature = "modo-rs")]
mod modo;
mod ours;
mod prefixed;
#[cfg(feature = "rskit-auth")]
mod rskit;
mod simplified;

use std::time::{Duration, SystemTime};

use crate::harness::{Case, KEYS};

/// A library, or one way of using it.
pub struct Peer {
    pub name: &'static str,
    /// The crates whose versions the report names.
    pub crates: &'static [&'static str],
    /// The checks of a verification, and those that it leaves out.
    pub checks: &'static str,
    pub verify: Case,
    /// A well-formed token that was never issued, nor any part of it.
    pub made_up: Option<Case>,
    /// The public part of an issued token with another secret.
    pub wrong_secret: Option<Case>,
}

impl Peer {
    fn new(
        name: &'static str,
        crates: &'static [&'static str],
        checks: &'static str,
        verify: impl FnMut(usize) -> bool + 'static,
    ) -> Self {
        Self {
            name,
            crates,
            checks,
            verify: Case::new(format!("{name}, verify"), true, verify),
            made_up: None,
            wrong_secret: None,
        }
    }

    fn made_up(mut self, refuse: impl FnMut(usize) -> bool + 'static) -> Self {
        self.made_up = Some(Case::new(format!("{}, made-up", self.name), false, refuse));
        self
    }

    fn wrong_secret(mut self, refuse: impl FnMut(usize) -> bool + 'static) -> Self {
        let label = format!("{}, wrong secret", self.name);
        self.wrong_secret = Some(Case::new(label, false, refuse));
        self
    }
}

pub fn all() -> Vec<Peer> {
    let mut peers = ours::peers();
    peers.push(prefixed::peer());
    #[cfg(feature = "modo-rs")]
    peers.push(modo::peer());
    #[cfg(feature = "rskit-auth")]
    peers.extend(rskit::peers());
    peers.extend([jwt::peer(), jwt::signed()]);
    peers.push(biscuit::peer());
    peers.push(argon::peer());
    peers.push(simplified::peer());
    peers
}

/// Returns the peers that this binary was built without.
pub fn left_out() -> Vec<&'static str> {
    let optional =
        [("modo-rs", cfg!(feature = "modo-rs")), ("rskit-auth", cfg!(feature = "rskit-auth"))];
    let missing = optional.into_iter().filter(|(_, built)| !built);
    missing.map(|(name, _)| name).collect()
}

/// Makes one item for every key.
fn each<T>(mut make: impl FnMut(usize) -> T) -> Vec<T> {
    (0..KEYS).map(&mut make).collect()
}

fn in_a_year() -> SystemTime {
    SystemTime::now() + Duration::from_secs(365 * 86_400)
}
