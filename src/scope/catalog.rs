//! The declared scopes and their order.

use alloc::{
    boxed::Box,
    string::{String, ToString as _},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use sha2::{Digest, Sha256};

use super::{
    Requirement, Scope, ScopeSet,
    requirement::Mode,
    set::{Bits, contains, holds_all, insert},
};
use crate::{
    config::ConfigError,
    resource::{ResourceDeclaration, ResourceKind, ResourceKinds},
    text,
};

/// The declaration of one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct ScopeDeclaration {
    /// The name, checked by [`ScopeCatalog::new`].
    pub name: String,
    /// The text that describes the permission to people who grant it.
    pub description: String,
    /// The scopes that its holder also holds, besides those below it by its dots.
    #[cfg_attr(feature = "serde", serde(default))]
    pub implies: Vec<String>,
}

impl ScopeDeclaration {
    /// Creates the scope `name`. It implies no names other than those that it prefixes at a dot.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), implies: Vec::new() }
    }

    /// Adds `names` to the scopes that this one implies.
    #[must_use]
    pub fn implies<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.implies.extend(names.into_iter().map(Into::into));
        self
    }
}

/// The scopes of a service, and which of them imply which, and the kinds of resources that keys can be limited to.
///
/// A name is above every declared name that it prefixes at a dot (`operator` ≥ `operator.read`). It is also
/// above every name that it was declared to imply, and above all names below those. Clones share one catalog.
#[derive(Clone)]
pub struct ScopeCatalog(Arc<Inner>);

struct Inner {
    /// The scopes, sorted by name.
    entries: Arc<[Entry]>,
    resources: ResourceKinds,
    /// A hash of the names and their order, which distinguishes sets of different catalogs.
    fingerprint: u64,
}

struct Entry {
    scope: Scope,
    description: Box<str>,
    /// The scope itself and all scopes below it.
    below: Bits,
}

impl ScopeCatalog {
    /// The most scopes that a catalog can hold.
    pub const MAX_SCOPES: usize = 256;

    /// Creates a catalog of `declarations`, in time cubic in their number.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the invalid declaration. There are too many, a name is invalid or repeated, a
    /// description is invalid, an implied name is not declared, or two scopes imply each other.
    pub fn new(
        declarations: impl IntoIterator<Item = ScopeDeclaration>,
    ) -> Result<Self, ConfigError> {
        let mut declared = Vec::new();
        for declaration in declarations {
            let scope =
                Scope::try_from(&*declaration.name).map_err(|invalid| ConfigError::ScopeName {
                    name: declaration.name.clone(),
                    problem: invalid.problem(),
                })?;
            let hidden = |line| text::check(line, usize::MAX).err();
            if let Some(problem) = declaration.description.lines().find_map(hidden) {
                return Err(ConfigError::ScopeDescription { scope: scope.to_string(), problem });
            }
            declared.push((scope, declaration));
        }
        if declared.len() > Self::MAX_SCOPES {
            return Err(ConfigError::TooManyScopes(declared.len()));
        }
        declared.sort_by(|(left, _), (right, _)| left.cmp(right));
        for ((left, _), (right, _)) in declared.iter().zip(declared.iter().skip(1)) {
            if left == right {
                return Err(ConfigError::DuplicateScope(left.to_string()));
            }
        }

        let below = order(&declared)?;
        let fingerprint = fingerprint(&declared, &below);
        let entries = declared
            .into_iter()
            .zip(below)
            .map(|((scope, declaration), below)| Entry {
                scope,
                description: declaration.description.into(),
                below,
            })
            .collect();
        Ok(Self(Arc::new(Inner { entries, resources: ResourceKinds::default(), fingerprint })))
    }

    /// Returns this catalog with kinds of resources, at most 8. Every key then has, for each kind, all resources, some
    /// or none. It has none unless it is issued with others.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the invalid declaration, or says that there are too many.
    pub fn with_resources(
        self,
        declarations: impl IntoIterator<Item = ResourceDeclaration>,
    ) -> Result<Self, ConfigError> {
        let resources = ResourceKinds::new(declarations.into_iter().collect())?;
        let mut hasher = Sha256::new();
        hasher.update(self.0.fingerprint.to_be_bytes());
        for name in resources.names() {
            hasher.update([u8::try_from(name.len()).unwrap_or(u8::MAX)]);
            hasher.update(name);
        }
        let fingerprint = hasher.finalize().first_chunk().copied().map_or(0, u64::from_be_bytes);
        Ok(Self(Arc::new(Inner { entries: Arc::clone(&self.0.entries), resources, fingerprint })))
    }

