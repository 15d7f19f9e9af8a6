//! What a command line whose words are all read comes to: the last checks, and the command.

use super::error::ParseErrorKind;
use super::getopt::Word;
use super::options::{Condition, Verb};
use super::parse::{CommandLine, Parser};
use super::refusal::{Refusal, locate};
use super::{CHAIN_CHARS_MAX, ChainName, Command, ListFormat, Selection};
use crate::rule::{Rule, Table};
use crate::ruleset::Policy;

impl<'a> Parser<'a> {
    /// Checks the line as a whole and makes the command.
    pub(super) fn finish(&mut self, arguments: &[String]) -> Result<CommandLine, Refusal<'a>> {
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
        let table = self.table()?;
        let chain = self.chain.map(|word| self.chain_name(word, table, verb)).transpose()?;
        if verb.takes_rule() {
            self.check_interfaces(chain.as_ref())?;
            self.specification.check_target(table, self.context.is_chain)?;
        }
        self.specification.validate(&rules, table)?;
        let warnings = self.warnings(&rules);
        let number = self.number.filter(|_| chain.is_some());
        let selection = Selection { chain: chain.clone(), number };
        let command = self.command(verb, rules, table, selection)?;
        let then = self.and_zero.map(|number| {
            let number = number.filter(|_| chain.is_some());
            Command::Zero { number, chain }
        });
        let verbose = self.verbose && !command.is_listing();
        let family = self.context.family;
        // Of a saved rule set the number of the line is told, not the line.
        let (line, chain) = match self.context.restoring {
            true => (String::new(), None),
            false => locate(family, arguments, self.chain),
        };
        let wait = self.wait;
        Ok(CommandLine { family, table, command, verbose, then, wait, warnings, line, chain })
    }

    fn table(&self) -> Result<Table, Refusal<'a>> {
        let Some(word) = self.table else { return Ok(self.context.table) };
        Table::named(word.text).ok_or_else(|| {
            let (program, table) = (self.context.family.program(), word.text.to_owned());
            Refusal::at(word, ParseErrorKind::Table { program, table })
        })
    }

    fn command(
        &self,
        verb: Verb,
        mut rules: Vec<Rule>,
        table: Table,
        selection: Selection,
    ) -> Result<Command, Refusal<'a>> {
        // Commands that are about one chain have it on their line: its option takes a value.
        let chain = selection.chain.clone().unwrap_or_else(ChainName::forward);
        let (number, counters) = (self.number.unwrap_or(1), self.counters);
        Ok(match verb {
            Verb::Append => Command::Append { chain, rules, counters },
            Verb::Insert => Command::Insert { chain, number, rules, counters },
            Verb::Delete => Command::Delete { chain, rules },
            Verb::DeleteNumber => Command::DeleteNumber { chain, number },
            // `expand` made exactly one rule of it.
            Verb::Replace => {
                let rule = rules.pop().unwrap_or_default();
                Command::Replace { chain, number, rule, counters }
            }
            Verb::Check => Command::Check { chain, rules },
            Verb::Flush => Command::Flush { chain: selection.chain },
            Verb::Policy => Command::Policy { chain, policy: self.policy_value()?, counters },
            Verb::NewChain => Command::NewChain { chain },
            Verb::DeleteChain => Command::DeleteChain { chain: selection.chain },
            Verb::RenameChain => {
                let missing = || Refusal::somewhere(ParseErrorKind::RenameMissing);
                let to = self.chain_name(self.second.ok_or_else(missing)?, table, verb)?;
                Command::RenameChain { chain, to }
            }
            Verb::Zero => Command::Zero { chain: selection.chain, number: selection.number },
            Verb::List => {
                let has = |wanted| self.seen.iter().any(|(seen, _)| *seen == wanted);
                let format = ListFormat {
                    numeric: has(Condition::Numeric),
                    verbose: self.verbose,
                    exact: has(Condition::Exact),
                    line_numbers: has(Condition::LineNumbers),
                };
                Command::List { selection, format }
            }
            Verb::ListRules => Command::ListRules { selection, counters: self.verbose },
        })
    }

    /// A chain's name. What no chain can be called, no chain is called.
    fn chain_name(
        &self,
        word: Word<'a>,
        table: Table,
        verb: Verb,
    ) -> Result<ChainName, Refusal<'a>> {
        let chain = word.text.to_owned();
        let of_host = |name| is_host_chain(table, name);
        let kind = match word.text {
            name if of_host(name) && !(self.context.is_chain)(table, name) => {
                ParseErrorKind::HostChain { chain }
            }
            long if long.len() > CHAIN_CHARS_MAX => ParseErrorKind::ChainTooLong { chain },
            name => match (name.parse(), verb) {
                (Ok(name), _) => return Ok(name),
                (Err(_), Verb::NewChain | Verb::RenameChain) => ParseErrorKind::ChainName { chain },
                (Err(_), Verb::Policy) => ParseErrorKind::NoSuchPolicyChain { chain },
                (Err(_), _) => ParseErrorKind::NoSuchChain { chain },
            },
        };
        Err(Refusal::at(word, kind))
    }

    /// A packet to the machine leaves by no interface, one that has no way yet by none that is known, and one from the
    /// machine comes in by none. (In a user-defined
    /// chain that is led to from there the rule may stand, and its interface has no name.)
    fn check_interfaces(&self, chain: Option<&ChainName>) -> Result<(), Refusal<'a>> {
        let (wrong, chain) = match chain.map(ChainName::as_str) {
            Some("PREROUTING") => (Condition::OutInterface, "PREROUTING"),
            Some("INPUT") => (Condition::OutInterface, "INPUT"),
            Some("OUTPUT") => (Condition::InInterface, "OUTPUT"),
            _ => return Ok(()),
        };
        match self.seen.iter().find(|(condition, _)| *condition == wrong) {
            Some((_, word)) => {
                let kind = ParseErrorKind::InterfaceOfChain { option: wrong.letter(), chain };
                Err(Refusal::at(*word, kind))
            }
            None => Ok(()),
        }
    }

    fn policy_value(&self) -> Result<Policy, Refusal<'a>> {
        match self.second.map(|word| (word, word.text)) {
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
            warnings.extend(self.specification.unmatchable_protocol());
            warnings.extend(super::extension::warnings(&rule.matches));
        }
        warnings
    }
}

/// Whether it is the name of a chain of the table for the machine's own traffic.
pub(crate) fn is_host_chain(table: Table, name: &str) -> bool {
    ["INPUT", "OUTPUT"].contains(&name) && table.built_in().contains(&name)
}
