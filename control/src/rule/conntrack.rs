//! What the `state` and `conntrack` matches look at: a packet's connection, as tracking sees it.
//!
//! The words are those of extensions/libxt_conntrack.c of iptables (revision 3), the meaning is
//! that of net/netfilter/xt_conntrack.c:
//!
//! * A packet has exactly one state. `states` holds if it is one of those named, or with `!` if
//!   it is none of them.
//! * A packet without a connection (INVALID, UNTRACKED) is decided by `states` alone: if that
//!   condition holds, the *whole* match is true and the other conditions are not looked at; a
//!   match without `--ctstate` is false.
//! * With a connection, all conditions must hold.
//! * Protocol, addresses and ports are compared with the connection's tuples, not with the packet.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::address::parse_host_and_mask;
use super::extension::only;
use super::transport::is_default;
use super::{
    CtStates, CtStatuses, Extension, Family, InvalidRule, IpNet, ListedLine, Negatable,
    NumberRange, PortRange, Protocol, SavedWords, address_text,
};

/// An address of a connection with a mask, contiguous or not. Unlike in [`IpNet`], bits outside
/// the mask are kept, since iptables keeps them: they mean nothing, but `-S` prints them and `-C`
/// compares them. [`Self::net`] is what a packet is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CtAddress {
    address: IpAddr,
    net: IpNet,
}

/// A text that is no [`CtAddress`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}' is no address with or without a mask")]
pub struct CtAddressError(String);

impl CtAddress {
    /// `address`, of which the bits in `mask` count; `None` if they are of two families.
    pub fn new(address: IpAddr, mask: IpAddr) -> Option<Self> {
        Some(Self { address, net: IpNet::masked(address, mask)? })
    }

    /// The addresses that are meant.
    pub fn net(self) -> IpNet {
        self.net
    }

    /// As in a listing without `-n`, in which iptables calls every network that begins with
    /// 0.0.0.0 or :: `anywhere`, whatever its mask.
    fn to_listing(self, numeric: bool) -> String {
        if !numeric && self.address.is_unspecified() {
            return "anywhere".to_owned();
        }
        self.to_string()
    }
}

impl fmt::Display for CtAddress {
    /// As after `--ctorigsrc`: a single address without `/32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&address_text(self.address))?;
        match self.net.prefix_len() {
            _ if self.net.is_host() => Ok(()),
            Some(length) => write!(f, "/{length}"),
            None => write!(f, "/{}", address_text(self.net.mask())),
        }
    }
}

impl TryFrom<String> for CtAddress {
    type Error = CtAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (host, mask) = match text.split_once('/') {
            Some((host, mask)) => (host, Some(mask)),
            None => (text.as_str(), None),
        };
        let family = if text.contains(':') { Family::V6 } else { Family::V4 };
        let parts = parse_host_and_mask(host, mask, family);
        let read = parts.0.zip(parts.1).and_then(|(address, mask)| Self::new(address, mask));
        read.ok_or(CtAddressError(text))
    }
}

impl From<CtAddress> for String {
    fn from(address: CtAddress) -> Self {
        address.to_string()
    }
}

/// Which way a packet goes, seen from its connection's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CtDirection {
    /// As the first packet.
    Original,
    /// Back.
    Reply,
}

impl CtDirection {
    /// The word after `--ctdir`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Original => "ORIGINAL",
            Self::Reply => "REPLY",
        }
    }
}

/// The `state` match. Its default lists no state, and no rule may hold it ([`super::Rule::validate`]).
///
/// To iptables it is the `conntrack` match with `--ctstate` under another name, and a rule with one
/// is not equal to a rule with the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateMatch {
    /// `--state`; neither [`CtStates::SNAT`] nor [`CtStates::DNAT`].
    #[serde(skip_serializing_if = "is_default")]
    pub states: Negatable<CtStates>,
}

/// What `-m conntrack` wants of one of a connection's two tuples. The kernel does not ask whether
/// the protocol has ports: it compares what tracking keeps in their place, which for ICMP is the
/// query's identifier as source, its type and code (high and low byte) as destination, and for
/// protocols that tracking knows nothing of, 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TupleTest {
    /// `--ctorigsrc`, `--ctreplsrc`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Negatable<CtAddress>>,
    /// `--ctorigdst`, `--ctrepldst`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Negatable<CtAddress>>,
    /// `--ctorigsrcport`, `--ctreplsrcport`; 0:65535 is kept, as iptables keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<Negatable<PortRange>>,
    /// `--ctorigdstport`, `--ctrepldstport`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<Negatable<PortRange>>,
}

/// The `conntrack` match. Its default has no condition, and no rule may hold it
/// ([`super::Rule::validate`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConntrackMatch {
    /// `--ctstate`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub states: Option<Negatable<CtStates>>,
    /// `--ctproto`; never [`Protocol::ALL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Negatable<Protocol>>,
    /// The tuple of the connection's first packet.
    #[serde(skip_serializing_if = "is_default")]
    pub original: TupleTest,
    /// The tuple of its answers.
    #[serde(skip_serializing_if = "is_default")]
    pub reply: TupleTest,
    /// `--ctstatus`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statuses: Option<Negatable<CtStatuses>>,
    /// `--ctexpire`: what is left of the connection's life. For the first packet, whose connection
    /// is not confirmed yet, the kernel reads 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<Negatable<NumberRange>>,
    /// `--ctdir`; it takes no `!`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<CtDirection>,
}

