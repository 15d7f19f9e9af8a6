//! `-m connbytes`: what the packets of a flow have come to, this one included (`net/netfilter/xt_connbytes.c`).

use weir_control::rule::{
    ConnbytesDirection, ConnbytesMatch, ConnbytesMode, CountRange, Negatable,
};

use super::Connection;
use crate::conntrack::FlowCount;

/// `-m connbytes`, whole.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct CountTest {
    count: Negatable<CountRange>,
    direction: ConnbytesDirection,
    mode: ConnbytesMode,
}

impl TryFrom<ConnbytesMatch> for CountTest {
    /// What cannot be enforced: half of one.
    type Error = &'static str;

    fn try_from(asked: ConnbytesMatch) -> Result<Self, Self::Error> {
        match asked {
            ConnbytesMatch { count: Some(count), direction: Some(direction), mode: Some(mode) } => {
                Ok(Self { count, direction, mode })
            }
            _ => Err("connbytes"),
        }
    }
}

impl CountTest {
    /// Whether the test holds. Of a packet without a flow it does not, negated or not, nor where nothing is counted.
    pub(super) fn holds(&self, connection: &Connection<'_>) -> bool {
        let Some([original, reply]) = connection.counts() else { return false };
        let FlowCount { packets, bytes } = match self.direction {
            ConnbytesDirection::Original => original,
            ConnbytesDirection::Reply => reply,
            ConnbytesDirection::Both => FlowCount {
                packets: original.packets.wrapping_add(reply.packets),
                bytes: original.bytes.wrapping_add(reply.bytes),
            },
        };
        let count = match self.mode {
            ConnbytesMode::Packets => packets,
            ConnbytesMode::Bytes => bytes,
            ConnbytesMode::Avgpkt => bytes.checked_div(packets).unwrap_or(0),
        };
        self.count.value.contains(count) != self.count.negated
    }
}