    /// Returns the kind of resource `name`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownResource`] if it is not declared.
    pub fn resource(&self, name: &str) -> Result<ResourceKind, ConfigError> {
        let found = self.0.resources.find(name, self.0.fingerprint);
        found.ok_or_else(|| ConfigError::UnknownResource(name.into()))
    }

    /// Returns the kinds of resources with their descriptions, in the order of their declaration.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.resources.iter()
    }

    pub(crate) fn resource_kinds(&self) -> &ResourceKinds {
        &self.0.resources
    }

    /// Returns the scopes with their descriptions, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &str)> {
        self.0.entries.iter().map(|entry| (&entry.scope, &*entry.description))
    }

    /// Returns the smallest set with every scope of `names`: these and all scopes that they imply.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownScope`] names a scope that is not declared.
    pub fn set<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<ScopeSet, ConfigError> {
        self.set_or_unknown(names).map_err(|name| ConfigError::UnknownScope(name.as_ref().into()))
    }

    /// Returns the set of `names`, or the first name that is not declared.
    pub(crate) fn set_or_unknown<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<ScopeSet, S> {
        let mut set = self.none();
        for name in names {
            let Some((_, entry)) = self.find(name.as_ref()) else { return Err(name) };
            set = set.join(self.wrap(entry.below));
        }
        Ok(set)
    }

    /// Returns the empty set, which permits nothing.
    pub fn none(&self) -> ScopeSet {
        self.wrap([0; 4])
    }

    /// Returns the set of all declared scopes.
    pub fn all(&self) -> ScopeSet {
        let mut bits = [0; 4];
        for index in 0..self.0.entries.len() {
            insert(&mut bits, index);
        }
        self.wrap(bits)
    }

    /// Returns the canonical names of `set`: its maximal scopes, sorted. They represent the whole set, since
    /// they imply the rest. Returns no names for a set of another catalog.
    pub fn names(&self, set: ScopeSet) -> Vec<Scope> {
        let bits = self.unwrap(set);
        let held = || self.0.entries.iter().enumerate().filter(|(index, _)| contains(bits, *index));
        held()
            .filter(|(index, _)| {
                !held().any(|(other, above)| other != *index && contains(above.below, *index))
            })
            .map(|(_, entry)| entry.scope.clone())
            .collect()
    }

    /// Returns the names of all scopes of `set`, including those that others imply, sorted. They are for a reader that
    /// compares names and does not know what implies what.
    #[cfg(feature = "http")]
    pub(crate) fn all_names(&self, set: ScopeSet) -> impl Iterator<Item = &Scope> {
        let bits = self.unwrap(set);
        let held = move |(index, _): &(usize, _)| contains(bits, *index);
        self.0.entries.iter().enumerate().filter(held).map(|(_, entry)| &entry.scope)
    }

    /// Returns the canonical text of `set`: its [`names`](Self::names) separated by single spaces, as in RFC
    /// 6749, section 3.3.
    pub fn text(&self, set: ScopeSet) -> String {
        let names = self.names(set);
        names.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Parses a text as [`text`](Self::text) writes it. Names may be in any order, repeated, or implied by
    /// others. The empty text is the empty set.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownScope`] names a scope that is not declared.
    pub fn parse(&self, text: &str) -> Result<ScopeSet, ConfigError> {
        self.set(text.split(' ').filter(|name| !name.is_empty()))
    }

    /// Returns the requirement that a caller holds every one of `names`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownScope`] if a name is not declared, or [`ConfigError::EmptyRequirement`] if there
    /// are no names.
    pub fn require_all<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, ConfigError> {
        self.require(names, Mode::All)
    }

    /// Returns the requirement that a caller holds at least one of `names`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownScope`] if a name is not declared, or [`ConfigError::EmptyRequirement`] if there
    /// are no names.
    pub fn require_any<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, ConfigError> {
        self.require(names, Mode::Any)
    }

    /// Returns the requirement of a route that any verified caller may use, whatever its scopes.
    pub fn require_none(&self) -> Requirement {
        Requirement::new(self.clone(), [0; 4], Mode::All)
    }

    fn require<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
        mode: Mode,
    ) -> Result<Requirement, ConfigError> {
        let mut need = [0; 4];
        for name in names {
            let found = self.find(name.as_ref());
            let unknown = || ConfigError::UnknownScope(name.as_ref().into());
            insert(&mut need, found.ok_or_else(unknown)?.0);
        }
        if need == [0; 4] {
            return Err(ConfigError::EmptyRequirement);
        }
        Ok(Requirement::new(self.clone(), need, mode))
    }

    /// Returns the set of those `names` that are declared.
    pub(crate) fn set_of_declared<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> ScopeSet {
        let known = names.into_iter().filter_map(|name| self.find(name.as_ref()));
        known.fold(self.none(), |set, (_, entry)| set.join(self.wrap(entry.below)))
    }

    /// Returns the set of those `names` that are declared, and the names that are not.
    pub(crate) fn set_of_known<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Scope>,
    ) -> (ScopeSet, Vec<Scope>) {
        let mut set = self.none();
        let mut unknown = Vec::new();
        for name in names {
            match self.find(name.as_str()) {
                Some((_, entry)) => set = set.join(self.wrap(entry.below)),
                None => unknown.push(name.clone()),
            }
        }
        (set, unknown)
    }

    /// Returns those of a record's `names` that `bound` does not cover, sorted. They include the names that
    /// are not declared here: another node may know them, and no set of this catalog represents them.
    pub(crate) fn names_not_covered(&self, names: &[Scope], bound: ScopeSet) -> Vec<Scope> {
        let (known, mut above) = self.set_of_known(names);
        above.extend(self.names_above(known, bound));
        above.sort();
        above.dedup();
        above
    }

    /// Returns the scopes of `set` that `ceiling` lacks, as maximal names.
    pub(crate) fn names_above(&self, set: ScopeSet, ceiling: ScopeSet) -> Vec<Scope> {
        self.names(set)
            .into_iter()
            .filter(|name| self.set([name]).is_ok_and(|below| !ceiling.covers(below)))
            .collect()
    }

    /// Returns a number that differs between catalogs with different names or order.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.0.fingerprint
    }

    fn wrap(&self, bits: Bits) -> ScopeSet {
        ScopeSet::new(bits, self.0.fingerprint)
    }

    fn unwrap(&self, set: ScopeSet) -> Bits {
        self.none().join(set).bits()
    }

    fn find(&self, name: &str) -> Option<(usize, &Entry)> {
        let entries = &self.0.entries;
        let index = entries.binary_search_by(|entry| entry.scope.as_str().cmp(name)).ok()?;
        Some((index, entries.get(index)?))
    }
}

