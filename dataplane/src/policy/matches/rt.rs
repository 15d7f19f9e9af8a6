//! `-m rt` (`net/ipv6/netfilter/ip6t_rt.c`).
//!
//! The chain of extension headers is known to be whole: `parse` drops packets in which it is not.

use weir_control::rule::RtMatch;

use crate::policy::Candidate;
use crate::wire::ipv6::Ipv6;

pub(super) fn holds(test: &RtMatch, candidate: &Candidate<'_>) -> bool {
    let ip = Ipv6::new_checked(candidate.packet).ok();
    let header = ip.as_ref().and_then(Ipv6::routing_header);
    header.is_some_and(|header| test.matches(header.kind, header.segments_left, header.bytes))
}
