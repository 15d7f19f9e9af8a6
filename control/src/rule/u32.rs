//! What the `u32` match looks at: any four bytes of a packet, wherever other bytes say they are.
//!
//! The language and its limits are those of extensions/libxt_u32.c of iptables, the meaning is that
//! of net/netfilter/xt_u32.c:
//!
//! ```text
//!   tests    := test && test ...                  all must hold
//!   test     := location = value , value ...      any value will do
//!   location := number operator number ...        from left to right
//!   operator := & | << | >> | @
//!   value    := number | number : number
//! ```
//!
//! The first number is the place of four bytes, from the IP header on; they are taken as a number in
//! network order. `@` moves the beginning of all places by the number so far, and reads again. A
//! test that would read beyond the packet does not hold.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use super::address::number_prefix;
use super::{Extension, InvalidRule, ListedLine, Negatable, SavedWords};

/// Most tests, most numbers of a location, most values of a test (`XT_U32_MAXSIZE`).
pub const U32_ITEMS_MAX: usize = 10;

/// What is done with the number so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum U32Operator {
    /// `&`
    And,
    /// `<<`
    ShiftLeft,
    /// `>>`
    ShiftRight,
    /// `@`
    At,
}

impl U32Operator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::And, Self::ShiftLeft, Self::ShiftRight, Self::At];

    /// How it is written.
    pub fn sign(self) -> &'static str {
        match self {
            Self::And => "&",
            Self::ShiftLeft => "<<",
            Self::ShiftRight => ">>",
            Self::At => "@",
        }
    }

    fn shifts(self) -> bool {
        matches!(self, Self::ShiftLeft | Self::ShiftRight)
    }
}

/// One test: a location and the values that will do.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct U32Test {
    /// The place that is read first.
    pub place: u32,
    /// What is done then, at most [`U32_ITEMS_MAX`]` - 1`.
    pub operations: Vec<(U32Operator, u32)>,
    /// First and last of the values that will do, 1 to [`U32_ITEMS_MAX`]. First above last is none.
    pub values: Vec<(u32, u32)>,
}

/// All tests of a match, 1 to [`U32_ITEMS_MAX`]. In JSON, a text as after `--u32`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct U32Tests(Vec<U32Test>);

/// What is wrong with a text that is no [`U32Tests`], in iptables' words. Places count bytes from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum U32Error {
    #[error("u32: abrupt end of input after location specifier")]
    NoValues,
    #[error("u32: test ended with no value specified")]
    NoValue,
    #[error("u32: at char {at}: location spec missing")]
    NoLocation { at: usize },
    #[error("u32: at char {at}: value spec missing")]
    ValueMissing { at: usize },
    #[error("u32: at char {at}: a second '{sign}' was expected")]
    Half { at: usize, sign: char },
    #[error("u32: at char {at}: operator expected")]
    NoOperator { at: usize },
    #[error("u32: at char {at}: not a number or out of range")]
    NoNumber { at: usize },
    #[error("u32: at char {at}: expected \",\" or \"&&\"")]
    NoSeparator { at: usize },
    #[error("u32: at char {at}: too many {what}")]
    TooMany { at: usize, what: &'static str },
}

impl U32Error {
    /// The place, in bytes, where there is one.
    pub fn at(&self) -> Option<usize> {
        match self {
            Self::NoValues | Self::NoValue => None,
            Self::NoLocation { at }
            | Self::ValueMissing { at }
            | Self::Half { at, .. }
            | Self::NoOperator { at }
            | Self::NoNumber { at }
            | Self::NoSeparator { at }
            | Self::TooMany { at, .. } => Some(*at),
        }
    }
}

