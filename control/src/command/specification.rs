//! Reads the part of a command line that makes a rule.

use super::error::ParseErrorKind;
use super::extension::{Extension, ExtensionKey, Given, TargetExtension, TargetKey};
use super::getopt::{Getopt, LongOption, Word, lookup};
use super::options::{Condition, Key, extension_options, target_options};
use super::refusal::{Refusal, check_rule_count};
use super::{CHAIN_CHARS_MAX, ChainName, known};
use crate::rule::{
    Family, InvalidRule, IpNet, Names, Negatable, Protocol, Rule, Table, Target, parse_number,
};

/// The rule so far.
#[derive(Debug, Default)]
pub(super) struct Specification<'a> {
    family: Family,
    rule: Rule,
    /// `-s` and `-d` as given; like iptables, read when all other words are understood.
    sources: Option<Negatable<Word<'a>>>,
    destinations: Option<Negatable<Word<'a>>>,
    /// `-p` as given, even `all`.
    protocol: Option<Protocol>,
    protocol_word: Option<Word<'a>>,
    /// Whether `-p` has already brought its match.
    implied: bool,
    extensions: Vec<Extension<'a>>,
    target: Option<TargetExtension<'a>>,
    /// Matches that were named before the target.
    before_target: usize,
    /// A word after `-j` that is no target, or after `-g`: hopefully a chain.
    jump: Option<Jump<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct Jump<'a> {
    word: Word<'a>,
    goto: bool,
}

impl<'a> Specification<'a> {
    pub(super) fn new(family: Family) -> Self {
        Self { family, ..Self::default() }
    }

    /// The option of this name among `base` and those of all matches and of the target, or the one that it is a shorter
    /// name of. A name that several of them have means the newest one, shortened or not.
    pub(super) fn option(&self, name: &str, base: &[LongOption<Key>]) -> Option<LongOption<Key>> {
        let all = || base.iter().copied().chain(self.options());
        if let Some(exact) = all().find(|option| option.name == name) {
            return Some(exact);
        }
        let mut options: Vec<LongOption<Key>> = Vec::new();
        for option in all().filter(|option| option.name.starts_with(name)) {
            if options.iter().all(|newer| newer.name != option.name) {
                options.push(option);
            }
        }
        lookup(name, &options)
    }

    /// The options of all matches and of the target, the newest first.
    fn options(&self) -> impl Iterator<Item = LongOption<Key>> {
        let matches = |(instance, extension): (usize, &'_ Extension<'a>)| {
            extension_options(instance, extension.options())
        };
        let (older, newer) = (self.before_target, self.extensions.len());
        let of = |range: std::ops::Range<usize>| range.map(|at| (at, &self.extensions[at])).rev();
        let target = self.target.iter().flat_map(|target| target_options(target.options()));
        of(older..newer).flat_map(matches).chain(target).chain(of(0..older).flat_map(matches))
    }

    /// `-m NAME`
    pub(super) fn load(&mut self, word: Word<'a>) -> Result<(), Refusal<'a>> {
        let Some(extension) = Extension::new(word.text, self.family, word) else {
            let name = word.text.to_owned();
            let kind = match known::is_match(word.text, self.family) {
                true => ParseErrorKind::NotEnforced { what: "match", name },
                false => ParseErrorKind::UnknownMatch { name },
            };
            return Err(Refusal::at(word, kind));
        };
        self.extensions.push(extension);
        Ok(())
    }

    /// An option nobody knows makes iptables load the match that has the protocol's name, once,
    /// and look again.
    pub(super) fn load_implied(&mut self, word: Word<'a>) -> Result<(), Refusal<'a>> {
        let option = word.text.to_owned();
        let unknown = Refusal::at(word, ParseErrorKind::UnknownOption { option });
        let Some(protocol) = self.protocol.filter(|_| word.text.starts_with("--")) else {
            return Err(unknown);
        };
        let name = match protocol {
            Protocol::TCP => "tcp",
            Protocol::UDP => "udp",
            Protocol::ICMP if self.family == Family::V4 => "icmp",
            Protocol::ICMPV6 if self.family == Family::V6 => "icmp6",
            other => {
                let option = &word.text[2..];
                let Some(name) = known::implied_match(other.0, option, self.family) else {
                    return Err(unknown);
                };
                let name = name.to_owned();
                let kind = ParseErrorKind::NotEnforced { what: "match", name };
                return Err(Refusal::at(word, kind));
            }
        };
        let loaded = self.extensions.iter().any(|extension| extension.value.name() == name);
        let extension = Extension::new(name, self.family, self.protocol_word.unwrap_or(word));
        let Some(extension) = extension.filter(|_| !self.implied && !loaded) else {
            return Err(unknown);
        };
        self.implied = true;
        self.extensions.push(extension);
        Ok(())
    }

    /// The first match named with `-m`.
    pub(super) fn first_match(&self) -> Option<Word<'a>> {
        self.extensions.first().map(|extension| extension.word)
    }

    /// An option that every rule can have.
    pub(super) fn condition(
        &mut self,
        condition: Condition,
        word: Word<'a>,
        negated: bool,
        names: &Names,
    ) -> Result<(), Refusal<'a>> {
        match condition {
            Condition::Protocol => {
                let protocol = parse_protocol(word, names)?;
                self.protocol = Some(protocol);
                self.protocol_word = Some(word);
                if protocol != Protocol::ALL || negated {
                    self.rule.protocol = Some(Negatable { value: protocol, negated });
                }
                if protocol == Protocol::ALL && negated {
                    let kind = crate::rule::InvalidRule::NeverMatchesProtocol;
                    return Err(Refusal::at(word, ParseErrorKind::NeverMatches(kind)));
                }
            }
            Condition::Source => self.sources = Some(Negatable { value: word, negated }),
            Condition::Destination => self.destinations = Some(Negatable { value: word, negated }),
            Condition::InInterface => self.rule.in_interface = interface(word, negated)?,
            Condition::OutInterface => self.rule.out_interface = interface(word, negated)?,
            Condition::Fragment => self.rule.fragment = Some(!negated),
            Condition::Jump => match parse_target(word, self.family)? {
                Some(target) => {
                    self.target = Some(target);
                    self.before_target = self.extensions.len();
                }
                None => self.jump = Some(Jump { word, goto: false }),
            },
            Condition::Numeric
            | Condition::Exact
            | Condition::LineNumbers
            | Condition::Counters => {}
        }
        Ok(())
    }