impl fmt::Debug for ScopeCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(scope, _)| scope)).finish()
    }
}

/// Returns, for each scope, the scopes at or below it.
fn order(declared: &[(Scope, ScopeDeclaration)]) -> Result<Vec<Bits>, ConfigError> {
    let mut below = Vec::with_capacity(declared.len());
    for (index, (scope, declaration)) in declared.iter().enumerate() {
        let mut bits = [0; 4];
        insert(&mut bits, index);
        for (other, (name, _)) in declared.iter().enumerate() {
            if scope.prefixes(name) {
                insert(&mut bits, other);
            }
        }
        for implied in &declaration.implies {
            let known = declared.iter().position(|(name, _)| name.as_str() == implied);
            let other = known.ok_or_else(|| {
                ConfigError::UnknownScope(implied.clone())
                    .within(alloc::format!("the scopes that `{scope}` implies"))
            })?;
            insert(&mut bits, other);
        }
        below.push(bits);
    }
    // Warshall's transitive closure.
    for middle in 0..below.len() {
        let through = below.get(middle).copied().unwrap_or_default();
        for bits in &mut below {
            if contains(*bits, middle) {
                for (word, more) in bits.iter_mut().zip(through) {
                    *word |= more;
                }
            }
        }
    }
    // An order is antisymmetric: two different scopes may not be below each other.
    for (upper, upper_bits) in below.iter().enumerate() {
        for (lower, lower_bits) in below.iter().enumerate().skip(upper.saturating_add(1)) {
            if holds_all(*upper_bits, *lower_bits)
                && holds_all(*lower_bits, *upper_bits)
                && let (Some((upper, _)), Some((lower, _))) =
                    (declared.get(upper), declared.get(lower))
            {
                return Err(ConfigError::ScopeCycle(upper.to_string(), lower.to_string()));
            }
        }
    }
    Ok(below)
}

/// Returns the first bytes of a digest over the names and their order. Equal catalogs have the same
/// fingerprint in every process, and different ones do not.
fn fingerprint(declared: &[(Scope, ScopeDeclaration)], below: &[Bits]) -> u64 {
    let mut hash = Sha256::new();
    for ((scope, _), bits) in declared.iter().zip(below) {
        hash.update(scope.as_str());
        hash.update([0]);
        for word in bits {
            hash.update(word.to_be_bytes());
        }
    }
    hash.finalize().first_chunk().copied().map_or(0, u64::from_be_bytes)
}
