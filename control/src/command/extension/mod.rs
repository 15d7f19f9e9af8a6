//! The matches of a command line: which options each of them adds, how those are read, and what
//! must not be missing.
//!
//! A new match is a file here with the table of its options and a function that reads one of them,
//! a variant of [`ExtensionKey`], and a line in each function of this file.

mod conntrack;
mod guided;
mod state;
mod statistic;
mod string;
mod tcp;
mod time;
mod u32;
mod udp;

use super::error::ParseErrorKind;
use super::getopt::{Getopt, Value, Word};
use super::refusal::Refusal;
use crate::rule::{
    ConntrackMatch, Match, Names, StateMatch, StatisticMatch, StringMatch, TcpMatch, TimeMatch,
    U32Match, UdpMatch,
};

/// An option of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ExtensionKey {
    Tcp(tcp::Key),
    Udp(udp::Key),
    State,
    Conntrack(conntrack::Key),
    Statistic(statistic::Key),
    String(string::Key),
    Time(time::Key),
    U32,
}

/// An option's long name, whether it takes a value, and what it means. Of several names for the
/// same, the first is that of messages.
pub(super) type Row = (&'static str, Value, ExtensionKey);

/// An option as it stands on the command line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a, 'n> {
    pub(super) option: Word<'a>,
    /// The option itself if it takes no value.
    pub(super) value: Word<'a>,
    pub(super) negated: bool,
    pub(super) names: &'n Names,
}

/// A match on the command line.
#[derive(Debug)]
pub(super) struct Extension<'a> {
    /// What named it: the word after `-m`, or after `-p`.
    pub(super) word: Word<'a>,
    pub(super) value: Match,
    seen: Vec<ExtensionKey>,
}

impl<'a> Extension<'a> {
    /// The match of this name, without conditions, if Weir has it.
    pub(super) fn new(name: &str, word: Word<'a>) -> Option<Self> {
        let value = match name {
            "tcp" => Match::Tcp(TcpMatch::default()),
            "udp" => Match::Udp(UdpMatch::default()),
            "state" => Match::State(StateMatch::default()),
            "conntrack" => Match::Conntrack(ConntrackMatch::default()),
            "statistic" => Match::Statistic(StatisticMatch::default()),
            "string" => Match::String(StringMatch::default()),
            "time" => Match::Time(TimeMatch::default()),
            "u32" => Match::U32(U32Match::default()),
            _ => return None,
        };
        Some(Self { word, value, seen: Vec::new() })
    }

    /// The options it adds.
    pub(super) fn options(&self) -> &'static [Row] {
        match self.value {
            Match::Tcp(_) => &tcp::OPTIONS,
            Match::Udp(_) => &udp::OPTIONS,
            Match::State(_) => &state::OPTIONS,
            Match::Conntrack(_) => &conntrack::OPTIONS,
            Match::Statistic(_) => &statistic::OPTIONS,
            Match::String(_) => &string::OPTIONS,
            Match::Time(_) => &time::OPTIONS,
            Match::U32(_) => &u32::OPTIONS,
        }
    }

    /// Reads one of its options.
    pub(super) fn read(
        &mut self,
        key: ExtensionKey,
        given: &Given<'a, '_>,
        getopt: &mut Getopt<'a>,
    ) -> Result<(), Refusal<'a>> {
        self.refuse_repetition(key, given.option)?;
        match (&mut self.value, key) {
            (Match::Tcp(tcp), ExtensionKey::Tcp(key)) => tcp::read(tcp, key, given, getopt),
            (Match::Udp(udp), ExtensionKey::Udp(key)) => udp::read(udp, key, given),
            (Match::State(state), ExtensionKey::State) => state::read(state, given),
            (Match::Conntrack(conntrack), ExtensionKey::Conntrack(key)) => {
                conntrack::read(conntrack, key, given)
            }
            (Match::Statistic(statistic), ExtensionKey::Statistic(key)) => {
                statistic::read(statistic, key, given)
            }
            (Match::String(string), ExtensionKey::String(key)) => string::read(string, key, given),
            (Match::Time(time), ExtensionKey::Time(key)) => time::read(time, key, given),
            (Match::U32(u32), ExtensionKey::U32) => u32::read(u32, given),
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
        if !self.seen.contains(&slot) {
            self.seen.push(slot);
            return Ok(());
        }
        let row = self.options().iter().find(|(_, _, known)| *known == slot);
        let option_name = row.map_or("", |(name, _, _)| name);
        let kind = match slot {
            ExtensionKey::Tcp(key) => tcp::repeated(key, option_name),
            _ => ParseErrorKind::OptionRepeated { name: self.value.name(), option: option_name },
        };
        Err(Refusal::at(option, kind))
    }

    /// What iptables checks of each match when all words are read: that it has the options it needs.
    pub(super) fn finish(&self) -> Result<(), Refusal<'a>> {
        match self.value.validate() {
            Err(error) if !error.is_left_to_the_kernel() => {
                Err(Refusal::at(self.word, ParseErrorKind::Incomplete(error)))
            }
            _ => self.refuse_alternatives(),
        }
    }

    /// Two options of which iptables wants only one.
    fn refuse_alternatives(&self) -> Result<(), Refusal<'a>> {
        let [text, hex] = [string::Key::Text, string::Key::HexText].map(ExtensionKey::String);
        if self.seen.contains(&text) && self.seen.contains(&hex) {
            let (option, other) = ("string", "hex-string");
            let kind = ParseErrorKind::OptionConflict { name: self.value.name(), option, other };
            return Err(Refusal::at(self.word, kind));
        }
        Ok(())
    }
}