    /// `-g CHAIN`
    pub(super) fn goto(&mut self, word: Word<'a>) -> Result<(), Refusal<'a>> {
        check_target_name(word)?;
        self.jump = Some(Jump { word, goto: true });
        Ok(())
    }

    /// Looks for the chain that the rule leads to, if it leads to one.
    pub(super) fn check_target(
        &self,
        table: Table,
        is_chain: &dyn Fn(Table, &str) -> bool,
    ) -> Result<(), Refusal<'a>> {
        let Some(Jump { word, goto }) = self.jump else { return Ok(()) };
        let name = word.text.to_owned();
        let known = word.text.parse::<ChainName>();
        if known.is_ok_and(|chain| chain.is_built_in(table) || is_chain(table, word.text)) {
            return Ok(());
        }
        let kind = match goto {
            true => ParseErrorKind::GotoNoChain { name },
            false => ParseErrorKind::UnknownTarget { name },
        };
        Err(Refusal::at(word, kind))
    }

    /// An option of match number `instance`.
    pub(super) fn extension(
        &mut self,
        instance: usize,
        key: ExtensionKey,
        given: &Given<'a, '_>,
        getopt: &mut Getopt<'a>,
    ) -> Result<(), Refusal<'a>> {
        match self.extensions.get_mut(instance) {
            Some(extension) => extension.read(key, given, self.rule.protocol, getopt),
            None => Ok(()),
        }
    }

    /// An option of the target.
    pub(super) fn target_option(
        &mut self,
        key: TargetKey,
        given: &Given<'a, '_>,
    ) -> Result<(), Refusal<'a>> {
        self.target.as_mut().map_or(Ok(()), |target| target.read(key, given))
    }

    /// Whether each match, and then the target, has the options it needs.
    pub(super) fn finish(&self) -> Result<(), Refusal<'a>> {
        self.extensions.iter().try_for_each(Extension::finish)?;
        self.target.as_ref().map_or(Ok(()), TargetExtension::finish)
    }

    /// All rules that the comma lists stand for, sources outside.
    pub(super) fn expand(&mut self, one_only: bool) -> Result<Vec<Rule>, Refusal<'a>> {
        self.rule.matches = self.extensions.iter().map(|e| e.value.clone()).collect();
        self.rule.target = self.target.as_ref().map(|target| target.value.clone());
        if let Some(Jump { word, goto }) = self.jump {
            // What cannot be the name of a chain is refused by `check_target`.
            let target = if goto { Target::Goto } else { Target::Jump };
            self.rule.target = word.text.parse().ok().map(target);
        }
        let sources = alternatives(self.sources, self.family)?;
        let destinations = alternatives(self.destinations, self.family)?;
        let count = sources.len().saturating_mul(destinations.len());
        // Reported at the last list, which there is if there are several rules.
        if let Some(Negatable { value: word, .. }) = self.destinations.or(self.sources) {
            if one_only && count > 1 {
                return Err(Refusal::at(word, ParseErrorKind::ReplacementList));
            }
            check_rule_count(count, word)?;
        }
        let mut rules = Vec::with_capacity(count);
        for source in &sources {
            for destination in &destinations {
                rules.push(Rule {
                    source: *source,
                    destination: *destination,
                    ..self.rule.clone()
                });
            }
        }
        Ok(rules)
    }

    /// What ip6tables says of protocols that are extension headers, which a packet's last header is not
    /// (`is_exthdr`, iptables/xshared.c).
    pub(super) fn unmatchable_protocol(&self) -> Option<String> {
        let Negatable { value, negated: false } = self.rule.protocol? else { return None };
        let protocol = self.protocol_word.map(|word| word.text.to_ascii_lowercase())?;
        (self.family == Family::V6 && [43, 44, 51, 60].contains(&value.0)).then(|| {
            format!("Warning: never matched protocol: {protocol}. use extension match instead.")
        })
    }

    /// What the kernel would refuse when it loads the rule. All rules of a line are alike in it.
    pub(super) fn validate(&self, rules: &[Rule], table: Table) -> Result<(), Refusal<'a>> {
        let first = rules.first();
        let Some(error) = first.and_then(|rule| rule.validate(self.family, table).err()) else {
            return Ok(());
        };
        let wrong = self.extensions.iter().find(|extension| {
            let asked = extension.value.extension();
            let protocol = asked.check_protocol(self.rule.protocol);
            protocol.and_then(|()| asked.check_family(self.family)).is_err()
        });
        let word = match error {
            InvalidRule::ResetNeedsTcp
            | InvalidRule::MarkShift { .. }
            | InvalidRule::OtherTable { .. }
            | InvalidRule::SynproxyNeedsTcp
            | InvalidRule::CtWithoutNotrack => self.target.as_ref().map(|target| target.word),
            _ => wrong.or(self.extensions.last()).map(|extension| extension.word),
        };
        Err(Refusal { kind: error.into(), word })
    }
}

