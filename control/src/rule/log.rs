//! `-j LOG`: a line about the packet, which then meets the next rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::target::TargetExtension;
use super::{ListedLine, SavedWords};

/// The longest prefix in bytes (`prefix` of `struct xt_log_info` less its final zero).
pub const LOG_PREFIX_BYTES_MAX: usize = 29;

/// How urgent a line is: 0 to 7, as in syslog(3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct LogLevel(u8);

/// A number that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log level is 0 to 7, not {0}")]
pub struct LogLevelError(u8);

impl LogLevel {
    /// What is used unless something else is asked for.
    pub const WARNING: Self = Self(4);

    /// The names that `--log-level` takes besides numbers (libxtables/xtoptions.c).
    pub const NAMES: [(&'static str, Self); 9] = [
        ("alert", Self(1)),
        ("crit", Self(2)),
        ("debug", Self(7)),
        ("emerg", Self(0)),
        ("error", Self(3)),
        ("info", Self(6)),
        ("notice", Self(5)),
        ("panic", Self(0)),
        ("warning", Self(4)),
    ];

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The name in a listing: the first of its value in `prioritynames` of syslog.h, which is not
    /// always one that `--log-level` takes.
    pub fn listed_name(self) -> &'static str {
        let names = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
        names.get(usize::from(self.0)).copied().unwrap_or_default()
    }
}

impl Default for LogLevel {
    fn default() -> Self {
        Self::WARNING
    }
}

impl TryFrom<u8> for LogLevel {
    type Error = LogLevelError;

    fn try_from(number: u8) -> Result<Self, LogLevelError> {
        if number > 7 { Err(LogLevelError(number)) } else { Ok(Self(number)) }
    }
}

impl From<LogLevel> for u8 {
    fn from(level: LogLevel) -> Self {
        level.0
    }
}

/// What begins a line: at most [`LOG_PREFIX_BYTES_MAX`] bytes in one line, nothing put behind it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogPrefix(String);

/// A text that is no prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a log prefix is one line of at most {LOG_PREFIX_BYTES_MAX} bytes")]
pub struct LogPrefixError;

impl LogPrefix {
    /// As much of `text` as fits; whole characters. iptables, too, cuts without a word.
    ///
    /// # Errors
    /// When there is a newline in it, or a byte of zeros.
    pub fn cut(text: &str) -> Result<Self, LogPrefixError> {
        let fits = |at: &usize| *at <= LOG_PREFIX_BYTES_MAX && text.is_char_boundary(*at);
        let end = (0..=text.len()).rev().find(fits).unwrap_or(0);
        if text.contains(['\n', '\0']) {
            Err(LogPrefixError)
        } else {
            Ok(Self(text[..end].to_owned()))
        }
    }

    /// The text itself; empty if there is none.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LogPrefix {
    type Error = LogPrefixError;

    fn try_from(text: String) -> Result<Self, LogPrefixError> {
        let fits = text.len() <= LOG_PREFIX_BYTES_MAX && !text.contains(['\n', '\0']);
        if fits { Ok(Self(text)) } else { Err(LogPrefixError) }
    }
}

impl From<LogPrefix> for String {
    fn from(prefix: LogPrefix) -> Self {
        prefix.0
    }
}

/// What a line tells beyond the usual: a set with the values of `XT_LOG_*`
/// (linux/netfilter/xt_LOG.h).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct LogFlags(u8);

/// Bits that mean nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log flags {0:#x} are not all known")]
pub struct LogFlagsError(u8);

impl LogFlags {
    /// `--log-tcp-sequence`
    pub const TCP_SEQUENCE: Self = Self(0x01);
    /// `--log-tcp-options`
    pub const TCP_OPTIONS: Self = Self(0x02);
    /// `--log-ip-options`
    pub const IP_OPTIONS: Self = Self(0x04);
    /// `--log-uid`: of the socket that sends. What passes through has none, and nothing is printed.
    pub const UID: Self = Self(0x08);
    /// `--log-macdecode`
    pub const MACDECODE: Self = Self(0x20);

    /// All flags in the order in which they are printed, with their names: `--log-NAME` on a command
    /// line, `NAME` in a listing.
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::TCP_SEQUENCE, "tcp-sequence"),
        (Self::TCP_OPTIONS, "tcp-options"),
        (Self::IP_OPTIONS, "ip-options"),
        (Self::UID, "uid"),
        (Self::MACDECODE, "macdecode"),
    ];

    /// The bits.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is in it.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

impl std::ops::BitOr for LogFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for LogFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

impl TryFrom<u8> for LogFlags {
    type Error = LogFlagsError;

    fn try_from(bits: u8) -> Result<Self, LogFlagsError> {
        let known = Self::NAMES.iter().fold(0, |known, (flag, _)| known | flag.0);
        if bits & !known == 0 { Ok(Self(bits)) } else { Err(LogFlagsError(bits)) }
    }
}

impl From<LogFlags> for u8 {
    fn from(flags: LogFlags) -> Self {
        flags.0
    }
}

/// `-j LOG` and its options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogTarget {
    /// `--log-level`
    pub level: LogLevel,
    /// `--log-prefix`
    pub prefix: LogPrefix,
    /// `--log-tcp-sequence` and its like.
    pub flags: LogFlags,
}

impl TargetExtension for LogTarget {
    fn save(&self, words: &mut SavedWords) {
        if !self.prefix.0.is_empty() {
            words.word("--log-prefix");
            words.text(&self.prefix.0);
        }
        if self.level != LogLevel::default() {
            words.word("--log-level");
            words.word(self.level.0.to_string());
        }
        self.flags.names().for_each(|name| words.word(format!("--log-{name}")));
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        if line.numeric {
            line.push(format_args!(" LOG flags {} level {}", self.flags.0, self.level.0));
        } else {
            line.push(format_args!(" LOG level {}", self.level.listed_name()));
            self.flags.names().for_each(|name| line.push(format_args!(" {name}")));
        }
        if !self.prefix.0.is_empty() {
            line.push(format_args!(" prefix \"{}\"", self.prefix.0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_cut_between_characters() {
        let cut = |text: &str| LogPrefix::cut(text).map(String::from);
        assert_eq!(cut(&"x".repeat(30)), Ok("x".repeat(29)));
        assert_eq!(cut(&format!("{}é", "x".repeat(28))), Ok("x".repeat(28)));
        assert_eq!(cut(&format!("{}é", "x".repeat(27))), Ok(format!("{}é", "x".repeat(27))));
        assert_eq!(cut(&format!("{}\n", "x".repeat(40))), Err(LogPrefixError));
        assert_eq!(LogPrefix::try_from("x".repeat(30)), Err(LogPrefixError));
        assert_eq!(LogPrefix::try_from("a\nb".to_owned()), Err(LogPrefixError));
    }

    #[test]
    fn what_no_rule_can_say_is_refused() {
        assert_eq!(LogLevel::try_from(8), Err(LogLevelError(8)));
        assert_eq!(LogFlags::try_from(0x10), Err(LogFlagsError(0x10)));
        assert_eq!(LogFlags::try_from(0x2f).map(LogFlags::bits), Ok(0x2f));
    }
}
