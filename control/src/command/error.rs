//! What can be wrong with a command line, said as iptables says it, with the place.

use crate::rule::{
    Family, InterfaceError, InvalidRule, IpNetError, PatternError, PortRangeError, TimeError,
    U32Error,
};
use crate::ruleset::RuleError;

use super::refusal::visible;
use super::value_error::ValueError;
use super::{CHAIN_CHARS_MAX, CommandLine, RULES_PER_COMMAND_MAX};

/// What `iptables -V` prints, and what begins most error messages: the release whose language
/// this is, then ours. Scripts look for the former. [`version_line`] has it of the other programs.
pub const VERSION_LINE: &str = concat!("iptables v1.8.11 (weir ", env!("CARGO_PKG_VERSION"), ")");

/// What `ip6tables -V` prints.
pub const VERSION_LINE_IPV6: &str =
    concat!("ip6tables v1.8.11 (weir ", env!("CARGO_PKG_VERSION"), ")");

/// [`VERSION_LINE`] of another program, `ip6tables` say.
pub fn version_line(program: &str) -> String {
    VERSION_LINE.replacen("iptables", program, 1)
}

/// A longer line is not repeated in an error report; only the word is.
const LINE_CHARS_MAX: usize = 160;

/// Exit status of the `iptables` command (include/xtables.h of iptables).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// The command was understood and failed.
    OtherProblem = 1,
    /// The command line is wrong, or asks for what Weir does not enforce.
    ParameterProblem = 2,
    /// No such table; or client and daemon of different releases.
    VersionProblem = 3,
    /// A limit was reached, or the daemon could not be asked.
    ResourceProblem = 4,
}

impl ExitStatus {
    /// For [`std::process::exit`].
    pub fn code(self) -> u8 {
        match self {
            Self::OtherProblem => 1,
            Self::ParameterProblem => 2,
            Self::VersionProblem => 3,
            Self::ResourceProblem => 4,
        }
    }
}

/// Where on the command line. Columns count characters of the line `iptables WORD WORD…` with
/// single blanks, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which argument, from 1; the program's name is not one.
    pub argument: usize,
    /// Its first offending character.
    pub column: usize,
    /// How many characters offend, at least 1.
    pub width: usize,
}

/// A command line that was refused. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}{}", self.place())]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where; `None` if something is missing from the whole line.
    pub position: Option<Position>,
    /// The line `iptables WORD WORD…` that the position is in.
    pub line: Box<str>,
    /// By whose program it was read.
    pub family: Family,
}

