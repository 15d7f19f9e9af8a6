//! What every match of the language can say of itself, and how it is written.
//!
//! A new match is a file beside this one with its type, a variant of [`super::Match`], and a line in
//! [`super::Match::extension`]; its options are read by a file in `command/extension/`.

use std::fmt::{self, Write as _};

use super::{Family, InvalidRule, Names, Negatable, PortRange, Protocol};

/// One match of a rule.
pub(crate) trait Extension {
    /// The word after `-m`.
    fn name(&self) -> &'static str;

    /// The protocol that the rule must select with `-p`, without `!`.
    fn required_protocol(&self) -> Option<Protocol> {
        None
    }

    /// Checks that it can be asked of packets of the protocol that the rule selects with `-p`.
    fn check_protocol(&self, selected: Option<Negatable<Protocol>>) -> Result<(), InvalidRule> {
        match self.required_protocol() {
            Some(required) if selected != Some(Negatable::is(required)) => {
                let protocol = Names::builtin_protocol_name(required).unwrap_or_default();
                Err(InvalidRule::MatchNeedsProtocol { name: self.name(), protocol })
            }
            _ => Ok(()),
        }
    }

    /// Checks what its type cannot express.
    fn validate(&self) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Checks that packets of the family have what it looks at.
    fn check_family(&self, _family: Family) -> Result<(), InvalidRule> {
        Ok(())
    }

    /// Its options as `-S` prints them.
    fn save(&self, words: &mut SavedWords);

    /// Its part of a line of `-L`, each word with a blank before it.
    fn list(&self, line: &mut ListedLine<'_>);
}

/// Checks that what there is for packets of one family only stands in a rule of that family.
pub(crate) fn only(its: Family, what: &'static str, family: Family) -> Result<(), InvalidRule> {
    if family == its { Ok(()) } else { Err(InvalidRule::OtherFamily { what, its }) }
}

/// The words of a rule as `-S` prints them.
#[derive(Debug, Default)]
pub(crate) struct SavedWords {
    words: Vec<String>,
    /// Whether the words are for a line, in which a text may need quotes.
    quoted: bool,
}

impl SavedWords {
    /// For a line of text.
    pub(crate) fn quoted() -> Self {
        Self { quoted: true, ..Self::default() }
    }

    pub(crate) fn words(self) -> Vec<String> {
        self.words
    }

    /// A word.
    pub(crate) fn word(&mut self, word: impl Into<String>) {
        self.words.push(word.into());
    }

    /// A text of the operator's own. In a line it stands between quotes unless it is made of letters,
    /// digits, `_` and `-` alone (`xtables_save_string`, libxtables/xtables.c).
    pub(crate) fn text(&mut self, text: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if !self.quoted || !text.is_empty() && text.chars().all(plain) {
            return self.word(text);
        }
        let mut word = String::from('"');
        for c in text.chars() {
            if matches!(c, '"' | '\\' | '\'') {
                word.push('\\');
            }
            word.push(c);
        }
        word.push('"');
        self.words.push(word);
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
    /// `-p` of the rule.
    pub(crate) protocol: Option<Negatable<Protocol>>,
}

/// `!` where something is negated.
pub(crate) fn negation(negated: bool) -> &'static str {
    if negated { "!" } else { "" }
}

impl ListedLine<'_> {
    /// Appends as `write!` does. Writing to a `String` cannot fail.
    pub(crate) fn push(&mut self, arguments: fmt::Arguments<'_>) {
        let _ = self.text.write_fmt(arguments);
    }

    /// A port's number, or the service it has in `transport`.
    pub(crate) fn port(&self, port: u16, transport: &str) -> String {
        let name = self.names.service(port, transport).filter(|_| !self.numeric);
        name.map_or_else(|| port.to_string(), str::to_owned)
    }

    /// ` LABEL:PORT` or ` LABELs:FIRST:LAST`; nothing where every port will do. `transport` names the
    /// protocol whose services are looked up.
    pub(crate) fn ports(&mut self, label: &str, ports: &Negatable<PortRange>, transport: &str) {
        if *ports == Negatable::default() {
            return;
        }
        let (not, range) = (negation(ports.negated), ports.value);
        let (first, last) =
            (self.port(range.first(), transport), self.port(range.last(), transport));
        match range.first() == range.last() {
            true => self.push(format_args!(" {label}:{not}{first}")),
            false => self.push(format_args!(" {label}s:{not}{first}:{last}")),
        }
    }
}
