//! Which flows are meant.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::TcpState;
use super::flow::{FlowEntry, FlowPart, FlowTuple};

const TCP: u8 = 6;
/// ICMP, IGMP and others that are known to have no ports.
const WITHOUT_PORTS: [u8; 6] = [1, 2, 47, 50, 51, 58];

/// The flows that meet every condition given; the empty filter means all.
///
/// `Copy`, and without memory of its own: a worker carries it along.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
// A condition that is not understood must not be left out: more flows would be meant.
#[serde(default, deny_unknown_fields)]
pub struct FlowFilter {
    /// IP protocol number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Conditions on the direction of the first packet.
    #[serde(skip_serializing_if = "TupleFilter::is_empty")]
    pub original: TupleFilter,
    /// Conditions on the direction of the answers.
    #[serde(skip_serializing_if = "TupleFilter::is_empty")]
    pub reply: TupleFilter,
    /// TCP state; only TCP has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_state: Option<TcpState>,
    /// Whether it has to be assured, or has not to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assured: Option<bool>,
    /// Whether it has to have been answered, or has not to have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_reply: Option<bool>,
}

/// Conditions on one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TupleFilter {
    /// Net of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// Net of the destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpNet>,
    /// Source port; met only by flows that have ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination port; met only by flows that have ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
}

/// Why no flow can meet a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// IPv4 and IPv6 together.
    #[error("IPv4 and IPv6 addresses cannot stand in one filter: a flow is of one family")]
    Families,
    /// A port, but a protocol without.
    #[error("protocol {0} has no ports: leave the port out, or say `-p tcp` or `-p udp`")]
    NoPorts(u8),
    /// A TCP state, but another protocol.
    #[error("protocol {0} has no such state: only TCP flows have one")]
    NotTcp(u8),
    /// Assured without an answer.
    #[error("a flow is assured only after it was answered: no flow is assured and unreplied")]
    AssuredUnreplied,
}

impl FlowFilter {
    /// Whether it has no condition, so that all flows are meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what no flow can meet.
    ///
    /// # Errors
    /// [`FilterError`] names the contradiction.
    pub fn validate(&self) -> Result<(), FilterError> {
        let mut nets = self.nets();
        if let Some(first) = nets.next()
            && nets.any(|net| net.is_ipv4() != first.is_ipv4())
        {
            return Err(FilterError::Families);
        }
        if let Some(protocol) = self.protocol {
            if self.tcp_state.is_some() && protocol != TCP {
                return Err(FilterError::NotTcp(protocol));
            }
            let ports = self.original.has_port() || self.reply.has_port();
            if ports && WITHOUT_PORTS.contains(&protocol) {
                return Err(FilterError::NoPorts(protocol));
            }
        }
        if (self.assured, self.seen_reply) == (Some(true), Some(false)) {
            return Err(FilterError::AssuredUnreplied);
        }
        Ok(())
    }

    /// Whether it can only be met by IPv6 flows.
    #[must_use]
    pub fn wants_ipv6(&self) -> bool {
        self.nets().any(|net| !net.is_ipv4())
    }

    fn nets(&self) -> impl Iterator<Item = IpNet> + use<> {
        let (original, reply) = (self.original, self.reply);
        let nets = [original.source, original.destination, reply.source, reply.destination];
        nets.into_iter().flatten()
    }

    /// Whether this flow is meant.
    #[must_use]
    pub fn matches(&self, flow: &FlowEntry) -> bool {
        self.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && self.tcp_state.is_none_or(|state| flow.tcp_state == Some(state))
            && self.assured.is_none_or(|assured| assured == flow.assured)
            && self.seen_reply.is_none_or(|seen| seen == flow.seen_reply)
            && self.original.matches(&flow.original)
            && self.reply.matches(&flow.reply)
    }
}

impl TupleFilter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn has_port(&self) -> bool {
        self.source_port.is_some() || self.destination_port.is_some()
    }

    fn matches(&self, tuple: &FlowTuple) -> bool {
        let ports = match tuple.part {
            FlowPart::Ports { source, destination } => (Some(source), Some(destination)),
            _ => (None, None),
        };
        self.source.is_none_or(|net| net.contains(tuple.source))
            && self.destination.is_none_or(|net| net.contains(tuple.destination))
            && (self.source_port.is_none() || self.source_port == ports.0)
            && (self.destination_port.is_none() || self.destination_port == ports.1)
    }
}

