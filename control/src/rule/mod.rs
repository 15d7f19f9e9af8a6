//! The rule language as data: what one iptables rule says, in the form in which the kernel keeps it.
//!
//! A rule is a conjunction: protocol, addresses and interfaces (the part every rule has), then
//! the extension matches from left to right, then the target. The types hold only what can be
//! enforced: addresses are masked, port ranges are ordered, names are short enough. Two rules
//! are equal exactly when `iptables -C` would call them equal.

mod address;
mod addrtype;
mod calendar;
mod chain;
mod comment;
mod connbytes;
mod connlimit;
mod connmark;
mod conntrack;
mod ct;
mod ctset;
mod dscp;
mod ecn;
mod extension;
mod family;
mod fuzzy;
mod hashlimit;
mod hl;
mod icmp;
mod icmp6;
mod interface;
mod invalid;
mod iprange;
mod ipv6;
mod keys;
mod length;
mod limit;
mod log;
mod mac;
mod mark;
mod multiport;
mod names;
mod net;
mod pkttype;
mod protocol;
mod range;
mod recent;
mod reject;
mod reject6;
mod rt;
mod save;
mod set;
mod statistic;
mod string;
mod synproxy;
mod table;
mod target;
mod tcpmss;
mod time;
mod tos;
mod transport;
mod ttl;
mod u32;

pub use address::Ipv4Net;
pub(crate) use address::{
    number_prefix, number_prefix64, parse_dotted, parse_host_and_mask, parse_number,
};
pub use addrtype::{AddressTypes, AddressTypesError, AddrtypeMatch, IfaceLimit};
pub use calendar::CalendarDate;
pub use chain::{CHAIN_CHARS_MAX, ChainName, ChainNameError};
pub use comment::{COMMENT_BYTES_MAX, CommentMatch};
pub use connbytes::{
    ConnbytesDirection, ConnbytesMatch, ConnbytesMode, CountRange, CountRangeError,
};
pub use connlimit::{ConnlimitMatch, ConnlimitSide};
pub use connmark::{ConnmarkMatch, ConnmarkMode, ConnmarkTarget, MarkShift};
pub use conntrack::{
    ConntrackMatch, CtAddress, CtAddressError, CtDirection, StateMatch, TupleTest,
};
pub use ct::CtTarget;
pub use ctset::{CtBitsError, CtStates, CtStatuses};
pub use dscp::{Dscp, DscpError, DscpMatch};
pub use ecn::EcnMatch;
pub(crate) use extension::{Extension, ListedLine, SavedWords, negation};
pub use family::Family;
pub use fuzzy::{FuzzyKeys, FuzzyMatch, FuzzyRates, FuzzyUnverified};
pub use hashlimit::{HashlimitMatch, HashlimitRate};
pub use hl::HlMatch;
pub use icmp::{IcmpMatch, IcmpType};
pub use icmp6::{Icmp6Match, Icmp6Type};
pub use interface::{INTERFACE_CHARS_MAX, InterfaceError, InterfacePattern};
pub use invalid::InvalidRule;
pub use iprange::{AddressRange, IprangeMatch};
pub use ipv6::Ipv6Net;
pub(crate) use ipv6::ipv6_text;
pub use keys::{KeyMasks, KeyParts};
pub use length::LengthMatch;
pub(crate) use limit::TIMES;
pub use limit::{HASHLIMIT_CREDITS, HZ, LIMIT_CREDITS_PER_JIFFY, LimitMatch};
pub use log::{
    LOG_PREFIX_BYTES_MAX, LogFlags, LogFlagsError, LogLevel, LogLevelError, LogPrefix,
    LogPrefixError, LogTarget,
};
pub use mac::{MacAddress, MacAddressError, MacMatch};
pub use mark::{Mark, MarkError, MarkMatch, MarkTarget};
pub use multiport::{MultiportEnd, MultiportMatch};
pub use names::Names;
pub use net::{IpNet, IpNetError, PrefixError};
pub(crate) use net::{address_text, parse_address};
pub use pkttype::{PacketType, PkttypeMatch};
pub use protocol::Protocol;
pub use range::{NumberRange, NumberRangeError, SizeRange, SizeRangeError};
pub use recent::{
    HITCOUNT_MAX, RECENT_NAME_BYTES_MAX, RecentAction, RecentError, RecentMatch, RecentName,
    RecentNameError, RecentSide,
};
pub use reject::RejectWith;
pub use reject6::Reject6With;
pub use rt::RtMatch;
pub use set::{SetDirections, SetDirectionsError, SetMatch};
pub use statistic::{PROBABILITY_ONE, Statistic, StatisticError, StatisticMatch, StatisticMode};
pub use string::{PATTERN_BYTES_MAX, Pattern, PatternError, StringAlgorithm, StringMatch};
pub use synproxy::SynproxyTarget;
pub use table::Table;
pub(crate) use target::TargetExtension;
pub use tcpmss::TcpMssMatch;
pub use time::{TimeError, TimeMatch};
pub use tos::{Tos, TosMatch};
pub use transport::{PortRange, PortRangeError, TcpFlags, TcpFlagsError, TcpMatch, UdpMatch};
pub use ttl::TtlMatch;

