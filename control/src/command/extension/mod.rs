//! The matches of a command line: which options each of them adds, how those are read, and what
//! must not be missing.
//!
//! A new match is a file here with the table of its options and a function that reads one of them,
//! a variant of [`ExtensionKey`], and a line in each function of this file.

mod addrtype;
mod comment;
mod connbytes;
mod connlimit;
mod connmark;
mod conntrack;
mod ct;
mod dscp;
mod ecn;
mod fuzzy;
mod guided;
mod hashlimit;
mod hl;
mod icmp;
mod icmp6;
mod iprange;
mod length;
mod limit;
mod log;
mod mac;
mod mark;
mod multiport;
mod pkttype;
mod recent;
mod reject;
mod reject6;
mod rt;
mod set;
mod state;
mod statistic;
mod string;
mod synproxy;
mod target;
mod tcp;
mod tcpmss;
mod time;
mod tos;
mod ttl;
mod u32;
mod udp;

pub(super) use target::{TargetExtension, TargetKey, TargetRow};

use super::error::ParseErrorKind;
use super::getopt::{Getopt, Value, Word};
use super::known;
use super::refusal::Refusal;
use super::value_error::ValueError;
use crate::rule::{
    ConnlimitMatch, Family, Match, MultiportEnd, Names, Negatable, Protocol, RecentMatch,
};

/// An option of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtensionKey {
    Addrtype(addrtype::Key),
    Comment,
    Connbytes(connbytes::Key),
    Connlimit(connlimit::Key),
    Connmark,
    Conntrack(conntrack::Key),
    Dscp(dscp::Key),
    Ecn(ecn::Key),
    Fuzzy(fuzzy::Key),
    Hashlimit(hashlimit::Key),
    Hl(ttl::Key),
    Icmp,
    Icmp6,
    Iprange(iprange::Key),
    Length,
    Limit(limit::Key),
    Mac,
    Mark,
    Multiport(MultiportEnd),
    Pkttype,
    Recent(recent::Key),
    Rt(rt::Key),
    Set(set::Key),
    State,
    Statistic(statistic::Key),
    String(string::Key),
    Tcp(tcp::Key),
    TcpMss,
    Time(time::Key),
    Tos,
    Ttl(ttl::Key),
    U32,
    Udp(udp::Key),
}

/// An option's long name, whether it takes a value, and what it means. Of several names for the
/// same, the first is that of messages.
pub(super) type Row = (&'static str, Value, ExtensionKey);

/// An option as it stands on the command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a, 'n> {
    pub(super) option: Word<'a>,
    /// What messages call it, once it is known whose option it is.
    pub(super) name: &'static str,
    /// The option itself if it takes no value.
    pub(super) value: Word<'a>,
    pub(super) negated: bool,
    pub(super) names: &'n Names,
    pub(super) family: Family,
}

/// A match on the command line.
#[derive(Debug)]
pub(super) struct Extension<'a> {
    /// What named it: the word after `-m`, or after `-p`.
    pub(super) word: Word<'a>,
    pub(super) value: Match,
    seen: Vec<ExtensionKey>,
    hashlimit: hashlimit::Said,
}

