//! Reads a whole command line.
//!
//! The order of checks is iptables': words from left to right, then what is missing, then what
//! does not fit the command, so that of several errors the same one is reported.

use super::error::{ParseError, ParseErrorKind, Position};
use super::extension::Given;
use super::getopt::{Getopt, Item, Word};
use super::options::{self, Condition, Key, Verb};
use super::refusal::{Refusal, locate};
use super::specification::Specification;
use super::{CHAIN_CHARS_MAX, Command, known};
use crate::rule::{Family, Names, Table};
use crate::ruleset::Counters;

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// A command for the daemon.
    Command(Box<CommandLine>),
    /// `-h`
    Help,
    /// `-V`
    Version,
}

/// A command, and what its line says about carrying it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Whose rules it is about.
    pub family: Family,
    /// In which table they are.
    pub table: Table,
    /// What to send.
    pub command: Command,
    /// `-v` with a change: print what was done.
    pub verbose: bool,
    /// `-Z` beside `-L` or `-S`: after the listing, also send this.
    pub then: Option<Command>,
    /// `-w`: how long to wait for the daemon.
    pub wait: Option<Wait>,
    /// What iptables prints to standard error and then does not mind.
    pub warnings: Vec<String>,
    /// The line `iptables WORD WORD…` (or `ip6tables …`), and where in it the chain stands: for an error that only the
    /// daemon can find. Empty with [`Context::restoring`].
    pub line: String,
    /// See `line`.
    pub chain: Option<Position>,
}

/// What a command line is read by.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Of protocols and services.
    pub names: &'a Names,
    /// The table that a line is about which names none.
    pub table: Table,
    /// Whether there is a chain of that name in a table, be it INPUT or OUTPUT or a user-defined one.
    pub is_chain: &'a dyn Fn(Table, &str) -> bool,
    /// Whether the line is one of a saved rule set, in which `-t` is an error.
    pub restoring: bool,
    /// Whether it is read as by iptables or as by ip6tables.
    pub family: Family,
}

impl<'a> Context<'a> {
    /// For a single command of iptables, where there is no chain but FORWARD (and PREROUTING of table raw).
    pub fn new(names: &'a Names) -> Self {
        Self::of(Family::V4, names)
    }

    /// For a single command of either family, likewise.
    pub fn of(family: Family, names: &'a Names) -> Self {
        let table = Table::Filter;
        Self { names, table, is_chain: &|_, _| false, restoring: false, family }
    }
}

/// `-w [SECONDS]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as it takes.
    Forever,
    /// At most so many seconds.
    Seconds(u32),
}

/// Parses `arguments` of iptables, which do not include the program's name, where there is no chain but
/// FORWARD.
///
/// # Errors
/// As [`parse_in`].
pub fn parse(arguments: &[String], names: &Names) -> Result<Parsed, ParseError> {
    parse_in(arguments, Context::new(names))
}

/// Parses `arguments`, which do not include the program's name.
///
/// # Errors
/// The first thing wrong, as iptables would find it, and its place.
pub fn parse_in(arguments: &[String], context: Context<'_>) -> Result<Parsed, ParseError> {
    let mut parser = Parser::new(arguments, context);
    let parsed = parser.words().and_then(|early| match early {
        Some(parsed) => Ok(parsed),
        None => parser.finish(arguments).map(|line| Parsed::Command(Box::new(line))),
    });
    parsed.map_err(|Refusal { kind, word }| {
        let family = context.family;
        let (line, position) = locate(family, arguments, word);
        ParseError { kind, position, line: line.into(), family }
    })
}

/// A command line that is being read.
pub(super) struct Parser<'a> {
    pub(super) getopt: Getopt<'a>,
    pub(super) context: Context<'a>,
    pub(super) verb: Option<Verb>,
    /// `-Z` beside a listing: the rule it is for, if one is named.
    pub(super) and_zero: Option<Option<u32>>,
    pub(super) table: Option<Word<'a>>,
    pub(super) chain: Option<Word<'a>>,
    /// The other word of `-P` and `-E`.
    pub(super) second: Option<Word<'a>>,
    pub(super) number: Option<u32>,
    pub(super) seen: Vec<(Condition, Word<'a>)>,
    pub(super) counters: Option<Counters>,
    pub(super) verbose: bool,
    pub(super) wait: Option<Wait>,
    pub(super) wait_interval: Option<Word<'a>>,
    /// A `!` whose option has not come yet.
    pub(super) negation: Option<Word<'a>>,
    pub(super) specification: Specification<'a>,
}

