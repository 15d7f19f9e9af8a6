//! What can be wrong with the value of a match's option, where the match has words of its own for it.

use crate::rule::{Family, HashlimitMatch, RecentNameError, SetDirectionsError};
use crate::set::SET_NAME_BYTES_MAX;

/// A value that means nothing to its match. The texts are those of iptables.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum ValueError {
    #[error("addrtype: bad type \"{text}\"")]
    AddressType { text: String },
    #[error("addrtype: bad type `{list}'")]
    AddressTypes { list: String },
    #[error("Unknown --connbytes-dir `{text}'")]
    ConnbytesDirection { text: String },
    #[error("Unknown --connbytes-mode `{text}'")]
    ConnbytesMode { text: String },
    #[error("Invalid DSCP value `{text}'")]
    DscpClass { text: String },
    #[error("fuzzy: Bad value for \"--fuzzy-mode\" option: \"{text}\"")]
    FuzzyMode { text: String },
    #[error("Can't specify ! --{option}")]
    FuzzyNegated { option: &'static str },
    #[error("BAD --{option}")]
    FuzzyRate { option: &'static str },
    #[error("fuzzy: Bad value for \"--{option}\" option: \"{text}\"")]
    FuzzyRates { option: &'static str, text: String },
    #[error("Can't specify --{option} twice")]
    FuzzyTwice { option: &'static str },
    #[error(
        "bad value for option \"--hashlimit-burst\", or out of range (1-{}).",
        HashlimitMatch::BURST_MAX
    )]
    HashlimitBurst,
    #[error("burst cannot be smaller than {least}b")]
    HashlimitBurstSmall { least: u64 },
    #[error("hashlimit: --hashlimit-rate-interval says nothing without --hashlimit-rate-match")]
    HashlimitInterval,
    #[error("hashlimit: Bad value for \"--{option}\" option: \"{text}\"")]
    HashlimitValue { option: &'static str, text: String },
    #[error("Ambiguous {} type `{text}': `{first}' or `{second}'?", icmp(*family))]
    IcmpAmbiguous { family: Family, text: String, first: &'static str, second: &'static str },
    #[error("unknown character {character}")]
    IcmpCharacter { character: char },
    #[error("Unknown {} code `{text}'", icmp(*family))]
    IcmpCode { family: Family, text: String },
    #[error("Unknown {} type `{text}'", icmp(*family))]
    IcmpType { family: Family, text: String },
    #[error("{} type range not supported", icmp(*family))]
    IcmpTypeRange { family: Family },
    #[error("iprange: Bad value for \"--{option}\" option: \"{text}\"")]
    IprangeAddress { option: &'static str, text: String },
    #[error("bad rate \"{text}\"'")]
    LimitRate { text: String },
    #[error("Rate too fast \"{text}\"")]
    LimitTooFast { text: String },
    #[error("Invalid MAC address specified.")]
    Mac,
    #[error("{name}: bad integer value for option \"--{option}\", or out of range.")]
    MaskedNumber { name: &'static str, option: &'static str },
    #[error("{name}: trailing garbage after value for option \"--{option}\".")]
    MaskedNumberEnds { name: &'static str, option: &'static str },
    #[error("multiport only works with TCP, UDP, UDPLITE, SCTP and DCCP")]
    MultiportProtocol,
    #[error("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")]
    MultiportProtocolMissing,
    #[error("invalid portrange specified")]
    MultiportRange,
    #[error("too many ports specified")]
    MultiportTooMany,
    #[error("Bad packet type '{text}'")]
    PacketType { text: String },
    #[error(transparent)]
    RecentName(RecentNameError),
    #[error("Set {name} doesn't exist.")]
    NoSuchSet { name: String },
    #[error("The protocol family of set {name} is {family}, which is not applicable.")]
    SetFamily { name: String, family: Family },
    #[error("setname `{name}' too long, max {SET_NAME_BYTES_MAX} characters.")]
    SetNameTooLong { name: String },
    #[error("--match-set requires two args.")]
    SetArguments,
    #[error(transparent)]
    SetDirections(SetDirectionsError),
    #[error("--match-set can be specified only once")]
    SetTwice,
    #[error("--return-nomatch flag cannot be inverted")]
    SetFlagNegated,
    #[error("Bad TCP option \"{text}\"")]
    TcpOption { text: String },
    #[error("Symbolic name \"{text}\" is unknown")]
    TosName { text: String },
    #[error("Illegal value: \"{text}\"")]
    TosNumber { text: String },
}

fn icmp(family: Family) -> &'static str {
    match family {
        Family::V4 => "ICMP",
        Family::V6 => "ICMPv6",
    }
}

impl ValueError {
    /// What to write instead.
    // long: one arm an error, as in the list above
    pub(super) fn remedy(&self, family: Family) -> Option<&'static str> {
        let remedy = match self {
            Self::AddressType { .. } | Self::AddressTypes { .. } if family == Family::V6 => {
                "types are UNICAST LOCAL MULTICAST ANYCAST, joined by commas; no address is of the \
                 types UNSPEC UNREACHABLE"
            }
            Self::AddressType { .. } | Self::AddressTypes { .. } => {
                "types are UNICAST LOCAL BROADCAST MULTICAST ANYCAST, joined by commas; no address \
                 is of the types UNSPEC BLACKHOLE UNREACHABLE PROHIBIT THROW NAT XRESOLVE"
            }
            Self::ConnbytesDirection { .. } => "directions are original, reply and both",
            Self::ConnbytesMode { .. } => "modes are packets, bytes and avgpkt",
            Self::DscpClass { .. } => "classes are BE, EF, CS0 to CS7, AF11 to AF43",
            Self::FuzzyRate { .. } => "rates are 1 to 10000000 packets a second",
            Self::FuzzyRates { .. } => {
                "write LOWER:UPPER, the packets a second up to which all pass and from which on 1 % do"
            }
            Self::HashlimitInterval => "write that, too, or leave it out",
            Self::HashlimitValue { option: "hashlimit-rate-interval", .. } => {
                "intervals are whole seconds"
            }
            Self::HashlimitBurst => "bursts are 1 to 1000000 packets, or bytes as 10kb, 10mb",
            Self::FuzzyMode { .. } | Self::HashlimitValue { option: "hashlimit-mode", .. } => {
                "modes are srcip, srcport, dstip, dstport, joined by commas"
            }
            Self::HashlimitValue { .. } => {
                "write NUMBER/second, /minute, /hour or /day, or bytes as 512kb/s"
            }
            Self::IcmpCharacter { .. }
            | Self::IcmpCode { .. }
            | Self::IcmpType { .. }
            | Self::IcmpTypeRange { .. } => {
                "write TYPE, TYPE/CODE, TYPE/FIRST:LAST or a name such as echo-request, \
                 numbers from 0 to 255"
            }
            Self::IprangeAddress { .. } if family == Family::V6 => {
                "write FIRST-LAST, IPv6 addresses in digits"
            }
            Self::IprangeAddress { .. } => "write FIRST-LAST, IPv4 addresses in digits",
            Self::LimitRate { .. } => "write NUMBER/second, /minute, /hour or /day",
            Self::LimitTooFast { .. } => "10000/second is the most",
            Self::Mac => "write six hexadecimal numbers: 00:11:22:aa:bb:cc",
            Self::MaskedNumber { .. } | Self::MaskedNumberEnds { .. } => {
                "write VALUE or VALUE/MASK, from 0 to 0xffffffff"
            }
            Self::MultiportProtocolMissing => "the protocol must stand before the ports",
            Self::MultiportRange => "the first port of a range must be below the last",
            Self::MultiportTooMany => {
                "a list has room for 15 ports, and a range takes the room of two; split the rule"
            }
            Self::PacketType { .. } => "types are unicast, broadcast, multicast and otherhost",
            Self::TcpOption { .. } => "options have the numbers 1 to 255",
            Self::TosName { .. } | Self::TosNumber { .. } => {
                "write VALUE or VALUE/MASK, from 0 to 255, or a name: Minimize-Delay, \
                 Maximize-Throughput, Maximize-Reliability, Minimize-Cost, Normal-Service"
            }
            Self::NoSuchSet { .. } => "`weirctl set create NAME hash:ip' makes a set",
            Self::SetFamily { .. } => {
                "no packet of this rule could be in it; a list:set may have sets of both families"
            }
            Self::SetArguments | Self::SetDirections(_) => {
                "write `--match-set NAME src', or `--match-set NAME src,dst' for addresses and ports"
            }
            Self::RecentName(_) => {
                "iptables would take it, and could not read it again: choose another"
            }
            Self::SetTwice => "write `-m set --match-set …' once for each set",
            Self::FuzzyNegated { .. }
            | Self::HashlimitBurstSmall { .. }
            | Self::FuzzyTwice { .. }
            | Self::IcmpAmbiguous { .. }
            | Self::MultiportProtocol
            | Self::SetFlagNegated
            | Self::SetNameTooLong { .. } => return None,
        };
        Some(remedy)
    }
}