impl<'a> Extension<'a> {
    /// The match of this name, without conditions, if Weir has it for the family.
    pub(super) fn new(name: &str, family: Family, word: Word<'a>) -> Option<Self> {
        let name = known::match_name(name, family);
        let value = match name {
            "addrtype" => Match::Addrtype(Default::default()),
            "comment" => Match::Comment(Default::default()),
            "connbytes" => Match::Connbytes(Default::default()),
            "connlimit" => Match::Connlimit(ConnlimitMatch::of(family)),
            "connmark" => Match::Connmark(Default::default()),
            "conntrack" => Match::Conntrack(Default::default()),
            "dscp" => Match::Dscp(Default::default()),
            "ecn" => Match::Ecn(Default::default()),
            "fuzzy" => Match::Fuzzy(Default::default()),
            "hashlimit" => Match::Hashlimit(Default::default()),
            "hl" => Match::Hl(Default::default()),
            "icmp" => Match::Icmp(Default::default()),
            "icmp6" => Match::Icmp6(Default::default()),
            "iprange" => Match::Iprange(Default::default()),
            "length" => Match::Length(Default::default()),
            "limit" => Match::Limit(Default::default()),
            "mac" => Match::Mac(Default::default()),
            "mark" => Match::Mark(Default::default()),
            "multiport" => Match::Multiport(Default::default()),
            "pkttype" => Match::Pkttype(Default::default()),
            "recent" => Match::Recent(Box::new(RecentMatch::of(family))),
            "rt" => Match::Rt(Default::default()),
            "set" => Match::Set(Default::default()),
            "state" => Match::State(Default::default()),
            "statistic" => Match::Statistic(Default::default()),
            "string" => Match::String(Default::default()),
            "tcp" => Match::Tcp(Default::default()),
            "tcpmss" => Match::TcpMss(Default::default()),
            "time" => Match::Time(Default::default()),
            "tos" => Match::Tos(Default::default()),
            "ttl" => Match::Ttl(Default::default()),
            "u32" => Match::U32(Default::default()),
            "udp" => Match::Udp(Default::default()),
            _ => return None,
        };
        if known::program_of(name, family).is_some() {
            return None;
        }
        Some(Self { word, value, seen: Vec::new(), hashlimit: hashlimit::Said::default() })
    }

