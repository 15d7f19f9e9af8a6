//! One flow, as an operator sees it.
//!
//! These types are `Copy` and own no memory: a worker fills a buffer with them that somebody else
//! has allocated.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::TcpState;

/// An entry of the flow table, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEntry {
    /// The worker that tracks it, from 0.
    pub worker: u32,
    /// Its place in that worker's table. It stays there as long as it lives.
    pub slot: u32,
    /// How often the place was used before. Worker, slot and generation name this flow and no
    /// later one.
    pub generation: u32,
    /// IP protocol number.
    pub protocol: u8,
    /// The state of a TCP connection; `None` for every other protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_state: Option<TcpState>,
    /// Seconds until it expires, rounded down.
    pub timeout_s: u32,
    /// What the packets of the direction of its first packet have in common.
    pub original: FlowTuple,
    /// The same of those that answer.
    pub reply: FlowTuple,
    /// Whether an answer was seen.
    pub seen_reply: bool,
    /// Whether it is worth keeping when the table is full: its handshake is over, or it has been
    /// answered for longer.
    pub assured: bool,
    /// Its mark, which rules give it; 0 at first.
    pub mark: u32,
    /// What its packets have come to; `None` where that is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<FlowCounts>,
}

/// What the packets of a flow have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCounts {
    /// Those of the direction of its first packet.
    pub original: FlowCount,
    /// Those of the answers.
    pub reply: FlowCount,
}

/// Packets of one direction, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowCount {
    /// How many.
    pub packets: u64,
    /// Their bytes, IP headers included.
    pub bytes: u64,
}

/// One direction of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WireTuple", into = "WireTuple")]
pub struct FlowTuple {
    /// Where its packets come from.
    pub source: IpAddr,
    /// Where they go to; of the same family.
    pub destination: IpAddr,
    /// What else tells it from other flows between these two.
    pub part: FlowPart,
}

/// What tells flows of one protocol between the same two addresses apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowPart {
    /// Nothing: there is at most one.
    None,
    /// Ports: TCP, UDP and the like.
    Ports {
        /// Of the sender.
        source: u16,
        /// Of the receiver.
        destination: u16,
    },
    /// GRE; only PPTP's has keys other than 0 (RFC 2637 4.1).
    Keys {
        /// Of the sender.
        source: u16,
        /// Of the receiver: the call.
        destination: u16,
    },
    /// An ICMP query or its answer.
    Icmp {
        /// Type, such as 8 for an echo request.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier.
        id: u16,
    },
}

/// [`FlowTuple`] as JSON: one flat object, and only the fields that its protocol has.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireTuple {
    source: IpAddr,
    destination: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_key: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    destination_key: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icmp_type: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icmp_code: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    icmp_id: Option<u16>,
}

impl From<FlowTuple> for WireTuple {
    fn from(tuple: FlowTuple) -> Self {
        let FlowTuple { source, destination, part } = tuple;
        let mut wire = Self {
            source,
            destination,
            source_port: None,
            destination_port: None,
            source_key: None,
            destination_key: None,
            icmp_type: None,
            icmp_code: None,
            icmp_id: None,
        };
        match part {
            FlowPart::None => {}
            FlowPart::Ports { source, destination } => {
                (wire.source_port, wire.destination_port) = (Some(source), Some(destination));
            }
            FlowPart::Keys { source, destination } => {
                (wire.source_key, wire.destination_key) = (Some(source), Some(destination));
            }
            FlowPart::Icmp { kind, code, id } => {
                (wire.icmp_type, wire.icmp_code, wire.icmp_id) = (Some(kind), Some(code), Some(id));
            }
        }
        wire
    }
}

impl TryFrom<WireTuple> for FlowTuple {
    type Error = &'static str;

    fn try_from(wire: WireTuple) -> Result<Self, Self::Error> {
        let WireTuple { source, destination, .. } = wire;
        if source.is_ipv4() != destination.is_ipv4() {
            return Err("a flow's addresses are of two families");
        }
        let ports = (wire.source_port, wire.destination_port);
        let keys = (wire.source_key, wire.destination_key);
        let icmp = (wire.icmp_type, wire.icmp_code, wire.icmp_id);
        let part = match (ports, keys, icmp) {
            ((None, None), (None, None), (None, None, None)) => FlowPart::None,
            ((Some(source), Some(destination)), (None, None), (None, None, None)) => {
                FlowPart::Ports { source, destination }
            }
            ((None, None), (Some(source), Some(destination)), (None, None, None)) => {
                FlowPart::Keys { source, destination }
            }
            ((None, None), (None, None), (Some(kind), Some(code), Some(id))) => {
                FlowPart::Icmp { kind, code, id }
            }
            _ => {
                return Err(
                    "a flow has two ports, or two keys, or an ICMP type, code and id, or nothing",
                );
            }
        };
        Ok(Self { source, destination, part })
    }
}

/// Something that happened to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowEvent {
    /// What.
    pub event: FlowEventKind,
    /// The flow right after it; of one that ended, right before.
    pub flow: FlowEntry,
}

/// What can happen to a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowEventKind {
    /// Its first packet was accepted.
    New,
    /// Its TCP state changed, its first answer was seen, or it became assured.
    Update,
    /// It expired, was deleted, or gave way to another one.
    Destroy,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(part: FlowPart) -> FlowTuple {
        let (source, destination) = ([10, 0, 0, 2].into(), [192, 168, 0, 2].into());
        FlowTuple { source, destination, part }
    }

    #[test]
    fn tuples_are_flat_objects_with_the_fields_of_their_protocol() {
        for (part, json) in [
            (FlowPart::None, r#"{"source":"10.0.0.2","destination":"192.168.0.2"}"#),
            (
                FlowPart::Ports { source: 40_000, destination: 80 },
                r#"{"source":"10.0.0.2","destination":"192.168.0.2","source_port":40000,"destination_port":80}"#,
            ),
            (
                FlowPart::Keys { source: 0, destination: 9 },
                r#"{"source":"10.0.0.2","destination":"192.168.0.2","source_key":0,"destination_key":9}"#,
            ),
            (
                FlowPart::Icmp { kind: 8, code: 0, id: 7 },
                r#"{"source":"10.0.0.2","destination":"192.168.0.2","icmp_type":8,"icmp_code":0,"icmp_id":7}"#,
            ),
        ] {
            let tuple = tuple(part);
            assert_eq!(serde_json::to_string(&tuple).expect("JSON"), json);
            assert_eq!(serde_json::from_str::<FlowTuple>(json).expect("a tuple"), tuple);
        }
    }

    #[test]
    fn tuples_that_no_flow_has_are_refused() {
        for rest in [
            r#""destination":"::1""#,
            r#""destination":"10.0.0.1","source_port":1"#,
            r#""destination":"10.0.0.1","destination_port":1"#,
            r#""destination":"10.0.0.1","icmp_type":1,"icmp_code":0"#,
            r#""destination":"10.0.0.1","source_port":1,"icmp_type":8,"icmp_code":0,"icmp_id":7"#,
            r#""destination":"10.0.0.1","source_port":1,"destination_port":1,"icmp_id":7"#,
            r#""destination":"10.0.0.1","source_key":1"#,
            r#""destination":"10.0.0.1","source_port":1,"destination_port":1,"source_key":1,"destination_key":1"#,
            r#""destination":"10.0.0.1","mark":1"#,
            r#""destination":"10.0.0.256""#,
        ] {
            let json = format!(r#"{{"source":"10.0.0.2",{rest}}}"#);
            assert!(serde_json::from_str::<FlowTuple>(&json).is_err(), "{json}");
        }
    }
}
