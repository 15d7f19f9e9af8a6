//! `-m set` (net/netfilter/xt_set.c, and `ip_set_test` in net/netfilter/ipset/ip_set_core.c).

use std::net::IpAddr;

use weir_control::rule::{SetDirections, SetMatch};
use weir_control::set::SetKind;

use crate::batch::Piece;
use crate::policy::Candidate;
use crate::set::{Found, Set, Sets};

/// The match, with the set's number in place of its name.
#[derive(Debug)]
pub(in crate::policy) struct SetTest {
    place: u16,
    negated: bool,
    directions: SetDirections,
    return_nomatch: bool,
}

impl SetTest {
    /// `None` if there is no such set.
    pub(super) fn compile(asked: &SetMatch, sets: &Sets) -> Option<Self> {
        let set = asked.set.as_ref()?;
        Some(Self {
            place: sets.place_of(&set.value)?,
            negated: set.negated,
            directions: asked.directions,
            return_nomatch: asked.return_nomatch,
        })
    }

    pub(super) fn holds(&self, candidate: &Candidate<'_>, sets: &Sets) -> bool {
        let set = sets.at(self.place);
        set.is_some_and(|set| self.is_in(set, candidate, sets)) != self.negated
    }

    fn is_in(&self, set: &Set, candidate: &Candidate<'_>, sets: &Sets) -> bool {
        // A rule that says less than the set wants to know matches nothing.
        if self.directions.len() < set.kind().dimension() {
            return false;
        }
        let address = self.address(candidate);
        match set.kind() {
            SetKind::HashIp => set.find_address(address) == Found::Yes,
            SetKind::HashNet => match set.find_in_nets(address) {
                Found::No => false,
                Found::Yes => !self.return_nomatch,
                Found::Exception => self.return_nomatch,
            },
            SetKind::HashIpPort => {
                let port = port(candidate, self.directions.is_source(1));
                port.is_some_and(|port| {
                    set.find_port(address, candidate.headers.protocol, port) == Found::Yes
                })
            }
            // No list has lists in it.
            SetKind::ListSet => set.members().any(|member| {
                let member = sets.at(member);
                member.is_some_and(|member| {
                    member.kind() != SetKind::ListSet && self.is_in(member, candidate, sets)
                })
            }),
        }
    }

    fn address(&self, candidate: &Candidate<'_>) -> IpAddr {
        let headers = candidate.headers;
        if self.directions.is_source(0) { headers.source() } else { headers.destination() }
    }
}

/// What stands for the port; `None` where it cannot be told (`ip_set_get_ip4_port`, `ip_set_get_ip6_port`,
/// net/netfilter/ipset/ip_set_getport.c). Of IPv6 nothing can where no header follows (`ipv6_skip_exthdr`,
/// net/ipv6/exthdrs_core.c).
fn port(candidate: &Candidate<'_>, source: bool) -> Option<u16> {
    if matches!(candidate.headers.piece, Piece::Later(_)) && candidate.headers.v4().is_none() {
        return None;
    }
    // How much of the header the kernel wants to see, and whether ports stand in front.
    let (bytes, has_ports) = match candidate.headers.protocol {
        0 => return None,
        6 => (20, true),
        132 => (12, true),
        17 | 136 => (8, true),
        1 | 58 => (8, false),
        59 if candidate.headers.v4().is_none() => return None,
        _ => return Some(0),
    };
    if matches!(candidate.headers.piece, Piece::Later(_)) {
        return None;
    }
    let header = candidate.transport_header().get(..bytes)?;
    match (header, has_ports, source) {
        (&[_, _, high, low, ..], true, false) | (&[high, low, ..], _, _) => {
            Some(u16::from_be_bytes([high, low]))
        }
        _ => None,
    }
}
