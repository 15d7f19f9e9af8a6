//! Reads a command line of ipset.

use super::error::{SetLineError, SetLineErrorKind};
use super::{Entry, SetCommand, SetError, SetForm, SetName, create};
use crate::rule::Names;

/// What `ipset version` prints, and what begins error messages: the release whose language this is,
/// then ours.
pub const SET_VERSION_LINE: &str = concat!("ipset v7.17 (weir ", env!("CARGO_PKG_VERSION"), ")");

/// What a line is read by.
#[derive(Clone, Copy)]
pub struct SetContext<'a> {
    /// Of protocols and services.
    pub names: &'a Names,
    /// The form of the set of that name, if there is one: entries are read by it.
    pub form_of: &'a dyn Fn(&SetName) -> Option<SetForm>,
    /// Whether the line is one of a saved file.
    pub restoring: bool,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedSet {
    /// Something to do.
    Line(Box<SetLine>),
    /// `help`
    Help,
    /// `version`
    Version,
}

/// How `list` and `save` print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// For people.
    Plain,
    /// For `restore`.
    Save,
}

/// A command with its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLine {
    /// What to do.
    pub action: SetAction,
    /// `-exist`
    pub exist: bool,
    /// `-quiet`
    pub quiet: bool,
    /// `-output`, or what the command prints by itself.
    pub output: Output,
    /// `-sorted`
    pub sorted: bool,
    /// `-name`
    pub names_only: bool,
    /// `-terse`
    pub terse: bool,
    /// `-file`
    pub file: Option<String>,
}

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetAction {
    /// A change.
    Change(SetCommand),
    /// `test`
    Test {
        /// The set.
        name: SetName,
        /// What may be in it.
        entry: Entry,
    },
    /// `list` and `save`
    List {
        /// Which set; `None` for all.
        name: Option<SetName>,
    },
    /// `restore`
    Restore,
}

/// Commands: the long name, the short one, and that of ipset 4 (a letter after a dash).
const COMMANDS: [(&str, &str, char); 13] = [
    ("create", "n", 'N'),
    ("add", "a", 'A'),
    ("del", "d", 'D'),
    ("test", "t", 'T'),
    ("destroy", "x", 'X'),
    ("list", "l", 'L'),
    ("save", "s", 'S'),
    ("restore", "r", 'R'),
    ("flush", "f", 'F'),
    ("rename", "e", 'E'),
    ("swap", "w", 'W'),
    ("help", "h", 'H'),
    ("version", "v", 'V'),
];

/// Parses `arguments`, which do not include the program's name.
///
/// # Errors
/// The first thing wrong, and the word that it is about.
pub fn parse_set(arguments: &[String], context: SetContext<'_>) -> Result<ParsedSet, SetLineError> {
    let (mut options, words) = Options::take(arguments)?;
    let Some((command, rest)) = words.split_first() else {
        return Err(plain(SetLineErrorKind::NoCommand));
    };
    let Some(command) = command_of(command) else {
        let kind = match command.as_str() {
            "quit" | "-" => SetLineErrorKind::NotEnforced { option: "quit".to_owned() },
            _ => SetLineErrorKind::UnknownCommand { text: command.clone() },
        };
        return Err(SetLineError { kind, word: Some(command.clone()) });
    };
    match command {
        "help" => return Ok(ParsedSet::Help),
        "version" => return Ok(ParsedSet::Version),
        "list" | "save" | "restore" | "test" if context.restoring => {
            return Err(plain(SetLineErrorKind::NotInRestore { command }));
        }
        _ => {}
    }
    let (action, used) = action(command, rest, context)?;
    if let Some(text) = rest.get(used) {
        let kind = SetLineErrorKind::TrailingArgument { text: text.clone() };
        return Err(SetLineError { kind, word: Some(text.clone()) });
    }
    let by_itself = if command == "save" { Output::Save } else { Output::Plain };
    let line = SetLine {
        action,
        exist: options.exist,
        quiet: options.quiet,
        output: options.output.unwrap_or(by_itself),
        sorted: options.sorted,
        names_only: options.names_only,
        terse: options.terse,
        file: options.file.take(),
    };
    Ok(ParsedSet::Line(Box::new(line)))
}

fn plain(kind: SetLineErrorKind) -> SetLineError {
    SetLineError { kind, word: None }
}

fn command_of(word: &str) -> Option<&'static str> {
    let bare = word.strip_prefix("--").unwrap_or(word);
    let fits = |(long, short, old): &&(&str, &str, char)| {
        bare == *long
            || word == *short
            || word.strip_prefix('-') == Some(old.encode_utf8(&mut [0; 4]))
    };
    COMMANDS.iter().find(fits).map(|(long, ..)| *long)
}