pub use u32::{U32_ITEMS_MAX, U32Error, U32Match, U32Operator, U32Test, U32Tests};

use serde::{Deserialize, Serialize};

/// How many extension matches (`-m`) one rule may carry. iptables has no limit of its own; ours
/// bounds the work a packet can cause and the size of a message.
pub const MATCHES_MAX: usize = 16;

/// A value, or everything but that value (`!` before the option).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Negatable<T> {
    /// The value compared with the packet.
    pub value: T,
    /// True if the rule wants the packets that do *not* have the value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub negated: bool,
}

impl<T> Negatable<T> {
    /// Packets that have `value`.
    pub fn is(value: T) -> Self {
        Self { value, negated: false }
    }

    /// Packets that do not have `value`.
    pub fn not(value: T) -> Self {
        Self { value, negated: true }
    }
}

/// One rule: all its conditions must hold, then the target decides. A rule without a target
/// only counts, as in iptables.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// `-p`; `None` stands for every protocol (`-p all`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Negatable<Protocol>>,
    /// `-s`; `None` stands for every source. `! -s 0.0.0.0/0` is kept: it matches nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Negatable<IpNet>>,
    /// `-d`, as `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Negatable<IpNet>>,
    /// `-i`: the interface the packet came in by. `-i +` is no condition and becomes `None`; the
    /// kernel calls the two equal, and `iptables -S` prints neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_interface: Option<Negatable<InterfacePattern>>,
    /// `-o`: the interface the packet will leave by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_interface: Option<Negatable<InterfacePattern>>,
    /// `-f`: true wants later fragments, which begin behind the start of their datagram; `! -f` is
    /// false and wants everything else; of IPv6 there is no such condition. Where connections are
    /// tracked, rules see whole datagrams, and none is a fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fragment: Option<bool>,
    /// Extension matches in the order written, at most [`MATCHES_MAX`]; evaluated from left to
    /// right, stopping at the first that is false.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// `-j` or `-g`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// One extension match (`-m name`, or implied by `-p name` with one of its options).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Match {
    /// `-m addrtype`
    Addrtype(AddrtypeMatch),
    /// `-m comment`
    Comment(CommentMatch),
    /// `-m connbytes`
    Connbytes(ConnbytesMatch),
    /// `-m connlimit`
    Connlimit(ConnlimitMatch),
    /// `-m connmark`
    Connmark(ConnmarkMatch),
    /// `-m conntrack`
    Conntrack(Box<ConntrackMatch>),
    /// `-m dscp`
    Dscp(DscpMatch),
    /// `-m ecn`
    Ecn(EcnMatch),
    /// `-m fuzzy`
    Fuzzy(FuzzyMatch),
    /// `-m hashlimit`
    Hashlimit(Box<HashlimitMatch>),
    /// `-m hl`
    Hl(HlMatch),
    /// `-m icmp`
    Icmp(IcmpMatch),
    /// `-m icmp6`
    Icmp6(Icmp6Match),
    /// `-m iprange`
    Iprange(IprangeMatch),
    /// `-m length`
    Length(LengthMatch),
    /// `-m limit`
    Limit(LimitMatch),
    /// `-m mac`
    Mac(MacMatch),
    /// `-m mark`
    Mark(MarkMatch),
    /// `-m multiport`
    Multiport(MultiportMatch),
    /// `-m pkttype`
    Pkttype(PkttypeMatch),
    /// `-m recent`
    Recent(Box<RecentMatch>),
    /// `-m rt`
    Rt(RtMatch),
    /// `-m set`
    Set(SetMatch),
    /// `-m state`
    State(StateMatch),
    /// `-m statistic`
    Statistic(StatisticMatch),
    /// `-m string`
    String(StringMatch),
    /// `-m tcp`
    Tcp(TcpMatch),
    /// `-m tcpmss`
    TcpMss(TcpMssMatch),
    /// `-m time`
    Time(TimeMatch),
    /// `-m tos`
    Tos(TosMatch),
    /// `-m ttl`
    Ttl(TtlMatch),
    /// `-m u32`
    U32(U32Match),
    /// `-m udp`
    Udp(UdpMatch),
}

