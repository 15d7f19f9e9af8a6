//! Which flows are meant.

use serde::{Deserialize, Serialize};

use super::TcpState;
use super::flow::{FlowEntry, FlowPart, FlowTuple};
use crate::rule::{Family, IpNet, Mark};

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
    /// What its mark has to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
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
    /// Bits of a mark outside of its mask.
    #[error("no flow has mark {0}: the value has bits that the mask leaves out")]
    Mark(Mark),
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
            && nets.any(|net| net.family() != first.family())
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
        if let Some(mark) = self.mark.filter(|Mark { value, mask }| value & !mask != 0) {
            return Err(FilterError::Mark(mark));
        }
        if (self.assured, self.seen_reply) == (Some(true), Some(false)) {
            return Err(FilterError::AssuredUnreplied);
        }
        Ok(())
    }

    /// Whether it can only be met by IPv6 flows.
    #[must_use]
    pub fn wants_ipv6(&self) -> bool {
        self.nets().any(|net| net.family() == Family::V6)
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
            && self.mark.is_none_or(|mark| mark.matches(flow.mark))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        IpNet::from_prefix(text).expect(text)
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
            mark: 0x12,
            counts: None,
        }
    }

    /// A filter that `flow` meets, and one condition each.
    fn conditions() -> [(FlowFilter, FlowFilter); 13] {
        let empty = FlowFilter::default();
        let original = |original| FlowFilter { original, ..FlowFilter::default() };
        let reply = |reply| FlowFilter { reply, ..FlowFilter::default() };
        let source = |text| TupleFilter { source: Some(net(text)), ..TupleFilter::default() };
        let to = |text| TupleFilter { destination: Some(net(text)), ..TupleFilter::default() };
        let sport = |port| TupleFilter { source_port: Some(port), ..TupleFilter::default() };
        let dport = |port| TupleFilter { destination_port: Some(port), ..TupleFilter::default() };
        let mark = |value, mask| FlowFilter { mark: Some(Mark { value, mask }), ..empty };
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
            (mark(2, 0xf), mark(2, u32::MAX)),
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
        for json in [r#"{"zone":1}"#, r#"{"original":{"zone":1}}"#, r#"{"tcp_state":"SYN"}"#] {
            assert!(serde_json::from_str::<FlowFilter>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn what_no_flow_can_meet_is_refused() {
        let empty = FlowFilter::default();
        let original = TupleFilter { source: Some(net("10.0.0.1")), ..TupleFilter::default() };
        let reply = TupleFilter { source: Some(net("fd00::1")), ..TupleFilter::default() };
        let port = TupleFilter { source_port: Some(80), ..TupleFilter::default() };
        let mark = |value, mask| FlowFilter { mark: Some(Mark { value, mask }), ..empty };
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
            (mark(3, 1), FilterError::Mark(Mark { value: 3, mask: 1 })),
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
}
