//! `-j LOG` (extensions/libxt_LOG.c).

use super::super::error::ParseErrorKind;
use super::super::getopt::Value;
use super::super::refusal::Refusal;
use super::Given;
use super::target::{TargetKey, TargetRow};
use crate::rule::{LogFlags, LogLevel, LogPrefix, LogTarget, parse_number};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::command) enum Key {
    Level,
    Prefix,
    Flag(LogFlags),
}

pub(super) const OPTIONS: [TargetRow; 7] = [
    ("log-level", Value::Required, TargetKey::Log(Key::Level)),
    ("log-prefix", Value::Required, TargetKey::Log(Key::Prefix)),
    ("log-tcp-sequence", Value::None, TargetKey::Log(Key::Flag(LogFlags::TCP_SEQUENCE))),
    ("log-tcp-options", Value::None, TargetKey::Log(Key::Flag(LogFlags::TCP_OPTIONS))),
    ("log-ip-options", Value::None, TargetKey::Log(Key::Flag(LogFlags::IP_OPTIONS))),
    ("log-uid", Value::None, TargetKey::Log(Key::Flag(LogFlags::UID))),
    ("log-macdecode", Value::None, TargetKey::Log(Key::Flag(LogFlags::MACDECODE))),
];

pub(super) fn read<'a>(
    log: &mut LogTarget,
    key: Key,
    given: &Given<'a, '_>,
) -> Result<(), Refusal<'a>> {
    match key {
        Key::Level => {
            log.level = level(given.value.text).ok_or_else(|| {
                let level = given.value.text.to_owned();
                Refusal::at(given.value, ParseErrorKind::LogLevel { level })
            })?;
        }
        Key::Prefix if given.value.text.is_empty() => {
            return Err(Refusal::at(given.value, ParseErrorKind::LogPrefixEmpty));
        }
        Key::Prefix => {
            log.prefix = LogPrefix::cut(given.value.text)
                .map_err(|_| Refusal::at(given.value, ParseErrorKind::LogPrefixNewline))?;
        }
        Key::Flag(flag) => log.flags = log.flags | flag,
    }
    Ok(())
}

/// A number as C reads it, or a name in full.
fn level(text: &str) -> Option<LogLevel> {
    let number = parse_number(text, 7).and_then(|number| u8::try_from(number).ok());
    let named = || LogLevel::NAMES.iter().find(|(name, _)| *name == text).map(|(_, level)| *level);
    number.and_then(|number| LogLevel::try_from(number).ok()).or_else(named)
}
