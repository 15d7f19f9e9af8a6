//! UDP, ICMP queries, GRE, and everything else: protocols without a state of their own
//! (`nf_conntrack_udp_packet`, `nf_conntrack_icmp_packet`, `nf_conntrack_gre_packet`, `generic_packet`).

use super::clock::{Ticks, Time};
use super::flow::{Bits, Flow};
use super::packet::{Packet, udp_datagram};
use super::settings::Timeouts;
use super::{Kind, Step};

/// Younger than this, an answered UDP flow may be a single question and its answer.
pub(super) const STREAM_AGE: Ticks = Ticks::from_seconds(2);

/// Prepares a new flow; false if this packet cannot begin one. Of ICMP only queries can.
pub(super) fn begin(flow: &mut Flow, packet: &Packet<'_>, now: Time) -> bool {
    match flow.bits.kind() {
        Kind::Udp => flow.last_end = now.after(STREAM_AGE).bits(),
        kind @ (Kind::Icmp | Kind::Icmpv6) => {
            return packet.l4.first().is_some_and(|icmp_type| is_query(kind, *icmp_type));
        }
        Kind::Tcp | Kind::Gre | Kind::Other | Kind::Free => {}
    }
    true
}

/// Whether an ICMP message of this type asks for an answer: echo, timestamp, information, address mask; echo and node
/// information.
pub(super) fn is_query(kind: Kind, icmp_type: u8) -> bool {
    match kind {
        Kind::Icmp => matches!(icmp_type, 8 | 13 | 15 | 17),
        Kind::Icmpv6 => matches!(icmp_type, 128 | 139),
        Kind::Tcp | Kind::Udp | Kind::Gre | Kind::Other | Kind::Free => false,
    }
}

/// Takes a packet of the flow in.
pub(super) fn follow(flow: &mut Flow, packet: &Packet<'_>, timeouts: &Timeouts, now: Time) -> Step {
    let answered = flow.bits.has(Bits::SEEN_REPLY);
    Step::Live(match flow.bits.kind() {
        Kind::Udp if udp_datagram(packet.l4).is_none() => return Step::Invalid,
        // Once a stream, always one: the moment itself would come round again after 24 days.
        Kind::Udp if answered && (flow.bits.has(Bits::ASSURED) || is_old(flow, now)) => {
            flow.bits.set(Bits::ASSURED, true);
            timeouts.udp_stream
        }
        Kind::Udp => timeouts.udp,
        Kind::Icmp => timeouts.icmp,
        Kind::Icmpv6 => timeouts.icmpv6,
        Kind::Gre if answered => {
            flow.bits.set(Bits::ASSURED, true);
            timeouts.gre_stream
        }
        Kind::Gre => timeouts.gre,
        Kind::Tcp | Kind::Other | Kind::Free => timeouts.generic,
    })
}

/// Whether a UDP flow is older than a question and its answer.
fn is_old(flow: &Flow, now: Time) -> bool {
    now.since(Time::from_bits(flow.last_end)) > 0
}
