//! How often limits decided. A comparison that never meets a limit shows nothing about it.

/// A limit that decided, or could have.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    NetworkAdmits,
    NetworkRefuses,
    ResourceAdmits,
    ResourceRefuses,
    UndeclaredKindRefuses,
    GranterPassesOn,
    GranterRefuses,
}

impl Limit {
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::NetworkAdmits, "cases admitted from a network that the key is limited to"),
        (Self::NetworkRefuses, "cases refused for the network of the client"),
        (Self::ResourceAdmits, "cases admitted to a resource that the key lists"),
        (Self::ResourceRefuses, "cases refused for the resource"),
        (Self::UndeclaredKindRefuses, "cases refused for a kind that is no longer declared"),
        (Self::GranterPassesOn, "changes that a limited granter may make"),
        (Self::GranterRefuses, "changes refused for limits of the granter"),
    ];
}

/// The number of times that each limit was met, in the order of [`Limit::ALL`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Met([u64; Limit::ALL.len()]);

impl Met {
    pub fn count(&mut self, limit: Limit) {
        self.0[limit as usize] += 1;
    }

    pub fn of(&self, limit: Limit) -> u64 {
        self.0[limit as usize]
    }

    pub fn add(&mut self, other: Self) {
        for (mine, more) in self.0.iter_mut().zip(other.0) {
            *mine += more;
        }
    }

    /// Returns the number for the limit that was met least.
    pub fn least(&self) -> u64 {
        self.0.into_iter().min().unwrap_or(0)
    }
}

/// The fate of a child in a decision.
#[derive(Clone, Copy, Debug)]
pub enum ChildLimit {
    Admitted,
    AdmittedByAnOlderSecret,
    ScopeRefuses,
    ResourceRefuses,
    NetworkRefuses,
    PlaceRefuses,
    NotYetValid,
    Expired,
    Unproven,
}

impl ChildLimit {
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Admitted, "children admitted"),
        (Self::AdmittedByAnOlderSecret, "children of an older secret admitted"),
        (Self::ScopeRefuses, "children refused for a scope that their parents have"),
        (Self::ResourceRefuses, "children refused for a resource that their parents may touch"),
        (Self::NetworkRefuses, "children refused for a network that their parents may come from"),
        (Self::PlaceRefuses, "children refused for the place"),
        (Self::NotYetValid, "children refused before their begin, and not their parents"),
        (Self::Expired, "children refused after their end, and not their parents"),
        (Self::Unproven, "children refused whose secrets no longer count"),
    ];
}

/// The decisions about children.
#[derive(Clone, Copy, Debug, Default)]
pub struct Children {
    pub decisions: u64,
    /// Children that were admitted to what their parents were not.
    pub above: u64,
    met: [u64; ChildLimit::ALL.len()],
}

impl Children {
    pub fn count(&mut self, limit: ChildLimit) {
        self.met[limit as usize] += 1;
    }

    pub fn of(&self, limit: ChildLimit) -> u64 {
        self.met[limit as usize]
    }

    /// Returns the number for what happened least.
    pub fn least(&self) -> u64 {
        self.met.into_iter().min().unwrap_or(0)
    }

    pub fn add(&mut self, other: Self) {
        self.decisions += other.decisions;
        self.above += other.above;
        for (mine, more) in self.met.iter_mut().zip(other.met) {
            *mine += more;
        }
    }
}