/// What is wrong. The texts are those of iptables where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum ParseErrorKind {
    #[error("no command specified")]
    NoCommand,
    #[error("Cannot use -{new} with -{old}")]
    CommandConflict { new: char, old: char },
    #[error("option \"{option}\" requires an argument")]
    MissingValue { option: String },
    #[error("unknown option \"{option}\"")]
    UnknownOption { option: String },
    #[error("Bad argument `{word}'")]
    BadArgument { word: String, after_negation: bool },
    #[error("unknown arguments found on commandline")]
    TrailingArguments,
    #[error("multiple -{option} flags not allowed")]
    Repeated { option: char },
    #[error("Illegal option `-{option}' with this command")]
    IllegalOption { option: char },
    #[error("unexpected '!' flag")]
    NegatedCommand,
    #[error("cannot have ! before -{option}")]
    NegatedOption { option: char },
    #[error("cannot have ! before --{option}")]
    NegatedLongOption { option: &'static str },
    #[error("multiple consecutive ! not allowed")]
    DoubleNegation,
    #[error("nothing appropriate following !")]
    DanglingNegation,
    #[error("Invalid rule number `{number}'")]
    RuleNumber { number: String },
    #[error("-{command} requires a rule number")]
    RuleNumberMissing { command: char },
    #[error("-P requires a chain and a policy")]
    PolicyMissing,
    #[error("-E requires old-chain-name and new-chain-name")]
    RenameMissing,
    #[error("-c requires packet and byte counter")]
    CountersMissing,
    #[error("-c {counter} counter not numeric")]
    CounterNumber { counter: &'static str },
    #[error("chain name not allowed to start with `{with}'")]
    ChainBegins { with: char },
    #[error("chain name may not clash with target name")]
    ChainIsTarget,
    #[error("Invalid chain name `{chain}'")]
    ChainName { chain: String },
    #[error("The -t option cannot be used in {program}-restore.")]
    TableInRestore { program: &'static str },
    #[error("goto '{name}' is not a chain")]
    GotoNoChain { name: String },
    #[error("Invalid target name `{name}'")]
    TargetName { name: String },
    #[error("Bad policy name. Run `dmesg' for more information.")]
    PolicyName { policy: String },
    #[error("chain name `{chain}' too long (must be under {} chars)", CHAIN_CHARS_MAX + 1)]
    ChainTooLong { chain: String },
    #[error("No chain/target/match by that name.")]
    NoSuchChain { chain: String },
    #[error("Bad built-in chain name.")]
    NoSuchPolicyChain { chain: String },
    #[error("chain {chain} is not enforced by Weir with host = \"kernel\"")]
    HostChain { chain: String },
    #[error("Can't use -{option} with {chain}")]
    InterfaceOfChain { option: char, chain: &'static str },
    #[error("can't initialize {program} table `{table}': Table does not exist{}", insmod(table))]
    Table { program: &'static str, table: String },
    #[error("unknown protocol \"{protocol}\" specified")]
    Protocol { protocol: String },
    #[error(transparent)]
    Address(IpNetError),
    #[error("! not allowed with multiple source or destination IP addresses")]
    NegatedList,
    #[error("Replacement rule does not specify a unique address")]
    ReplacementList,
    #[error(
        "the comma lists of this line make {rules} rules; at most {RULES_PER_COMMAND_MAX} are allowed in one command"
    )]
    ListTooLong { rules: usize },
    #[error(transparent)]
    Interface(InterfaceError),
    #[error("invalid port/service `{port}' specified")]
    TcpPort { port: String },
    #[error("Port \"{port}\" does not resolve to anything.")]
    UdpPort { port: String },
    #[error(transparent)]
    PortRange(#[from] PortRangeError),
    #[error("Only one `--{option}' allowed")]
    TcpOptionRepeated { option: &'static str },
    #[error("Port range {first}-{last} is negative.")]
    PortRangeNegative { first: u16, last: u16 },
    #[error("{name}: option \"--{option}\" can only be used once.")]
    OptionRepeated { name: &'static str, option: &'static str },
    #[error("{name}: option \"--{option}\" cannot be inverted.")]
    OptionNotNegatable { name: &'static str, option: &'static str },
    #[error("{name}: Too many components for option \"--{option}\" (max: 2)")]
    OptionComponents { name: &'static str, option: &'static str },
    #[error(
        "{name}: bad value for option \"--{option}\" near \"{near}\", or out of range ({}-{}).",
        range.0, range.1
    )]
    OptionNumber {
        name: &'static str,
        option: &'static str,
        near: Box<str>,
        range: Box<(u64, u64)>,
    },
    #[error("{name}: option \"--{option}\" must be specified")]
    OptionMissing { name: &'static str, option: &'static str },
    #[error("{name}: option \"--{option}\" cannot be used together with \"--{other}\".")]
    OptionConflict { name: &'static str, option: &'static str, other: &'static str },
    #[error("{0}")]
    OptionsMissing(&'static str),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error("{name}: Argument to \"--{option}\" has unexpected characters near \"{near}\".")]
    OptionCharacters { name: &'static str, option: &'static str, near: String },
    #[error(
        "{name}: bad value for option \"--{option}\", neither a valid network mask nor valid CIDR (0-{most})."
    )]
    OptionMask { name: &'static str, option: &'static str, most: u8 },
    #[error("{name}: bad value for option \"--{option}\", or out of range ({least}-{most}).")]
    OptionRange { name: &'static str, option: &'static str, least: u32, most: u32 },
    #[error("getaddrinfo: {reason}")]
    HostName { reason: &'static str },
    #[error("Bad {option} \"{list}\"")]
    CtName { option: &'static str, list: String },
    #[error("\"--state\" requires a list of states with no spaces, e.g. ESTABLISHED,RELATED")]
    StateListEnds,
    #[error("conntrack: Bad value for \"--ctdir\" option: \"{value}\"")]
    CtDirection { value: String },
    #[error("unknown reject type \"{name}\"")]
    RejectType { name: String },
    #[error("log level \"{level}\" unknown")]
    LogLevel { level: String },
    #[error("Argument must have a minimum length of 1 characters")]
    LogPrefixEmpty,
    #[error("Newlines not allowed in --log-prefix")]
    LogPrefixNewline,
    #[error("Bad mode \"{mode}\"")]
    StatisticMode { mode: String },
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("No chain/target/match by that name.")]
    StringAlgorithm { algorithm: String },
    #[error("string: the pattern has a character that stands for bytes which are no text")]
    StringNotText,
    #[error(transparent)]
    Time(#[from] TimeError),
    #[error(transparent)]
    U32(#[from] U32Error),
    #[error(transparent)]
    Incomplete(InvalidRule),
    #[error("Only one of `--syn' or `--tcp-flags'  allowed")]
    TcpFlagsRepeated,
    #[error("--tcp-flags requires two args.")]
    TcpFlagsMissing,
    #[error("Unknown TCP flag `{flag}'")]
    TcpFlag { flag: String },
    #[error("Couldn't load match `{name}':No such file or directory")]
    UnknownMatch { name: String },
    #[error("Couldn't load target `{name}':No such file or directory")]
    UnknownTarget { name: String },
    #[error("Invalid target name (too short)")]
    TargetTooShort,
    #[error("Invalid target name `{name}' ({CHAIN_CHARS_MAX} chars max)")]
    TargetTooLong { name: String },
    #[error("{what} `{name}' is known to iptables, but not yet enforced by Weir")]
    NotEnforced { what: &'static str, name: String },
    #[error("match `{name}' has no meaning with -{command}, which takes no rule")]
    MatchWithoutRule { name: String, command: char },
    #[error("Invalid argument: {0}")]
    Rule(#[from] InvalidRule),
    #[error(transparent)]
    NeverMatches(InvalidRule),
    #[error("wait seconds not numeric")]
    WaitSeconds,
    #[error("--wait-interval only makes sense with --wait")]
    WaitIntervalAlone,
    #[error("-{} asks for rules of {family}", super::options::family_letter(*family))]
    OtherFamily { family: Family },
    #[error("`-f' is not supported in IPv6, use -m frag instead")]
    NoFragments,
}

/// iptables guesses at a missing kernel module; with a table that exists elsewhere we know better.
fn insmod(table: &str) -> &'static str {
    if super::known::is_table(table) { "" } else { " (do you need to insmod?)" }
}

impl ParseErrorKind {
    /// How `iptables` exits.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::PolicyName { .. }
            | Self::NoSuchChain { .. }
            | Self::NoSuchPolicyChain { .. }
            | Self::StringAlgorithm { .. }
            | Self::Time(TimeError::BeforeEpoch) => ExitStatus::OtherProblem,
            Self::Rule(error) if error.is_left_to_the_kernel() => ExitStatus::OtherProblem,
            Self::Table { .. } => ExitStatus::VersionProblem,
            Self::ListTooLong { .. } => ExitStatus::ResourceProblem,
            _ => ExitStatus::ParameterProblem,
        }
    }

    /// Whether it is about a chain of the machine itself.
    pub(crate) fn is_host_chain(&self) -> bool {
        matches!(self, Self::HostChain { .. })
    }

    /// Whether it is an option for rules of the other family.
    pub(crate) fn is_of_other_family(&self) -> bool {
        matches!(self, Self::OtherFamily { .. })
    }
}

impl ParseError {
    fn place(&self) -> String {
        let place = |position: Position| {
            format!(" (argument {}, column {})", position.argument, position.column)
        };
        self.position.map(place).unwrap_or_default()
    }

    /// The whole message for a terminal: what, where, why, in several lines.
    ///
    /// ```text
    /// iptables v1.8.11 (weir 0.1.0): unknown option "--nope"
    ///   iptables -A FORWARD --nope
    ///                       ^^^^^^ argument 3, column 21
    /// Try `iptables -h' or 'iptables --help' for more information.
    /// ```
    pub fn report(&self) -> String {
        let program = self.family.program();
        let mut report = self.message(program);
        if self.kind.exit_status() == ExitStatus::ParameterProblem {
            let advice = format!("Try `{program} -h' or '{program} --help' for more information.");
            report.push_str(&format!("\n{advice}"));
        }
        report
    }

    /// As [`Self::report`], of this program, without the advice at the end.
    pub(crate) fn message(&self, program: &str) -> String {
        let kind = &self.kind;
        let what = kind.to_string();
        let what = visible(&what);
        let mut report = match (kind, kind.exit_status()) {
            (ParseErrorKind::BadArgument { .. }, _) => what.into_owned(),
            (_, ExitStatus::OtherProblem) => format!("{program}: {what}"),
            _ => format!("{}: {what}", version_line(program)),
        };
        if let Some(position) = self.position {
            let Position { argument, column, width } = position;
            if self.line.chars().count() <= LINE_CHARS_MAX {
                let blank = " ".repeat(column - 1);
                let caret = "^".repeat(width);
                report.push_str(&format!("\n  {}\n  {blank}{caret}", self.line));
                report.push_str(&format!(" argument {argument}, column {column}"));
            } else {
                let word: String =
                    self.line.chars().skip(column - 1).take(width.min(LINE_CHARS_MAX)).collect();
                report.push_str(&format!("\n  argument {argument}, column {column}: {word}"));
            }
        }
        if let Some(hint) = kind.hint(self.family) {
            report.push_str(&format!("\n  {hint}"));
        }
        report
    }
}

impl CommandLine {
    /// What to print when the daemon has not got the chain that the line is about; `None` for other
    /// errors, which are about no word.
    pub fn locate(&self, error: &RuleError) -> Option<String> {
        let kind = match error {
            RuleError::NoSuchChain { chain } => {
                ParseErrorKind::NoSuchChain { chain: chain.clone() }
            }
            RuleError::NoPolicy { chain } => {
                ParseErrorKind::NoSuchPolicyChain { chain: chain.to_string() }
            }
            RuleError::NoSuchSet { name } => {
                ValueError::NoSuchSet { name: name.to_string() }.into()
            }
            RuleError::SetFamily { name, family } => {
                ValueError::SetFamily { name: name.to_string(), family: *family }.into()
            }
            _ => return None,
        };
        // The line may ask for several sets; the message says which.
        let of_set = matches!(error, RuleError::NoSuchSet { .. } | RuleError::SetFamily { .. });
        let position = self.chain.filter(|_| !of_set);
        let line = self.line.as_str().into();
        Some(ParseError { kind, position, line, family: self.family }.report())
    }
}
