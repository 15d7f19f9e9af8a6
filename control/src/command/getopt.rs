//! Splits an argument vector into options, their values and plain words, as getopt_long does for
//! iptables (its option string begins with `-`: plain words are reported where they stand).
//!
//! ```text
//!   -nvL       three options in one word
//!   -p tcp  -ptcp  --protocol tcp  --protocol=tcp  --proto tcp
//! ```
//!
//! A long name may be shortened as long as all names it could be mean the same. Who knows the long names is given with
//! every call, since each match that a command line names adds its own.

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Never.
    None,
    /// In the same word, or else the next word.
    Required,
    /// Only in the same word; iptables itself may then look at the next.
    Optional,
}

/// A long option and what it means: equal keys are equal options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LongOption<K> {
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) key: K,
}

/// A short option, likewise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShortOption<K> {
    pub(super) letter: char,
    pub(super) value: Value,
    pub(super) key: K,
}

/// A piece of an argument, with its place: `argument` counts from 0, `offset` in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) argument: usize,
    pub(super) offset: usize,
}

/// What comes next on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item<'a, K> {
    /// An option, where it stands, and its value.
    Option { key: K, word: Word<'a>, value: Option<Word<'a>> },
    /// A word that is neither an option nor the value of one.
    Plain(Word<'a>),
    /// Not an option, ambiguous, or with a value it does not take.
    Unknown(Word<'a>),
    /// An option at the end, without its value.
    MissingValue(Word<'a>),
}

/// A place on the command line.
#[derive(Debug, Clone)]
pub(super) struct Getopt<'a> {
    arguments: &'a [String],
    /// The next argument to look at.
    argument: usize,
    /// Where in it, if it is a word of short options that has been begun.
    offset: usize,
    /// What the last call returned began here.
    last: (usize, usize),
}

impl<'a> Getopt<'a> {
    pub(super) fn new(arguments: &'a [String]) -> Self {
        Self { arguments, argument: 0, offset: 0, last: (0, 0) }
    }

    /// Looks at the last item again, with other long options.
    pub(super) fn step_back(&mut self) {
        (self.argument, self.offset) = self.last;
    }

    /// Whether the argument before `word` is a `!`.
    pub(super) fn follows_negation(&self, word: Word<'_>) -> bool {
        let before = word.argument.checked_sub(1).and_then(|index| self.arguments.get(index));
        before.is_some_and(|argument| argument == "!")
    }

    /// Takes the next argument as a value if there is one that looks like no option and no `!`.
    pub(super) fn take_plain(&mut self) -> Option<Word<'a>> {
        let word = self.whole(self.argument)?;
        if self.offset != 0 || word.text.starts_with(['-', '!']) {
            return None;
        }
        self.argument += 1;
        Some(word)
    }

    /// Takes the next argument, whatever it is, unless `refuse` says no.
    pub(super) fn take_if(&mut self, accept: impl Fn(&str) -> bool) -> Option<Word<'a>> {
        let word = self.whole(self.argument).filter(|word| accept(word.text))?;
        self.argument += 1;
        Some(word)
    }

    fn whole(&self, argument: usize) -> Option<Word<'a>> {
        self.arguments.get(argument).map(|text| Word { text, argument, offset: 0 })
    }

    /// The next item; `None` at the end, or at `--`. `long` looks a long option up by what was written of its name.
    pub(super) fn next<K: Copy + PartialEq>(
        &mut self,
        short: &[ShortOption<K>],
        long: impl FnOnce(&str) -> Option<LongOption<K>>,
    ) -> Option<Item<'a, K>> {
        self.last = (self.argument, self.offset);
        let word = self.whole(self.argument)?;
        if self.offset == 0 {
            if word.text == "--" {
                self.argument += 1;
                return None;
            }
            if word.text.starts_with("--") {
                self.argument += 1;
                return Some(self.long(word, long));
            }
            if !word.text.starts_with('-') || word.text == "-" {
                self.argument += 1;
                return Some(Item::Plain(word));
            }
            self.offset = 1;
        }
        Some(self.short(word, short))
    }

    /// What is left after `--`.
    pub(super) fn rest(&self) -> Option<Word<'a>> {
        self.whole(self.argument)
    }

    fn long<K: Copy + PartialEq>(
        &mut self,
        word: Word<'a>,
        long: impl FnOnce(&str) -> Option<LongOption<K>>,
    ) -> Item<'a, K> {
        let (name, attached) = match word.text.split_once('=') {
            Some((name, value)) => {
                let offset = name.len() + 1;
                (name, Some(Word { text: value, argument: word.argument, offset }))
            }
            None => (word.text, None),
        };
        let Some(option) = long(&name[2..]) else { return Item::Unknown(word) };
        let key = option.key;
        match (option.value, attached) {
            (Value::None, Some(_)) => Item::Unknown(word),
            (Value::None | Value::Optional, None) => Item::Option { key, word, value: None },
            (_, Some(value)) => Item::Option { key, word, value: Some(value) },
            (Value::Required, None) => self.value_of(key, word),
        }
    }

    fn short<K: Copy>(&mut self, word: Word<'a>, short: &[ShortOption<K>]) -> Item<'a, K> {
        let rest = &word.text[self.offset..];
        let letter = rest.chars().next().unwrap_or('-');
        let option = short.iter().find(|option| option.letter == letter);
        let after = self.offset + letter.len_utf8();
        let attached =
            Some(&word.text[after.min(word.text.len())..]).filter(|rest| !rest.is_empty());
        let ended = attached.is_none();
        (self.argument, self.offset) =
            if ended { (self.argument + 1, 0) } else { (self.argument, after) };
        let Some(option) = option else { return Item::Unknown(word) };
        let key = option.key;
        if option.value == Value::None {
            return Item::Option { key, word, value: None };
        }
        if let Some(text) = attached {
            (self.argument, self.offset) = (word.argument + 1, 0);
            let value = Word { text, argument: word.argument, offset: after };
            return Item::Option { key, word, value: Some(value) };
        }
        match option.value {
            Value::Required => self.value_of(key, word),
            _ => Item::Option { key, word, value: None },
        }
    }

    fn value_of<K>(&mut self, key: K, word: Word<'a>) -> Item<'a, K> {
        match self.take_if(|_| true) {
            Some(value) => Item::Option { key, word, value: Some(value) },
            None => Item::MissingValue(word),
        }
    }
}

/// The first option of exactly that name, or the one all longer names stand for.
pub(super) fn lookup<K: Copy + PartialEq>(
    name: &str,
    long: &[LongOption<K>],
) -> Option<LongOption<K>> {
    if let Some(exact) = long.iter().find(|option| option.name == name) {
        return Some(*exact);
    }
    let mut candidates = long.iter().filter(|option| option.name.starts_with(name));
    let first = candidates.next()?;
    candidates.all(|other| other.key == first.key && other.value == first.value).then_some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: [ShortOption<char>; 3] = [
        ShortOption { letter: 'n', value: Value::None, key: 'n' },
        ShortOption { letter: 'L', value: Value::Optional, key: 'L' },
        ShortOption { letter: 'p', value: Value::Required, key: 'p' },
    ];
    const LONG: [LongOption<char>; 6] = [
        LongOption { name: "numeric", value: Value::None, key: 'n' },
        LongOption { name: "list", value: Value::Optional, key: 'L' },
        LongOption { name: "list-rules", value: Value::Optional, key: 'S' },
        LongOption { name: "protocol", value: Value::Required, key: 'p' },
        LongOption { name: "src", value: Value::Required, key: 's' },
        LongOption { name: "source", value: Value::Required, key: 's' },
    ];

    fn items(line: &str) -> Vec<String> {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let mut getopt = Getopt::new(&arguments);
        let mut items = Vec::new();
        while let Some(item) = getopt.next(&SHORT, |name| lookup(name, &LONG)) {
            items.push(match item {
                Item::Option { key, value: None, .. } => format!("{key}"),
                Item::Option { key, value: Some(value), .. } => {
                    format!("{key}={}@{}.{}", value.text, value.argument, value.offset)
                }
                Item::Plain(word) => format!("plain {}", word.text),
                Item::Unknown(word) => format!("unknown {}", word.text),
                Item::MissingValue(word) => format!("missing {}", word.text),
            });
        }
        items.extend(getopt.rest().map(|word| format!("rest {}", word.text)));
        items
    }

    #[test]
    fn splits_as_getopt_long() {
        for (line, expected) in [
            ("-nnL", &["n", "n", "L"][..]),
            ("-nLn", &["n", "L=n@0.3"]),
            ("-L n -n", &["L", "plain n", "n"]),
            ("-p tcp", &["p=tcp@1.0"]),
            ("-ptcp", &["p=tcp@0.2"]),
            ("-np tcp", &["n", "p=tcp@1.0"]),
            ("-p -n", &["p=-n@1.0"]),
            ("--protocol=tcp", &["p=tcp@0.11"]),
            ("--proto tcp -n", &["p=tcp@1.0", "n"]),
            ("--list", &["L"]),
            ("--list-r", &["S"]),
            ("--lis", &["unknown --lis"]),
            ("--s x", &["s=x@1.0"]),
            ("--numeric=4", &["unknown --numeric=4"]),
            ("--nope", &["unknown --nope"]),
            ("-z", &["unknown -z"]),
            ("-nz -n", &["n", "unknown -nz", "n"]),
            ("-é -n", &["unknown -é", "n"]),
            ("-p", &["missing -p"]),
            ("--protocol", &["missing --protocol"]),
            ("! -", &["plain !", "plain -"]),
            ("-n -- -n", &["n", "rest -n"]),
        ] {
            assert_eq!(items(line), expected, "{line}");
        }
    }
}