impl<'a> Parser<'a> {
    fn new(arguments: &'a [String], context: Context<'a>) -> Self {
        Self {
            getopt: Getopt::new(arguments),
            context,
            verb: None,
            and_zero: None,
            table: None,
            chain: None,
            second: None,
            number: None,
            seen: Vec::new(),
            counters: None,
            verbose: false,
            wait: None,
            wait_interval: None,
            negation: None,
            specification: Specification::new(context.family),
        }
    }

    /// Reads all words. Returns early for help and version, as iptables does.
    fn words(&mut self) -> Result<Option<Parsed>, Refusal<'a>> {
        let (short, long) =
            (options::short(self.context.family), options::long(self.context.family));
        while let Some(item) = self.getopt.next(short, |name| self.specification.option(name, long))
        {
            match item {
                Item::Plain(word) if word.text == "!" => {
                    if self.negation.is_some() {
                        return Err(Refusal::at(word, ParseErrorKind::DoubleNegation));
                    }
                    self.negation = Some(word);
                    continue;
                }
                Item::Plain(word) => {
                    let after_negation = self.getopt.follows_negation(word);
                    let kind =
                        ParseErrorKind::BadArgument { word: word.text.to_owned(), after_negation };
                    return Err(Refusal::at(word, kind));
                }
                Item::MissingValue(word) => {
                    let kind = ParseErrorKind::MissingValue { option: word.text.to_owned() };
                    return Err(Refusal::at(word, kind));
                }
                Item::Unknown(word) => {
                    self.specification.load_implied(word)?;
                    self.getopt.step_back();
                    continue;
                }
                Item::Option { key: Key::Help, .. } => return Ok(Some(Parsed::Help)),
                Item::Option { key: Key::Version, .. } => return Ok(Some(Parsed::Version)),
                Item::Option { key, word, value } => self.option(key, word, value)?,
            }
            self.negation = None;
        }
        Ok(None)
    }

    fn option(
        &mut self,
        key: Key,
        word: Word<'a>,
        value: Option<Word<'a>>,
    ) -> Result<(), Refusal<'a>> {
        // Where an option takes a value, getopt has made sure of it.
        let given = value.unwrap_or(word);
        match key {
            Key::Verb(verb) => self.verb(verb, word, value),
            Key::Condition(condition) => self.condition(condition, word, given),
            Key::Match => {
                self.refuse_negation('m')?;
                self.specification.load(given)
            }
            Key::Goto => {
                self.once(Condition::Jump, word)?;
                self.specification.goto(given)
            }
            Key::Table => {
                self.refuse_negation('t')?;
                if self.context.restoring {
                    return Err(Refusal::at(
                        word,
                        ParseErrorKind::TableInRestore { program: self.context.family.program() },
                    ));
                }
                self.table = Some(given);
                Ok(())
            }
            Key::Verbose => {
                self.refuse_negation('v')?;
                self.verbose = true;
                Ok(())
            }
            Key::Wait => {
                self.refuse_negation('w')?;
                self.wait(value)
            }
            Key::WaitInterval => {
                self.refuse_negation('W')?;
                if value.is_none() {
                    self.getopt.take_plain();
                }
                self.wait_interval = Some(word);
                Ok(())
            }
            Key::Family(family) if family == self.context.family => {
                self.refuse_negation(options::family_letter(family))
            }
            Key::Family(family) => Err(Refusal::at(word, ParseErrorKind::OtherFamily { family })),
            Key::NoFragments => Err(Refusal::at(word, ParseErrorKind::NoFragments)),
            Key::NotEnforced(name) => Err(Refusal::at(
                word,
                ParseErrorKind::NotEnforced { what: "option", name: name.to_owned() },
            )),
            Key::Extension(instance, key) => {
                let given = self.given(word, given);
                self.specification.extension(instance, key, &given, &mut self.getopt)
            }
            Key::Target(key) => {
                let given = self.given(word, given);
                self.specification.target_option(key, &given)
            }
            // Answered by the caller.
            Key::Help | Key::Version => Ok(()),
        }
    }

    fn given(&self, option: Word<'a>, value: Word<'a>) -> Given<'a, 'a> {
        let Context { names, family, .. } = self.context;
        Given { option, name: "", value, negated: self.negation.is_some(), names, family }
    }

    fn refuse_negation(&self, option: char) -> Result<(), Refusal<'a>> {
        match self.negation {
            Some(word) => Err(Refusal::at(word, ParseErrorKind::NegatedOption { option })),
            None => Ok(()),
        }
    }

    fn condition(
        &mut self,
        condition: Condition,
        word: Word<'a>,
        given: Word<'a>,
    ) -> Result<(), Refusal<'a>> {
        self.once(condition, word)?;
        if condition == Condition::Counters {
            self.counters = Some(self.counters(word, given)?);
            return Ok(());
        }
        let negated = self.negation.is_some();
        self.specification.condition(condition, given, negated, self.context.names)
    }

    /// Notes an option that may stand once.
    fn once(&mut self, condition: Condition, word: Word<'a>) -> Result<(), Refusal<'a>> {
        let option = condition.letter();
        if self.seen.iter().any(|(seen, _)| *seen == condition) {
            return Err(Refusal::at(word, ParseErrorKind::Repeated { option }));
        }
        if !condition.negatable() {
            self.refuse_negation(option)?;
        }
        self.seen.push((condition, word));
        Ok(())
    }

    /// `-c PACKETS BYTES` or `-c PACKETS,BYTES`, of which the beginnings count that are numbers.
    fn counters(&mut self, option: Word<'a>, packets: Word<'a>) -> Result<Counters, Refusal<'a>> {
        // Cut as by strtok, for which commas in front are none.
        let text = packets.text.trim_start_matches(',');
        let offset = packets.offset + packets.text.len() - text.len();
        let (text, bytes) = match text.split_once(',') {
            Some((before, bytes)) => {
                let offset = offset + before.len() + 1;
                (before, Some(Word { text: bytes, offset, ..packets }))
            }
            None => (text, self.getopt.take_plain()),
        };
        let packets = Word { text, offset, ..packets };
        let Some(bytes) = bytes else {
            return Err(Refusal::at(option, ParseErrorKind::CountersMissing));
        };
        let number = |word: Word<'a>, counter| {
            count_prefix(word.text)
                .ok_or_else(|| Refusal::at(word, ParseErrorKind::CounterNumber { counter }))
        };
        Ok(Counters { packets: number(packets, "packet")?, bytes: number(bytes, "byte")? })
    }

    fn verb(
        &mut self,
        verb: Verb,
        word: Word<'a>,
        value: Option<Word<'a>>,
    ) -> Result<(), Refusal<'a>> {
        if let Some(negation) = self.negation {
            return Err(Refusal::at(negation, ParseErrorKind::NegatedCommand));
        }
        let listing = |verb| matches!(verb, Verb::List | Verb::ListRules);
        // A command that already stands on the line, and does not go with this one.
        let conflict = match (self.verb, verb) {
            (None, _) => None,
            (Some(Verb::Zero), new) if listing(new) => None,
            (Some(old), Verb::Zero) if listing(old) && self.and_zero.is_none() => None,
            (Some(old), Verb::Zero) if listing(old) => Some(Verb::Zero),
            (Some(old), _) => Some(old),
        };
        if let Some(old) = conflict {
            let kind = ParseErrorKind::CommandConflict { new: verb.letter(), old: old.letter() };
            return Err(Refusal::at(word, kind));
        }
        match verb {
            Verb::Append | Verb::Check => self.chain = value,
            Verb::Insert => {
                self.chain = value;
                self.number = self.optional_number()?;
            }
            Verb::Delete => {
                self.chain = value;
                self.number = self.optional_number()?;
                let by_number = self.number.is_some();
                self.verb = Some(if by_number { Verb::DeleteNumber } else { Verb::Delete });
                return Ok(());
            }
            Verb::Replace => {
                self.chain = value;
                self.number = self.optional_number()?;
                if self.number.is_none() {
                    let kind = ParseErrorKind::RuleNumberMissing { command: 'R' };
                    return Err(Refusal::at(word, kind));
                }
            }
            Verb::Policy => {
                self.chain = value;
                self.second = self.getopt.take_plain();
                if self.second.is_none() {
                    return Err(Refusal::at(word, ParseErrorKind::PolicyMissing));
                }
            }
            Verb::NewChain => {
                self.chain = value;
                value.map_or(Ok(()), |name| check_new_chain(name, self.context.family))?;
            }
            Verb::RenameChain => {
                self.chain = value;
                self.second = self.getopt.take_plain();
                if self.second.is_none() {
                    return Err(Refusal::at(word, ParseErrorKind::RenameMissing));
                }
            }
            Verb::Flush | Verb::DeleteChain => self.optional_chain(value),
            Verb::List | Verb::ListRules | Verb::Zero => return self.listing(verb, value),
            Verb::DeleteNumber => {}
        }
        self.verb = Some(verb);
        Ok(())
    }

    /// `-L`, `-S`, `-Z`, alone or a listing with `-Z`, in either order. The chain named last is
    /// that of both.
    fn listing(&mut self, verb: Verb, value: Option<Word<'a>>) -> Result<(), Refusal<'a>> {
        self.optional_chain(value);
        let has_chain = value.is_some() || self.chain.is_some();
        let number = if has_chain { self.optional_number()? } else { None };
        match (self.verb, verb) {
            (Some(Verb::Zero), _) => {
                self.and_zero = Some(self.number);
                self.number = number.or(self.number);
                self.verb = Some(verb);
            }
            (Some(_), _) => {
                self.and_zero = Some(number);
                self.number = number.or(self.number);
            }
            (None, _) => {
                self.number = number;
                self.verb = Some(verb);
            }
        }
        Ok(())
    }

    fn optional_chain(&mut self, value: Option<Word<'a>>) {
        if let Some(chain) = value.or_else(|| self.getopt.take_plain()) {
            self.chain = Some(chain);
        }
    }

    fn optional_number(&mut self) -> Result<Option<u32>, Refusal<'a>> {
        let Some(word) = self.getopt.take_plain() else { return Ok(None) };
        // iptables keeps it in an `int`.
        match crate::rule::parse_number(word.text, i32::MAX.unsigned_abs()) {
            None | Some(0) => {
                let kind = ParseErrorKind::RuleNumber { number: word.text.to_owned() };
                Err(Refusal::at(word, kind))
            }
            number => Ok(number),
        }
    }

    fn wait(&mut self, value: Option<Word<'a>>) -> Result<(), Refusal<'a>> {
        let Some(word) = value.or_else(|| self.getopt.take_plain()) else {
            self.wait = Some(Wait::Forever);
            return Ok(());
        };
        let digits = !word.text.is_empty() && word.text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits {
            return Err(Refusal::at(word, ParseErrorKind::WaitSeconds));
        }
        // More than 136 years is capped to that.
        self.wait = Some(Wait::Seconds(word.text.parse().unwrap_or(u32::MAX)));
        Ok(())
    }
}