/// One condition in words: `!` or not, the option without dashes, its value.
type Words = (&'static str, Negatable<String>);

fn words<T>(
    option: &'static str,
    condition: Option<Negatable<T>>,
    print: impl Fn(T) -> String,
) -> Option<Words> {
    let Negatable { value, negated } = condition?;
    Some((option, Negatable { value: print(value), negated }))
}

fn save(conditions: impl IntoIterator<Item = Words>, words: &mut SavedWords) {
    for (option, condition) in conditions {
        words.option(&format!("--{option}"), &condition);
    }
}

fn list(conditions: impl IntoIterator<Item = Words>, line: &mut ListedLine<'_>) {
    for (option, Negatable { value, negated }) in conditions {
        line.push(format_args!("{} {option} {value}", if negated { " !" } else { "" }));
    }
}

impl StateMatch {
    fn conditions(&self) -> Option<Words> {
        words("state", Some(self.states), |states| states.to_string())
    }
}

impl Extension for StateMatch {
    fn name(&self) -> &'static str {
        "state"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if self.states.value.is_empty() {
            return Err(InvalidRule::StateMissing);
        }
        if self.states.value.intersects(CtStates::SNAT | CtStates::DNAT) {
            return Err(InvalidRule::StateOfNat);
        }
        Ok(())
    }

    fn save(&self, words: &mut SavedWords) {
        save(self.conditions(), words);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        list(self.conditions(), line);
    }
}

impl ConntrackMatch {
    /// Its conditions in iptables' order.
    fn conditions(&self, numeric: bool) -> impl Iterator<Item = Words> {
        let address = |address: CtAddress| address.to_listing(numeric);
        let ports = |ports: PortRange| ports.to_string();
        let Self { original, reply, .. } = self;
        let conditions = [
            words("ctstate", self.states, |states| states.to_string()),
            words("ctproto", self.protocol, |protocol| protocol.0.to_string()),
            words("ctorigsrc", original.source, address),
            words("ctorigdst", original.destination, address),
            words("ctreplsrc", reply.source, address),
            words("ctrepldst", reply.destination, address),
            words("ctorigsrcport", original.source_ports, ports),
            words("ctorigdstport", original.destination_ports, ports),
            words("ctreplsrcport", reply.source_ports, ports),
            words("ctrepldstport", reply.destination_ports, ports),
            words("ctstatus", self.statuses, |statuses| statuses.to_string()),
            words("ctexpire", self.expires, |expires| expires.to_string()),
            words("ctdir", self.direction.map(Negatable::is), |way| way.name().to_owned()),
        ];
        conditions.into_iter().flatten()
    }
}

impl Extension for ConntrackMatch {
    fn name(&self) -> &'static str {
        "conntrack"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        if *self == Self::default() {
            return Err(InvalidRule::ConntrackMissing);
        }
        if self.states.is_some_and(|states| states.value.is_empty()) {
            return Err(InvalidRule::NoStates);
        }
        match self.protocol {
            Some(Negatable { value: Protocol::ALL, negated: false }) => {
                Err(InvalidRule::NeverMatchesConnection)
            }
            Some(Negatable { value: Protocol::ALL, negated: true }) => {
                Err(InvalidRule::AlwaysMatchesConnection)
            }
            _ => Ok(()),
        }
    }

    fn check_family(&self, family: Family) -> Result<(), InvalidRule> {
        let Self { original, reply, .. } = self;
        let asked = [original.source, original.destination, reply.source, reply.destination];
        let mut nets = asked.into_iter().flatten().map(|address| address.value.net());
        nets.try_for_each(|net| only(net.family(), "an address of -m conntrack", family))
    }

    fn save(&self, words: &mut SavedWords) {
        save(self.conditions(true), words);
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        list(self.conditions(line.numeric), line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_is_outside_the_mask() {
        let read = |text: &str| CtAddress::try_from(text.to_owned());
        let address = read("1.2.3.4/24").expect("an address");
        assert_eq!(address.to_string(), "1.2.3.4/24");
        assert_eq!(address.net(), IpNet::V4("1.2.3.0/24".parse().expect("a net")));
        assert_ne!(Ok(address), read("1.2.3.0/24"));
        assert_eq!(read("1.2.3.4/32"), read("1.2.3.4"));
        assert_eq!(read("0.0.0.0/8").expect("a net").to_listing(false), "anywhere");
        for text in ["", "/8", "1.2.3.4/", "1.2.3.4/33", "x", "1.2.3.4/8/8"] {
            assert_eq!(read(text), Err(CtAddressError(text.to_owned())));
        }
    }
}
