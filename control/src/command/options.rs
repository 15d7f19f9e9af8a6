//! The options of iptables 1.8: names, letters, values, and with which commands they may stand.

use super::extension::{ExtensionKey, Row, TargetKey, TargetRow};
use super::getopt::{LongOption, ShortOption, Value};

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
    Ipv4,
    Ipv6,
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

const fn short(letter: char, value: Value, key: Key) -> ShortOption<Key> {
    ShortOption { letter, value, key }
}

const fn long(name: &'static str, value: Value, key: Key) -> LongOption<Key> {
    LongOption { name, value, key }
}

/// As in iptables' option string (iptables/xshared.h).
pub(super) const SHORT: [ShortOption<Key>; 35] = [
    short('A', Value::Required, Key::Verb(Verb::Append)),
    short('C', Value::Required, Key::Verb(Verb::Check)),
    short('D', Value::Required, Key::Verb(Verb::Delete)),
    short('R', Value::Required, Key::Verb(Verb::Replace)),
    short('I', Value::Required, Key::Verb(Verb::Insert)),
    short('L', Value::Optional, Key::Verb(Verb::List)),
    short('S', Value::Optional, Key::Verb(Verb::ListRules)),
    short('F', Value::Optional, Key::Verb(Verb::Flush)),
    short('Z', Value::Optional, Key::Verb(Verb::Zero)),
    short('P', Value::Required, Key::Verb(Verb::Policy)),
    short('N', Value::Required, Key::Verb(Verb::NewChain)),
    short('X', Value::Optional, Key::Verb(Verb::DeleteChain)),
    short('E', Value::Required, Key::Verb(Verb::RenameChain)),
    short('M', Value::Required, Key::NotEnforced("-M (loading kernel modules)")),
    short('p', Value::Required, Key::Condition(Condition::Protocol)),
    short('s', Value::Required, Key::Condition(Condition::Source)),
    short('d', Value::Required, Key::Condition(Condition::Destination)),
    short('i', Value::Required, Key::Condition(Condition::InInterface)),
    short('o', Value::Required, Key::Condition(Condition::OutInterface)),
    short('j', Value::Required, Key::Condition(Condition::Jump)),
    short('n', Value::None, Key::Condition(Condition::Numeric)),
    short('x', Value::None, Key::Condition(Condition::Exact)),
    short('g', Value::Required, Key::Goto),
    short('f', Value::None, Key::Condition(Condition::Fragment)),
    short('c', Value::Required, Key::Condition(Condition::Counters)),
    short('m', Value::Required, Key::Match),
    short('t', Value::Required, Key::Table),
    short('v', Value::None, Key::Verbose),
    short('w', Value::Optional, Key::Wait),
    short('W', Value::Optional, Key::WaitInterval),
    short('4', Value::None, Key::Ipv4),
    short('6', Value::None, Key::Ipv6),
    short('h', Value::Optional, Key::Help),
    short('V', Value::None, Key::Version),
    short('b', Value::None, Key::NotEnforced("-b (no longer part of iptables)")),
];

/// As in iptables (iptables/iptables.c).
pub(super) const LONG: [LongOption<Key>; 37] = [
    long("append", Value::Required, Key::Verb(Verb::Append)),
    long("delete", Value::Required, Key::Verb(Verb::Delete)),
    long("check", Value::Required, Key::Verb(Verb::Check)),
    long("insert", Value::Required, Key::Verb(Verb::Insert)),
    long("replace", Value::Required, Key::Verb(Verb::Replace)),
    long("list", Value::Optional, Key::Verb(Verb::List)),
    long("list-rules", Value::Optional, Key::Verb(Verb::ListRules)),
    long("flush", Value::Optional, Key::Verb(Verb::Flush)),
    long("zero", Value::Optional, Key::Verb(Verb::Zero)),
    long("new-chain", Value::Required, Key::Verb(Verb::NewChain)),
    long("delete-chain", Value::Optional, Key::Verb(Verb::DeleteChain)),
    long("rename-chain", Value::Required, Key::Verb(Verb::RenameChain)),
    long("policy", Value::Required, Key::Verb(Verb::Policy)),
    long("source", Value::Required, Key::Condition(Condition::Source)),
    long("destination", Value::Required, Key::Condition(Condition::Destination)),
    long("src", Value::Required, Key::Condition(Condition::Source)),
    long("dst", Value::Required, Key::Condition(Condition::Destination)),
    long("protocol", Value::Required, Key::Condition(Condition::Protocol)),
    long("in-interface", Value::Required, Key::Condition(Condition::InInterface)),
    long("jump", Value::Required, Key::Condition(Condition::Jump)),
    long("table", Value::Required, Key::Table),
    long("match", Value::Required, Key::Match),
    long("numeric", Value::None, Key::Condition(Condition::Numeric)),
    long("out-interface", Value::Required, Key::Condition(Condition::OutInterface)),
    long("verbose", Value::None, Key::Verbose),
    long("wait", Value::Optional, Key::Wait),
    long("wait-interval", Value::Optional, Key::WaitInterval),
    long("exact", Value::None, Key::Condition(Condition::Exact)),
    long("fragments", Value::None, Key::Condition(Condition::Fragment)),
    long("version", Value::None, Key::Version),
    long("help", Value::Optional, Key::Help),
    long("line-numbers", Value::None, Key::Condition(Condition::LineNumbers)),
    long("modprobe", Value::Required, Key::NotEnforced("--modprobe (loading kernel modules)")),
    long("set-counters", Value::Required, Key::Condition(Condition::Counters)),
    long("goto", Value::Required, Key::Goto),
    long("ipv4", Value::None, Key::Ipv4),
    long("ipv6", Value::None, Key::Ipv6),
];

/// The long options that match number `instance` adds.
pub(super) fn extension_options(
    instance: usize,
    rows: &'static [Row],
) -> impl Iterator<Item = LongOption<Key>> {
    rows.iter().map(move |(name, value, key)| long(name, *value, Key::Extension(instance, *key)))
}

/// The long options that the target adds.
pub(super) fn target_options(rows: &'static [TargetRow]) -> impl Iterator<Item = LongOption<Key>> {
    rows.iter().map(|(name, value, key)| long(name, *value, Key::Target(*key)))
}