/// What `-s` or `-d` may be in one rule: the items of a comma list. No condition is one
/// alternative; `0.0.0.0/0` or `::/0` without `!` is no condition.
fn alternatives(
    list: Option<Negatable<Word<'_>>>,
    family: Family,
) -> Result<Vec<Option<Negatable<IpNet>>>, Refusal<'_>> {
    let Some(Negatable { value: list, negated }) = list else { return Ok(vec![None]) };
    let mut offset = list.offset;
    let mut nets = Vec::new();
    for text in list.text.split(',') {
        let word = Word { text, argument: list.argument, offset };
        offset += text.len() + 1;
        let net = IpNet::parse(text, family);
        let value = net.map_err(|error| Refusal::at(word, ParseErrorKind::Address(error)))?;
        let (condition, all) = (Negatable { value, negated }, Negatable::is(IpNet::all(family)));
        nets.push(Some(condition).filter(|condition| *condition != all));
    }
    if negated && nets.len() > 1 {
        return Err(Refusal::at(list, ParseErrorKind::NegatedList));
    }
    check_rule_count(nets.len(), list)?;
    Ok(nets)
}

fn interface(
    word: Word<'_>,
    negated: bool,
) -> Result<Option<Negatable<crate::rule::InterfacePattern>>, Refusal<'_>> {
    let pattern: crate::rule::InterfacePattern =
        word.text.parse().map_err(|error| Refusal::at(word, ParseErrorKind::Interface(error)))?;
    let condition = Negatable { value: pattern, negated };
    Ok(Some(condition).filter(|condition| condition.negated || !condition.value.is_any()))
}

fn parse_protocol<'a>(word: Word<'a>, names: &Names) -> Result<Protocol, Refusal<'a>> {
    let number = parse_number(word.text, 255).and_then(|number| u8::try_from(number).ok());
    let name = word.text.to_ascii_lowercase();
    number.map(Protocol).or_else(|| names.protocol(&name)).ok_or_else(|| {
        let protocol = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::Protocol { protocol })
    })
}

/// A target, or `None` if the word may be the name of a chain.
fn parse_target(
    word: Word<'_>,
    family: Family,
) -> Result<Option<TargetExtension<'_>>, Refusal<'_>> {
    check_target_name(word)?;
    let target = TargetExtension::new(word, family);
    // No chain can have the name of a target.
    if target.is_none() && known::is_target(word.text, family) {
        let name = word.text.to_owned();
        return Err(Refusal::at(word, ParseErrorKind::NotEnforced { what: "target", name }));
    }
    Ok(target)
}

/// `xt_parse_target` (iptables/xshared.c).
fn check_target_name(word: Word<'_>) -> Result<(), Refusal<'_>> {
    let name = word.text.to_owned();
    let kind = match word.text {
        "" => ParseErrorKind::TargetTooShort,
        long if long.len() > CHAIN_CHARS_MAX => ParseErrorKind::TargetTooLong { name },
        blank if blank.contains(|c: char| c.is_ascii_whitespace()) => {
            ParseErrorKind::TargetName { name }
        }
        _ => return Ok(()),
    };
    Err(Refusal::at(word, kind))
}
