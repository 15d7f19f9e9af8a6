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

    /// The conditions only, as arguments of a program.
    pub fn condition_arguments(&self, names: &Names) -> Vec<String> {
        self.conditions(names, SavedWords::default())
    }

    /// The conditions only, with texts quoted for a line of text; with
    /// [`Rule::target_arguments`], for output that has counters between the two.
    pub fn condition_words(&self, names: &Names) -> Vec<String> {
        self.conditions(names, SavedWords { quoted: true, ..SavedWords::default() })
    }

    fn conditions(&self, names: &Names, mut words: SavedWords) -> Vec<String> {
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
        words.words
    }

    /// `-j TARGET`, or nothing.
    pub fn target_arguments(&self) -> Vec<String> {
        let word = |target: &Target| vec!["-j".to_owned(), target.name().to_owned()];
        self.target.as_ref().map(word).unwrap_or_default()
    }
}

fn protocol_word(protocol: Protocol, names: &Names) -> String {
    names.protocol_name(protocol).map_or_else(|| protocol.0.to_string(), str::to_owned)
}

fn printed<T: ToString>(condition: Option<&Negatable<T>>) -> Option<Negatable<String>> {
    let Negatable { value, negated } = condition?;
    Some(Negatable { value: value.to_string(), negated: *negated })
}
