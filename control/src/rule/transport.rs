//! What the `tcp` and `udp` matches look at: ports and TCP flags.

use std::fmt;
use std::num::NonZeroU8;

use serde::{Deserialize, Serialize};

use super::{Extension, ListedLine, Negatable, Protocol, SavedWords, negation};

/// Ports from `first` to `last`, both included; `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u16, u16)", into = "(u16, u16)")]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// The first port is above the last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid portrange (min > max)")]
pub struct PortRangeError;

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// Ports `first..=last`.
    ///
    /// # Errors
    /// If `first > last`. iptables 1.8.11 refuses this too; older ones accept it, and it then
    /// matches nothing.
    pub fn new(first: u16, last: u16) -> Result<Self, PortRangeError> {
        if first > last { Err(PortRangeError) } else { Ok(Self { first, last }) }
    }

    /// One port.
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest port.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` is inside.
    pub fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    /// `80`, or `80:443`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return write!(f, "{}", self.first);
        }
        write!(f, "{}:{}", self.first, self.last)
    }
}

impl Default for PortRange {
    fn default() -> Self {
        Self::ALL
    }
}

impl TryFrom<(u16, u16)> for PortRange {
    type Error = PortRangeError;

    fn try_from((first, last): (u16, u16)) -> Result<Self, Self::Error> {
        Self::new(first, last)
    }
}

impl From<PortRange> for (u16, u16) {
    fn from(range: PortRange) -> Self {
        (range.first, range.last)
    }
}

/// Which TCP flags are looked at, and which of those must be set. A packet matches if
/// `flags & mask == set`; a `set` with a flag outside `mask` therefore never matches, which
/// iptables accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "(u8, u8)", into = "(u8, u8)")]
pub struct TcpFlags {
    mask: u8,
    set: u8,
}

/// A flag above URG: `xt_tcp` compares the six flags of RFC 793 only.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("TCP flags {0:#04x} are outside 0x00-0x3f (FIN, SYN, RST, PSH, ACK, URG)")]
pub struct TcpFlagsError(u8);

impl TcpFlags {
    /// Any flags: the absence of the option.
    pub const ANY: Self = Self { mask: 0, set: 0 };
    /// `--syn`: SYN set; ACK, RST and FIN clear.
    pub const SYN: Self = Self { mask: 0x17, set: 0x02 };

    /// Flag names with their bits, in the order in which iptables prints them (RFC 9293, 3.1).
    pub const NAMES: [(&'static str, u8); 6] =
        [("FIN", 0x01), ("SYN", 0x02), ("RST", 0x04), ("PSH", 0x08), ("ACK", 0x10), ("URG", 0x20)];

    /// Looks at `mask`, wants `set`.
    ///
    /// # Errors
    /// If either has a bit above URG (0x20).
    pub fn new(mask: u8, set: u8) -> Result<Self, TcpFlagsError> {
        match mask | set {
            0..=0x3f => Ok(Self { mask, set }),
            beyond => Err(TcpFlagsError(beyond)),
        }
    }

    /// The flags looked at.
    pub fn mask(self) -> u8 {
        self.mask
    }

    /// The flags that must be set.
    pub fn set(self) -> u8 {
        self.set
    }

    /// Whether a TCP header with these flags (its byte 13) matches.
    pub fn matches(self, flags: u8) -> bool {
        flags & self.mask == self.set
    }

    /// Names of the flags in `bits`, joined by commas; `NONE` if there are none.
    pub(crate) fn names(bits: u8) -> String {
        let names: Vec<_> =
            Self::NAMES.iter().filter(|(_, bit)| bits & bit != 0).map(|(name, _)| *name).collect();
        if names.is_empty() { "NONE".to_owned() } else { names.join(",") }
    }
}

impl fmt::Display for TcpFlags {
    /// As two words after `--tcp-flags`: `SYN,ACK SYN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", Self::names(self.mask), Self::names(self.set))
    }
}

impl TryFrom<(u8, u8)> for TcpFlags {
    type Error = TcpFlagsError;

    fn try_from((mask, set): (u8, u8)) -> Result<Self, Self::Error> {
        Self::new(mask, set)
    }
}

impl From<TcpFlags> for (u8, u8) {
    fn from(flags: TcpFlags) -> Self {
        (flags.mask, flags.set)
    }
}

/// The `tcp` match. The default matches every TCP packet that is not a later fragment: like the
/// kernel's, it is false for fragments with an offset, which carry no TCP header
/// (net/netfilter/xt_tcpudp.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcpMatch {
    /// `--sport`
    #[serde(skip_serializing_if = "is_default")]
    pub source_ports: Negatable<PortRange>,
    /// `--dport`
    #[serde(skip_serializing_if = "is_default")]
    pub destination_ports: Negatable<PortRange>,
    /// `--tcp-option`: the number of an option that the header has (RFC 9293, 3.1); never 0.
    #[serde(skip_serializing_if = "is_default")]
    pub option: Option<Negatable<NonZeroU8>>,
    /// `--tcp-flags`, `--syn`
    #[serde(skip_serializing_if = "is_default")]
    pub flags: Negatable<TcpFlags>,
}

/// The `udp` match; the default as in [`TcpMatch`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UdpMatch {
    /// `--sport`
    #[serde(skip_serializing_if = "is_default")]
    pub source_ports: Negatable<PortRange>,
    /// `--dport`
    #[serde(skip_serializing_if = "is_default")]
    pub destination_ports: Negatable<PortRange>,
}

impl Extension for TcpMatch {
    fn name(&self) -> &'static str {
        "tcp"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        Some(Protocol::TCP)
    }

    fn save(&self, words: &mut SavedWords) {
        words.ports("--sport", &self.source_ports);
        words.ports("--dport", &self.destination_ports);
        if let Some(option) = &self.option {
            words.option("--tcp-option", option);
        }
        // iptables decides by the mask alone; nothing wanted of nothing is the default.
        if self.flags != Negatable::default() {
            words.flag("--tcp-flags", self.flags.negated);
            words.word(TcpFlags::names(self.flags.value.mask));
            words.word(TcpFlags::names(self.flags.value.set));
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" tcp"));
        line.ports("spt", &self.source_ports, "tcp");
        line.ports("dpt", &self.destination_ports, "tcp");
        if let Some(Negatable { value, negated }) = self.option {
            line.push(format_args!(" option={}{value}", negation(negated)));
        }
        let Negatable { value: TcpFlags { mask, set }, negated } = self.flags;
        if mask == 0 && !negated {
            return;
        }
        let not = negation(negated);
        if line.numeric {
            line.push(format_args!(" flags:{not}0x{mask:02X}/0x{set:02X}"));
        } else {
            let (mask, set) = (TcpFlags::names(mask), TcpFlags::names(set));
            line.push(format_args!(" flags:{not}{mask}/{set}"));
        }
    }
}

impl Extension for UdpMatch {
    fn name(&self) -> &'static str {
        "udp"
    }

    fn required_protocol(&self) -> Option<Protocol> {
        Some(Protocol::UDP)
    }

    fn save(&self, words: &mut SavedWords) {
        words.ports("--sport", &self.source_ports);
        words.ports("--dport", &self.destination_ports);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        line.push(format_args!(" udp"));
        line.ports("spt", &self.source_ports, "udp");
        line.ports("dpt", &self.destination_ports, "udp");
    }
}

/// For `skip_serializing_if`.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
