//! What the `multiport` match looks at (net/netfilter/xt_multiport.c, revision 1).

use serde::{Deserialize, Serialize};

use super::{
    Extension, InvalidRule, ListedLine, Negatable, PortRange, Protocol, SavedWords, negation,
};

/// Which of a packet's ports is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiportEnd {
    /// `--sports`
    #[default]
    Source,
    /// `--dports`
    Destination,
    /// `--ports`: one of the two is enough.
    Either,
}

/// The `multiport` match: a list of ports. False for later fragments, which have none, even with
/// `!`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiportMatch {
    /// Which ports are looked at.
    pub end: MultiportEnd,
    /// The ports of which one must be met, as written; never empty, at most [`Self::SLOTS_MAX`]
    /// slots.
    pub ports: Negatable<Vec<PortRange>>,
}

impl MultiportMatch {
    /// How much the kernel's list holds: a port takes one slot, a range two.
    pub const SLOTS_MAX: usize = 15;

    /// The protocols that have ports where TCP has them, with the names that iptables uses to look
    /// services up.
    pub(crate) const PROTOCOLS: [(Protocol, &'static str); 5] = [
        (Protocol::TCP, "tcp"),
        (Protocol::UDP, "udp"),
        (Protocol(136), "udplite"),
        (Protocol(132), "sctp"),
        (Protocol(33), "dccp"),
    ];

    /// The slots that these ports take.
    pub(crate) fn slots(ports: &[PortRange]) -> usize {
        ports.iter().map(|range| if range.first() == range.last() { 1 } else { 2 }).sum()
    }

    fn option(&self) -> &'static str {
        match self.end {
            MultiportEnd::Source => "sports",
            MultiportEnd::Destination => "dports",
            MultiportEnd::Either => "ports",
        }
    }

    fn transport(selected: Option<Negatable<Protocol>>) -> Option<&'static str> {
        let Negatable { value, negated: false } = selected? else { return None };
        Self::PROTOCOLS.iter().find(|(known, _)| *known == value).map(|(_, name)| *name)
    }
}

impl Extension for MultiportMatch {
    fn name(&self) -> &'static str {
        "multiport"
    }

    fn check_protocol(&self, selected: Option<Negatable<Protocol>>) -> Result<(), InvalidRule> {
        match Self::transport(selected) {
            Some(_) => Ok(()),
            None => Err(InvalidRule::MultiportNeedsProtocol),
        }
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        match Self::slots(&self.ports.value) {
            0 => Err(InvalidRule::MultiportMissing),
            1..=Self::SLOTS_MAX => Ok(()),
            _ => Err(InvalidRule::MultiportTooMany),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        words.flag(&format!("--{}", self.option()), self.ports.negated);
        let ports: Vec<String> = self.ports.value.iter().map(PortRange::to_string).collect();
        words.word(ports.join(","));
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        let transport = Self::transport(line.protocol).unwrap_or_default();
        let blank = if self.ports.negated { " " } else { "" };
        let not = negation(self.ports.negated);
        line.push(format_args!(" multiport {} {blank}{not}", self.option()));
        for (n, range) in self.ports.value.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            let (first, last) = (line.port(range.first(), transport), range.last());
            line.push(format_args!("{comma}{first}"));
            if range.first() != last {
                let last = line.port(last, transport);
                line.push(format_args!(":{last}"));
            }
        }
    }
}