/// A text on its way through the reader.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        let blank = |c| matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r');
        self.at += self.rest().len() - self.rest().trim_start_matches(blank).len();
    }

    /// Takes a sign if it comes next.
    fn take(&mut self, sign: char) -> bool {
        let found = self.rest().starts_with(sign);
        self.at += usize::from(found);
        found
    }

    /// Takes the second half of a sign.
    fn second(&mut self, sign: char) -> Result<(), U32Error> {
        if self.take(sign) { Ok(()) } else { Err(U32Error::Half { at: self.at, sign }) }
    }

    fn number(&mut self) -> Result<u32, U32Error> {
        let number = number_prefix(self.rest());
        let Some((Some(number), rest)) = number else {
            return Err(U32Error::NoNumber { at: self.at });
        };
        self.at = self.text.len() - rest.len();
        Ok(number)
    }

    /// What lies before `=`.
    fn location(&mut self) -> Result<U32Test, U32Error> {
        let (mut test, mut numbers) = (U32Test::default(), 0);
        loop {
            self.skip_blanks();
            if self.rest().is_empty() {
                return Err(U32Error::NoValues);
            }
            if self.rest().starts_with('=') {
                if numbers == 0 {
                    return Err(U32Error::NoLocation { at: self.at });
                }
                self.at += 1;
                return Ok(test);
            }
            if numbers == 0 {
                test.place = self.number()?;
            } else {
                let operator = self.operator()?;
                test.operations.push((operator, self.number()?));
            }
            numbers += 1;
            if numbers > U32_ITEMS_MAX {
                return Err(U32Error::TooMany { at: self.at, what: "operators" });
            }
        }
    }

    fn operator(&mut self) -> Result<U32Operator, U32Error> {
        if self.take('&') {
            return Ok(U32Operator::And);
        }
        if self.take('@') {
            return Ok(U32Operator::At);
        }
        for (sign, operator) in [('<', U32Operator::ShiftLeft), ('>', U32Operator::ShiftRight)] {
            if self.take(sign) {
                self.second(sign)?;
                return Ok(operator);
            }
        }
        Err(U32Error::NoOperator { at: self.at })
    }

    /// What lies behind `=`; whether a further test follows.
    fn values(&mut self) -> Result<(Vec<(u32, u32)>, bool), U32Error> {
        let mut values = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest().is_empty() {
                return if values.is_empty() {
                    Err(U32Error::NoValue)
                } else {
                    Ok((values, false))
                };
            }
            if self.take('&') {
                if !self.rest().starts_with('&') {
                    return Err(U32Error::Half { at: self.at, sign: '&' });
                }
                if values.is_empty() {
                    return Err(U32Error::ValueMissing { at: self.at });
                }
                return Ok((values, true));
            }
            if !values.is_empty() && !self.take(',') {
                return Err(U32Error::NoSeparator { at: self.at });
            }
            let first = self.number()?;
            self.skip_blanks();
            let last = if self.take(':') { self.number()? } else { first };
            values.push((first, last));
            if values.len() > U32_ITEMS_MAX {
                return Err(U32Error::TooMany { at: self.at, what: "\",\"s" });
            }
        }
    }
}

impl U32Tests {
    /// Reads what stands after `--u32`.
    ///
    /// # Errors
    /// The first thing wrong, as iptables would find it.
    pub fn from_text(text: &str) -> Result<Self, U32Error> {
        let (mut reader, mut tests) = (Reader { text, at: 0 }, Vec::new());
        loop {
            let mut test = reader.location()?;
            let (values, more) = reader.values()?;
            test.values = values;
            tests.push(test);
            if tests.len() > U32_ITEMS_MAX {
                return Err(U32Error::TooMany { at: reader.at, what: "\"&&\"s" });
            }
            if !more {
                return Ok(Self(tests));
            }
            reader.at += 1; // the second half of `&&`
        }
    }

    /// The tests.
    pub fn tests(&self) -> &[U32Test] {
        &self.0
    }

    /// A shift by 32 or more, which the kernel refuses.
    fn too_far(&self) -> Option<u32> {
        let mut operations = self.0.iter().flat_map(|test| &test.operations);
        operations.find(|(operator, by)| operator.shifts() && *by > 31).map(|(_, by)| *by)
    }
}

impl fmt::Display for U32Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, test) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { "&&" } else { "" })?;
            write!(f, "{:#x}", test.place)?;
            for (operator, number) in &test.operations {
                write!(f, "{}{number:#x}", operator.sign())?;
            }
            for (index, (first, last)) in test.values.iter().enumerate() {
                f.write_char(if index > 0 { ',' } else { '=' })?;
                write!(f, "{first:#x}")?;
                if first != last {
                    write!(f, ":{last:#x}")?;
                }
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for U32Tests {
    type Error = U32Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_text(&text)
    }
}

impl From<U32Tests> for String {
    fn from(tests: U32Tests) -> Self {
        tests.to_string()
    }
}

/// The `u32` match. Its default has no tests, and no rule may hold it ([`super::Rule::validate`]).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct U32Match {
    /// `--u32`
    pub tests: Option<Negatable<U32Tests>>,
}

impl Extension for U32Match {
    fn name(&self) -> &'static str {
        "u32"
    }

    fn validate(&self) -> Result<(), InvalidRule> {
        let Some(tests) = &self.tests else { return Err(InvalidRule::U32Missing) };
        match tests.value.too_far() {
            Some(by) => Err(InvalidRule::U32Shift { by }),
            None => Ok(()),
        }
    }

    fn save(&self, words: &mut SavedWords) {
        if let Some(Negatable { value, negated }) = &self.tests {
            words.flag("--u32", *negated);
            words.string(value.to_string());
        }
    }

    fn list(&self, line: &mut ListedLine<'_>) {
        if let Some(Negatable { value, negated }) = &self.tests {
            let not = if *negated { " !" } else { "" };
            line.push(format_args!(" u32{not} \"{value}\""));
        }
    }
}
