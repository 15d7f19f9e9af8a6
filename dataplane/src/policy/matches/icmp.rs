//! `-m icmp` (`icmp_match` in `net/netfilter/xt_tcpudp.c`).

use weir_control::rule::IcmpMatch;

use crate::batch::Piece;
use crate::policy::Candidate;
use crate::policy::rule::Evaluation;

/// What every ICMP message begins with: type, code, checksum, and four bytes whose meaning depends on the type.
const HEADER_BYTES: usize = 8;

pub(super) fn evaluate(test: &IcmpMatch, candidate: &Candidate<'_>) -> Evaluation {
    if matches!(candidate.headers.piece, Piece::Later(_)) {
        return Evaluation::Differs;
    }
    let header = candidate.transport_header().get(..HEADER_BYTES);
    let Some(&[icmp_type, code, ..]) = header else { return Evaluation::Hotdrop };
    (test.icmp_type.value.matches(icmp_type, code) != test.icmp_type.negated).into()
}
