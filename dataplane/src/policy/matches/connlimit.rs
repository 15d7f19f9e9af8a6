//! `-m connlimit` (net/netfilter/xt_connlimit.c).

use std::net::IpAddr;
use std::sync::Arc;

use weir_control::rule::{ConnlimitMatch, ConnlimitSide, Negatable};

use super::Around;
use crate::conntrack::Packet;
use crate::limit::connections::Connections;
use crate::policy::rule::Evaluation;
use crate::policy::{Candidate, Unenforced};

/// How many connections there may be.
#[derive(Debug)]
pub(in crate::policy) struct ConnlimitTest {
    connections: Arc<Connections>,
    above: Negatable<u32>,
    /// Bits of an address that make a group.
    mask: u128,
    side: ConnlimitSide,
}

impl ConnlimitTest {
    pub(super) fn compile(
        asked: &ConnlimitMatch,
        around: &mut Around<'_, '_>,
    ) -> Result<Self, Unenforced> {
        let above = asked.above.ok_or("connlimit")?;
        around.room.take_connlimit()?;
        let (workers, flows_max) = around.room.flows(around.family);
        let connections = around.keeper.try_own(|| Connections::new(workers, flows_max))?;
        let bits = u32::from(around.family.address_bits());
        let mask = match u32::from(asked.prefix_len).min(bits) {
            0 => 0,
            length => u128::MAX >> (128 - length) << (bits - length),
        };
        Ok(Self { connections, above, mask, side: asked.side })
    }

    /// Asks for one more packet. One of which no flow could be told is dropped, as in the kernel.
    pub(super) fn evaluate(&self, candidate: &Candidate<'_>) -> Evaluation {
        let (headers, connection) = (candidate.headers, &candidate.connection);
        let (source, destination) = (headers.source(), headers.destination());
        let address = match self.side {
            ConnlimitSide::Source => source,
            ConnlimitSide::Destination => destination,
        };
        let bits = match address {
            IpAddr::V4(address) => address.to_bits().into(),
            IpAddr::V6(address) => address.to_bits(),
        };
        let packet =
            Packet::new(source, destination, headers.protocol, candidate.transport_header());
        let connections = connection.connections(&self.connections, bits & self.mask, &packet);
        let Some(count) = connections else { return Evaluation::Hotdrop };
        ((count > self.above.value) != self.above.negated).into()
    }
}
