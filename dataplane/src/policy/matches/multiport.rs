//! `-m multiport` (`net/netfilter/xt_multiport.c`).

use weir_control::rule::{MultiportEnd, MultiportMatch, PortRange};

use crate::batch::Piece;
use crate::policy::Candidate;
use crate::policy::rule::Evaluation;

/// It wants no more of the transport header than the ports, so that it can be asked of shorter packets than `-m tcp`.
pub(super) fn evaluate(test: &MultiportMatch, candidate: &Candidate<'_>) -> Evaluation {
    if matches!(candidate.headers.piece, Piece::Later(_)) {
        return Evaluation::Differs;
    }
    let &[a, b, c, d, ..] = candidate.transport_header() else { return Evaluation::Hotdrop };
    let (source, destination) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    let meets = |range: &PortRange| match test.end {
        MultiportEnd::Source => range.contains(source),
        MultiportEnd::Destination => range.contains(destination),
        MultiportEnd::Either => range.contains(source) || range.contains(destination),
    };
    (test.ports.value.iter().any(meets) != test.ports.negated).into()
}
