//! `Verdict` and `DropReason`: the one list of the ways a packet can end.
//!
//! A verdict starts as [`Verdict::Drop`]`(`[`DropReason::Unclassified`]`)`: forwarding is earned. Every
//! packet that enters a worker leaves it in exactly one counted way, so that at every poll
//!
//! ```text
//! received + originated + handed in
//!     = transmitted + to host + handed out + drops (by reason) + absorbed + held
//! ```

use crate::port::PortIndex;

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It ends here, and is counted under this reason.
    Drop(DropReason),
    /// It leaves by this port.
    Forward(PortIndex),
    /// It is for the machine itself.
    ToHost,
    /// Its flow lives on this worker.
    HandOver(usize),
}

impl Verdict {
    /// Whether the packet is still on its way through.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Drop(DropReason::Unclassified) | Self::Forward(_) | Self::ToHost)
    }
}

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $why:literal;)*) => {
        /// Why a packet was dropped. Names are stable: they are counters' names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason { $($(#[$doc])* #[doc = $why] $variant,)* }

        impl DropReason {
            /// All reasons, in the order in which a packet can meet them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The counter's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One sentence for an operator.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }
        }
    };
}

drop_reasons! {
    Unclassified = "unclassified", "no stage decided about it: a defect of Weir, please report it";
    Truncated = "truncated", "shorter than its headers say";
    MultiBuffer = "multi_buffer", "spread over several chunks, which Weir does not take";
    OtherHost = "other_host", "its destination MAC address is not the port's";
    L2Group = "l2_group", "sent to a link-layer group or broadcast address, which a router does not forward";
    EtherType = "ether_type", "neither IPv4, nor IPv6 with ipv6 = forward, nor meant for the machine itself (VLAN is not forwarded yet)";
    IpHeader = "ip_header", "malformed IP header: version, lengths, or options and extension headers that cannot be followed";
    IpChecksum = "ip_checksum", "wrong IPv4 header checksum";
    SourceRoute = "source_route", "carries a source route option (RFC 7126 4.3: dropped by default)";
    Martian = "martian", "an address that never stands on a wire (RFC 1812 5.3.7, RFC 4291 2.5)";
    HandOverFull = "hand_over_full", "the queue to the worker of its flow was full";
    Raw = "raw", "table raw says DROP: a rule, its policy, or a port or flag looked for in a header that is cut off or overlapping";
    LocalAddress = "local_address", "for the firewall itself, but it came past the XDP program (address just added)";
    TtlExceeded = "ttl_exceeded", "its time to live, or hop limit, ended here (answered by time exceeded)";
    BeyondScope = "beyond_scope", "IPv6 from an address of its link, which must not leave it (answered by beyond scope)";
    NoRoute = "no_route", "no route to its destination (answered by net unreachable, of IPv6 no route)";
    RouteUnreachable = "route_unreachable", "an unreachable, prohibit or blackhole route (answered but for blackhole)";
    NotAPort = "not_a_port", "its route leads out of an interface that is not one of Weir's ports";
    MtuExceeded = "mtu_exceeded", "larger than the next link and may not be fragmented (answered by fragmentation needed, of IPv6 packet too big)";
    Rule = "rule", "a rule says DROP";
    Synproxy = "synproxy", "SYNPROXY cannot read it, or it acknowledges nothing that SYNPROXY has sent";
    RuleReject = "reject", "a rule says REJECT (answered unless it must not be)";
    RulePolicy = "policy", "the policy of its chain says DROP";
    RuleHotdrop = "hotdrop", "a rule looked for a port or flag in a header that is cut off or overlapping";
    Reassembly = "reassembly", "a fragment whose datagram stayed incomplete for 30 s (IPv6: 60 s), overlapped, had contradictory ECN marks, or found no room";
    FlowTableFull = "flow_table_full", "it begins a flow, and the table is full of flows that are worth more";
    HalfOpenFull = "half_open_full", "it begins a connection, and too many are half-open";
    PortDown = "port_down", "its outgoing port is closed or its link down";
    NeighbourUnresolved = "neighbour_unresolved", "nobody answered for the next hop (answered by host unreachable, of IPv6 address unreachable)";
    HoldFull = "hold_full", "too many packets wait for their next hops to be resolved";
    TxRingFull = "tx_ring_full", "the transmit ring had no room, even after a kick";
    NoFrame = "no_frame", "no free frame to build a packet in";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_distinct_and_indices_dense() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
