//! What the `string` match looks at: bytes that a packet must contain.
//!
//! The words are those of extensions/libxt_string.c of iptables (revision 1), the meaning is that of
//! net/netfilter/xt_string.c: the pattern must lie, whole, in the bytes `from..to` of the packet,
//! counted from its IP header on.

use serde::{Deserialize, Serialize};

use super::extension::between_quotes;
use super::transport::is_default;
use super::{Extension, InvalidRule, ListedLine, Negatable, SavedWords};

/// Longest pattern in bytes (`XT_STRING_MAX_PATTERN_SIZE`).
pub const PATTERN_BYTES_MAX: usize = 128;

/// The bytes that are looked for, at most [`PATTERN_BYTES_MAX`]. An empty one can be written, but
/// no rule may hold it ([`super::Rule::validate`]). In JSON it is a text of hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern(Vec<u8>);

/// Why a text is no [`Pattern`]. The words are iptables'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// More than [`PATTERN_BYTES_MAX`] bytes.
    #[error("STRING too long \"{0}\"")]
    TooLong(String),
    /// `--hex-string ''`
    #[error("STRING must contain at least one char")]
    Empty,
    /// A backslash between bars.
    #[error("Cannot include literals in hex data")]
    LiteralInHex,
    /// A backslash at the end.
    #[error("Bad literal placement at end of string")]
    LiteralAtEnd,
    /// The end, where a hexadecimal digit is missing.
    #[error("Odd number of hex digits")]
    OddDigits,
    /// The end, where a closing bar is missing.
    #[error("Invalid hex block")]
    OpenBlock,
    /// No hexadecimal digit.
    #[error("Invalid hex char '{0}'")]
    Digit(char),
}

