//! What can be wrong with a set's command, in the words of ipset where it has them.

use serde::{Deserialize, Serialize};

use super::line::SET_VERSION_LINE;
use super::spec::family_word;
use super::{SET_COMMENT_BYTES_MAX, SET_ENTRIES_MAX, SETS_MAX, SetKind, SetName, SetNameError};
use crate::rule::Family;

/// Why a change, or a question, was refused: what the kernel says to ipset (lib/errcode.c there).
/// Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum SetError {
    #[error("The set with the given name does not exist")]
    NoSuchSet { name: String },
    #[error("Set cannot be created: set with the same name already exists")]
    Exists { name: SetName },
    #[error("Set cannot be destroyed: it is in use by a kernel component")]
    InUse { name: SetName, rules: usize, lists: usize },
    #[error("Set cannot be renamed: it is in use by another system")]
    RenameInUse { name: SetName },
    #[error("Set cannot be renamed: a set with the new name already exists")]
    RenameExists { name: SetName },
    #[error("Sets cannot be swapped: the second set does not exist")]
    NoSecondSet { name: SetName },
    #[error("The sets cannot be swapped: their type does not match")]
    SwapKinds { name: SetName, with: SetName },
    #[error("Element cannot be added to the set: it's already added")]
    Added { entry: String },
    #[error("Element cannot be deleted from the set: it's not added")]
    NotAdded { entry: String },
    #[error("Hash is full, cannot add more elements")]
    Full { name: SetName, maxelem: u32 },
    #[error(
        "all sets together have {SET_ENTRIES_MAX} entries, which is Weir's limit: delete some, or join them into nets"
    )]
    TooManyEntries,
    #[error("there are {SETS_MAX} sets, which is Weir's limit: destroy some")]
    TooManySets,
    #[error("Null-valued element, cannot be stored in a hash type of set")]
    Null,
    #[error("Kernel error received: Invalid argument")]
    NullAddress,
    #[error("The value of the CIDR parameter of the IP address is invalid")]
    Length,
    #[error("Invalid range, covers the whole address space")]
    WholeSpace,
    #[error("Timeout cannot be used: set was created without timeout support")]
    NoTimeout,
    #[error("Comment cannot be used: set was created without comment support")]
    NoComment,
    #[error("Set to be added/deleted/tested as element does not exist.")]
    NoSuchMember { name: SetName },
    #[error("Sets with list:set type cannot be added to the set.")]
    MemberIsList { name: SetName },
    #[error("The set to which you referred with 'before' or 'after' does not exist.")]
    NoSuchBeside { name: SetName },
    #[error("The set to which you referred with 'before' or 'after' is not added to the set.")]
    BesideNotAdded { name: SetName },
    #[error("the set was destroyed or flushed while it was listed: list it again")]
    ListedNoMore,
    /// What only a client other than `weirctl` sends.
    #[error("{reason}")]
    Malformed { reason: String },
}

impl SetError {
    /// What to do about it, where ipset's words do not say.
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::InUse { name, rules, lists } => Some(format!(
                "{rules} rules and {lists} lists refer to {name}: delete them first; to replace what \
                 is in it, fill another set and swap the two"
            )),
            Self::RenameInUse { name } => {
                Some(format!("rules or lists refer to {name}; `swap' changes what it stands for"))
            }
            Self::Full { name, maxelem } => Some(format!(
                "{name} was created with maxelem {maxelem}: create a larger one, fill it and swap the two"
            )),
            _ => None,
        }
    }
}

/// A command line, or a line of a saved file, that was refused. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct SetLineError {
    /// What is wrong.
    pub kind: SetLineErrorKind,
    /// The word that it is about.
    pub word: Option<String>,
}

