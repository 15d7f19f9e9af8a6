//! What every match of the language can say of itself, and how it is written.
//!
//! A new match is a file beside this one with its type, a variant of [`super::Match`], and a line in
//! [`super::Match::extension`]; its options are read by a file in `command/extension/`.

use std::fmt::{self, Write as _};

use super::{InvalidRule, Names, Negatable, PortRange, Protocol};

/// One match of a rule.
pub(crate) trait Extension {
    /// The word after `-m`.
    fn name(&self) -> &'static str;

    /// The protocol that the rule must select with `-p`, without `!`.
    fn required_protocol(&self) -> Option<Protocol> {
        None
    }

    /// Checks what its type cannot express.
    fn validate(&self) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Its options as `-S` prints them.
    fn save(&self, words: &mut SavedWords);

    /// Its part of a line of `-L`, each word with a blank before it.
    fn list(&self, line: &mut ListedLine<'_>);
}

/// The words of a rule as `-S` prints them.
#[derive(Debug, Default)]
pub(crate) struct SavedWords {
    pub(crate) words: Vec<String>,
    /// Whether texts are quoted, for a line that a shell or `iptables-restore` takes apart again.
    pub(crate) quoted: bool,
}

impl SavedWords {
    /// A word.
    pub(crate) fn word(&mut self, word: impl Into<String>) {
        self.words.push(word.into());
    }

    /// A text that stands between quotes in any case.
    pub(crate) fn string(&mut self, text: String) {
        let word = if self.quoted { between_quotes(&text) } else { text };
        self.word(word);
    }

    /// An option (with its dashes) and its value, with `!` in front where it is negated.
    pub(crate) fn option<T: ToString>(&mut self, name: &str, condition: &Negatable<T>) {
        self.flag(name, condition.negated);
        self.word(condition.value.to_string());
    }

    /// An option without a value.
    pub(crate) fn flag(&mut self, name: &str, negated: bool) {
        if negated {
            self.word("!");
        }
        self.word(name);
    }

    /// An option that takes ports; nothing where every port will do.
    pub(crate) fn ports(&mut self, name: &str, ports: &Negatable<PortRange>) {
        if *ports != Negatable::default() {
            self.option(name, ports);
        }
    }
}

/// A text between double quotes, as the shell and `iptables-restore` read it.
pub(crate) fn between_quotes(text: &str) -> String {
    let escaped = text.chars().flat_map(|character| {
        let escape = matches!(character, '"' | '\\').then_some('\\');
        escape.into_iter().chain([character])
    });
    ['"'].into_iter().chain(escaped).chain(['"']).collect()
}

/// A line of `-L` in the making.
#[derive(Debug)]
pub(crate) struct ListedLine<'a> {
    pub(crate) text: &'a mut String,
    /// `-n`: digits instead of names.
    pub(crate) numeric: bool,
    pub(crate) names: &'a Names,
}

impl ListedLine<'_> {
    /// Appends as `write!` does. Writing to a `String` cannot fail.
    pub(crate) fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(arguments);
    }

    /// ` LABEL:PORT` or ` LABELs:FIRST:LAST`; nothing where every port will do. `transport` names the
    /// protocol whose services are looked up.
    pub(crate) fn ports(&mut self, label: &str, ports: &Negatable<PortRange>, transport: &str) {
        if *ports == Negatable::default() {
            return;
        }
        let named = |port: u16| {
            let name = self.names.service(port, transport).filter(|_| !self.numeric);
            name.map_or_else(|| port.to_string(), str::to_owned)
        };
        let (not, range) = (if ports.negated { "!" } else { "" }, ports.value);
        let (first, last) = (named(range.first()), named(range.last()));
        match range.first() == range.last() {
            true => self.push(format_args!(" {label}:{not}{first}")),
            false => self.push(format_args!(" {label}s:{not}{first}:{last}")),
        }
    }
}
