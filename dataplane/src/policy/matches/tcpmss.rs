//! `-m tcpmss` (`net/netfilter/xt_tcpmss.c`).

use weir_control::rule::TcpMssMatch;

use super::tcp_options::{Broken, TcpOptions};
use crate::policy::Candidate;
use crate::policy::rule::Evaluation;

const KIND: u8 = 2;
const LEN: u8 = 4;

/// As the kernel of today, it takes the payload of a later fragment for a TCP header.
pub(super) fn evaluate(test: &TcpMssMatch, candidate: &Candidate<'_>) -> Evaluation {
    let mut options = match TcpOptions::new(candidate.transport_header()) {
        Ok(options) => options,
        Err(Broken) => return Evaluation::Hotdrop,
    };
    let mss = options.find_map(|(_, option)| match *option {
        [KIND, LEN, high, low, ..] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    });
    let in_range = mss.is_some_and(|mss| test.mss.value.contains(mss));
    (in_range != test.mss.negated).into()
}