impl Match {
    /// What all matches have in common.
    pub(crate) fn extension(&self) -> &dyn Extension {
        match self {
            Self::Addrtype(addrtype) => addrtype,
            Self::Comment(comment) => comment,
            Self::Connbytes(connbytes) => connbytes,
            Self::Connlimit(connlimit) => connlimit,
            Self::Connmark(connmark) => connmark,
            Self::Conntrack(conntrack) => &**conntrack,
            Self::Dscp(dscp) => dscp,
            Self::Ecn(ecn) => ecn,
            Self::Fuzzy(fuzzy) => fuzzy,
            Self::Hashlimit(hashlimit) => &**hashlimit,
            Self::Hl(hl) => hl,
            Self::Icmp(icmp) => icmp,
            Self::Icmp6(icmp6) => icmp6,
            Self::Iprange(iprange) => iprange,
            Self::Length(length) => length,
            Self::Limit(limit) => limit,
            Self::Mac(mac) => mac,
            Self::Mark(mark) => mark,
            Self::Multiport(multiport) => multiport,
            Self::Pkttype(pkttype) => pkttype,
            Self::Recent(recent) => &**recent,
            Self::Rt(rt) => rt,
            Self::Set(set) => set,
            Self::State(state) => state,
            Self::Statistic(statistic) => statistic,
            Self::String(string) => string,
            Self::Tcp(tcp) => tcp,
            Self::TcpMss(tcpmss) => tcpmss,
            Self::Time(time) => time,
            Self::Tos(tos) => tos,
            Self::Ttl(ttl) => ttl,
            Self::U32(u32) => u32,
            Self::Udp(udp) => udp,
        }
    }

    /// The word after `-m`.
    pub fn name(&self) -> &'static str {
        self.extension().name()
    }

    /// The protocol that the rule must select with `-p`, without `!`. The kernel refuses the
    /// rule otherwise (`xt_check_match`, net/netfilter/x_tables.c), since the match reads the
    /// packet as that protocol's header.
    pub fn required_protocol(&self) -> Option<Protocol> {
        self.extension().required_protocol()
    }

    /// Checks what its type cannot express.
    pub(crate) fn validate(&self) -> Result<(), InvalidRule> {
        self.extension().validate()
    }
}

