//! Reading a table of a profile key by key, so that every complaint names the key and what it may be.

use std::fmt;

use toml::{Table, Value};

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read the profile {file}: {why}")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        why: String,
    },
    /// It is no TOML.
    #[error("{file} is no TOML: {why}")]
    Syntax {
        /// The file.
        file: String,
        /// Where and why.
        why: String,
    },
    /// A value that a key cannot have.
    #[error("{file}: {key} = {value} is not possible: {allowed}")]
    Value {
        /// The file.
        file: String,
        /// The key, with the tables that it stands in.
        key: String,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// A key that has to be there.
    #[error("{file}: {key} is missing: {allowed}")]
    Missing {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// What it may be.
        allowed: String,
    },
    /// A key that does not exist.
    #[error("{file}: {key} is not known; here may stand: {known}")]
    Unknown {
        /// The file.
        file: String,
        /// The key.
        key: String,
        /// The keys that do exist.
        known: String,
    },
}

/// A table that is read once, key by key.
#[derive(Debug)]
pub(crate) struct Reader {
    file: String,
    /// What leads to the table: empty, or `stream "flood"`.
    place: String,
    table: Table,
    known: Vec<&'static str>,
}

impl Reader {
    pub(crate) fn new(file: &str, text: &str) -> Result<Self, ProfileError> {
        let table = text.parse::<Table>().map_err(|error| ProfileError::Syntax {
            file: file.to_owned(),
            why: error.to_string().trim_end().to_owned(),
        })?;
        Ok(Self { file: file.to_owned(), place: String::new(), table, known: Vec::new() })
    }

    /// A table that stands in this one; `place` is what to call it.
    pub(crate) fn inner(&self, place: impl fmt::Display, table: Table) -> Self {
        let place = match self.place.as_str() {
            "" => place.to_string(),
            outer => format!("{outer}.{place}"),
        };
        Self { file: self.file.clone(), place, table, known: Vec::new() }
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Calls the table something better, once its name is read.
    pub(crate) fn rename(&mut self, place: String) {
        self.place = place;
    }

    /// A key with the table it stands in.
    pub(crate) fn key(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}: {key}", self.place) }
    }

    /// The complaint about a key's value.
    pub(crate) fn refuse(
        &self,
        key: &str,
        value: impl fmt::Display,
        allowed: impl fmt::Display,
    ) -> ProfileError {
        ProfileError::Value {
            file: self.file.clone(),
            key: self.key(key),
            value: value.to_string().trim().to_owned(),
            allowed: allowed.to_string(),
        }
    }

    /// Takes a key's value out, if it is there.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// Takes a value that has to be there.
    pub(crate) fn need(&mut self, key: &'static str, allowed: &str) -> Result<Value, ProfileError> {
        let missing = ProfileError::Missing {
            file: self.file.clone(),
            key: self.key(key),
            allowed: allowed.to_owned(),
        };
        self.take(key).ok_or(missing)
    }

    /// A number in a range.
    pub(crate) fn number(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<f64>,
    ) -> Result<Option<f64>, ProfileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let allowed = || format!("a number from {} to {}", range.start(), range.end());
        let number = number(&value).filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| self.refuse(key, &value, allowed()))
    }

    /// A whole number in a range.
    pub(crate) fn whole(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, ProfileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        let allowed = || format!("a whole number from {} to {}", range.start(), range.end());
        number.map(Some).ok_or_else(|| self.refuse(key, &value, allowed()))
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &'static str) -> Result<Option<bool>, ProfileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.refuse(key, &value, "true or false"))
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Result<Option<String>, ProfileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        match value {
            Value::String(text) => Ok(Some(text)),
            other => Err(self.refuse(key, other, "a text in quotes")),
        }
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(T, &str)],
    ) -> Result<Option<T>, ProfileError> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found = words.iter().find(|(_, word)| value.as_str() == Some(word));
        found.map(|(meaning, _)| Some(*meaning)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(_, word)| *word).collect();
            self.refuse(key, &value, words.join(", "))
        })
    }

    /// Ends the reading: what is left is not known.
    pub(crate) fn finish(self) -> Result<(), ProfileError> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => Err(ProfileError::Unknown {
                file: self.file.clone(),
                key: self.key(key),
                known: self.known.join(", "),
            }),
        }
    }
}

/// A whole or a real number.
#[expect(clippy::cast_precision_loss, reason = "what a profile says is below 2^53 or out of range")]
pub(crate) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}