    /// The options it adds.
    pub(super) fn options(&self) -> &'static [Row] {
        match self.value {
            Match::Addrtype(_) => &addrtype::OPTIONS,
            Match::Comment(_) => &comment::OPTIONS,
            Match::Connbytes(_) => &connbytes::OPTIONS,
            Match::Connlimit(_) => &connlimit::OPTIONS,
            Match::Connmark(_) => &connmark::OPTIONS,
            Match::Conntrack(_) => &conntrack::OPTIONS,
            Match::Dscp(_) => &dscp::OPTIONS,
            Match::Ecn(_) => &ecn::OPTIONS,
            Match::Fuzzy(_) => &fuzzy::OPTIONS,
            Match::Hashlimit(_) => &hashlimit::OPTIONS,
            Match::Hl(_) => &hl::OPTIONS,
            Match::Icmp(_) => &icmp::OPTIONS,
            Match::Icmp6(_) => &icmp6::OPTIONS,
            Match::Iprange(_) => &iprange::OPTIONS,
            Match::Length(_) => &length::OPTIONS,
            Match::Limit(_) => &limit::OPTIONS,
            Match::Mac(_) => &mac::OPTIONS,
            Match::Mark(_) => &mark::OPTIONS,
            Match::Multiport(_) => &multiport::OPTIONS,
            Match::Pkttype(_) => &pkttype::OPTIONS,
            Match::Recent(_) => &recent::OPTIONS,
            Match::Rt(_) => &rt::OPTIONS,
            Match::Set(_) => &set::OPTIONS,
            Match::State(_) => &state::OPTIONS,
            Match::Statistic(_) => &statistic::OPTIONS,
            Match::String(_) => &string::OPTIONS,
            Match::Tcp(_) => &tcp::OPTIONS,
            Match::TcpMss(_) => &tcpmss::OPTIONS,
            Match::Time(_) => &time::OPTIONS,
            Match::Tos(_) => &tos::OPTIONS,
            Match::Ttl(_) => &ttl::OPTIONS,
            Match::U32(_) => &u32::OPTIONS,
            Match::Udp(_) => &udp::OPTIONS,
        }
    }

    /// Options of which only one may stand, in the order in which iptables looks for them.
    fn exclusive(&self) -> &'static [(ExtensionKey, ExtensionKey)] {
        match self.value {
            Match::Addrtype(_) => &addrtype::EXCLUSIVE,
            Match::Connlimit(_) => &connlimit::EXCLUSIVE,
            Match::Dscp(_) => &dscp::EXCLUSIVE,
            Match::Hashlimit(_) => &hashlimit::EXCLUSIVE,
            Match::Hl(_) => &hl::EXCLUSIVE,
            Match::Multiport(_) => &multiport::EXCLUSIVE,
            Match::Recent(_) => &recent::EXCLUSIVE,
            Match::String(_) => &string::EXCLUSIVE,
            Match::Ttl(_) => &ttl::EXCLUSIVE,
            _ => &[],
        }
    }

    /// What iptables says of the match without any option.
    fn without_options(&self) -> Result<(), ParseErrorKind> {
        let name = self.value.name();
        match self.value {
            // Matches that are nothing without the first option of their tables.
            Match::Comment(_)
            | Match::Connmark(_)
            | Match::Icmp(_)
            | Match::Icmp6(_)
            | Match::Length(_)
            | Match::Mac(_)
            | Match::Mark(_)
            | Match::Pkttype(_)
            | Match::TcpMss(_)
            | Match::Tos(_) => {
                let option = self.options().first().map_or("", |(option, ..)| option);
                Err(ParseErrorKind::OptionMissing { name, option })
            }
            Match::Dscp(_) => Err(ParseErrorKind::OptionsMissing(dscp::MISSING)),
            Match::Hl(_) => Err(ParseErrorKind::OptionsMissing(hl::MISSING)),
            Match::Ttl(_) => Err(ParseErrorKind::OptionsMissing(ttl::MISSING)),
            _ => self.incomplete(),
        }
    }

    /// Reads one of its options.
    pub(super) fn read(
        &mut self,
        key: ExtensionKey,
        given: &Given<'a, '_>,
        protocol: Option<Negatable<Protocol>>,
        getopt: &mut Getopt<'a>,
    ) -> Result<(), Refusal<'a>> {
        self.refuse_repetition(key, given.option)?;
        let given = &Given { name: self.option_name(key), ..*given };
        match (&mut self.value, key) {
            (Match::Addrtype(addrtype), ExtensionKey::Addrtype(key)) => {
                addrtype::read(addrtype, key, given)
            }
            (Match::Comment(comment), ExtensionKey::Comment) => comment::read(comment, given),
            (Match::Connbytes(connbytes), ExtensionKey::Connbytes(key)) => {
                connbytes::read(connbytes, key, given)
            }
            (Match::Connlimit(connlimit), ExtensionKey::Connlimit(key)) => {
                connlimit::read(connlimit, key, given)
            }
            (Match::Connmark(connmark), ExtensionKey::Connmark) => connmark::read(connmark, given),
            (Match::Conntrack(conntrack), ExtensionKey::Conntrack(key)) => {
                conntrack::read(conntrack, key, given)
            }
            (Match::Dscp(dscp), ExtensionKey::Dscp(key)) => dscp::read(dscp, key, given),
            (Match::Ecn(ecn), ExtensionKey::Ecn(key)) => ecn::read(ecn, key, given),
            (Match::Fuzzy(fuzzy), ExtensionKey::Fuzzy(key)) => fuzzy::read(fuzzy, key, given),
            (Match::Hashlimit(hashlimit), ExtensionKey::Hashlimit(key)) => {
                hashlimit::read(hashlimit, &mut self.hashlimit, key, given)
            }
            (Match::Hl(hl), ExtensionKey::Hl(key)) => hl::read(hl, key, given),
            (Match::Icmp(icmp), ExtensionKey::Icmp) => icmp::read(icmp, given),
            (Match::Icmp6(icmp6), ExtensionKey::Icmp6) => icmp6::read(icmp6, given),
            (Match::Iprange(iprange), ExtensionKey::Iprange(key)) => {
                iprange::read(iprange, key, given)
            }
            (Match::Length(length), ExtensionKey::Length) => length::read(length, given),
            (Match::Limit(limit), ExtensionKey::Limit(key)) => limit::read(limit, key, given),
            (Match::Mac(mac), ExtensionKey::Mac) => mac::read(mac, given),
            (Match::Mark(mark), ExtensionKey::Mark) => mark::read(mark, given),
            (Match::Multiport(multiport), ExtensionKey::Multiport(end)) => {
                multiport::read(multiport, end, given, protocol)
            }
            (Match::Pkttype(pkttype), ExtensionKey::Pkttype) => pkttype::read(pkttype, given),
            (Match::Recent(recent), ExtensionKey::Recent(key)) => recent::read(recent, key, given),
            (Match::Rt(rt), ExtensionKey::Rt(key)) => rt::read(rt, key, given),
            (Match::Set(set), ExtensionKey::Set(key)) => set::read(set, key, given, getopt),
            (Match::State(state), ExtensionKey::State) => state::read(state, given),
            (Match::Statistic(statistic), ExtensionKey::Statistic(key)) => {
                statistic::read(statistic, key, given)
            }
            (Match::String(string), ExtensionKey::String(key)) => string::read(string, key, given),
            (Match::Tcp(tcp), ExtensionKey::Tcp(key)) => tcp::read(tcp, key, given, getopt),
            (Match::TcpMss(tcpmss), ExtensionKey::TcpMss) => tcpmss::read(tcpmss, given),
            (Match::Time(time), ExtensionKey::Time(key)) => time::read(time, key, given),
            (Match::Tos(tos), ExtensionKey::Tos) => tos::read(tos, given),
            (Match::Ttl(ttl), ExtensionKey::Ttl(key)) => ttl::read(ttl, key, given),
            (Match::U32(u32), ExtensionKey::U32) => u32::read(u32, given),
            (Match::Udp(udp), ExtensionKey::Udp(key)) => udp::read(udp, key, given),
            // The key comes from the match's own table.
            _ => Ok(()),
        }
    }

    fn refuse_repetition(
        &mut self,
        key: ExtensionKey,
        option: Word<'a>,
    ) -> Result<(), Refusal<'a>> {
        let slot = match key {
            ExtensionKey::Tcp(key) => ExtensionKey::Tcp(key.slot()),
            other => other,
        };
        // The `set` match looks for itself.
        if !self.seen.contains(&slot) || matches!(slot, ExtensionKey::Set(_)) {
            self.seen.push(slot);
            return Ok(());
        }
        let option_name = self.option_name(slot);
        let kind = match slot {
            ExtensionKey::Tcp(key) => tcp::repeated(key, option_name),
            ExtensionKey::Fuzzy(_) => ValueError::FuzzyTwice { option: option_name }.into(),
            _ => ParseErrorKind::OptionRepeated { name: self.value.name(), option: option_name },
        };
        Err(Refusal::at(option, kind))
    }

    /// The name of an option in messages.
    fn option_name(&self, key: ExtensionKey) -> &'static str {
        let row = self.options().iter().find(|(_, _, known)| *known == key);
        row.map_or("", |(name, _, _)| name)
    }

    /// What iptables checks of each match when all words are read: that it has the options it
    /// needs, and none that exclude each other.
    pub(super) fn finish(&self) -> Result<(), Refusal<'a>> {
        if self.seen.is_empty() {
            return self.without_options().map_err(|kind| Refusal::at(self.word, kind));
        }
        // Some options alone ask for nothing, and some need others.
        let checked = match self.value {
            // What goes with `recent`'s actions is no matter if there are two of them.
            Match::Recent(_) => self.conflict().and_then(|()| self.incomplete()),
            _ => self.incomplete().and_then(|()| self.conflict()),
        };
        checked.map_err(|kind| Refusal::at(self.word, kind))
    }

    /// Options that exclude each other.
    fn conflict(&self) -> Result<(), ParseErrorKind> {
        let seen = |key: &ExtensionKey| self.seen.contains(key);
        let both = self.exclusive().iter().find(|(one, other)| seen(one) && seen(other));
        both.map_or(Ok(()), |(one, other)| {
            let (option, other) = (self.option_name(*one), self.option_name(*other));
            Err(ParseErrorKind::OptionConflict { name: self.value.name(), option, other })
        })
    }

    /// What is missing, as far as iptables itself looks for it.
    fn incomplete(&self) -> Result<(), ParseErrorKind> {
        if let Match::Hashlimit(hashlimit) = &self.value {
            hashlimit::incomplete(hashlimit, &self.hashlimit)?;
        }
        match self.value.validate() {
            Err(error) if !error.is_left_to_the_kernel() => Err(ParseErrorKind::Incomplete(error)),
            _ => Ok(()),
        }
    }
}

/// What iptables prints about matches and then does not mind.
pub(super) fn warnings(matches: &[Match]) -> impl Iterator<Item = String> {
    let ranges = matches.iter().filter_map(|extension| match extension {
        Match::Iprange(iprange) => Some(iprange),
        _ => None,
    });
    ranges.flat_map(iprange::warnings)
}
