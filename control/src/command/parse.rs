//! Reads a whole command line.
//!
//! The order of checks is iptables': words from left to right, then what is missing, then what
//! does not fit the command, so that of several errors the same one is reported.

use super::error::{ParseError, ParseErrorKind};
use super::extension::Given;
use super::getopt::{Getopt, Item, Word};
use super::options::{Condition, Key, LONG, SHORT, Verb};
use super::refusal::{Refusal, locate};
use super::specification::Specification;
use super::{CHAIN_CHARS_MAX, ChainName, Command, ListFormat, Selection};
use crate::rule::{Names, Rule};
use crate::ruleset::Policy;

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
}

/// `-w [SECONDS]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As long as it takes.
    Forever,
    /// At most so many seconds.
    Seconds(u32),
}

/// Parses `arguments`, which do not include the program's name.
///
/// # Errors
/// The first thing wrong, as iptables would find it, and its place.
pub fn parse(arguments: &[String], names: &Names) -> Result<Parsed, ParseError> {
    let mut parser = Parser::new(arguments, names);
    let parsed = parser.words().and_then(|early| match early {
        Some(parsed) => Ok(parsed),
        None => parser.finish().map(|line| Parsed::Command(Box::new(line))),
    });
    parsed.map_err(|Refusal { kind, word }| {
        let (line, position) = locate(arguments, word);
        ParseError { kind, position, line }
    })
}

struct Parser<'a> {
    getopt: Getopt<'a>,
    names: &'a Names,
    verb: Option<Verb>,
    /// `-Z` beside a listing: the rule it is for, if one is named.
    and_zero: Option<Option<u32>>,
    table: Option<Word<'a>>,
    chain: Option<Word<'a>>,
    number: Option<u32>,
    policy: Option<Word<'a>>,
    seen: Vec<(Condition, Word<'a>)>,
    verbose: bool,
    wait: Option<Wait>,
    wait_interval: Option<Word<'a>>,
    /// A `!` whose option has not come yet.
    negation: Option<Word<'a>>,
    specification: Specification<'a>,
}

impl<'a> Parser<'a> {
    fn new(arguments: &'a [String], names: &'a Names) -> Self {
        Self {
            getopt: Getopt::new(arguments),
            names,
            verb: None,
            and_zero: None,
            table: None,
            chain: None,
            number: None,
            policy: None,
            seen: Vec::new(),
            verbose: false,
            wait: None,
            wait_interval: None,
            negation: None,
            specification: Specification::default(),
        }
    }

    /// Reads all words. Returns early for help and version, as iptables does.
    fn words(&mut self) -> Result<Option<Parsed>, Refusal<'a>> {
        while let Some(item) = self.getopt.next(&SHORT, &self.specification.options(&LONG)) {
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
            Key::Table => {
                self.refuse_negation('t')?;
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
            Key::Ipv4 => self.refuse_negation('4'),
            Key::Ipv6 => Err(Refusal::at(word, ParseErrorKind::Ipv6)),
            Key::NotEnforced(name) => Err(Refusal::at(
                word,
                ParseErrorKind::NotEnforced { what: "option", name: name.to_owned() },
            )),
            Key::Extension(instance, key) => {
                let (negated, names) = (self.negation.is_some(), self.names);
                let given = Given { option: word, value: given, negated, names };
                self.specification.extension(instance, key, &given, &mut self.getopt)
            }
            // Answered by the caller.
            Key::Help | Key::Version => Ok(()),
        }
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
        let option = condition.letter();
        if self.seen.iter().any(|(seen, _)| *seen == condition) {
            return Err(Refusal::at(word, ParseErrorKind::Repeated { option }));
        }
        if !condition.negatable() {
            self.refuse_negation(option)?;
        }
        self.seen.push((condition, word));
        let negated = self.negation.is_some();
        self.specification.condition(condition, given, negated, self.names)
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
                self.policy = self.getopt.take_plain();
                if self.policy.is_none() {
                    return Err(Refusal::at(word, ParseErrorKind::PolicyMissing));
                }
            }
            Verb::Flush => self.optional_chain(value),
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
        match crate::rule::parse_number(word.text, u32::MAX) {
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

    /// Checks the line as a whole and makes the command.
    fn finish(&mut self) -> Result<CommandLine, Refusal<'a>> {
        if let Some(word) = self.wait_interval.filter(|_| self.wait.is_none()) {
            return Err(Refusal::at(word, ParseErrorKind::WaitIntervalAlone));
        }
        self.specification.finish()?;
        if let Some(word) = self.getopt.rest() {
            return Err(Refusal::at(word, ParseErrorKind::TrailingArguments));
        }
        let Some(verb) = self.verb else {
            return Err(Refusal::somewhere(ParseErrorKind::NoCommand));
        };
        if let Some(word) = self.negation {
            return Err(Refusal::at(word, ParseErrorKind::DanglingNegation));
        }
        let rules = if verb.takes_rule() {
            self.specification.expand(verb == Verb::Replace)?
        } else {
            Vec::new()
        };
        self.seen.sort_by_key(|(condition, _)| *condition);
        if let Some((condition, word)) = self.seen.iter().find(|(seen, _)| !verb.allows(*seen)) {
            let kind = ParseErrorKind::IllegalOption { option: condition.letter() };
            return Err(Refusal::at(*word, kind));
        }
        if let Some(name) = self.specification.first_match().filter(|_| !verb.takes_rule()) {
            let kind = ParseErrorKind::MatchWithoutRule {
                name: name.text.to_owned(),
                command: verb.letter(),
            };
            return Err(Refusal::at(name, kind));
        }
        if let Some(word) = self.table.filter(|table| table.text != "filter") {
            let table = word.text.to_owned();
            return Err(Refusal::at(word, ParseErrorKind::Table { table }));
        }
        self.check_chain(verb)?;
        self.specification.validate(&rules)?;
        let warnings = self.warnings(&rules);
        let command = self.command(verb, rules)?;
        let then = self.and_zero.map(|number| {
            let Selection { chain, .. } = self.selection();
            Command::Zero { number: number.filter(|_| chain.is_some()), chain }
        });
        let verbose = self.verbose && !command.is_listing();
        Ok(CommandLine { command, verbose, then, wait: self.wait, warnings })
    }

