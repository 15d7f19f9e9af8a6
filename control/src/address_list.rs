//! The blocklist and the allowlist of sources: their entries, as commands and files name them.
//!
//! A file has an entry a line, in the words of `weirctl blocklist add`:
//!
//! ```text
//! # who, for how long, why
//! 198.51.100.0/24
//! 203.0.113.9 --timeout 86400 --comment "SYN flood of Tuesday"
//! 2001:db8:bad::/48
//! ```

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::rule::{IpNet, PrefixError};

/// Longest comment, in bytes: as ipset's.
pub const COMMENT_BYTES_MAX: usize = 255;

/// Longest time that an entry may have, in seconds: as ipset's.
pub const TIMEOUT_S_MAX: u32 = 2_147_483;

/// One of the two lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressList {
    /// What comes from there is dropped.
    Blocklist,
    /// What comes from there is not, whatever the other list says.
    Allowlist,
}

impl fmt::Display for AddressList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocklist => "blocklist",
            Self::Allowlist => "allowlist",
        })
    }
}

/// An entry as the operator gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressEntry {
    /// The source, an address or a prefix.
    pub source: IpNet,
    /// After how many seconds it ends, 1 to [`TIMEOUT_S_MAX`]; `None` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Why it is there, at most [`COMMENT_BYTES_MAX`] bytes of printable text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// Why a list was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AddressListError {
    /// No address.
    #[error("`{word}': {reason}")]
    Source {
        /// What stands there.
        word: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No time.
    #[error("timeout `{word}': a number of seconds from 1 to {TIMEOUT_S_MAX} is wanted")]
    Timeout {
        /// What stands there.
        word: String,
    },
    /// No comment.
    #[error(
        "comment `{word}': at most {COMMENT_BYTES_MAX} bytes of printable text without quotes are wanted"
    )]
    Comment {
        /// What stands there.
        word: String,
    },
    /// A word that no entry has.
    #[error("`{word}': an entry is ADDRESS[/LENGTH] [--timeout SECONDS] [--comment \"TEXT\"]")]
    Word {
        /// It.
        word: String,
    },
    /// Twice the same in one file.
    #[error("`{net}' stands there already")]
    Twice {
        /// What.
        net: IpNet,
    },
    /// There is no room.
    #[error(
        "the {list} is full: it has {max} {what}; take some out, or raise {key} in [early_drop] and start Weir again"
    )]
    Full {
        /// Which list.
        list: AddressList,
        /// Of what it has so many.
        what: String,
        /// How many there may be.
        max: u32,
        /// The setting.
        key: String,
    },
    /// There is no such entry.
    #[error("{net} is not in the {list}: `weirctl {list} list' shows what is")]
    NotThere {
        /// Which list.
        list: AddressList,
        /// What is not in it.
        net: IpNet,
    },
    /// It is the flood limiter's.
    #[error(
        "{net} is blocked by the flood limiter, which would block it again: to let it pass, \
         `weirctl allowlist add {net}'"
    )]
    Pushed {
        /// The source.
        net: IpNet,
    },
    /// The maps of the XDP program do not take it.
    #[error("the XDP program could not be told: {reason}; it is tried again, see `weirctl status'")]
    Maps {
        /// Why not.
        reason: String,
    },
    /// An address of which the machine depends would be blocked.
    #[error(
        "{net} {}, and {address} {what}: {remedy}, or say --force",
        match .list { AddressList::Blocklist => "would be blocked", AddressList::Allowlist => "is blocked but for the allowlist" }
    )]
    Exposed {
        /// Which list was to be changed.
        list: AddressList,
        /// By what.
        net: IpNet,
        /// The address.
        address: IpAddr,
        /// What it is.
        what: String,
        /// What helps.
        remedy: String,
    },
}

impl AddressEntry {
    /// Of one source, for ever.
    pub fn new(source: IpNet) -> Self {
        Self { source, timeout_s: None, comment: None }
    }

    /// Checks what came over the wire, or from a command line.
    ///
    /// # Errors
    /// [`AddressListError`] names what is wrong.
    pub fn check(&self) -> Result<(), AddressListError> {
        if let Some(timeout_s) =
            self.timeout_s.filter(|timeout| !(1..=TIMEOUT_S_MAX).contains(timeout))
        {
            return Err(AddressListError::Timeout { word: timeout_s.to_string() });
        }
        if self.source.prefix_len().is_none() {
            let reason = "the mask is no prefix".to_owned();
            return Err(AddressListError::Source { word: self.source.to_string(), reason });
        }
        match &self.comment {
            Some(comment) => check_comment(comment),
            None => Ok(()),
        }
    }

