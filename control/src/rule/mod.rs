//! The rule language as data: what one iptables rule says, in the form in which the kernel keeps it.
//!
//! A rule is a conjunction: protocol, addresses and interfaces (the part every rule has), then
//! the extension matches from left to right, then the target. The types hold only what can be
//! enforced: addresses are masked, port ranges are ordered, names are short enough. Two rules
//! are equal exactly when `iptables -C` would call them equal.

mod address;
mod calendar;
mod conntrack;
mod ctset;
mod extension;
mod interface;
mod names;
mod protocol;
mod save;
mod statistic;
mod string;
mod time;
mod transport;
mod u32;

pub use address::{Ipv4Net, Ipv4NetError};
pub(crate) use address::{number_prefix, parse_host_and_mask, parse_number};
pub use calendar::CalendarDate;
pub use conntrack::{
    ConntrackMatch, CtAddress, CtAddressError, CtDirection, ExpireRange, ExpireRangeError,
    StateMatch, TupleTest,
};
pub use ctset::{CtBitsError, CtStates, CtStatuses};
pub(crate) use extension::{Extension, ListedLine, SavedWords};
pub use interface::{INTERFACE_CHARS_MAX, InterfaceError, InterfacePattern};
pub use names::Names;
pub use protocol::Protocol;
pub use statistic::{PROBABILITY_ONE, Statistic, StatisticError, StatisticMatch, StatisticMode};
pub use string::{PATTERN_BYTES_MAX, Pattern, PatternError, StringAlgorithm, StringMatch};
pub use time::{TimeError, TimeMatch};
pub use transport::{PortRange, PortRangeError, TcpFlags, TcpFlagsError, TcpMatch, UdpMatch};

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
    pub source: Option<Negatable<Ipv4Net>>,
    /// `-d`, as `source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Negatable<Ipv4Net>>,
    /// `-i`: the interface the packet came in by. `-i +` is no condition and becomes `None`; the
    /// kernel calls the two equal, and `iptables -S` prints neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_interface: Option<Negatable<InterfacePattern>>,
    /// `-o`: the interface the packet will leave by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub out_interface: Option<Negatable<InterfacePattern>>,
    /// Extension matches in the order written, at most [`MATCHES_MAX`]; evaluated from left to
    /// right, stopping at the first that is false.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<Match>,
    /// `-j`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
}

/// One extension match (`-m name`, or implied by `-p name` with one of its options).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Match {
    /// `-m tcp`
    Tcp(TcpMatch),
    /// `-m udp`
    Udp(UdpMatch),
    /// `-m state`
    State(StateMatch),
    /// `-m conntrack`
    Conntrack(ConntrackMatch),
    /// `-m statistic`
    Statistic(StatisticMatch),
    /// `-m string`
    String(StringMatch),
    /// `-m time`
    Time(TimeMatch),
    /// `-m u32`
    U32(U32Match),
}

impl Match {
    /// What all matches have in common.
    pub(crate) fn extension(&self) -> &dyn Extension {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Udp(udp) => udp,
            Self::State(state) => state,
            Self::Conntrack(conntrack) => conntrack,
            Self::Statistic(statistic) => statistic,
            Self::String(string) => string,
            Self::Time(time) => time,
            Self::U32(u32) => u32,
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
}

impl Target {
    /// The word after `-j`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept => "ACCEPT",
            Self::Drop => "DROP",
        }
    }
}

/// Why a rule whose words are all well formed still cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// A match of one protocol in a rule that does not select that protocol.
    #[error(
        "match `{name}' reads {name} headers, so the rule needs `-p {name}' (without `!') before it"
    )]
    MatchNeedsProtocol {
        /// The match, whose name is also its protocol's.
        name: &'static str,
    },
    /// More than [`MATCHES_MAX`] matches.
    #[error("{count} matches in one rule; at most {MATCHES_MAX} are allowed: split the rule")]
    TooManyMatches {
        /// How many were given.
        count: usize,
    },
    /// `! -p all`.
    #[error("rule would never match protocol")]
    NeverMatchesProtocol,
    /// `-m state` alone.
    #[error("state: option \"--state\" must be specified")]
    StateMissing,
    /// `-m state --state SNAT`, which no command line can say.
    #[error("state: SNAT and DNAT are states of `-m conntrack --ctstate' only")]
    StateOfNat,
    /// `-m conntrack` alone.
    #[error("conntrack: At least one option is required")]
    ConntrackMissing,
    /// `--ctstate` of an empty set, which no command line can say.
    #[error("conntrack: option \"--ctstate\" lists no state")]
    NoStates,
    /// `--ctproto 0`.
    #[error("conntrack: rule would never match protocol")]
    NeverMatchesConnection,
    /// `! --ctproto 0`.
    #[error("conntrack: condition would always match protocol")]
    AlwaysMatchesConnection,
    /// `-m statistic` that means nothing.
    #[error(transparent)]
    Statistic(#[from] StatisticError),
    /// `-m string` without a pattern.
    #[error("STRING match: You must specify `--string' or `--hex-string'")]
    StringMissing,
    /// `-m string` without `--algo`.
    #[error("string: option \"--algo\" must be specified")]
    StringAlgorithmMissing,
    /// `--string ''`
    #[error("string: an empty string is in every packet and in none")]
    StringEmpty,
    /// `--from` above `--to`.
    #[error("string: --from {from} is beyond --to {to}")]
    StringRange {
        /// `--from`
        from: u16,
        /// `--to`
        to: u16,
    },
    /// `-m time` that means nothing.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// `-m u32` alone.
    #[error("u32: option \"--u32\" must be specified")]
    U32Missing,
    /// A shift in `--u32` that leaves nothing.
    #[error("u32: a shift by {by}; a number has 32 bits, so 31 is the most")]
    U32Shift {
        /// By how much.
        by: u32,
    },
}

impl InvalidRule {
    /// Whether iptables leaves it to the kernel to say so, when all words are understood.
    pub(crate) fn is_left_to_the_kernel(&self) -> bool {
        matches!(
            self,
            Self::MatchNeedsProtocol { .. }
                | Self::TooManyMatches { .. }
                | Self::StringEmpty
                | Self::StringRange { .. }
                | Self::U32Shift { .. }
        )
    }
}

impl Rule {
    /// Checks what the types cannot express: that each match has the protocol it reads, and that
    /// limits hold. The parser and [`crate::ruleset::Ruleset::apply`] both call it.
    ///
    /// # Errors
    /// The first [`InvalidRule`] found, matches from left to right.
    pub fn validate(&self) -> Result<(), InvalidRule> {
        if self.matches.len() > MATCHES_MAX {
            return Err(InvalidRule::TooManyMatches { count: self.matches.len() });
        }
        if self.protocol == Some(Negatable::not(Protocol::ALL)) {
            return Err(InvalidRule::NeverMatchesProtocol);
        }
        for extension in &self.matches {
            extension.validate()?;
            let Some(required) = extension.required_protocol() else { continue };
            if self.protocol != Some(Negatable::is(required)) {
                return Err(InvalidRule::MatchNeedsProtocol { name: extension.name() });
            }
        }
        Ok(())
    }
}
