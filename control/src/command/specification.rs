//! Reads the part of a command line that makes a rule.

use super::error::ParseErrorKind;
use super::getopt::{Getopt, LongOption, Word};
use super::options::{Condition, ExtensionKey, Key, extension_options};
use super::refusal::{Refusal, check_rule_count};
use super::{CHAIN_CHARS_MAX, known};
use crate::rule::{
    Ipv4Net, Match, Names, Negatable, PortRange, Protocol, Rule, Target, TcpFlags, TcpMatch,
    UdpMatch, parse_number,
};

/// The rule so far.
#[derive(Debug, Default)]
pub(super) struct Specification<'a> {
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
}

/// A match on the command line.
#[derive(Debug)]
struct Extension<'a> {
    word: Word<'a>,
    value: Match,
    seen: Vec<ExtensionKey>,
}

impl<'a> Specification<'a> {
    /// `base` and the options of all matches. A name that several matches have means the newest
    /// one, shortened or not.
    pub(super) fn options(&self, base: &[LongOption<Key>]) -> Vec<LongOption<Key>> {
        let mut options = base.to_vec();
        for (instance, extension) in self.extensions.iter().enumerate().rev() {
            for option in extension_options(instance, matches!(extension.value, Match::Tcp(_))) {
                if options.iter().all(|newer| newer.name != option.name) {
                    options.push(option);
                }
            }
        }
        options
    }

    /// `-m NAME`
    pub(super) fn load(&mut self, word: Word<'a>) -> Result<(), Refusal<'a>> {
        let name = word.text.to_owned();
        let value = match word.text {
            "tcp" => Match::Tcp(TcpMatch::default()),
            "udp" => Match::Udp(UdpMatch::default()),
            other if known::is_match(other) => {
                let kind = ParseErrorKind::NotEnforced { what: "match", name };
                return Err(Refusal::at(word, kind));
            }
            _ => return Err(Refusal::at(word, ParseErrorKind::UnknownMatch { name })),
        };
        self.extensions.push(Extension { word, value, seen: Vec::new() });
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
        let value = match protocol {
            Protocol::TCP => Match::Tcp(TcpMatch::default()),
            Protocol::UDP => Match::Udp(UdpMatch::default()),
            other => {
                let Some(name) = known::implied_match(other.0, &word.text[2..]) else {
                    return Err(unknown);
                };
                let name = name.to_owned();
                let kind = ParseErrorKind::NotEnforced { what: "match", name };
                return Err(Refusal::at(word, kind));
            }
        };
        let loaded = |extension: &Extension<'_>| extension.value.name() == value.name();
        if self.implied || self.extensions.iter().any(loaded) {
            return Err(unknown);
        }
        self.implied = true;
        let word = self.protocol_word.unwrap_or(word);
        self.extensions.push(Extension { word, value, seen: Vec::new() });
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
            Condition::Jump => self.rule.target = Some(parse_target(word)?),
            Condition::Numeric | Condition::Exact | Condition::LineNumbers => {}
        }
        Ok(())
    }

    /// An option of match number `instance`. `(word, given)` are the option and its value.
    pub(super) fn extension(
        &mut self,
        instance: usize,
        key: ExtensionKey,
        (word, given): (Word<'a>, Word<'a>),
        negated: bool,
        getopt: &mut Getopt<'a>,
        names: &Names,
    ) -> Result<(), Refusal<'a>> {
        let Some(extension) = self.extensions.get_mut(instance) else { return Ok(()) };
        let is_udp = matches!(extension.value, Match::Udp(_));
        extension.refuse_repetition(key, word)?;
        let Extension { value, .. } = extension;
        match key {
            ExtensionKey::SourcePorts | ExtensionKey::DestinationPorts => {
                let ports = Negatable { value: parse_ports(given, is_udp, names)?, negated };
                let source = key == ExtensionKey::SourcePorts;
                match value {
                    Match::Tcp(tcp) if source => tcp.source_ports = ports,
                    Match::Tcp(tcp) => tcp.destination_ports = ports,
                    Match::Udp(udp) if source => udp.source_ports = ports,
                    Match::Udp(udp) => udp.destination_ports = ports,
                }
            }
            ExtensionKey::Syn | ExtensionKey::TcpFlags => {
                let flags = match key {
                    ExtensionKey::Syn => TcpFlags::SYN,
                    _ => parse_tcp_flags(word, given, getopt)?,
                };
                if let Match::Tcp(tcp) = value {
                    tcp.flags = Negatable { value: flags, negated };
                }
            }
            ExtensionKey::TcpOption => {
                let name = "--tcp-option".to_owned();
                let kind = ParseErrorKind::NotEnforced { what: "option", name };
                return Err(Refusal::at(word, kind));
            }
        }
        Ok(())
    }

    /// All rules that the comma lists stand for, sources outside.
    pub(super) fn expand(&mut self, one_only: bool) -> Result<Vec<Rule>, Refusal<'a>> {
        self.rule.matches = self.extensions.iter().map(|e| e.value.clone()).collect();
        let sources = alternatives(self.sources)?;
        let destinations = alternatives(self.destinations)?;
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

    /// What the kernel would refuse when it loads the rule. All rules of a line are alike in it.
    pub(super) fn validate(&self, rules: &[Rule]) -> Result<(), Refusal<'a>> {
        let Some(error) = rules.first().and_then(|rule| rule.validate().err()) else {
            return Ok(());
        };
        let wrong = self.extensions.iter().find(|extension| {
            let required = extension.value.required_protocol().map(Negatable::is);
            required.is_some() && required != self.rule.protocol
        });
        let word = wrong.or(self.extensions.last()).map(|extension| extension.word);
        Err(Refusal { kind: error.into(), word })
    }
}

