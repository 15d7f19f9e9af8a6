//! Matches that compare one field: `-m dscp`, `-m hl`, `-m iprange`, `-m length`, `-m mac`, `-m mark`, `-m pkttype`,
//! `-m tos`, `-m ttl` (`net/netfilter/xt_dscp.c`, `xt_iprange.c`, `xt_length.c`, `xt_mac.c`, `xt_mark.c`,
//! `xt_pkttype.c`, `xt_hl.c`).

use std::net::IpAddr;

use weir_control::rule::{
    AddressRange, DscpMatch, IprangeMatch, LengthMatch, MacMatch, MarkMatch, Negatable, PacketType,
    PkttypeMatch, TosMatch, TtlMatch,
};

use crate::policy::{Candidate, Hook};

pub(super) fn dscp(test: &DscpMatch, candidate: &Candidate<'_>) -> bool {
    test.dscp.value.is_in(candidate.tos()) != test.dscp.negated
}

pub(super) fn iprange(test: &IprangeMatch, candidate: &Candidate<'_>) -> bool {
    let holds = |range: Option<Negatable<AddressRange>>, address: IpAddr| {
        range.is_none_or(|range| range.value.contains(address) != range.negated)
    };
    let headers = candidate.headers;
    holds(test.source, headers.source()) && holds(test.destination, headers.destination())
}

pub(super) fn length(test: &LengthMatch, candidate: &Candidate<'_>) -> bool {
    test.length.value.contains(candidate.headers.total_len) != test.length.negated
}

/// The kernel asks first whether there is an Ethernet header. Weir's ports have no other packets.
pub(super) fn mac(test: &MacMatch, candidate: &Candidate<'_>) -> bool {
    let source = candidate.link.get(6..12);
    source.is_some_and(|source| (source == test.source.value.0) != test.source.negated)
}

/// The mark is no field of the packet, but likewise one number.
pub(super) fn mark(test: &MarkMatch, candidate: &Candidate<'_>) -> bool {
    test.mark.value.matches(candidate.mark) != test.mark.negated
}

/// `parse` drops what was not sent to the port's own address.
pub(super) fn pkttype(test: &PkttypeMatch) -> bool {
    (test.packet_type.value == PacketType::Unicast) != test.packet_type.negated
}

pub(super) fn tos(test: &TosMatch, candidate: &Candidate<'_>) -> bool {
    test.tos.value.matches(candidate.tos()) != test.tos.negated
}

/// `ip_forward` (`net/ipv4/ip_forward.c`) and `ip6_forward` (`net/ipv6/ip6_output.c`) count this hop before they ask
/// the rules; Weir does when the packet leaves.
pub(super) fn ttl(test: TtlMatch, candidate: &Candidate<'_>) -> bool {
    let hops = u8::from(candidate.hook == Hook::Forward);
    test.matches(candidate.headers.ttl.saturating_sub(hops))
}
