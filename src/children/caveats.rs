//! The caveats of a child, and their one encoding.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use super::{Audience, lists};
use crate::{
    grant::{Limits, Network, Networks, ResourceLimits, Resources},
    resource::{self, ResourceId, ResourceKinds},
    scope::Scope,
    time::Timestamp,
};

/// The limits of a child. `None` limits nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caveats {
    pub(crate) expires_at: Timestamp,
    pub(crate) not_before: Option<Timestamp>,
    /// Sorted, and each once.
    pub(crate) scopes: Option<Vec<Scope>>,
    /// Sorted by kind, each kind once, and no [`Resources::Nothing`].
    pub(crate) resources: Option<Vec<(String, Resources)>>,
    pub(crate) networks: Option<Networks>,
    /// Sorted, and each once.
    pub(crate) audience: Option<Vec<Audience>>,
    pub(crate) nonce: Option<Box<[u8]>>,
}

/// The kinds, in the order of their bytes.
mod kind {
    pub(super) const EXPIRES_AT: u8 = 1;
    pub(super) const NOT_BEFORE: u8 = 2;
    pub(super) const SCOPES: u8 = 3;
    pub(super) const RESOURCES: u8 = 4;
    pub(super) const NETWORKS: u8 = 5;
    pub(super) const AUDIENCE: u8 = 6;
    pub(super) const NONCE: u8 = 7;
}

/// The longest nonce, in bytes.
pub(super) const MAX_NONCE: usize = 32;
/// Separates the kind of a resource from its id.
const BEFORE_ID: char = '\t';

impl Caveats {
    pub(super) fn until(expires_at: Timestamp) -> Self {
        Self {
            expires_at,
            not_before: None,
            scopes: None,
            resources: None,
            networks: None,
            audience: None,
            nonce: None,
        }
    }

    /// Returns the encoding. Lists without items are left in it, and make it invalid.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(128);
        write(&mut bytes, kind::EXPIRES_AT, &self.expires_at.as_millis().to_be_bytes());
        if let Some(start) = self.not_before {
            write(&mut bytes, kind::NOT_BEFORE, &start.as_millis().to_be_bytes());
        }
        if let Some(scopes) = &self.scopes {
            write(&mut bytes, kind::SCOPES, lists::write(scopes).as_bytes());
        }
        if let Some(resources) = &self.resources {
            write(&mut bytes, kind::RESOURCES, lists::write(lines(resources)).as_bytes());
        }
        if let Some(Networks::Only(networks)) = &self.networks {
            let networks = networks.iter().map(|network| network.to_string());
            write(&mut bytes, kind::NETWORKS, lists::write(networks).as_bytes());
        }
        if let Some(audience) = &self.audience {
            let audience = audience.iter().map(ToString::to_string);
            write(&mut bytes, kind::AUDIENCE, lists::write(audience).as_bytes());
        }
        if let Some(nonce) = &self.nonce {
            write(&mut bytes, kind::NONCE, nonce);
        }
        bytes
    }

    /// Decodes caveats. Returns `None` for everything that [`encode`](Self::encode) does not write, and for unknown caveats.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let mut caveats = None;
        let mut last = 0;
        while !bytes.is_empty() {
            let ([of, long, short], rest) = bytes.split_first_chunk()?;
            let (value, rest) =
                rest.split_at_checked(u16::from_be_bytes([*long, *short]).into())?;
            if *of <= last || value.is_empty() {
                return None;
            }
            if *of == kind::EXPIRES_AT {
                caveats = Some(Self::until(time(value)?));
            } else {
                caveats.as_mut()?.set(*of, value)?;
            }
            (last, bytes) = (*of, rest);
        }
        caveats
    }

    fn set(&mut self, of: u8, value: &[u8]) -> Option<()> {
        match of {
            kind::NOT_BEFORE => {
                self.not_before = Some(time(value).filter(|start| *start < self.expires_at)?);
            }
            kind::SCOPES => self.scopes = Some(lists::read(value, |name| name.try_into().ok())?),
            kind::RESOURCES => self.resources = Some(read_resources(value)?),
            kind::NETWORKS => self.networks = Some(read_networks(value)?),
            kind::AUDIENCE => self.audience = Some(lists::read(value, Audience::read)?),
            kind::NONCE => {
                self.nonce = Some(Some(value).filter(|nonce| nonce.len() <= MAX_NONCE)?.into());
            }
            _ => return None,
        }
        Some(())
    }

    /// Returns the limits on resources and networks.
    pub(crate) fn limits(&self) -> Limits {
        let kinds = |kinds: &Vec<(String, Resources)>| {
            kinds.iter().map(|(kind, of)| (kind.as_str().into(), of.clone())).collect()
        };
        let resources = self.resources.as_ref().map(|of| ResourceLimits::of(kinds(of)));
        Limits {
            resources: resources.unwrap_or(ResourceLimits::Unlimited),
            networks: self.networks.clone().unwrap_or_default(),
        }
    }

    /// Returns a kind that `kinds` does not declare, and of which the child may not touch all resources.
    pub(crate) fn unknown_resource(&self, kinds: &ResourceKinds) -> Option<&str> {
        let is_unknown = |kind: &str| kinds.names().all(|declared| declared != kind);
        self.resources
            .iter()
            .flatten()
            .find(|(kind, resources)| *resources != Resources::All && is_unknown(kind))
            .map(|(kind, _)| &**kind)
    }
}

