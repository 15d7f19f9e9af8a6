//! `-m tcp` (extensions/libxt_tcp.c).

use std::num::NonZeroU8;

use super::super::error::ParseErrorKind;
use super::super::getopt::{Getopt, Value, Word};
use super::super::refusal::Refusal;
use super::super::value_error::ValueError;
use super::{ExtensionKey, Given, Row};
use crate::rule::{Names, Negatable, PortRange, TcpFlags, TcpMatch, parse_number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    SourcePorts,
    DestinationPorts,
    Flags,
    Syn,
    TcpOption,
}

impl Key {
    /// `--syn` is a way to write `--tcp-flags`.
    pub(super) fn slot(self) -> Self {
        if self == Self::Syn { Self::Flags } else { self }
    }
}

pub(super) const OPTIONS: [Row; 7] = [
    ("source-port", Value::Required, ExtensionKey::Tcp(Key::SourcePorts)),
    ("sport", Value::Required, ExtensionKey::Tcp(Key::SourcePorts)),
    ("destination-port", Value::Required, ExtensionKey::Tcp(Key::DestinationPorts)),
    ("dport", Value::Required, ExtensionKey::Tcp(Key::DestinationPorts)),
    ("syn", Value::None, ExtensionKey::Tcp(Key::Syn)),
    ("tcp-flags", Value::Required, ExtensionKey::Tcp(Key::Flags)),
    ("tcp-option", Value::Required, ExtensionKey::Tcp(Key::TcpOption)),
];

pub(super) fn repeated(key: Key, option: &'static str) -> ParseErrorKind {
    match key {
        Key::SourcePorts | Key::DestinationPorts | Key::TcpOption => {
            ParseErrorKind::TcpOptionRepeated { option }
        }
        Key::Flags | Key::Syn => ParseErrorKind::TcpFlagsRepeated,
    }
}

pub(super) fn read<'a>(
    tcp: &mut TcpMatch,
    key: Key,
    given: &Given<'a, '_>,
    getopt: &mut Getopt<'a>,
) -> Result<(), Refusal<'a>> {
    let Given { option, value, negated, names, .. } = *given;
    match key {
        Key::SourcePorts => {
            tcp.source_ports = Negatable { value: parse_ports(value, names)?, negated };
        }
        Key::DestinationPorts => {
            tcp.destination_ports = Negatable { value: parse_ports(value, names)?, negated };
        }
        Key::Flags => {
            tcp.flags = Negatable { value: parse_flags(option, value, getopt)?, negated };
        }
        Key::Syn => tcp.flags = Negatable { value: TcpFlags::SYN, negated },
        Key::TcpOption => {
            tcp.option = Some(Negatable { value: parse_option(value)?, negated });
        }
    }
    Ok(())
}

/// `PORT`, `FIRST:LAST`, `:LAST`, `FIRST:`.
fn parse_ports<'a>(word: Word<'a>, names: &Names) -> Result<PortRange, Refusal<'a>> {
    let Some((first, last)) = word.text.split_once(':') else {
        return Ok(PortRange::one(parse_port(word, names)?));
    };
    let end = Word { text: last, argument: word.argument, offset: word.offset + first.len() + 1 };
    let first = match first {
        "" => 0,
        text => parse_port(Word { text, ..word }, names)?,
    };
    let last = match last {
        "" => u16::MAX,
        _ => parse_port(end, names)?,
    };
    PortRange::new(first, last).map_err(|error| Refusal::at(word, error))
}

/// A number as C reads it, hexadecimal and octal included, or a service of TCP.
fn parse_port<'a>(word: Word<'a>, names: &Names) -> Result<u16, Refusal<'a>> {
    let number = parse_number(word.text, u16::MAX.into());
    let port = number.and_then(|number| u16::try_from(number).ok());
    port.or_else(|| names.port(word.text, Some("tcp"))).ok_or_else(|| {
        let port = word.text.to_owned();
        Refusal::at(word, ParseErrorKind::TcpPort { port })
    })
}

/// The number of a TCP option. iptables takes 0, the end of the options, for no condition at all.
fn parse_option(word: Word<'_>) -> Result<NonZeroU8, Refusal<'_>> {
    let number = parse_number(word.text, u8::MAX.into());
    let option = number.and_then(|number| u8::try_from(number).ok()).and_then(NonZeroU8::new);
    option.ok_or_else(|| Refusal::at(word, ValueError::TcpOption { text: word.text.to_owned() }))
}

/// `MASK SET`: the option's value and the word after it.
fn parse_flags<'a>(
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
