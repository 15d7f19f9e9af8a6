//! `-m ecn` (`net/netfilter/xt_ecn.c`).

use weir_control::rule::EcnMatch;

use crate::policy::Candidate;

/// Bits of the byte of flags in a TCP header (RFC 3168, 6.1).
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// As the kernel of today, it takes the payload of a later fragment for a TCP header. A header that is cut off fits
/// nothing.
pub(super) fn holds(test: &EcnMatch, candidate: &Candidate<'_>) -> bool {
    let in_ip = test.ip_ect.is_none_or(|ect| (candidate.tos() & 3 == ect.value) != ect.negated);
    if !in_ip || !test.reads_tcp() {
        return in_ip;
    }
    let Some(header) = candidate.transport_header().get(..20) else { return false };
    let is = |flag: u8, wanted: Option<bool>| {
        wanted.is_none_or(|wanted| (header[13] & flag != 0) == wanted)
    };
    is(ECE, test.tcp_ece) && is(CWR, test.tcp_cwr)
}
