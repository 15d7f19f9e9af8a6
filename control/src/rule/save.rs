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
        self.saved_conditions(SavedWords::default(), names).words()
    }

    /// The conditions and the target as `-S` prints them: joined by blanks, with quotes where a text
    /// needs them.
    pub fn saved_line(&self, names: &Names) -> (String, String) {
        let conditions = self.saved_conditions(SavedWords::quoted(), names);
        let target = self.saved_target(SavedWords::quoted());
        (conditions.words().join(" "), target.words().join(" "))
    }

    fn saved_conditions(&self, mut words: SavedWords, names: &Names) -> SavedWords {
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
        if let Some(later) = self.fragment {
            words.flag("-f", !later);
        }
        for extension in &self.matches {
            words.word("-m");
            words.word(extension.name());
            extension.extension().save(&mut words);
        }
        words
    }

    /// `-j TARGET` and the target's options, `-g CHAIN`, or nothing.
    pub fn target_arguments(&self) -> Vec<String> {
        self.saved_target(SavedWords::default()).words()
    }

    fn saved_target(&self, mut words: SavedWords) -> SavedWords {
        if let Some(target) = &self.target {
            words.word(if matches!(target, Target::Goto(_)) { "-g" } else { "-j" });
            words.word(target.name());
            if let Some(extension) = target.extension() {
                extension.save(&mut words);
            }
        }
        words
    }
}

fn protocol_word(protocol: Protocol, names: &Names) -> String {
    names.protocol_name(protocol).map_or_else(|| protocol.0.to_string(), str::to_owned)
}

fn printed<T: ToString>(condition: Option<&Negatable<T>>) -> Option<Negatable<String>> {
    let Negatable { value, negated } = condition?;
    Some(Negatable { value: value.to_string(), negated: *negated })
}
