//! The targets of a rule, compiled.

use weir_control::rule::{
    ConnmarkMode, ConnmarkTarget, LogTarget, MarkTarget, Reject6With, RejectWith, SynproxyTarget,
};

use super::{Action, Candidate, Decision};
use crate::conntrack::Packet;
use crate::packet_log::LogSpec;
use crate::respond::{Reject, Unreachable, Unreachable6};
use crate::verdict::DropReason;
use crate::wire::tcp::TcpFlags;

/// `-j REJECT`.
pub(super) fn reject(with: RejectWith) -> Reject {
    Reject::Unreachable(match with {
        RejectWith::IcmpNetUnreachable => Unreachable::Net,
        RejectWith::IcmpHostUnreachable => Unreachable::Host,
        RejectWith::IcmpProtoUnreachable => Unreachable::Protocol,
        RejectWith::IcmpPortUnreachable => Unreachable::Port,
        RejectWith::IcmpNetProhibited => Unreachable::NetProhibited,
        RejectWith::IcmpHostProhibited => Unreachable::HostProhibited,
        RejectWith::IcmpAdminProhibited => Unreachable::AdminProhibited,
        RejectWith::TcpReset => return Reject::Reset,
    })
}

/// `-j REJECT` of IPv6.
pub(super) fn reject6(with: Reject6With) -> Reject {
    Reject::Unreachable6(match with {
        Reject6With::NoRoute => Unreachable6::NoRoute,
        Reject6With::AdmProhibited => Unreachable6::AdminProhibited,
        Reject6With::AddrUnreachable => Unreachable6::Address,
        Reject6With::PortUnreachable => Unreachable6::Port,
        Reject6With::PolicyFail => Unreachable6::PolicyFail,
        Reject6With::RejectRoute => Unreachable6::RejectRoute,
        Reject6With::TcpReset => return Reject::Reset,
    })
}

/// What `-j SYNPROXY` makes of a segment; `None` if that is for the next rule (`synproxy_tg4`).
pub(super) fn synproxy(target: SynproxyTarget, candidate: &Candidate<'_>) -> Option<Decision> {
    let headers = candidate.headers;
    let l4 = candidate.transport_header();
    let packet = Packet::new(headers.source(), headers.destination(), headers.protocol, l4);
    let whole = |header: &[u8; 20]| {
        let header_len = usize::from(header[12] >> 4) * 4;
        (20..=l4.len()).contains(&header_len)
    };
    let readable = headers.transport && l4.first_chunk().is_some_and(whole);
    if !readable || !packet.checksum_ok() {
        return Some(Decision::Drop(DropReason::Synproxy));
    }
    let all = TcpFlags::SYN.0 | TcpFlags::ACK.0 | TcpFlags::FIN.0 | TcpFlags::RST.0;
    match TcpFlags(headers.tcp_flags & all) {
        TcpFlags::SYN | TcpFlags::ACK => Some(Decision::Proxy(target)),
        _ => None,
    }
}

/// `-j LOG`: an entry of the policy's list.
pub(super) fn log(target: &LogTarget, logs: &mut Vec<LogSpec>) -> Action {
    logs.push(LogSpec::new(target));
    // A rule set has at most 65,536 rules.
    Action::Log(u32::try_from(logs.len() - 1).unwrap_or(u32::MAX))
}

/// `-j MARK` (`mark_tg`, `net/netfilter/xt_mark.c`).
pub(super) fn mark(target: MarkTarget) -> Action {
    Action::Mark { and: !target.mask, xor: target.value }
}

/// `-j CONNMARK`: an entry of the policy's list.
pub(super) fn connmark(target: ConnmarkTarget, connmarks: &mut Vec<ConnmarkTarget>) -> Action {
    connmarks.push(target);
    // Likewise.
    Action::Connmark(u32::try_from(connmarks.len() - 1).unwrap_or(u32::MAX))
}

/// Does what `-j CONNMARK` says (`connmark_tg_shift`, `net/netfilter/xt_connmark.c`), and returns the packet's mark
/// afterwards. Without a flow nothing happens.
pub(super) fn mark_flow(target: &ConnmarkTarget, candidate: &Candidate<'_>) -> u32 {
    let connection = &candidate.connection;
    let Some(of_flow) = connection.mark() else { return candidate.mark };
    let ConnmarkTarget { mode, flow_mask, packet_mask, shift } = *target;
    match mode {
        ConnmarkMode::Set { value } => {
            connection.set_mark(shift.apply(of_flow & !flow_mask ^ value));
        }
        ConnmarkMode::Save => {
            let saved = shift.apply(candidate.mark & packet_mask);
            connection.set_mark(of_flow & !flow_mask ^ saved);
        }
        ConnmarkMode::Restore => {
            let restored = shift.apply(of_flow & flow_mask);
            return candidate.mark & !packet_mask ^ restored;
        }
    }
    candidate.mark
}
