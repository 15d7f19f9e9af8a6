//! Where on the command line something is wrong.

use std::borrow::Cow;

use super::RULES_PER_COMMAND_MAX;
use super::error::{ParseErrorKind, Position};
use super::getopt::Word;
use crate::rule::Family;

/// A reason and the word it is about.
#[derive(Debug)]
pub(super) struct Refusal<'a> {
    pub(super) kind: ParseErrorKind,
    pub(super) word: Option<Word<'a>>,
}

impl<'a> Refusal<'a> {
    pub(super) fn at(word: Word<'a>, kind: impl Into<ParseErrorKind>) -> Self {
        Self { kind: kind.into(), word: Some(word) }
    }

    pub(super) fn somewhere(kind: ParseErrorKind) -> Self {
        Self { kind, word: None }
    }
}

/// The line as one text, and where in it `word` is.
pub(super) fn locate(
    family: Family,
    arguments: &[String],
    word: Option<Word<'_>>,
) -> (String, Option<Position>) {
    let mut line = family.program().to_owned();
    let mut position = None;
    for (index, argument) in arguments.iter().enumerate() {
        line.push(' ');
        if let Some(word) = word.filter(|word| word.argument == index) {
            // Quotes may come before an argument, but offsets only occur in unquoted ones.
            let mut before = argument.get(..word.offset).map_or(0, |text| text.chars().count());
            if word.text.is_empty() {
                // What is missing behind `--option=`: it points at the `=`.
                before = before.saturating_sub(1);
            }
            position = Some(Position {
                argument: index + 1,
                column: line.chars().count() + before + 1,
                width: match word.text {
                    "" if !argument.is_empty() => 1,
                    text => quoted(text).chars().count(),
                },
            });
        }
        line.push_str(&quoted(argument));
    }
    (line, position)
}

/// An argument as a shell user would type it; control characters are made visible.
fn quoted(argument: &str) -> String {
    if argument.is_empty() || argument.contains(|c: char| c.is_whitespace() || c.is_control()) {
        format!("'{}'", argument.escape_debug())
    } else {
        argument.to_owned()
    }
}

/// A message for a terminal, in which control characters are made visible: whoever sees it need not have
/// written the words in it.
pub(crate) fn visible(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return Cow::Borrowed(message);
    }
    let shown = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    Cow::Owned(message.chars().map(shown).collect())
}

/// Refuses comma lists that multiply to too many rules.
pub(super) fn check_rule_count(rules: usize, word: Word<'_>) -> Result<(), Refusal<'_>> {
    if rules > RULES_PER_COMMAND_MAX {
        return Err(Refusal::at(word, ParseErrorKind::ListTooLong { rules }));
    }
    Ok(())
}
