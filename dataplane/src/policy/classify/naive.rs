//! The classifier's twin: every rule is looked at, one after the other. What it says is right.

use super::key::{PROTOCOL, PacketKey, RuleKey};

/// Whether a packet has everything that a rule asks for.
#[must_use]
pub fn matches(rule: &RuleKey, packet: &PacketKey) -> bool {
    let word = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(0);
    let port = |bits: u64| u16::try_from(bits & 0xffff).unwrap_or(0);
    let (source, destination) = (word(packet.addresses), word(packet.addresses >> 32));
    let protocol = packet.rest >> PROTOCOL & 0xff;
    (source ^ rule.source.network) & rule.source.mask == 0
        && (destination ^ rule.destination.network) & rule.destination.mask == 0
        && rule.ingress & packet.ingress_bit() != 0
        && rule.egress & packet.egress_bit() != 0
        && rule.protocol.is_none_or(|number| u64::from(number) == protocol)
        && rule.source_ports.contains(&port(packet.rest))
        && rule.destination_ports.contains(&port(packet.rest >> 16))
}

/// The first rule from `from` on that matches a packet.
#[must_use]
pub fn next(rules: &[RuleKey], packet: &PacketKey, from: u32) -> Option<u32> {
    let from = usize::try_from(from).ok()?;
    let after = rules.get(from..)?.iter().position(|rule| matches(rule, packet))?;
    u32::try_from(from + after).ok()
}
