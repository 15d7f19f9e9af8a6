//! Why a rule cannot be enforced, though each of its words can be read.

use super::{
    COMMENT_BYTES_MAX, EcnMatch, Family, FuzzyKeys, FuzzyMatch, HashlimitMatch, MATCHES_MAX,
    RecentError, StatisticError, Table, TimeError,
};

/// Why a rule whose words are all well formed still cannot be enforced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRule {
    /// A match of one protocol in a rule that does not select that protocol.
    #[error(
        "match `{name}' reads {protocol} headers, so the rule needs `-p {protocol}' (without `!') before it"
    )]
    MatchNeedsProtocol {
        /// The match.
        name: &'static str,
        /// The protocol's name.
        protocol: &'static str,
    },
    /// More than [`MATCHES_MAX`] matches.
    #[error("{count} matches in one rule; at most {MATCHES_MAX} are allowed: split the rule")]
    TooManyMatches {
        /// How many were given.
        count: usize,
    },
    /// `--reject-with tcp-reset` in a rule that does not select TCP.
    #[error("`--reject-with tcp-reset' answers TCP, so the rule needs `-p tcp' (without `!')")]
    ResetNeedsTcp,
    /// What there is for packets of one family, in a rule of the other.
    #[error("{what} is for {its}, and the rule is of {}", its.other())]
    OtherFamily {
        /// The word.
        what: &'static str,
        /// The family that it is for.
        its: Family,
    },
    /// A target of one table, in a rule of another.
    #[error("target {what} is for table {its} alone, and the rule is of table {table}")]
    OtherTable {
        /// The target.
        what: &'static str,
        /// The table that it is for.
        its: Table,
        /// That of the rule.
        table: Table,
    },
    /// `-j SYNPROXY` in a rule that does not select TCP.
    #[error("SYNPROXY reads TCP headers, so the rule needs `-p tcp' (without `!')")]
    SynproxyNeedsTcp,
    /// `-j CT` alone.
    #[error("CT: `--notrack' must be given: without it nothing would happen to the packet")]
    CtWithoutNotrack,
    /// `! -p all`.
    #[error("rule would never match protocol")]
    NeverMatchesProtocol,
    /// `-m addrtype` without a type.
    #[error("addrtype: you must specify --src-type or --dst-type")]
    AddrtypeMissing,
    /// Types that no IPv6 address is of.
    #[error(
        "addrtype: no IPv6 address is of the types BROADCAST, BLACKHOLE, PROHIBIT, THROW, NAT, XRESOLVE, and the kernel refuses to look for them"
    )]
    AddrtypeNotOfIpv6,
    /// A comment of more than [`COMMENT_BYTES_MAX`] bytes, which no command line can say.
    #[error("comment: at most {COMMENT_BYTES_MAX} bytes are allowed")]
    CommentTooLong,
    /// A comment that no saved rule set could hold, or that would spoil the lists.
    #[error("comment: no control characters are allowed but tabs")]
    CommentControl,
    /// `-m ecn` alone.
    #[error("ECN match: some option required")]
    EcnMissing,
    /// `--ecn-ip-ect 4`, which no command line can say.
    #[error("ecn: the codepoint of \"--ecn-ip-ect\" is 0 to {}", EcnMatch::IP_ECT_MAX)]
    EcnCodepoint,
    /// Rates with which the module would refuse the rule.
    #[error(
        "fuzzy: a lower limit of {lower} and an upper limit of {upper} packets a second: the lower is at least {}, the upper at most {}, and above the lower",
        FuzzyMatch::RATE_MIN,
        FuzzyMatch::RATE_MAX
    )]
    FuzzyLimits {
        /// `--lower-limit`
        lower: u32,
        /// `--upper-limit`
        upper: u32,
    },
    /// Options about keys without what makes them.
    #[error(
        "fuzzy: --fuzzy-mode says what makes a key, srcip for one controller a source; without it a rule has one controller, and the other --fuzzy options mean nothing"
    )]
    FuzzyNoMode,
    /// A name that cannot be one.
    #[error(
        "fuzzy: `{name}' is no name for a table: up to {} letters, digits, `-', `_', `.' and `:'",
        FuzzyKeys::NAME_BYTES_MAX
    )]
    FuzzyName {
        /// The name.
        name: Box<str>,
    },
    /// A table that would be too large, or forget too soon.
    #[error(
        "fuzzy: --fuzzy-htable-max is 1 to {}, --fuzzy-htable-expire at least {} ms",
        FuzzyKeys::KEYS_MAX,
        FuzzyKeys::EXPIRE_MIN_MS
    )]
    FuzzyTable,
    /// Keys of two kinds.
    #[error(
        "fuzzy: --fuzzy-unverified has keys of its own, verified sources, and the nets and destinations of all others: write it without --fuzzy-mode, masks, name and table"
    )]
    FuzzyUnverifiedKeys,
    /// `-m hashlimit` without a rate.
    #[error("You have to specify --hashlimit")]
    HashlimitMissing,
    /// Without a name.
    #[error("hashlimit: option \"--hashlimit-name\" must be specified")]
    HashlimitNameMissing,
    /// A rate below what is counted.
    #[error("hashlimit: bytes are counted in pieces of 16, so a rate is at least 16b/s")]
    HashlimitBytes,
    /// A rate that the kernel's numbers cannot say.
    #[error(
        "hashlimit: a rate of {rate}, and {burst} at once, is more than the kernel can count: what may come at once takes 37 hours at the most to come again, and a rate is at most 32gb/s"
    )]
    HashlimitRate {
        /// The rate.
        rate: String,
        /// `--hashlimit-burst`
        burst: String,
    },
    /// A name that is none for a file.
    #[error(
        "hashlimit: `{name}' is no name for a table: it has up to {} bytes, and no `/' or control characters",
        HashlimitMatch::NAME_BYTES_MAX
    )]
    HashlimitName {
        /// The name.
        name: Box<str>,
    },
    /// `--hashlimit-rate-interval` that is too long.
    #[error(
        "hashlimit: a window of {seconds} seconds; at most {} are counted",
        HashlimitMatch::WINDOW_S_MAX
    )]
    HashlimitWindow {
        /// `--hashlimit-rate-interval`
        seconds: u32,
    },
    /// More than a million packets in a window.
    #[error(
        "hashlimit: --hashlimit-rate-match counts at most 1000000 packets in the time of a rate"
    )]
    HashlimitWindowRate,
    /// `--hashlimit-htable-expire 0`
    #[error(
        "hashlimit: --hashlimit-htable-expire and --hashlimit-htable-gcinterval are at least 1 ms"
    )]
    HashlimitTimes,
    /// A table that is too large.
    #[error(
        "hashlimit: a table of {entries} entries; at most {} are allowed",
        HashlimitMatch::ENTRIES_MAX
    )]
    HashlimitSize {
        /// `--hashlimit-htable-size` or `--hashlimit-htable-max`
        entries: u32,
    },
    /// A mask of more bits than an address has, or one with gaps.
    #[error("{name}: a mask is the first bits of an address, 0 to {most} of them")]
    KeyMask {
        /// The match.
        name: &'static str,
        /// Bits of an address.
        most: u8,
    },
    /// `-m iprange` alone.
    #[error("iprange match: You must specify `--src-range' or `--dst-range'")]
    IprangeMissing,
    /// A rate without end, which no command line can say.
    #[error("limit: a packet takes some time")]
    LimitEndless,
    /// `--limit-burst` with which the kernel's numbers overflow, or 0.
    #[error(
        "limit: a burst of {burst} at a rate of {rate} is more than the kernel can count, or none at all: the burst is at least 1, and takes 37 hours at the most to fill again"
    )]
    LimitBurst {
        /// `--limit-burst`
        burst: u32,
        /// `--limit`
        rate: String,
    },
    /// `-m multiport` alone.
    #[error("no ports specified")]
    MultiportMissing,
    /// More ports than fit, which no command line can say.
    #[error("too many ports specified")]
    MultiportTooMany,
    /// `-m multiport` in a rule about other protocols.
    #[error("multiport needs `-p tcp', `-p udp', `-p udplite', `-p sctp' or `-p dccp'")]
    MultiportNeedsProtocol,
    /// `-m set` without a set.
    #[error("You must specify `--match-set' with proper arguments")]
    SetMissing,
    /// `-m state` alone.
    #[error("state: option \"--state\" must be specified")]
    StateMissing,
    /// `-m state --state SNAT`, which no command line can say.
    #[error("state: SNAT and DNAT are states of `-m conntrack --ctstate' only")]
    StateOfNat,
    /// `-m connbytes` without one of its options.
    #[error("connbytes: option \"--{0}\" must be specified")]
    ConnbytesMissing(&'static str),
    /// `! --connbytes 5:5`.
    #[error(
        "connbytes: `! --connbytes {count}:{count}' asks for the opposite of what it says, as iptables and the kernel forget the `!' before one number"
    )]
    ConnbytesNegatedOne {
        /// The number.
        count: u64,
    },
    /// `-m connlimit` without a number.
    #[error("You must specify \"--connlimit-above\" or \"--connlimit-upto\".")]
    ConnlimitMissing,
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
    /// `-m recent` that means nothing.
    #[error(transparent)]
    Recent(#[from] RecentError),
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
    /// A shift of `-j CONNMARK` that leaves nothing.
    #[error("CONNMARK: a shift by {by}; a mark has 32 bits, so 31 is the most")]
    MarkShift {
        /// By how much.
        by: u8,
    },
    /// A shift in `--u32` that leaves nothing.
    #[error("u32: a shift by {by}; a number has 32 bits, so 31 is the most")]
    U32Shift {
        /// By how much.
        by: u32,
    },
}

