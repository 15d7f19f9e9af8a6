//! A rule as the words of the command line that makes it: what `iptables -S` prints.

use super::{Names, Negatable, Protocol, Rule, SavedWords, Target};

impl Rule {
    /// The words after `-A CHAIN` in canonical form and order, conditions first, then `-j`.
    /// Parsing them gives the same rule again.
    ///
    /// The form is that of iptables 1.8.11. Older ones lose the `!` of `! -i +` and of
    /// `! --dport 0:65535` (conditions that match nothing), so that their output, loaded again,
    /// means something else.
    pub fn arguments(&self, names: &Names) -> Vec<String> {
        let mut words = self.condition_arguments(names);
        words.extend(self.target_arguments());
        words
    }

    /// The conditions only.
    pub fn condition_arguments(&self, names: &Names) -> Vec<String> {
        self.conditions(names).0
    }

    /// The conditions as `-S` prints them, some words between quotes; with
    /// [`Rule::target_arguments`], for output that has counters between the two.
    pub(crate) fn condition_words(&self, names: &Names) -> Vec<String> {
        let SavedWords(mut words, between_quotes) = self.conditions(names);
        for index in between_quotes {
            words[index] = quoted(&words[index]);
        }
        words
    }

    fn conditions(&self, names: &Names) -> SavedWords {
        let mut words = SavedWords::default();
        let mut option = |name, condition: Option<Negatable<String>>| {
            condition.iter().for_each(|condition| words.option(name, condition));
        };
        option("-s", printed(self.source.as_ref()));
        option("-d", printed(self.destination.as_ref()));
        option("-i", printed(self.in_interface.as_ref()));
        option("-o", printed(self.out_interface.as_ref()));
        option(
            "-p",
            self.protocol.map(|Negatable { value, negated }| Negatable {
                value: protocol_word(value, names),
                negated,
            }),
        );
        for extension in &self.matches {
            words.word("-m");
            words.word(extension.name());
            extension.extension().save(&mut words);
        }
        words
    }

    /// `-j TARGET`, or nothing.
    pub fn target_arguments(&self) -> Vec<String> {
        let word = |target: &Target| vec!["-j".to_owned(), target.name().to_owned()];
        self.target.as_ref().map(word).unwrap_or_default()
    }
}

/// A word between double quotes, as the shell and `iptables-restore` read it.
pub(super) fn quoted(word: &str) -> String {
    let mut text = String::from('"');
    for character in word.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    text
}

fn protocol_word(protocol: Protocol, names: &Names) -> String {
    names.protocol_name(protocol).map_or_else(|| protocol.0.to_string(), str::to_owned)
}

fn printed<T: ToString>(condition: Option<&Negatable<T>>) -> Option<Negatable<String>> {
    let Negatable { value, negated } = condition?;
    Some(Negatable { value: value.to_string(), negated: *negated })
}