fn write(bytes: &mut Vec<u8>, of: u8, value: &[u8]) {
    // A longer value makes the child too long, which is an error before anything is signed.
    let len = u16::try_from(value.len()).unwrap_or(u16::MAX);
    bytes.push(of);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(value);
}

fn time(value: &[u8]) -> Option<Timestamp> {
    Timestamp::from_millis(i64::from_be_bytes(value.try_into().ok()?))
}

fn lines(resources: &[(String, Resources)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (kind, resources) in resources {
        match resources {
            Resources::All => lines.push(kind.clone()),
            Resources::Only(ids) => {
                let line = |id: &str| [kind, id].join("\t");
                lines.extend(ids.iter().map(line));
            }
            Resources::Nothing => {}
        }
    }
    lines
}

fn read_resources(value: &[u8]) -> Option<Vec<(String, Resources)>> {
    let mut kinds: Vec<(&str, Option<Vec<&str>>)> = Vec::new();
    for line in lists::read(value, Some)? {
        let (kind, id) = match line.split_once(BEFORE_ID) {
            Some((kind, id)) => (kind, Some(id)),
            None => (line, None),
        };
        if !resource::is_name(kind) {
            return None;
        }
        if let Some(id) = id {
            ResourceId::try_from(id).ok()?;
        }
        // The lines of one kind are next to each other, since a tab comes before every character of a name.
        match (kinds.last_mut(), id) {
            (Some((last, ids)), id) if *last == kind => ids.as_mut()?.push(id?),
            (_, id) => kinds.push((kind, id.map(|id| Vec::from([id])))),
        }
    }
    let resources = |ids: Option<Vec<&str>>| match ids {
        None => Some(Resources::All),
        Some(ids) => Resources::only(ids).ok(),
    };
    kinds.into_iter().map(|(kind, ids)| Some((kind.into(), resources(ids)?))).collect()
}

fn read_networks(value: &[u8]) -> Option<Networks> {
    let texts = lists::read(value, Some)?;
    let mut networks = Vec::with_capacity(texts.len());
    for text in &texts {
        networks.push(text.parse::<Network>().ok().filter(|net| net.to_string() == **text)?);
    }
    let joined = Networks::only(texts).ok()?;
    // Networks that overlap or are next to each other have another spelling.
    match &joined {
        Networks::Only(list) if list.iter().len() == networks.len() => Some(joined),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::{BTreeMap, BTreeSet};

    use proptest::{
        collection::{btree_map, btree_set, vec},
        option,
        prelude::*,
        sample::subsequence,
    };

    use super::*;

    /// Networks of which no two overlap or are next to each other.
    const NETWORKS: [&str; 5] =
        ["10.0.0.0/8", "192.0.2.0/24", "198.51.100.7/32", "9.0.0.0/9", "2001:db8::/32"];

    fn timestamps() -> impl Strategy<Value = Timestamp> {
        let range = Timestamp::MIN.as_millis()..=Timestamp::MAX.as_millis();
        range.prop_map(Timestamp::saturating_from_millis)
    }

    /// Short visible texts, some of which contain what separates the parts of an item.
    fn names() -> impl Strategy<Value = String> {
        let letters = vec(subsequence(Vec::from(['a', 'b', ':', '-', '0', 'ü']), 1), 1..4);
        letters.prop_map(|letters| letters.concat().into_iter().collect())
    }

    fn kinds() -> impl Strategy<Value = String> {
        let letters = vec(subsequence(Vec::from(['a', 'b', '-', '_', '0']), 1), 0..3);
        letters.prop_map(|letters| ['k'].into_iter().chain(letters.concat()).collect())
    }

    fn resources() -> impl Strategy<Value = Resources> {
        let some = btree_set(names(), 1..4).prop_map(|ids| Resources::only(ids).unwrap());
        prop_oneof![Just(Resources::All), some]
    }

    fn audiences() -> impl Strategy<Value = Audience> {
        let kinds = [Audience::Host, Audience::Operation, Audience::Route];
        (0..kinds.len(), names())
            .prop_map(move |(kind, name)| Audience::new(kinds[kind], &name).unwrap())
    }

    fn scopes() -> impl Strategy<Value = Scope> {
        names().prop_map(|name| Scope::try_from(&*name.replace('ü', "u")).unwrap())
    }

    fn caveats() -> impl Strategy<Value = Caveats> {
        let times = (timestamps(), option::of(timestamps()));
        let sets = (
            option::of(btree_set(scopes(), 1..4)),
            option::of(btree_map(kinds(), resources(), 1..4)),
            option::of(subsequence(NETWORKS.to_vec(), 1..=5)),
            option::of(btree_set(audiences(), 1..4)),
            option::of(vec(any::<u8>(), 1..=MAX_NONCE)),
        );
        (times, sets).prop_map(|((end, begin), (scopes, resources, networks, audience, nonce))| {
            Caveats {
                expires_at: end,
                not_before: begin.filter(|begin| *begin < end),
                scopes: scopes.map(BTreeSet::into_iter).map(Vec::from_iter),
                resources: resources.map(BTreeMap::into_iter).map(Vec::from_iter),
                networks: networks.map(|networks| Networks::only(networks).unwrap()),
                audience: audience.map(BTreeSet::into_iter).map(Vec::from_iter),
                nonce: nonce.map(Into::into),
            }
        })
    }

    proptest! {
        #[test]
        fn caveats_are_decoded_to_themselves(caveats in caveats()) {
            prop_assert_eq!(Caveats::decode(&caveats.encode()), Some(caveats));
        }

        #[test]
        fn no_two_encodings_are_decoded_alike(
            caveats in caveats(),
            edits in vec((any::<usize>(), any::<u8>()), 0..3),
            cuts in vec((any::<usize>(), any::<usize>()), 0..2),
        ) {
            let mut bytes = caveats.encode();
            for (place, byte) in edits {
                let place = place % bytes.len();
                bytes[place] = byte;
            }
            // Leaves a part out, or repeats it.
            for (one, other) in cuts {
                let (one, other) = (one % bytes.len(), other % bytes.len());
                bytes = [&bytes[..one], &bytes[other..]].concat();
            }
            if let Some(decoded) = Caveats::decode(&bytes) {
                prop_assert_eq!(decoded.encode(), bytes);
            }
        }
    }

    /// The control: a change that keeps the form is decoded, and differs.
    #[test]
    fn edited_caveats_that_keep_the_form_differ() {
        let mut caveats = Caveats::until(Timestamp::MIN);
        caveats.nonce = Some([7].into());
        let mut bytes = caveats.encode();
        *bytes.last_mut().unwrap() = 8;
        let decoded = Caveats::decode(&bytes).unwrap();
        assert_eq!(decoded.nonce.as_deref(), Some(&[8][..]));
        assert_ne!(decoded, caveats);
        bytes.push(0);
        assert_eq!(Caveats::decode(&bytes), None);
    }

    #[test]
    fn caveat_that_is_unknown_empty_or_repeated_is_refused() {
        let end = Caveats::until(Timestamp::MAX).encode();
        let with = |more: &[u8]| Caveats::decode(&[&end, more].concat());
        // The controls: no further caveat, and one of the last kind.
        assert!(with(&[]).is_some() && with(&[kind::NONCE, 0, 1, 9]).is_some());
        for more in [
            &[kind::NONCE + 1, 0, 1, 9][..],
            &[u8::MAX, 0, 1, 9],
            &[0, 0, 1, 9],
            &[kind::NONCE, 0, 0],
            &[kind::NONCE, 0, 2, 9],
            &[kind::NONCE, 0, 1, 9, kind::NONCE, 0, 1, 9],
            &[kind::NONCE, 0, 1, 9, kind::SCOPES, 0, 1, b'a'],
        ] {
            assert_eq!(with(more), None, "{more:?}");
        }
        assert_eq!(Caveats::decode(&[kind::NONCE, 0, 1, 9]), None);
        assert_eq!(Caveats::decode(&[]), None);
    }
}