/// What `-s` or `-d` may be in one rule: the items of a comma list. No condition is one
/// alternative; `0.0.0.0/0` without `!` is no condition.
fn alternatives(
    list: Option<Negatable<Word<'_>>>,
) -> Result<Vec<Option<Negatable<Ipv4Net>>>, Refusal<'_>> {
    let Some(Negatable { value: list, negated }) = list else { return Ok(vec![None]) };
    let mut offset = list.offset;
    let mut nets = Vec::new();
    for text in list.text.split(',') {
        let word = Word { text, argument: list.argument, offset };
        offset += text.len() + 1;
        let net = text.parse().map_err(|e| Refusal::at(word, ParseErrorKind::Address(e)))?;
        let condition = Negatable { value: net, negated };
        nets.push(Some(condition).filter(|condition| *condition != Negatable::is(Ipv4Net::ALL)));
    }
    if negated && nets.len() > 1 {
        return Err(Refusal::at(list, ParseErrorKind::NegatedList));
    }
    check_rule_count(nets.len(), list)?;
    Ok(nets)
}

impl Extension<'_> {
    fn refuse_repetition<'w>(
        &mut self,
        key: ExtensionKey,
        word: Word<'w>,
    ) -> Result<(), Refusal<'w>> {
        // --syn is a way to write --tcp-flags.
        let slot = if key == ExtensionKey::Syn { ExtensionKey::TcpFlags } else { key };
        if !self.seen.contains(&slot) {
            self.seen.push(slot);
            return Ok(());
        }
        let option = match slot {
            ExtensionKey::SourcePorts => "source-port",
            ExtensionKey::DestinationPorts => "destination-port",
            _ => return Err(Refusal::at(word, ParseErrorKind::TcpFlagsRepeated)),
        };
        Err(Refusal::at(
            word,
            match self.value {
                Match::Udp(_) => ParseErrorKind::UdpOptionRepeated { option },
                Match::Tcp(_) => ParseErrorKind::TcpOptionRepeated { option },
            },
        ))
    }
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

fn parse_target(word: Word<'_>) -> Result<Target, Refusal<'_>> {
    let name = word.text.to_owned();
    let kind = match word.text {
        "ACCEPT" => return Ok(Target::Accept),
        "DROP" => return Ok(Target::Drop),
        "" => ParseErrorKind::TargetTooShort,
        long if long.len() > CHAIN_CHARS_MAX => ParseErrorKind::TargetTooLong { name },
        other if known::is_target(other) => ParseErrorKind::NotEnforced { what: "target", name },
        _ => ParseErrorKind::UnknownTarget { name },
    };
    Err(Refusal::at(word, kind))
}

/// `PORT`, `FIRST:LAST`, `:LAST`, `FIRST:`; each a number or the name of a service.
fn parse_ports<'a>(word: Word<'a>, is_udp: bool, names: &Names) -> Result<PortRange, Refusal<'a>> {
    let Some((first, last)) = word.text.split_once(':') else {
        return Ok(PortRange::one(parse_port(word, is_udp, names)?));
    };
    let end = Word { text: last, argument: word.argument, offset: word.offset + first.len() + 1 };
    let first = match first {
        "" => 0,
        text => parse_port(Word { text, ..word }, is_udp, names)?,
    };
    let last = match last {
        "" => u16::MAX,
        _ => parse_port(end, is_udp, names)?,
    };
    PortRange::new(first, last).map_err(|error| Refusal::at(word, error))
}

/// The `tcp` match reads numbers as C does, hexadecimal and octal included, and wants services of
/// TCP; the `udp` match reads decimal numbers, and takes the port of a service of any transport.
fn parse_port<'a>(word: Word<'a>, is_udp: bool, names: &Names) -> Result<u16, Refusal<'a>> {
    let text = word.text;
    let number = if is_udp {
        text.trim_start_matches(' ').parse().ok()
    } else {
        parse_number(text, u16::MAX.into()).and_then(|number| u16::try_from(number).ok())
    };
    let transport = if is_udp { None } else { Some("tcp") };
    number.or_else(|| names.port(text, transport)).ok_or_else(|| {
        let port = text.to_owned();
        Refusal::at(
            word,
            if is_udp {
                ParseErrorKind::UdpPort { port }
            } else {
                ParseErrorKind::TcpPort { port }
            },
        )
    })
}

/// `MASK SET`: the option's value and the word after it.
fn parse_tcp_flags<'a>(
    option: Word<'a>,
    mask: Word<'a>,
    getopt: &mut Getopt<'a>,
) -> Result<TcpFlags, Refusal<'a>> {
    let second = getopt.take_if(|text| !text.starts_with('-') && text != "!");
    let set = second.ok_or_else(|| Refusal::at(option, ParseErrorKind::TcpFlagsMissing))?;
    let (mask_bits, set_bits) = (parse_flag_list(mask)?, parse_flag_list(set)?);
    // Both come from names of the six flags, so this never fails.
    Ok(TcpFlags::new(mask_bits, set_bits).unwrap_or_default())
}

fn parse_flag_list(list: Word<'_>) -> Result<u8, Refusal<'_>> {
    let mut bits = 0;
    let mut offset = list.offset;
    for text in list.text.split(',') {
        let word = Word { text, argument: list.argument, offset };
        offset += text.len() + 1;
        let flag = text.to_ascii_uppercase();
        bits |= match flag.as_str() {
            "" | "NONE" => 0,
            "ALL" => 0x3f,
            _ => {
                let named = TcpFlags::NAMES.iter().find(|(name, _)| *name == flag);
                let Some((_, bit)) = named else {
                    let flag = text.to_owned();
                    return Err(Refusal::at(word, ParseErrorKind::TcpFlag { flag }));
                };
                *bit
            }
        };
    }
    Ok(bits)
}
