//! The declared scopes and their order.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};
use core::fmt;

use sha2::{Digest, Sha256};

use super::{
    InvalidScope, Requirement, Scope, ScopeSet,
    requirement::Mode,
    set::{Bits, contains, holds_all, insert},
};

/// One scope as its service declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct ScopeDeclaration {
    /// The name, checked by [`ScopeCatalog::new`].
    pub name: String,
    /// What it allows, in words for those who grant it.
    pub description: String,
    /// The scopes that its holder also holds, besides those below it by its dots.
    #[cfg_attr(feature = "serde", serde(default))]
    pub implies: Vec<String>,
}

impl ScopeDeclaration {
    /// The scope `name`, which implies nothing but the names that it prefixes at a dot.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into(), implies: Vec::new() }
    }

    /// Adds `names` to what it implies.
    #[must_use]
    pub fn implies<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.implies.extend(names.into_iter().map(Into::into));
        self
    }
}

/// Every scope of a service, and which implies which.
///
/// A name is above every declared name that it prefixes at a dot (`operator` ≥ `operator.read`) and
/// above every name that it was declared to imply, and so on down. Clones share one catalogue.
#[derive(Clone)]
pub struct ScopeCatalog(Arc<Inner>);

struct Inner {
    /// Sorted by name.
    entries: Box<[Entry]>,
    /// Names the order, so that sets of another one are told apart.
    fingerprint: u64,
}

struct Entry {
    scope: Scope,
    description: Box<str>,
    /// The scope itself and all below it.
    below: Bits,
}

impl ScopeCatalog {
    /// The most scopes that a catalogue can hold.
    pub const MAX_SCOPES: usize = 256;

    /// The catalogue of `declarations`, in time cubic in their number.
    ///
    /// # Errors
    ///
    /// [`CatalogError`] names the declaration at fault: too many, a bad or repeated name, an implied
    /// name that is not declared, or two scopes that imply each other.
    pub fn new(
        declarations: impl IntoIterator<Item = ScopeDeclaration>,
    ) -> Result<Self, CatalogError> {
        let mut declared = Vec::new();
        for declaration in declarations {
            let scope = Scope::try_from(&*declaration.name).map_err(|source| {
                CatalogError::InvalidName { name: declaration.name.clone(), source }
            })?;
            declared.push((scope, declaration));
        }
        if declared.len() > Self::MAX_SCOPES {
            return Err(CatalogError::TooMany(declared.len()));
        }
        declared.sort_by(|(left, _), (right, _)| left.cmp(right));
        for ((left, _), (right, _)) in declared.iter().zip(declared.iter().skip(1)) {
            if left == right {
                return Err(CatalogError::Duplicate(left.clone()));
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
        Ok(Self(Arc::new(Inner { entries, fingerprint })))
    }

    /// The scopes with their descriptions, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Scope, &str)> {
        self.0.entries.iter().map(|entry| (&entry.scope, &*entry.description))
    }

    /// The least set with every scope of `names`: those and all that they imply.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] names a scope that is not declared.
    pub fn set<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<ScopeSet, CatalogError> {
        let mut set = self.none();
        for name in names {
            let (_, entry) = self.find(name.as_ref())?;
            set = set.join(self.wrap(entry.below));
        }
        Ok(set)
    }

    /// The empty set, which allows nothing.
    pub fn none(&self) -> ScopeSet {
        self.wrap([0; 4])
    }

    /// Every scope there is.
    pub fn all(&self) -> ScopeSet {
        let mut bits = [0; 4];
        for index in 0..self.0.entries.len() {
            insert(&mut bits, index);
        }
        self.wrap(bits)
    }

    /// The canonical names of `set`: its maximal scopes, sorted. They stand for the whole set, since
    /// the rest is implied. Nothing for a set of another catalogue.
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

    /// The canonical text of `set`: its [`names`](Self::names) with single spaces between, as RFC
    /// 6749, section 3.3, writes them.
    pub fn text(&self, set: ScopeSet) -> String {
        let names = self.names(set);
        names.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The set that a text names, as [`text`](Self::text) writes it. Any order, repetition and
    /// implied names are read too; the empty text is the empty set.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`] names a scope that is not declared.
    pub fn parse(&self, text: &str) -> Result<ScopeSet, CatalogError> {
        self.set(text.split(' ').filter(|name| !name.is_empty()))
    }

    /// The requirement that a caller holds every one of `names`.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`], or [`CatalogError::EmptyRequirement`] without any name.
    pub fn require_all<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, CatalogError> {
        self.require(names, Mode::All)
    }

    /// The requirement that a caller holds at least one of `names`.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Unknown`], or [`CatalogError::EmptyRequirement`] without any name.
    pub fn require_any<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
    ) -> Result<Requirement, CatalogError> {
        self.require(names, Mode::Any)
    }

    /// The requirement of a route that any verified caller may use, whatever its scopes.
    pub fn require_none(&self) -> Requirement {
        Requirement::new(self.clone(), [0; 4], Mode::All)
    }

    fn require<S: AsRef<str>>(
        &self,
        names: impl IntoIterator<Item = S>,
        mode: Mode,
    ) -> Result<Requirement, CatalogError> {
        let mut need = [0; 4];
        for name in names {
            insert(&mut need, self.find(name.as_ref())?.0);
        }
        if need == [0; 4] {
            return Err(CatalogError::EmptyRequirement);
        }
        Ok(Requirement::new(self.clone(), need, mode))
    }

    /// The set of those `names` that are declared, and the others.
    pub(crate) fn set_of_known<'a>(
        &self,
        names: impl IntoIterator<Item = &'a Scope>,
    ) -> (ScopeSet, Vec<Scope>) {
        let mut set = self.none();
        let mut unknown = Vec::new();
        for name in names {
            match self.find(name.as_str()) {
                Ok((_, entry)) => set = set.join(self.wrap(entry.below)),
                Err(_) => unknown.push(name.clone()),
            }
        }
        (set, unknown)
    }

