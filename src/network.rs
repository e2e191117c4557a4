//! Networks of the clients that may use a key.

use alloc::{boxed::Box, vec::Vec};
use core::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use ipnet::{IpNet, Ipv4Net};

use crate::{
    codec::{Reader, Writer},
    field::{Field, InvalidField},
};

/// A block of addresses in the notation of CIDR (RFC 4632, section 3.1), such as `192.0.2.0/24` or `2001:db8::/32`.
///
/// An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2) counts as the IPv4 address.
///
/// ```
/// use keyway::grant::Network;
///
/// let office: Network = "192.0.2.0/24".parse()?;
/// assert!(office.contains("192.0.2.7".parse()?) && office.contains("::ffff:192.0.2.7".parse()?));
/// // One address is a network too.
/// assert_eq!("192.0.2.7".parse::<Network>()?.to_string(), "192.0.2.7/32");
/// // `192.0.2.7/24` is refused, since it is either this one address or 256 of them.
/// assert!("192.0.2.7/24".parse::<Network>().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network(IpNet);

impl Network {
    /// Returns whether `address` is in the network.
    pub fn contains(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }

    /// Returns whether every address of `other` is in this network.
    fn covers(self, other: Self) -> bool {
        self.0.contains(&other.0)
    }
}

impl FromStr for Network {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        const EXPECTED: &str =
            "an address or a network, such as `192.0.2.7`, `192.0.2.0/24` or `2001:db8::/32`";
        let parsed = match text.parse() {
            Ok(address) => Ok(IpNet::from(IpAddr::to_canonical(&address))),
            Err(_) => text.parse::<IpNet>(),
        };
        let network = parsed.map_err(|_| InvalidField::malformed(Field::Network, EXPECTED))?;
        if network.trunc() != network {
            return Err(InvalidField::malformed(
                Field::Network,
                "a network: all bits after its prefix must be zero",
            ));
        }
        Ok(Self(canonical(network)))
    }
}

/// Returns a network of mapped addresses as a network of IPv4.
fn canonical(network: IpNet) -> IpNet {
    const MAPPED_BITS: u8 = 96;
    match network {
        IpNet::V6(v6) => {
            let mapped = v6.network().to_ipv4_mapped();
            let length = v6.prefix_len().checked_sub(MAPPED_BITS);
            match (mapped, length) {
                (Some(address), Some(length)) => {
                    Ipv4Net::new(address, length).map_or(network, IpNet::V4)
                }
                _ => network,
            }
        }
        IpNet::V4(_) => network,
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The networks from which a key may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Networks {
    /// Any network, even if the address of the client is not known.
    #[default]
    Any,
    /// One of these networks, of which there is at least one. A client whose address is not known is refused.
    Only(NetworkList),
}

/// At most 16 networks, sorted, none of which overlap. Networks that are next to each other are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkList {
    networks: Box<[Network]>,
    /// The same networks as numbers, each with its mask, since every verification compares them.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl NetworkList {
    /// Returns the networks in ascending order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Network> {
        self.networks.iter().copied()
    }

    /// Returns whether one of the networks has this canonical address.
    fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => {
                let bits = address.to_bits();
                self.v4.iter().any(|(network, mask)| bits & mask == *network)
            }
            IpAddr::V6(address) => {
                let bits = address.to_bits();
                self.v6.iter().any(|(network, mask)| bits & mask == *network)
            }
        }
    }

    /// Returns the list of `networks`, which are sorted and do not overlap.
    fn new(networks: Vec<IpNet>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in &networks {
            match network {
                IpNet::V4(net) => v4.push((net.addr().to_bits(), net.netmask().to_bits())),
                IpNet::V6(net) => v6.push((net.addr().to_bits(), net.netmask().to_bits())),
            }
        }
        let networks = networks.into_iter().map(Network).collect();
        Self { networks, v4: v4.into(), v6: v6.into() }
    }
}

impl Networks {
    /// The most networks of one key.
    pub const MAX: usize = 16;

    /// Returns the limit to `networks`.
    ///
    /// # Errors
    ///
    /// [`InvalidField`] if a network is malformed, or if there are none or more than 16.
    pub fn only<S: AsRef<str>>(
        networks: impl IntoIterator<Item = S>,
    ) -> Result<Self, InvalidField> {
        let networks = networks.into_iter().map(|text| text.as_ref().parse());
        let networks: Vec<Network> = networks.collect::<Result<_, _>>()?;
        if networks.is_empty() || networks.len() > Self::MAX {
            return Err(InvalidField::malformed(Field::Networks, "1 to 16 networks"));
        }
        Ok(Self::of(networks))
    }

    /// Returns whether a client with this address may use the key.
    pub fn contains(&self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Only(list) => list.contains(address.to_canonical()),
        }
    }

    /// Returns whether this permits every client that `other` permits.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Only(_), Self::Any) => false,
            // Neighbors are joined, so a network that is covered at all is covered by one other.
            (Self::Only(above), Self::Only(below)) => {
                below.iter().all(|below| above.iter().any(|above| above.covers(below)))
            }
        }
    }

    /// Returns the clients that both permit. `Only` of two limits that have nothing in common is empty, and permits no
    /// client.
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Any, networks) | (networks, Self::Any) => networks.clone(),
            (Self::Only(left), Self::Only(right)) => {
                let both = left.iter().flat_map(|left| {
                    right.iter().filter_map(move |right| {
                        if left.covers(right) {
                            Some(right)
                        } else {
                            right.covers(left).then_some(left)
                        }
                    })
                });
                Self::of(both.collect())
            }
        }
    }

    fn of(networks: Vec<Network>) -> Self {
        let networks: Vec<IpNet> = networks.into_iter().map(|network| network.0).collect();
        let mut joined = IpNet::aggregate(&networks);
        joined.sort_unstable();
        Self::Only(NetworkList::new(joined))
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.option(
            match self {
                Self::Any => None,
                Self::Only(list) => Some(list),
            },
            |writer, list| {
                writer.len(list.networks.len());
                for Network(network) in &list.networks {
                    // An IPv4 address as a mapped one, whose prefix is longer by 96 bits.
                    let (address, mapped) = match network.addr() {
                        IpAddr::V4(address) => (address.to_ipv6_mapped(), 96),
                        IpAddr::V6(address) => (address, 0),
                    };
                    writer.raw(&address.octets());
                    writer.raw(&[network.prefix_len().saturating_add(mapped)]);
                }
            },
        );
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let network = |reader: &mut Reader<'_>| {
            let address = Ipv6Addr::from(*reader.raw()?);
            let [prefix] = *reader.raw()?;
            let network = IpNet::new(address.into(), prefix).ok()?;
            (network.trunc() == network).then(|| Network(canonical(network)))
        };
        match reader.option(|reader| reader.list(network))? {
            None => Some(Self::Any),
            Some(list) => {
                let networks = Self::of(list.clone());
                // A record has one encoding.
                let is_canonical =
                    matches!(&networks, Self::Only(joined) if *joined.networks == *list);
                (list.len() <= Self::MAX && is_canonical).then_some(networks)
            }
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Networks {
    /// Serializes `null` for any network, or a list of networks.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Any => serializer.serialize_none(),
            Self::Only(list) => serializer.collect_seq(list.iter().map(Text)),
        }
    }
}

#[cfg(feature = "serde")]
struct Text(Network);

#[cfg(feature = "serde")]
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