/// What the command asks for, and how many of the words behind it say so.
fn action(
    command: &'static str,
    words: &[String],
    context: SetContext<'_>,
) -> Result<(SetAction, usize), SetLineError> {
    let change = |command, used| Ok((SetAction::Change(command), used));
    match command {
        "restore" => return Ok((SetAction::Restore, 0)),
        "list" | "save" | "flush" | "destroy" => {
            let name = words.first().map(|word| name(word)).transpose()?;
            let used = usize::from(name.is_some());
            return match command {
                "flush" => change(SetCommand::Flush { name }, used),
                "destroy" => change(SetCommand::Destroy { name }, used),
                _ => Ok((SetAction::List { name }, used)),
            };
        }
        _ => {}
    }
    let first = words.first().ok_or_else(|| plain(SetLineErrorKind::FirstMissing { command }))?;
    let first = name(first)?;
    let rest = &words[1..];
    let second =
        rest.first().ok_or_else(|| plain(SetLineErrorKind::EntryOrTypeMissing { command }))?;
    match command {
        "rename" => change(SetCommand::Rename { name: first, to: name(second)? }, 2),
        "swap" => change(SetCommand::Swap { name: first, with: name(second)? }, 2),
        "create" => {
            let spec = create::parse(rest).map_err(|error| located(rest, error))?;
            change(SetCommand::Create { name: first, spec }, words.len())
        }
        _ => {
            let missing = || SetError::NoSuchSet { name: first.to_string() };
            let form = (context.form_of)(&first).ok_or_else(missing)?;
            let parse = |words| {
                Entry::parse(form, words, context.names).map_err(|error| located(rest, error))
            };
            // What is wrong with the element is said first.
            parse(&rest[..1])?;
            check_options(command, rest)?;
            let entry = parse(rest)?;
            if command == "test" {
                entry.check_test(form).map_err(|error| located(rest, (0, error)))?;
                return Ok((SetAction::Test { name: first, entry }, words.len()));
            }
            let entries = vec![entry.to_wire()];
            let command = match command {
                "add" => SetCommand::Add { name: first, entries },
                _ => SetCommand::Delete { name: first, entries },
            };
            change(command, words.len())
        }
    }
}

/// What belongs to an entry is said when it is added; `test` may ask for an exception.
fn check_options(command: &str, entry: &[String]) -> Result<(), SetLineError> {
    let refused: &[&str] = match command {
        "add" => &[],
        "test" => &["timeout", "comment"],
        _ => &["timeout", "comment", "nomatch"],
    };
    match entry.iter().skip(1).find(|word| refused.contains(&word.as_str())) {
        None => Ok(()),
        Some(word) => {
            let kind = SetLineErrorKind::UnknownArgument { text: word.clone() };
            Err(SetLineError { kind, word: Some(word.clone()) })
        }
    }
}

fn name(word: &str) -> Result<SetName, SetLineError> {
    word.parse().map_err(|error: super::SetNameError| SetLineError {
        kind: error.into(),
        word: Some(word.to_owned()),
    })
}

fn located(words: &[String], (place, kind): (usize, SetLineErrorKind)) -> SetLineError {
    SetLineError { kind, word: words.get(place).cloned() }
}

/// Options that may stand anywhere.
#[derive(Debug, Default)]
struct Options {
    exist: bool,
    quiet: bool,
    output: Option<Output>,
    sorted: bool,
    names_only: bool,
    terse: bool,
    file: Option<String>,
}

impl Options {
    /// Takes them out of the words, as ipset does before it looks at the command.
    fn take(arguments: &[String]) -> Result<(Self, Vec<String>), SetLineError> {
        let (mut options, mut words) = (Self::default(), Vec::new());
        let mut arguments = arguments.iter();
        while let Some(word) = arguments.next() {
            let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
            // What stands first is the command, and -N, say, is one.
            let mut value = || {
                let missing = SetLineErrorKind::OptionValueMissing { option: word.clone() };
                arguments.next().cloned().ok_or_else(|| plain(missing))
            };
            match bare {
                Some("exist" | "!") => options.exist = true,
                Some("quiet" | "q") => options.quiet = true,
                Some("sorted" | "s") => options.sorted = true,
                Some("name" | "n") => options.names_only = true,
                Some("terse" | "t") => options.terse = true,
                Some("file" | "f") => options.file = Some(value()?),
                Some("output" | "o") => options.output = Some(output(&value()?)?),
                Some("resolve" | "r") => return Err(not_enforced("resolve", word)),
                _ => words.push(word.clone()),
            }
        }
        Ok((options, words))
    }
}

fn output(text: &str) -> Result<Output, SetLineError> {
    match text {
        "plain" => Ok(Output::Plain),
        "save" => Ok(Output::Save),
        "xml" => Err(not_enforced("xml", text)),
        _ => Err(SetLineError {
            kind: SetLineErrorKind::OutputMode { text: text.to_owned() },
            word: Some(text.to_owned()),
        }),
    }
}

fn not_enforced(option: &str, word: &str) -> SetLineError {
    let kind = SetLineErrorKind::NotEnforced { option: option.to_owned() };
    SetLineError { kind, word: Some(word.to_owned()) }
}