/// What is wrong with a line. The texts are those of ipset where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum SetLineErrorKind {
    #[error("No command specified.")]
    NoCommand,
    #[error("No command specified: unknown argument {text}")]
    UnknownCommand { text: String },
    #[error("Missing mandatory argument to command {command}")]
    FirstMissing { command: &'static str },
    #[error("Missing second mandatory argument to command {command}")]
    EntryOrTypeMissing { command: &'static str },
    #[error("Missing second mandatory argument to command add")]
    EntryMissing,
    #[error("Missing mandatory argument of option `{option}'")]
    ValueMissing { option: String },
    #[error("Missing mandatory argument to option {option}")]
    OptionValueMissing { option: String },
    #[error("Unknown argument: `{text}'")]
    UnknownArgument { text: String },
    #[error("Unknown argument {text}")]
    TrailingArgument { text: String },
    #[error("Syntax error: unknown output mode '{text}'")]
    OutputMode { text: String },
    #[error("Command `{command}' is invalid in restore mode.")]
    NotInRestore { command: &'static str },
    #[error("`{option}' is not enforced by this version of Weir")]
    NotEnforced { option: String },
    #[error("Syntax error: {option} already specified")]
    Repeated { option: String },
    #[error(transparent)]
    Name(#[from] SetNameError),
    #[error("Syntax error: typename '{text}' is unknown")]
    TypeName { text: String },
    #[error("settype {text} is not enforced by this version of Weir")]
    TypeNotEnforced { text: String },
    #[error("Syntax error: unknown inet family {text}")]
    Family { text: String },
    #[error("Syntax error: '{text}' is invalid as number")]
    NotANumber { text: String },
    #[error("Syntax error: '{text}' is out of range {least}-{most}")]
    OutOfRange { text: String, least: u32, most: u32 },
    #[error("Syntax error: cannot parse {text}: resolving to {family} address failed")]
    Address { text: String, family: Family },
    #[error("Syntax error: plain IP address must be supplied: {text}")]
    PlainAddress { text: String },
    #[error("Syntax error: IP address or IP/cidr must be specified: {text}")]
    AddressOrNet { text: String },
    #[error("Syntax error: Elem separator in {text}, but settype {kind} supports none.")]
    Separator { text: String, kind: SetKind },
    #[error("Syntax error: Two elem separators in {text}, but settype {kind} supports one.")]
    TwoSeparators { text: String, kind: SetKind },
    #[error("Syntax error: Second element is missing from {text}.")]
    SecondMissing { text: String },
    #[error("cannot parse '{text}' as a {protocol} port")]
    Port { text: String, protocol: String },
    #[error("Syntax error: cannot parse '{text}' as a protocol")]
    Protocol { text: String },
    #[error("Invalid protocol specified")]
    NoProtocol,
    #[error("Syntax error: Protocol ICMPv6 can be used with family inet6 only")]
    Icmpv6,
    #[error("Syntax error: Protocol ICMP can be used with family inet only")]
    Icmp,
    #[error("Syntax error: Protocol {protocol} can be used with pseudo port value 0 only.")]
    PseudoPort { protocol: String },
    #[error("Cannot parse {text} as an {} type/code.", icmp_of(*family))]
    IcmpType { text: String, family: Family },
    #[error("you must specify elements as setname,[before|after],setname")]
    BesideForm,
    #[error("Syntax error: mixed syntax, before|after option already used")]
    BesideTwice,
    #[error("Syntax error: \" character is not permitted in comments")]
    CommentQuote,
    #[error(
        "Syntax error: Comment is longer than the maximum allowed {SET_COMMENT_BYTES_MAX} characters"
    )]
    CommentTooLong,
    #[error(
        "control characters are not permitted in comments: a saved set could not be read again"
    )]
    CommentControl,
    #[error(
        "{what} is not allowed in command test with set type {kind} and family {}",
        family_word(*family)
    )]
    NotTested { what: &'static str, kind: SetKind, family: Family },
    #[error("the line has {bytes} bytes, and at most {} are read", super::restore::LINE_BYTES_MAX)]
    LineTooLong { bytes: usize },
    #[error("the line is no UTF-8 text")]
    NotText,
    #[error("a quote is opened and not closed")]
    QuoteOpen,
    #[error("{0}")]
    Refused(SetError),
}

