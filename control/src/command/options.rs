//! The options of iptables 1.8: names, letters, values, and with which commands they may stand.

use super::extension::{ExtensionKey, Row, TargetKey, TargetRow};
use super::getopt::{LongOption, ShortOption, Value};
use crate::rule::Family;

/// What an option means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Verb(Verb),
    Condition(Condition),
    Match,
    /// `-g`: as `Condition::Jump`.
    Goto,
    Table,
    Verbose,
    Wait,
    WaitInterval,
    /// `-4`, `-6`
    Family(Family),
    /// `-f` of ip6tables.
    NoFragments,
    Help,
    Version,
    /// Known to iptables, refused by Weir.
    NotEnforced(&'static str),
    /// An option of the match with this number on the command line.
    Extension(usize, ExtensionKey),
    /// An option of the target.
    Target(TargetKey),
}

/// The commands as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Append,
    Insert,
    Delete,
    DeleteNumber,
    Replace,
    Check,
    Flush,
    Policy,
    List,
    ListRules,
    Zero,
    NewChain,
    DeleteChain,
    RenameChain,
}

/// Options that may stand once, and only with some commands. The order is that in which iptables
/// looks for illegal ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    Numeric,
    Source,
    Destination,
    Protocol,
    Jump,
    Exact,
    InInterface,
    OutInterface,
    LineNumbers,
    Counters,
    Fragment,
}

impl Verb {
    /// Its letter in messages.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Append => 'A',
            Self::Insert => 'I',
            Self::Delete | Self::DeleteNumber => 'D',
            Self::Replace => 'R',
            Self::Check => 'C',
            Self::Flush => 'F',
            Self::Policy => 'P',
            Self::List => 'L',
            Self::ListRules => 'S',
            Self::Zero => 'Z',
            Self::NewChain => 'N',
            Self::DeleteChain => 'X',
            Self::RenameChain => 'E',
        }
    }

    /// Whether the command is followed by a rule.
    pub(super) fn takes_rule(self) -> bool {
        matches!(self, Self::Append | Self::Insert | Self::Delete | Self::Replace | Self::Check)
    }

    /// Whether the option may stand with the command.
    pub(super) fn allows(self, condition: Condition) -> bool {
        use Condition::{Counters, Exact, LineNumbers, Numeric};
        match condition {
            Numeric | Exact | LineNumbers => self == Self::List,
            Counters => {
                matches!(self, Self::Append | Self::Insert | Self::Replace | Self::Policy)
            }
            _ => self.takes_rule(),
        }
    }
}

impl Condition {
    /// Its letter in messages; `--line-numbers` has none, and iptables says `0`.
    pub(super) fn letter(self) -> char {
        match self {
            Self::Numeric => 'n',
            Self::Source => 's',
            Self::Destination => 'd',
            Self::Protocol => 'p',
            Self::Jump => 'j',
            Self::Exact => 'x',
            Self::InInterface => 'i',
            Self::OutInterface => 'o',
            Self::LineNumbers => '0',
            Self::Counters => 'c',
            Self::Fragment => 'f',
        }
    }

    /// Whether `!` may stand before it.
    pub(super) fn negatable(self) -> bool {
        !matches!(
            self,
            Self::Numeric | Self::Jump | Self::Exact | Self::LineNumbers | Self::Counters
        )
    }
}

const fn letter(letter: char, value: Value, key: Key) -> ShortOption<Key> {
    ShortOption { letter, value, key }
}

const fn name(name: &'static str, value: Value, key: Key) -> LongOption<Key> {
    LongOption { name, value, key }
}

/// As in iptables' option string (iptables/xshared.h).
const SHORT: [ShortOption<Key>; 35] = [
    letter('A', Value::Required, Key::Verb(Verb::Append)),
    letter('C', Value::Required, Key::Verb(Verb::Check)),
    letter('D', Value::Required, Key::Verb(Verb::Delete)),
    letter('R', Value::Required, Key::Verb(Verb::Replace)),
    letter('I', Value::Required, Key::Verb(Verb::Insert)),
    letter('L', Value::Optional, Key::Verb(Verb::List)),
    letter('S', Value::Optional, Key::Verb(Verb::ListRules)),
    letter('F', Value::Optional, Key::Verb(Verb::Flush)),
    letter('Z', Value::Optional, Key::Verb(Verb::Zero)),
    letter('P', Value::Required, Key::Verb(Verb::Policy)),
    letter('N', Value::Required, Key::Verb(Verb::NewChain)),
    letter('X', Value::Optional, Key::Verb(Verb::DeleteChain)),
    letter('E', Value::Required, Key::Verb(Verb::RenameChain)),
    letter('M', Value::Required, Key::NotEnforced("-M (loading kernel modules)")),
    letter('p', Value::Required, Key::Condition(Condition::Protocol)),
    letter('s', Value::Required, Key::Condition(Condition::Source)),
    letter('d', Value::Required, Key::Condition(Condition::Destination)),
    letter('i', Value::Required, Key::Condition(Condition::InInterface)),
    letter('o', Value::Required, Key::Condition(Condition::OutInterface)),
    letter('j', Value::Required, Key::Condition(Condition::Jump)),
    letter('n', Value::None, Key::Condition(Condition::Numeric)),
    letter('x', Value::None, Key::Condition(Condition::Exact)),
    letter('g', Value::Required, Key::Goto),
    letter('f', Value::None, Key::Condition(Condition::Fragment)),
    letter('c', Value::Required, Key::Condition(Condition::Counters)),
    letter('m', Value::Required, Key::Match),
    letter('t', Value::Required, Key::Table),
    letter('v', Value::None, Key::Verbose),
    letter('w', Value::Optional, Key::Wait),
    letter('W', Value::Optional, Key::WaitInterval),
    letter('4', Value::None, Key::Family(Family::V4)),
    letter('6', Value::None, Key::Family(Family::V6)),
    letter('h', Value::Optional, Key::Help),
    letter('V', Value::None, Key::Version),
    letter('b', Value::None, Key::NotEnforced("-b (no longer part of iptables)")),
];

