//! Kinds of resources, and the resources of a kind that a key may touch.

use alloc::{boxed::Box, string::String, sync::Arc, vec::Vec};

use crate::{
    codec::{Reader, Writer},
    config::ConfigError,
    field::{Field, InvalidField},
    text::{self, TextProblem},
};

/// The declaration of one kind of resource, such as `machine` or `project`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct ResourceDeclaration {
    /// The name: 1 to 32 lower-case letters, digits, `-` and `_`, of which the first is a letter.
    pub name: String,
    /// The text that describes the resources to people who create keys.
    pub description: String,
}

impl ResourceDeclaration {
    /// Declares the kind `name`.
    pub fn new(name: impl Into<String>, description: impl Into<String>) -> Self {
        Self { name: name.into(), description: description.into() }
    }
}

/// A declared kind of resource, resolved once, when the service starts.
///
/// [`ScopeCatalog::resource`](crate::ScopeCatalog::resource) returns it. An unknown name is an error there, and no
/// request ever fails for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceKind {
    name: Arc<str>,
    index: usize,
    /// The fingerprint of the catalog.
    catalog: u64,
}

impl ResourceKind {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg_attr(
        not(feature = "http"),
        allow(dead_code, reason = "guards keep one rule for each kind")
    )]
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn catalog(&self) -> u64 {
        self.catalog
    }
}

/// The kinds that a catalog declares.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResourceKinds(Box<[(Arc<str>, Box<str>)]>);

impl ResourceKinds {
    /// The most kinds of a catalog.
    pub(crate) const MAX: usize = 8;

    pub(crate) fn new(declared: Vec<ResourceDeclaration>) -> Result<Self, ConfigError> {
        if declared.len() > Self::MAX {
            return Err(ConfigError::TooManyResources(declared.len()));
        }
        let mut kinds: Vec<(Arc<str>, Box<str>)> = Vec::with_capacity(declared.len());
        for ResourceDeclaration { name, description } in declared {
            if !is_name(&name) {
                return Err(ConfigError::ResourceName(name));
            }
            let hidden = |line| text::check(line, usize::MAX).err();
            if let Some(problem) = description.lines().find_map(hidden) {
                return Err(ConfigError::ResourceDescription { name, problem });
            }
            if kinds.iter().any(|(other, _)| **other == *name) {
                return Err(ConfigError::DuplicateResource(name));
            }
            kinds.push((name.into(), description.into()));
        }
        Ok(Self(kinds.into()))
    }

    pub(crate) fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, description)| (&**name, &**description))
    }

    pub(crate) fn find(&self, name: &str, catalog: u64) -> Option<ResourceKind> {
        let index = self.names().position(|other| other == name)?;
        let (name, _) = self.0.get(index)?;
        Some(ResourceKind { name: Arc::clone(name), index, catalog })
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    name.len() <= 32
        && name.bytes().next().is_some_and(|first| first.is_ascii_lowercase())
        && name.bytes().all(is_inner)
}

/// The resources of one kind that a key may touch.
///
/// All is always said explicitly. An empty list is nothing.
///
/// ```
/// use keyway::grant::Resources;
///
/// let two = Resources::only(["press-1", "press-2"])?;
/// assert!(two.contains("press-1") && !two.contains("press-3"));
/// assert!(Resources::All.covers(&two));
/// assert_eq!(Resources::only::<&str>([])?, Resources::Nothing);
/// # Ok::<(), keyway::record::InvalidField>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resources {
    /// No resource.
    #[default]
    Nothing,
    /// The resources with these ids.
    Only(ResourceIds),
    /// Every resource, including those that are created later.
    All,
}

/// The ids of 1 to 100 resources.
///
/// INVARIANT: sorted, and each id once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceIds(Box<[ResourceId]>);

impl ResourceIds {
    /// Returns the ids in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(ResourceId::as_str)
    }
}

/// The id of a resource: 1 to 64 bytes that can be shown on one line. Ids are compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(Box<str>);

impl ResourceId {
    /// The longest id, in bytes.
    pub const MAX_LEN: usize = 64;

    /// Returns the id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for ResourceId {
    type Error = InvalidField;

    fn try_from(id: &str) -> Result<Self, InvalidField> {
        let check = || {
            if id.len() > Self::MAX_LEN {
                return Err(TextProblem::TooLarge { len: id.len(), max: Self::MAX_LEN });
            }
            text::check_filled(id, Self::MAX_LEN)
        };
        check().map_err(|problem| InvalidField::new(Field::ResourceId, problem))?;
        Ok(Self(id.into()))
    }
}

impl Resources {
    /// The most ids of one kind.
    pub const MAX_IDS: usize = 100;

    /// Returns the resources with these ids. An empty list is [`Nothing`](Self::Nothing).
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if an id is empty, is longer than 64 bytes or cannot be shown on one line, or if there are more
    /// than 100.
    pub fn only<S: AsRef<str>>(ids: impl IntoIterator<Item = S>) -> Result<Self, InvalidField> {
        let ids = ids.into_iter().map(|id| ResourceId::try_from(id.as_ref()));
        let ids: Vec<ResourceId> = ids.collect::<Result<_, _>>()?;
        let resources = Self::of(ids);
        match &resources {
            Self::Only(ids) if ids.0.len() > Self::MAX_IDS => {
                Err(InvalidField::malformed(Field::Resources, "a list of at most 100 ids"))
            }
            _ => Ok(resources),
        }
    }

    /// Returns whether the resource `id` is among them, in time logarithmic in their number.
    pub fn contains(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(ids) => ids.0.binary_search_by(|other| other.as_str().cmp(id)).is_ok(),
            Self::Nothing => false,
        }
    }

    /// Returns whether every resource of `other` is among these (≥ in the lattice).
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::All, _) | (_, Self::Nothing) => true,
            (Self::Only(_), Self::Only(ids)) => ids.iter().all(|id| self.contains(id)),
            (Self::Only(_), Self::All) | (Self::Nothing, _) => false,
        }
    }

    /// Returns the resources that are among both (∧).
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, resources) | (resources, Self::All) => resources.clone(),
            (Self::Only(ids), other) => {
                Self::of(ids.0.iter().filter(|id| other.contains(id.as_str())).cloned().collect())
            }
            (Self::Nothing, _) => Self::Nothing,
        }
    }

    fn of(mut ids: Vec<ResourceId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        if ids.is_empty() { Self::Nothing } else { Self::Only(ResourceIds(ids.into())) }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.option(
            match self {
                Self::All => None,
                Self::Nothing => Some([].as_slice()),
                Self::Only(ids) => Some(&*ids.0),
            },
            |writer, ids| {
                writer.len(ids.len());
                for id in ids {
                    writer.str(id.as_str());
                }
            },
        );
    }

    /// Reads resources of a record, in which nothing is left out.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let id = |reader: &mut Reader<'_>| {
            let id = reader.str().filter(|id| id.len() <= ResourceId::MAX_LEN)?;
            text::check_stored_filled(id, ResourceId::MAX_LEN).ok()?;
            Some(ResourceId(id.into()))
        };
        let Some(ids) = reader.option(|reader| reader.list(id))? else { return Some(Self::All) };
        let is_canonical = ids.is_sorted_by(|left, right| left < right);
        let fits = (1..=Self::MAX_IDS).contains(&ids.len());
        (is_canonical && fits).then(|| Self::Only(ResourceIds(ids.into())))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Resources {
    /// Serializes `"all"`, or a list of ids.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::Only(ids) => serializer.collect_seq(ids.iter()),
            Self::Nothing => serializer.collect_seq([] as [&str; 0]),
        }
    }
}