/// What may be the name of a new chain (`assert_valid_chain_name`, iptables/xshared.c).
fn check_new_chain(word: Word<'_>, family: Family) -> Result<(), Refusal<'_>> {
    let chain = word.text.to_owned();
    let kind = match word.text {
        long if long.len() > CHAIN_CHARS_MAX => ParseErrorKind::ChainTooLong { chain },
        odd if odd.starts_with(['-', '!']) => {
            ParseErrorKind::ChainBegins { with: odd.chars().next().unwrap_or_default() }
        }
        // With an empty name iptables finds a target, the one that does nothing.
        target if target.is_empty() || known::is_any_target(target, family) => {
            ParseErrorKind::ChainIsTarget
        }
        blank if blank.contains(|c: char| c.is_ascii_whitespace()) => {
            ParseErrorKind::ChainName { chain }
        }
        _ => return Ok(()),
    };
    Err(Refusal::at(word, kind))
}

/// The number that a text begins with, as C's `%llu` reads it: above the range the greatest, below 0
/// so much below 2^64.
fn count_prefix(text: &str) -> Option<u64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    if end == 0 {
        return None;
    }
    let number = digits[..end].parse().unwrap_or(u64::MAX);
    Some(if negative && number != u64::MAX { number.wrapping_neg() } else { number })
}