/// `SHORT` with another meaning of `-f`.
const SHORT_OF_IPV6: [ShortOption<Key>; SHORT.len()] = {
    let mut options = SHORT;
    let mut at = 0;
    while at < options.len() {
        if options[at].letter == 'f' {
            options[at].key = Key::NoFragments;
        }
        at += 1;
    }
    options
};

/// As in iptables (iptables/iptables.c).
const LONG: [LongOption<Key>; 37] = [
    name("append", Value::Required, Key::Verb(Verb::Append)),
    name("delete", Value::Required, Key::Verb(Verb::Delete)),
    name("check", Value::Required, Key::Verb(Verb::Check)),
    name("insert", Value::Required, Key::Verb(Verb::Insert)),
    name("replace", Value::Required, Key::Verb(Verb::Replace)),
    name("list", Value::Optional, Key::Verb(Verb::List)),
    name("list-rules", Value::Optional, Key::Verb(Verb::ListRules)),
    name("flush", Value::Optional, Key::Verb(Verb::Flush)),
    name("zero", Value::Optional, Key::Verb(Verb::Zero)),
    name("new-chain", Value::Required, Key::Verb(Verb::NewChain)),
    name("delete-chain", Value::Optional, Key::Verb(Verb::DeleteChain)),
    name("rename-chain", Value::Required, Key::Verb(Verb::RenameChain)),
    name("policy", Value::Required, Key::Verb(Verb::Policy)),
    name("source", Value::Required, Key::Condition(Condition::Source)),
    name("destination", Value::Required, Key::Condition(Condition::Destination)),
    name("src", Value::Required, Key::Condition(Condition::Source)),
    name("dst", Value::Required, Key::Condition(Condition::Destination)),
    name("protocol", Value::Required, Key::Condition(Condition::Protocol)),
    name("in-interface", Value::Required, Key::Condition(Condition::InInterface)),
    name("jump", Value::Required, Key::Condition(Condition::Jump)),
    name("table", Value::Required, Key::Table),
    name("match", Value::Required, Key::Match),
    name("numeric", Value::None, Key::Condition(Condition::Numeric)),
    name("out-interface", Value::Required, Key::Condition(Condition::OutInterface)),
    name("verbose", Value::None, Key::Verbose),
    name("wait", Value::Optional, Key::Wait),
    name("wait-interval", Value::Optional, Key::WaitInterval),
    name("exact", Value::None, Key::Condition(Condition::Exact)),
    name("version", Value::None, Key::Version),
    name("help", Value::Optional, Key::Help),
    name("line-numbers", Value::None, Key::Condition(Condition::LineNumbers)),
    name("modprobe", Value::Required, Key::NotEnforced("--modprobe (loading kernel modules)")),
    name("set-counters", Value::Required, Key::Condition(Condition::Counters)),
    name("goto", Value::Required, Key::Goto),
    name("ipv4", Value::None, Key::Family(Family::V4)),
    name("ipv6", Value::None, Key::Family(Family::V6)),
    name("fragments", Value::None, Key::Condition(Condition::Fragment)),
];

/// The long options of a family: ip6tables has all but the last.
pub(super) fn long(family: Family) -> &'static [LongOption<Key>] {
    match family {
        Family::V4 => &LONG,
        Family::V6 => LONG.split_last().map_or(&[], |(_, most)| most),
    }
}

/// The short options of a family: ip6tables knows `-f`, and refuses it.
pub(super) fn short(family: Family) -> &'static [ShortOption<Key>] {
    match family {
        Family::V4 => &SHORT,
        Family::V6 => &SHORT_OF_IPV6,
    }
}

/// The letter that asks for a family.
pub(super) fn family_letter(family: Family) -> char {
    if family == Family::V4 { '4' } else { '6' }
}

/// The long options that match number `instance` adds.
pub(super) fn extension_options(
    instance: usize,
    rows: &'static [Row],
) -> impl Iterator<Item = LongOption<Key>> {
    rows.iter().map(move |(long, value, key)| name(long, *value, Key::Extension(instance, *key)))
}

/// The long options that the target adds.
pub(super) fn target_options(rows: &'static [TargetRow]) -> impl Iterator<Item = LongOption<Key>> {
    rows.iter().map(|(long, value, key)| name(long, *value, Key::Target(*key)))
}
