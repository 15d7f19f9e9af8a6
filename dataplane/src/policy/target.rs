//! The targets of a rule, compiled.

use weir_control::rule::{LogTarget, MarkTarget, Reject6With, RejectWith};

use super::Action;
use crate::packet_log::LogSpec;
use crate::respond::{Reject, Unreachable, Unreachable6};

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