impl Pattern {
    /// These bytes.
    ///
    /// # Errors
    /// If there are more than [`PATTERN_BYTES_MAX`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PatternError> {
        match bytes.len() {
            0..=PATTERN_BYTES_MAX => Ok(Self(bytes)),
            _ => Err(PatternError::TooLong(String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    /// As after `--hex-string`: text in which `|00 ff|` or `|00ff|` stands for bytes, and `\` before
    /// a character for that character. Read as iptables reads it, its oddity included: what follows
    /// a closing bar is taken as it is, even a bar. (Only a bar that closes a block of
    /// [`PATTERN_BYTES_MAX`] bytes is too much for iptables, which therefore cannot read all that
    /// its `-S` prints.)
    ///
    /// # Errors
    /// Says what is wrong, as iptables would.
    pub fn from_hex_text(text: &str) -> Result<Self, PatternError> {
        let given = text.as_bytes();
        if given.is_empty() {
            return Err(PatternError::Empty);
        }
        let at = |index: usize| given.get(index).copied();
        let (mut bytes, mut index, mut hex) = (Vec::new(), 0, false);
        while let Some(mut byte) = at(index) {
            let literal = byte == b'\\';
            if literal && hex {
                return Err(PatternError::LiteralInHex);
            }
            if byte == b'|' {
                hex = !hex;
                while hex && at(index + 1) == Some(b' ') {
                    index += 1;
                }
                index += 1;
                byte = match at(index) {
                    Some(next) => next,
                    None => break,
                };
            }
            if literal {
                bytes.push(at(index + 1).ok_or(PatternError::LiteralAtEnd)?);
                index += 2;
            } else if hex {
                let low = at(index + 1).ok_or(PatternError::OddDigits)?;
                let after = at(index + 2).ok_or(PatternError::OpenBlock)?;
                bytes.push(digit(byte)? << 4 | digit(low)?);
                index += if after == b' ' { 3 } else { 2 };
            } else {
                bytes.push(byte);
                index += 1;
            }
            if bytes.len() > PATTERN_BYTES_MAX {
                return Err(PatternError::TooLong(text.to_owned()));
            }
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether iptables prints it as text: all of it can be typed, and the end is no backslash.
    fn is_text(&self) -> bool {
        self.0.iter().all(|byte| (b' '..=b'~').contains(byte)) && self.0.last() != Some(&b'\\')
    }

    /// As after `--string` or, between bars, as after `--hex-string`.
    fn to_word(&self) -> String {
        match self.is_text() {
            true => self.0.iter().map(|byte| char::from(*byte)).collect(),
            false => format!("|{}|", String::from(self.clone())),
        }
    }
}

fn digit(byte: u8) -> Result<u8, PatternError> {
    let value = char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    value.ok_or(PatternError::Digit(char::from(byte)))
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let pairs = digits.as_bytes().chunks(2);
        let bytes = pairs.map(|pair| match pair {
            [high, low] => Ok(digit(*high)? << 4 | digit(*low)?),
            _ => Err(PatternError::OddDigits),
        });
        Self::new(bytes.collect::<Result<_, _>>()?)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// How the kernel would look for the pattern. Weir looks for all patterns in one way, which finds
/// what `kmp` finds; it remembers the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StringAlgorithm {
    /// Boyer-Moore
    Bm,
    /// Knuth-Pratt-Morris
    Kmp,
}

impl StringAlgorithm {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Bm, Self::Kmp];

    /// The word after `--algo`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bm => "bm",
            Self::Kmp => "kmp",
        }
    }
}

/// The `string` match. Its default has neither pattern nor algorithm, and no rule may hold it
/// ([`super::Rule::validate`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StringMatch {
    /// `--string`, `--hex-string`
    pub pattern: Option<Negatable<Pattern>>,
    /// `--algo`
    pub algorithm: Option<StringAlgorithm>,
    /// `--from`: the pattern begins at this byte or later.
    #[serde(skip_serializing_if = "is_default")]
    pub from: u16,
    /// `--to`: the pattern ends before this byte.
    pub to: u16,
    /// `--icase`: capitals do not count. The kernel's are those of Latin-1, not of ASCII alone.
    #[serde(skip_serializing_if = "is_default")]
    pub ignore_case: bool,
}

impl Default for StringMatch {
    fn default() -> Self {
        Self { pattern: None, algorithm: None, from: 0, to: u16::MAX, ignore_case: false }
    }
}

impl Extension for StringMatch {
    fn name(&self) -> &'static str {
        "string"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Some(pattern) = &self.pattern else { return Err(InvalidRule::StringMissing) };
        if self.algorithm.is_none() {
            return Err(InvalidRule::StringAlgorithmMissing);
        }
        if pattern.value.0.is_empty() {
            return Err(InvalidRule::StringEmpty);
        }
        if self.from > self.to {
            return Err(InvalidRule::StringRange { from: self.from, to: self.to });
        }
        Ok(())
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(Negatable { value, negated }) = &self.pattern {
            words.flag(if value.is_text() { "--string" } else { "--hex-string" }, *negated);
            words.string(value.to_word());
        }
        if let Some(algorithm) = self.algorithm {
            words.option("--algo", &Negatable::is(algorithm.name()));
        }
        if self.from != 0 {
            words.option("--from", &Negatable::is(self.from));
        }
        if self.to != u16::MAX {
            words.option("--to", &Negatable::is(self.to));
        }
        if self.ignore_case {
            words.flag("--icase", false);
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        if let Some(Negatable { value, negated }) = &self.pattern {
            let not = if *negated { "!" } else { "" };
            line.push(format_args!(" STRING match {not} {}", between_quotes(&value.to_word())));
        }
        if let Some(algorithm) = self.algorithm {
            line.push(format_args!(" ALGO name {}", algorithm.name()));
        }
        if self.from != 0 {
            line.push(format_args!(" FROM {}", self.from));
        }
        if self.to != u16::MAX {
            line.push(format_args!(" TO {}", self.to));
        }
        if self.ignore_case {
            line.push(format_args!(" ICASE"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_texts_are_read_as_by_iptables() {
        let read = |text: &str| Pattern::from_hex_text(text).map(|pattern| pattern.0);
        for (text, bytes) in [
            ("|41 42|", &b"AB"[..]),
            ("|4142|cd", b"ABcd"),
            ("41|", b"41"),
            ("|  00FF |", b"\0\xff"),
            (r"a\|b\\", br"a|b\"),
            ("|41||42|", b"A|42"),
            (r"|41|\x", br"A\x"),
        ] {
            assert_eq!(read(text), Ok(bytes.to_vec()), "{text}");
        }
        for (text, error) in [
            ("", PatternError::Empty),
            ("||", PatternError::OddDigits),
            ("|41", PatternError::OpenBlock),
            ("|4|", PatternError::OpenBlock),
            ("|41  42|", PatternError::Digit(' ')),
            (r"|41\42|", PatternError::LiteralInHex),
            (r"|\x|", PatternError::Digit('\\')),
            (r"a\", PatternError::LiteralAtEnd),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        assert_eq!(read(&long), Err(PatternError::TooLong(long.clone())));
        assert_eq!(read(&long[1..]).map(|bytes| bytes.len()), Ok(PATTERN_BYTES_MAX));
        let block = format!("|{}|", "00".repeat(PATTERN_BYTES_MAX));
        assert_eq!(read(&block), Ok(vec![0; PATTERN_BYTES_MAX]));
    }

    #[test]
    fn patterns_go_through_json_as_digits() {
        let pattern = Pattern::new(vec![0, 0x7f, 0xff]).expect("short");
        assert_eq!(String::from(pattern.clone()), "007fff");
        assert_eq!(Pattern::try_from("007FFF".to_owned()), Ok(pattern));
        assert_eq!(Pattern::try_from("007".to_owned()), Err(PatternError::OddDigits));
        assert!(Pattern::try_from("41".repeat(129)).is_err());
    }
}