fn icmp_of(family: Family) -> &'static str {
    match family {
        Family::V4 => "ICMP",
        Family::V6 => "ICMPv6",
    }
}

impl SetLineErrorKind {
    /// How ipset exits: 2 where the command line itself is wrong, else 1.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::NoCommand
            | Self::UnknownCommand { .. }
            | Self::FirstMissing { .. }
            | Self::EntryOrTypeMissing { .. }
            | Self::EntryMissing
            | Self::ValueMissing { .. }
            | Self::OptionValueMissing { .. }
            | Self::UnknownArgument { .. }
            | Self::TrailingArgument { .. }
            | Self::NotInRestore { .. }
            | Self::NotEnforced { .. } => 2,
            _ => 1,
        }
    }

    fn remedy(&self) -> Option<String> {
        let remedy = match self {
            Self::NotEnforced { option } => match option.as_str() {
                "counters" | "packets" | "bytes" => {
                    "entries keep no count; the rule that asks for the set does (`iptables -L -v')"
                }
                "resolve" => "Weir asks no name server: addresses are printed in digits",
                "xml" => "use `weirctl --json set list'",
                "forceadd" => "a full set refuses new entries; create it with a larger maxelem",
                "quit" => "Weir has no interactive mode; `restore' reads many lines",
                _ => "leave it out, if the set is meant without it",
            },
            Self::TypeNotEnforced { .. } | Self::TypeName { .. } => {
                "types are hash:ip, hash:net, hash:ip,port and list:set"
            }
            Self::Address { family: Family::V6, .. } => {
                "write it as 2001:db8::1: Weir asks no name server, since a set must not depend on \
                 its answer; what is IPv4 goes into a set of its own, without `family inet6'"
            }
            Self::PlainAddress { .. } => "for nets of IPv6 there is hash:net",
            Self::AddressOrNet { .. } => {
                "a set of IPv6 takes no ranges: add the nets that it is made of"
            }
            Self::Address { family: Family::V4, .. } => {
                "write four numbers, as 192.0.2.1, alone, as 192.0.2.0/24, or as \
                 192.0.2.1-192.0.2.9: Weir asks no name server, since a set must not depend on its answer"
            }
            Self::Port { .. } => {
                "write [tcp:|udp:|sctp:|udplite:]PORT[-PORT], icmp:TYPE/CODE, or PROTOCOL:0; a name \
                 with a dash stands between brackets: [ftp-data]"
            }
            Self::OutputMode { text } if text == "json" => {
                "use `weirctl --json set list', which prints a line for each set and each entry"
            }
            Self::NotInRestore { command: "list" | "save" | "test" } => {
                "Weir carries out a file as one change: ask before it, or after it"
            }
            Self::Refused(error) => return error.remedy(),
            _ => return None,
        };
        Some(remedy.to_owned())
    }
}

impl SetLineError {
    /// The whole message for a terminal.
    pub fn report(&self) -> String {
        let mut report = format!("{SET_VERSION_LINE}: {}", self.detail());
        if self.kind.exit_status() == 2 {
            report.push_str("\nTry `ipset help' for more information.");
        }
        report
    }

    /// What is wrong, the word, and what to do, without the program's name.
    pub fn detail(&self) -> String {
        let mut report = self.kind.to_string();
        if let Some(word) = self.word.as_ref().filter(|word| !report.contains(word.as_str())) {
            report.push_str(&format!("\n  at `{}'", word.escape_debug()));
        }
        if let Some(remedy) = self.kind.remedy() {
            report.push_str(&format!("\n  {remedy}"));
        }
        report
    }
}

impl From<SetError> for SetLineError {
    fn from(error: SetError) -> Self {
        Self { kind: SetLineErrorKind::Refused(error), word: None }
    }
}