    /// The scopes of `set` that `ceiling` lacks, as maximal names.
    pub(crate) fn names_above(&self, set: ScopeSet, ceiling: ScopeSet) -> Vec<Scope> {
        self.names(set)
            .into_iter()
            .filter(|name| self.set([name]).is_ok_and(|below| !ceiling.covers(below)))
            .collect()
    }

    /// A number that differs between catalogues with different names or order.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.0.fingerprint
    }

    fn wrap(&self, bits: Bits) -> ScopeSet {
        ScopeSet::new(bits, self.0.fingerprint)
    }

    fn unwrap(&self, set: ScopeSet) -> Bits {
        self.none().join(set).bits()
    }

    fn find(&self, name: &str) -> Result<(usize, &Entry), CatalogError> {
        let entries = &self.0.entries;
        entries
            .binary_search_by(|entry| entry.scope.as_str().cmp(name))
            .ok()
            .and_then(|index| Some((index, entries.get(index)?)))
            .ok_or_else(|| CatalogError::Unknown(name.into()))
    }
}

impl fmt::Debug for ScopeCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(|(scope, _)| scope)).finish()
    }
}

/// For each scope, the scopes at or below it.
fn order(declared: &[(Scope, ScopeDeclaration)]) -> Result<Vec<Bits>, CatalogError> {
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
            let other = known.ok_or_else(|| CatalogError::UnknownImplied {
                scope: scope.clone(),
                implied: implied.clone(),
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
    // An order is antisymmetric: two scopes may not be at or below each other.
    for (upper, upper_bits) in below.iter().enumerate() {
        for (lower, lower_bits) in below.iter().enumerate().skip(upper.saturating_add(1)) {
            if holds_all(*upper_bits, *lower_bits)
                && holds_all(*lower_bits, *upper_bits)
                && let (Some((upper, _)), Some((lower, _))) =
                    (declared.get(upper), declared.get(lower))
            {
                return Err(CatalogError::Cycle(upper.clone(), lower.clone()));
            }
        }
    }
    Ok(below)
}

/// The first bytes of a digest over the names and their order: equal catalogues agree in every
/// process, different ones do not.
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

/// A catalogue is inconsistent, or does not know a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// More scopes than a catalogue holds.
    #[error("{0} scopes are declared, and a catalogue holds at most 256")]
    TooMany(usize),
    /// A name has characters that a scope cannot have.
    #[error("`{}` cannot be declared as a scope", name.escape_debug())]
    InvalidName {
        /// The name.
        name: String,
        /// The rule that it breaks.
        source: InvalidScope,
    },
    /// A name is declared more than once.
    #[error("scope `{0}` is declared twice")]
    Duplicate(Scope),
    /// A scope implies a name that is not declared.
    #[error("scope `{scope}` implies `{}`, which is not declared", implied.escape_debug())]
    UnknownImplied {
        /// The scope.
        scope: Scope,
        /// What it implies.
        implied: String,
    },
    /// Each of two scopes implies the other.
    #[error("scopes `{0}` and `{1}` imply each other")]
    Cycle(Scope, Scope),
    /// A name is not declared.
    #[error("scope `{}` is not declared", .0.escape_debug())]
    Unknown(String),
    /// A requirement without a scope would let every caller pass.
    #[error("a requirement names at least one scope; `require_none` is for routes without any")]
    EmptyRequirement,
}