/// What happens to a packet that fulfils all conditions of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum Target {
    /// Let it pass; no later rule sees it.
    Accept,
    /// Throw it away; no later rule sees it.
    Drop,
    /// On with the first rule of that chain, and back if none there decides.
    Jump(ChainName),
    /// `-g`: likewise, but back to where the chain that has this rule would go back to.
    Goto(ChainName),
    /// Back to the rule after the one that led to this chain; in a base chain, on to its policy.
    Return,
    /// Throw it away and tell its sender; no later rule sees it.
    Reject(RejectWith),
    /// The same where the packet is of IPv6.
    Reject6(Reject6With),
    /// Write a line about it; the next rule sees it.
    Log(LogTarget),
    /// Change its mark; the next rule sees it.
    Mark(MarkTarget),
    /// Change its flow's mark by its own or its own by that; the next rule sees it.
    Connmark(ConnmarkTarget),
    /// Do not track it; the next rule sees it.
    Ct(CtTarget),
    /// Answer a SYN in the server's name, connect who acknowledges that; the next rule sees other segments.
    Synproxy(SynproxyTarget),
}

impl Target {
    /// Whether a packet goes on to the next rule afterwards, or may.
    pub(crate) fn continues(&self) -> bool {
        match self {
            Self::Log(_) | Self::Mark(_) | Self::Connmark(_) | Self::Ct(_) | Self::Synproxy(_) => {
                true
            }
            Self::Accept
            | Self::Drop
            | Self::Reject(_)
            | Self::Reject6(_)
            | Self::Jump(_)
            | Self::Goto(_)
            | Self::Return => false,
        }
    }

    /// The word after `-j` or `-g`.
    pub fn name(&self) -> &str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
            Self::Jump(chain) | Self::Goto(chain) => chain.as_str(),
            Self::Return => "RETURN",
            Self::Reject(_) | Self::Reject6(_) => "REJECT",
            Self::Log(_) => "LOG",
            Self::Mark(_) => "MARK",
            Self::Connmark(_) => "CONNMARK",
            Self::Ct(ct) => ct.name(),
            Self::Synproxy(_) => "SYNPROXY",
        }
    }

    /// The word in the first column of a listing: that of the kernel's target.
    pub(crate) fn listed_name(&self) -> &str {
        match self {
            Self::Ct(_) => "CT",
            other => other.name(),
        }
    }

    /// What all targets with options have in common; `None` for the others.
    pub(crate) fn extension(&self) -> Option<&dyn TargetExtension> {
        match self {
            Self::Accept | Self::Drop | Self::Jump(_) | Self::Goto(_) | Self::Return => None,
            Self::Reject(with) => Some(with),
            Self::Reject6(with) => Some(with),
            Self::Log(log) => Some(log),
            Self::Mark(mark) => Some(mark),
            Self::Connmark(connmark) => Some(connmark),
            Self::Ct(ct) => Some(ct),
            Self::Synproxy(synproxy) => Some(synproxy),
        }
    }
}

impl Rule {
    /// Checks what the types cannot express: that all is for packets of this family and for this table, each match
    /// has the protocol it reads, the target what it asks for, and that limits hold. The parser and
    /// [`crate::ruleset::Ruleset::apply`] both call it.
    ///
    /// # Errors
    /// The first [`InvalidRule`] found, matches from left to right, then the target.
    pub fn validate(&self, family: Family, table: Table) -> Result<(), InvalidRule> {
        self.check_family(family)?;
        if self.matches.len() > MATCHES_MAX {
            return Err(InvalidRule::TooManyMatches { count: self.matches.len() });
        }
        if self.protocol == Some(Negatable::not(Protocol::ALL)) {
            return Err(InvalidRule::NeverMatchesProtocol);
        }
        for extension in &self.matches {
            extension.validate()?;
            extension.extension().check_protocol(self.protocol)?;
        }
        let Some(target) = self.target.as_ref().and_then(Target::extension) else { return Ok(()) };
        target.check_table(table)?;
        target.validate(self)
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        for (option, net) in [("-s", self.source), ("-d", self.destination)] {
            net.map_or(Ok(()), |net| extension::only(net.value.family(), option, family))?;
        }
        self.fragment.map_or(Ok(()), |_| extension::only(Family::V4, "-f", family))?;
        let mut matches = self.matches.iter();
        matches.try_for_each(|asked| asked.extension().check_family(family))?;
        let target = self.target.as_ref().and_then(Target::extension);
        target.map_or(Ok(()), |target| target.check_family(family))
    }
}
