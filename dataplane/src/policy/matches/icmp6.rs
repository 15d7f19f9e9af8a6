//! `-m icmp6` (`icmp6_match` in `net/ipv6/netfilter/ip6_tables.c`).

use weir_control::rule::Icmp6Match;

use crate::batch::Piece;
use crate::policy::Candidate;
use crate::policy::rule::Evaluation;

/// What every ICMPv6 message begins with: type, code, checksum, and four bytes whose meaning depends on the type.
const HEADER_BYTES: usize = 8;

pub(super) fn evaluate(test: &Icmp6Match, candidate: &Candidate<'_>) -> Evaluation {
    if matches!(candidate.headers.piece, Piece::Later(_)) {
        return Evaluation::Differs;
    }
    let header = candidate.transport_header().get(..HEADER_BYTES);
    let Some(&[icmp_type, code, ..]) = header else { return Evaluation::Hotdrop };
    (test.icmp6_type.value.matches(icmp_type, code) != test.icmp6_type.negated).into()
}