    /// Reads a line of a file; `None` for an empty one and for a remark.
    ///
    /// # Errors
    /// [`AddressListError`] names the word.
    pub fn parse_line(line: &str) -> Result<Option<Self>, AddressListError> {
        let mut words = words(line)?.into_iter();
        let Some(source) = words.next() else { return Ok(None) };
        let mut entry = Self::new(parse_source(&source)?);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--timeout" if entry.timeout_s.is_none() => {
                    let word = words.next().unwrap_or_default();
                    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
                    let timeout_s = word.parse().ok().filter(|_| digits);
                    entry.timeout_s = Some(timeout_s.ok_or(AddressListError::Timeout { word })?);
                }
                "--comment" if entry.comment.is_none() => {
                    let word = words.next();
                    let missing = || AddressListError::Comment { word: String::new() };
                    entry.comment = Some(word.ok_or_else(missing)?);
                }
                _ => return Err(AddressListError::Word { word }),
            }
        }
        entry.check().map(|()| Some(entry))
    }
}

/// As a line of a file.
impl fmt::Display for AddressEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source.to_listing())?;
        if let Some(timeout_s) = self.timeout_s {
            write!(f, " --timeout {timeout_s}")?;
        }
        match &self.comment {
            Some(comment) => write!(f, " --comment \"{comment}\""),
            None => Ok(()),
        }
    }
}

/// Reads an address or a prefix.
///
/// # Errors
/// [`AddressListError::Source`].
pub fn parse_source(word: &str) -> Result<IpNet, AddressListError> {
    IpNet::from_prefix(word).map_err(|error: PrefixError| AddressListError::Source {
        word: word.to_owned(),
        reason: error.to_string(),
    })
}

fn check_comment(comment: &str) -> Result<(), AddressListError> {
    let printable = !comment.chars().any(|c| c.is_control() || c == '"');
    if comment.len() <= COMMENT_BYTES_MAX && printable {
        return Ok(());
    }
    let word = comment.chars().filter(|c| !c.is_control()).take(40).collect();
    Err(AddressListError::Comment { word })
}

/// The words of a line, up to a remark; quotes hold one together, at whose end another begins.
fn words(line: &str) -> Result<Vec<String>, AddressListError> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with('#') {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((word, after)) => (word, after),
                None => {
                    return Err(AddressListError::Comment {
                        word: quoted.chars().take(40).collect(),
                    });
                }
            },
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<AddressEntry>, String> {
        AddressEntry::parse_line(line).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_read_and_printed() {
        for (line, printed) in [
            ("192.0.2.1", "192.0.2.1"),
            ("  192.0.2.1/24 # all of it", "192.0.2.0/24"),
            ("192.0.2.1/32 --timeout 60", "192.0.2.1 --timeout 60"),
            (
                "2001:db8::/48 --comment \"a flood, # 3\" --timeout 2147483",
                "2001:db8::/48 --timeout 2147483 --comment \"a flood, # 3\"",
            ),
            ("0.0.0.0/0 --comment all", "0.0.0.0/0 --comment \"all\""),
        ] {
            let entry = parsed(line).expect(line).expect(line);
            assert_eq!(entry.to_string(), printed);
            assert_eq!(parsed(printed), Ok(Some(entry)));
        }
        assert_eq!(parsed(""), Ok(None));
        assert_eq!(parsed("  # nothing"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("192.0.2.1 --comment {}", "x".repeat(256));
        for (line, words) in [
            ("192.0.2", "`192.0.2': not an IP address"),
            ("192.0.2.1/33", "the prefix length is not a number from 0 to 32"),
            ("example.org", "`example.org': not an IP address"),
            ("192.0.2.1 --timeout", "timeout `'"),
            ("192.0.2.1 --timeout 0", "timeout `0': a number of seconds from 1 to 2147483"),
            ("192.0.2.1 --timeout +5", "timeout `+5'"),
            ("192.0.2.1 --timeout 2147484", "timeout `2147484'"),
            ("192.0.2.1 --timeout 5 --timeout 6", "`--timeout': an entry is"),
            ("192.0.2.1 timeout 5", "`timeout': an entry is"),
            ("192.0.2.1 --comment", "comment `'"),
            ("192.0.2.1 --comment \"open", "comment `open'"),
            ("192.0.2.1 --comment a\u{7}b", "comment `ab'"),
            (long.as_str(), "at most 255 bytes"),
            ("192.0.2.1 192.0.2.2", "`192.0.2.2': an entry is"),
        ] {
            let error = parsed(line).expect_err(line);
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn what_comes_over_the_wire_is_checked() {
        let source = parse_source("192.0.2.1").expect("an address");
        let zero = AddressEntry { timeout_s: Some(0), ..AddressEntry::new(source) };
        assert!(matches!(zero.check(), Err(AddressListError::Timeout { .. })));
        let odd = IpNet::masked([10, 0, 0, 0].into(), [255, 0, 255, 0].into()).expect("a mask");
        assert!(matches!(AddressEntry::new(odd).check(), Err(AddressListError::Source { .. })));
    }
}