/// Addresses with a common prefix: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpNet {
    /// All bits behind the prefix are zero.
    address: IpAddr,
    prefix_len: u8,
}

/// Why text is not an [`IpNet`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IpNetError {
    /// What stands before the slash.
    #[error("not an IP address, nor one with a prefix length such as 10.0.0.0/8")]
    Address,
    /// What stands behind it.
    #[error("the prefix length is not a number from 0 to {0}")]
    PrefixLen(u8),
}

impl IpNet {
    /// The net of this prefix length that an address is in; `None` if the length is above 32, or
    /// 128 for IPv6.
    #[must_use]
    pub fn new(address: IpAddr, prefix_len: u8) -> Option<Self> {
        let address = masked(address, prefix_len)?;
        Some(Self { address, prefix_len })
    }

    /// One address.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        Self { address, prefix_len: bits(address) }
    }

    /// Whether it is of IPv4.
    #[must_use]
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether an address is in it; never if it is of the other family.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        masked(address, self.prefix_len) == Some(self.address)
    }
}

/// Bits of an address of this family.
fn bits(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, prefix_len: u8) -> Option<IpAddr> {
    let rest = bits(address).checked_sub(prefix_len)?;
    Some(match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(rest.into()).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(rest.into()).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    })
}

impl FromStr for IpNet {
    type Err = IpNetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((address, prefix_len)) = text.split_once('/') else {
            return text.parse().map(Self::host).map_err(|_| IpNetError::Address);
        };
        let address = address.parse().map_err(|_| IpNetError::Address)?;
        let wrong = IpNetError::PrefixLen(bits(address));
        // `parse` takes a sign.
        let digits = prefix_len.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_len = prefix_len.parse().ok().filter(|_| digits).ok_or(wrong)?;
        Self::new(address, prefix_len).ok_or(wrong)
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix_len == bits(self.address) {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.prefix_len)
        }
    }
}