impl InvalidRule {
    /// Whether iptables leaves it to the kernel to say so, when all words are understood; then it exits with 1.
    pub(crate) fn is_left_to_the_kernel(&self) -> bool {
        matches!(self, Self::Recent(error) if error.is_left_to_the_kernel())
            || matches!(
                self,
                Self::MatchNeedsProtocol { .. }
                    | Self::AddrtypeNotOfIpv6
                    | Self::OtherTable { .. }
                    | Self::ResetNeedsTcp
                    | Self::SynproxyNeedsTcp
                    | Self::FuzzyLimits { .. }
                    | Self::FuzzyName { .. }
                    | Self::FuzzyNoMode
                    | Self::FuzzyTable
                    | Self::FuzzyUnverifiedKeys
                    | Self::HashlimitBytes
                    | Self::HashlimitName { .. }
                    | Self::HashlimitRate { .. }
                    | Self::HashlimitSize { .. }
                    | Self::HashlimitTimes
                    | Self::HashlimitWindow { .. }
                    | Self::HashlimitWindowRate
                    | Self::KeyMask { .. }
                    | Self::LimitEndless
                    | Self::LimitBurst { .. }
                    | Self::StringEmpty
                    | Self::StringRange { .. }
                    | Self::MarkShift { .. }
                    | Self::U32Shift { .. }
            )
    }
}