    fn check_chain(&self, verb: Verb) -> Result<(), Refusal<'a>> {
        let Some(word) = self.chain else { return Ok(()) };
        let chain = word.text.to_owned();
        let kind = match word.text {
            "FORWARD" => return Ok(()),
            "INPUT" | "OUTPUT" => ParseErrorKind::HostChain { chain },
            long if long.len() > CHAIN_CHARS_MAX => ParseErrorKind::ChainTooLong { chain },
            _ if verb == Verb::Policy => ParseErrorKind::NoSuchPolicyChain { chain },
            _ => ParseErrorKind::NoSuchChain { chain },
        };
        Err(Refusal::at(word, kind))
    }

    fn selection(&self) -> Selection {
        let chain = self.chain.map(|_| ChainName::forward());
        Selection { number: self.number.filter(|_| chain.is_some()), chain }
    }

    fn command(&self, verb: Verb, mut rules: Vec<Rule>) -> Result<Command, Refusal<'a>> {
        let chain = ChainName::forward();
        let number = self.number.unwrap_or(1);
        Ok(match verb {
            Verb::Append => Command::Append { chain, rules },
            Verb::Insert => Command::Insert { chain, number, rules },
            Verb::Delete => Command::Delete { chain, rules },
            Verb::DeleteNumber => Command::DeleteNumber { chain, number },
            // `expand` made exactly one rule of it.
            Verb::Replace => {
                Command::Replace { chain, number, rule: rules.pop().unwrap_or_default() }
            }
            Verb::Check => Command::Check { chain, rules },
            Verb::Flush => Command::Flush { chain: self.selection().chain },
            Verb::Policy => Command::Policy { chain, policy: self.policy_value()? },
            Verb::Zero => {
                let Selection { chain, number } = self.selection();
                Command::Zero { chain, number }
            }
            Verb::List => {
                let has = |wanted| self.seen.iter().any(|(seen, _)| *seen == wanted);
                let format = ListFormat {
                    numeric: has(Condition::Numeric),
                    verbose: self.verbose,
                    exact: has(Condition::Exact),
                    line_numbers: has(Condition::LineNumbers),
                };
                Command::List { selection: self.selection(), format }
            }
            Verb::ListRules => {
                Command::ListRules { selection: self.selection(), counters: self.verbose }
            }
        })
    }

    fn policy_value(&self) -> Result<Policy, Refusal<'a>> {
        match self.policy.map(|word| (word, word.text)) {
            Some((_, "ACCEPT")) => Ok(Policy::Accept),
            Some((_, "DROP")) => Ok(Policy::Drop),
            Some((word, policy)) => {
                Err(Refusal::at(word, ParseErrorKind::PolicyName { policy: policy.to_owned() }))
            }
            None => Err(Refusal::somewhere(ParseErrorKind::PolicyMissing)),
        }
    }

    fn warnings(&self, rules: &[Rule]) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.wait_interval.is_some() {
            warnings.push("Ignoring deprecated --wait-interval option.".to_owned());
        }
        // All rules of a line have the same interfaces.
        if let Some(rule) = rules.first() {
            let interfaces = [&rule.in_interface, &rule.out_interface];
            for name in interfaces.into_iter().flatten().map(|negatable| &negatable.value) {
                if name.has_weird_character() {
                    warnings.push(format!(
                        "Warning: weird character in interface `{name}' ('/' and ' ' are not allowed by the kernel)."
                    ));
                }
            }
            warnings.extend(super::extension::warnings(&rule.matches));
        }
        warnings
    }
}