impl TryFrom<String> for IpNet {
    type Error = IpNetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<IpNet> for String {
    fn from(net: IpNet) -> Self {
        net.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect(text)
    }

    fn flow() -> FlowEntry {
        let tuple = |source: [u8; 4], destination: [u8; 4], ports: (u16, u16)| FlowTuple {
            source: source.into(),
            destination: destination.into(),
            part: FlowPart::Ports { source: ports.0, destination: ports.1 },
        };
        FlowEntry {
            worker: 1,
            slot: 2,
            generation: 3,
            protocol: TCP,
            tcp_state: Some(TcpState::Established),
            timeout_s: 431_999,
            original: tuple([10, 0, 0, 2], [192, 168, 0, 2], (40_000, 80)),
            reply: tuple([192, 168, 0, 2], [10, 0, 0, 2], (80, 40_000)),
            seen_reply: true,
            assured: true,
        }
    }

    /// A filter that `flow` meets, and one condition each.
    fn conditions() -> [(FlowFilter, FlowFilter); 12] {
        let empty = FlowFilter::default();
        let original = |original| FlowFilter { original, ..FlowFilter::default() };
        let reply = |reply| FlowFilter { reply, ..FlowFilter::default() };
        let source = |text| TupleFilter { source: Some(net(text)), ..TupleFilter::default() };
        let to = |text| TupleFilter { destination: Some(net(text)), ..TupleFilter::default() };
        let sport = |port| TupleFilter { source_port: Some(port), ..TupleFilter::default() };
        let dport = |port| TupleFilter { destination_port: Some(port), ..TupleFilter::default() };
        let state = |state| FlowFilter { tcp_state: Some(state), ..empty };
        [
            (FlowFilter { protocol: Some(6), ..empty }, FlowFilter { protocol: Some(17), ..empty }),
            (original(source("10.0.0.0/8")), original(source("10.0.0.3"))),
            (original(to("192.168.0.2")), original(to("192.168.1.0/24"))),
            (original(sport(40_000)), original(sport(80))),
            (original(dport(80)), original(dport(40_000))),
            (reply(source("192.168.0.2/31")), reply(source("10.0.0.2"))),
            (reply(to("10.0.0.2")), reply(to("fd00::/8"))),
            (reply(sport(80)), reply(sport(81))),
            (reply(dport(40_000)), reply(dport(1))),
            (state(TcpState::Established), state(TcpState::SynSent)),
            (
                FlowFilter { assured: Some(true), ..empty },
                FlowFilter { assured: Some(false), ..empty },
            ),
            (
                FlowFilter { seen_reply: Some(true), ..empty },
                FlowFilter { seen_reply: Some(false), ..empty },
            ),
        ]
    }

    #[test]
    fn every_condition_counts_and_survives_the_way() {
        assert!(FlowFilter::default().matches(&flow()));
        for (met, unmet) in conditions() {
            assert!(met.matches(&flow()), "{met:?}");
            assert!(!unmet.matches(&flow()), "{unmet:?}");
            for filter in [met, unmet] {
                let json = serde_json::to_string(&filter).expect("JSON");
                assert_eq!(serde_json::from_str::<FlowFilter>(&json).expect("a filter"), filter);
                assert!(!filter.is_empty() && json != "{}");
            }
        }
        assert_eq!(serde_json::to_string(&FlowFilter::default()).expect("JSON"), "{}");
    }

    #[test]
    fn ports_are_not_what_icmp_has() {
        let mut ping = flow();
        ping.original.part = FlowPart::Icmp { kind: 8, code: 0, id: 80 };
        let original = TupleFilter { destination_port: Some(80), ..TupleFilter::default() };
        assert!(!FlowFilter { original, ..FlowFilter::default() }.matches(&ping));
    }

    #[test]
    fn a_condition_that_is_not_understood_is_refused() {
        for json in [r#"{"mark":1}"#, r#"{"original":{"zone":1}}"#, r#"{"tcp_state":"SYN"}"#] {
            assert!(serde_json::from_str::<FlowFilter>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_no_flow_can_meet_is_refused() {
        let empty = FlowFilter::default();
        let original = TupleFilter { source: Some(net("10.0.0.1")), ..TupleFilter::default() };
        let reply = TupleFilter { source: Some(net("fd00::1")), ..TupleFilter::default() };
        let port = TupleFilter { source_port: Some(80), ..TupleFilter::default() };
        let established = Some(TcpState::Established);
        for (filter, error) in [
            (FlowFilter { original, reply, ..empty }, FilterError::Families),
            (FlowFilter { protocol: Some(1), reply: port, ..empty }, FilterError::NoPorts(1)),
            (
                FlowFilter { protocol: Some(17), tcp_state: established, ..empty },
                FilterError::NotTcp(17),
            ),
            (
                FlowFilter { assured: Some(true), seen_reply: Some(false), ..empty },
                FilterError::AssuredUnreplied,
            ),
        ] {
            assert_eq!(filter.validate(), Err(error));
        }
        for (met, _) in conditions() {
            assert_eq!(met.validate(), Ok(()));
        }
        assert_eq!(FlowFilter { protocol: Some(132), original: port, ..empty }.validate(), Ok(()));
        assert!(FlowFilter { reply, ..empty }.wants_ipv6());
        assert!(!FlowFilter { original, ..empty }.wants_ipv6());
    }

    #[test]
    fn nets_of_both_families() {
        assert_eq!(net("10.1.2.3/8").to_string(), "10.0.0.0/8");
        assert_eq!(net("10.1.2.3/32").to_string(), "10.1.2.3");
        assert_eq!(net("fd00::1/64").to_string(), "fd00::/64");
        assert!(net("0.0.0.0/0").contains([255; 4].into()));
        assert!(!net("0.0.0.0/0").contains(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        assert!(!net("::/0").contains([0; 4].into()));
        assert!(net("::/0").contains(IpAddr::V6(Ipv6Addr::from_bits(u128::MAX))));
        assert!(net("10.0.0.2/31").contains([10, 0, 0, 3].into()));
        assert!(!net("10.0.0.2/31").contains([10, 0, 0, 4].into()));
        for wrong in ["", "10.0.0", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "a/8"] {
            assert!(wrong.parse::<IpNet>().is_err(), "{wrong}");
        }
    }
}
