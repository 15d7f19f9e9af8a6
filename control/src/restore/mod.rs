//! Saved rule sets: what iptables-restore and ip6tables-restore read.
//!
//! ```text
//!   # a comment
//!   *filter                              a table begins: all its rules and chains go, unless --noflush
//!   :FORWARD DROP [3:180]                the policy of a built-in chain, and what it has counted
//!   :web - [0:0]                         a user-defined chain, empty
//!   [1:60] -A FORWARD -p tcp -j web      counters, and a command line as `iptables` takes it
//!   COMMIT                               all of the table's commands, or none
//! ```
//!
//! The text is read as iptables/iptables-restore.c of iptables 1.8.11 reads it, with one difference: it
//! reads and carries out table by table, so that a mistake in a later table leaves the earlier ones
//! changed. Here the whole text is read before anything is done: **one bad line, and nothing changes**.

mod line;

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};

use crate::command::{
    CHAIN_CHARS_MAX, ChainName, Command, CommandLine, Context, ExitStatus, ParseError, Parsed,
    Transaction, is_host_chain, is_table, parse_in, version_line, visible,
};
use crate::rule::{Family, Names, Table};
use crate::ruleset::{Counters, Policy};

/// The longest line in bytes, its end included, as in iptables.
pub const LINE_BYTES_MAX: usize = 10_239;

/// How a saved rule set is to be read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whose rules they are.
    pub family: Family,
    /// `-c`: counters are taken over.
    pub counters: bool,
    /// `-n`: what is there stays, but for chains that the text declares.
    pub noflush: bool,
    /// `-T`: only this table; the others are passed over without a word.
    pub table: Option<String>,
    /// Leave out all tables but filter, and say so.
    pub filter_only: bool,
    /// Leave out tables that Weir has not, and say so.
    pub known_only: bool,
    /// Leave out rules and policies of INPUT and OUTPUT, and say so.
    pub forward_only: bool,
}

/// What a saved rule set comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What to send, in order: one for each COMMIT.
    pub tables: Vec<PlannedTable>,
    /// What was left out, and what iptables warns about.
    pub remarks: Vec<Remark>,
}

/// One table of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlannedTable {
    /// Its commands.
    pub transaction: Transaction,
    /// The line of each command; and last that of COMMIT.
    pub lines: Vec<usize>,
}

/// Something to tell about a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// What to tell.
    pub text: String,
}

/// Why a saved rule set was refused. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {kind}")]
pub struct RestoreError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: RestoreErrorKind,
    /// By whose program it was read.
    pub family: Family,
    /// Whether the line ends in a carriage return, which is then part of its last word.
    pub carriage_return: bool,
}

/// What is wrong. The texts are those of iptables where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum RestoreErrorKind {
    #[error(transparent)]
    Command(Box<ParseError>),
    #[error("the line has {bytes} bytes, and at most {LINE_BYTES_MAX} are read")]
    LineTooLong { bytes: usize },
    #[error("the line is no UTF-8 text, or has a byte of zeros in it")]
    NotText,
    #[error("no table has begun: a line `*filter' is missing before it")]
    OutsideTable,
    #[error("table name invalid")]
    TableMissing,
    #[error("unable to initialize table '{table}'")]
    Table { table: String },
    #[error("chain name invalid")]
    ChainMissing,
    #[error("Invalid chain name `{chain}' ({CHAIN_CHARS_MAX} chars max)")]
    ChainTooLong { chain: String },
    #[error("Invalid chain name `{chain}'")]
    ChainName { chain: String },
    #[error("policy invalid")]
    PolicyMissing,
    #[error("invalid policy counters for chain '{chain}'")]
    PolicyCounters { chain: String },
    #[error("Can't set policy `{policy}' on `{chain}': Bad built-in chain name")]
    PolicyOfUserChain { chain: String, policy: String },
    #[error("Can't set policy `{policy}' on `{chain}': Bad policy name")]
    PolicyName { chain: String, policy: String },
    #[error("policy {policy} of chain {chain} is not enforced by Weir with host = \"kernel\"")]
    HostPolicy { chain: String, policy: String },
    #[error("Bad line: need {missing}")]
    Counters { missing: char },
    #[error("COMMIT expected")]
    CommitMissing,
    #[error("a listing in the middle of a saved rule set would show what is not in force")]
    Listing,
}

impl RestoreErrorKind {
    /// How iptables-restore exits.
    pub fn exit_status(&self) -> ExitStatus {
        match self {
            Self::Command(error) => error.kind.exit_status(),
            Self::OutsideTable
            | Self::CommitMissing
            | Self::PolicyOfUserChain { .. }
            | Self::PolicyName { .. } => ExitStatus::OtherProblem,
            _ => ExitStatus::ParameterProblem,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Table { table } if is_table(table) => {
                "Weir has the tables filter and raw only; --filter-only loads table filter and lists \
                 what it leaves out, -T raw loads table raw"
            }
            Self::Table { .. } => "neither iptables nor Weir has that table",
            Self::HostPolicy { .. } => {
                "packets from or to the firewall itself go through the kernel and never meet Weir; \
                 --forward-only loads the rest and lists what it leaves out; with host = \
                 \"firewalled\" in its configuration Weir enforces the chain"
            }
            Self::Command(error) if error.kind.is_host_chain() => {
                "--forward-only loads the rest and lists what it leaves out"
            }
            Self::CommitMissing => "the file ends before its table does: is it whole?",
            Self::Listing => "use `iptables -L' or `iptables-save' by itself",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

impl RestoreError {
    /// The whole message for a terminal.
    pub fn report(&self) -> String {
        let program = format!("{}-restore", self.family.program());
        let mut report = match &self.kind {
            RestoreErrorKind::Command(error) => error.message(&program),
            kind => format!("{}: {}", version_line(&program), visible(&kind.to_string())),
        };
        if self.carriage_return {
            report.push_str(
                "\n  the line ends in a carriage return, as lines do on Windows: without them \
                 (tr -d '\\r') the file may well be right",
            );
        } else if let Some(hint) = self.kind.hint() {
            report.push_str(&format!("\n  {hint}"));
        }
        report.push_str(&format!("\nError occurred at line: {}; nothing was changed\n", self.line));
        report.push_str(&format!("Try `{program} -h' or '{program} --help' for more information."));
        report
    }
}

/// Reads a saved rule set. `chains` names the chains that there are already in a table; it is asked at most once of
/// each, with [`Options::noflush`] or where INPUT or OUTPUT is named.
///
/// # Errors
/// The first line that is wrong.
pub fn read(
    text: &[u8],
    options: &Options,
    names: &Names,
    chains: impl Fn(Table) -> Vec<ChainName>,
) -> Result<Plan, RestoreError> {
    let mut reader = Reader {
        options,
        names,
        before: RefCell::default(),
        ask: &chains,
        chains: BTreeMap::new(),
        plan: Plan::default(),
    };
    let family = options.family;
    let (mut place, mut last) = (Place::Outside, 0);
    // Like fgets, which gives no line after the last end of line.
    for (index, bytes) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        last = index + 1;
        let read = reader.line(bytes, last, place);
        let carriage_return = bytes.ends_with(b"\r\n");
        place = read.map_err(|kind| RestoreError { line: last, kind, family, carriage_return })?;
    }
    match place {
        Place::Table(_) => {
            let kind = RestoreErrorKind::CommitMissing;
            Err(RestoreError { line: last + 1, kind, family, carriage_return: false })
        }
        Place::Outside | Place::LeftOut(_) => Ok(reader.plan),
    }
}

/// Where in the text a line stands.
enum Place {
    Outside,
    /// In a table that Weir has.
    Table(PlannedTable),
    /// In a table that is passed over.
    LeftOut(LeftOut),
}

struct LeftOut {
    table: String,
    line: usize,
    commands: usize,
    /// Whether to tell of it.
    told: bool,
}

struct Reader<'a> {
    options: &'a Options,
    names: &'a Names,
    /// All chains of each table before the first line, as soon as they have been asked for.
    before: RefCell<BTreeMap<Table, Vec<ChainName>>>,
    ask: &'a dyn Fn(Table) -> Vec<ChainName>,
    /// User-defined chains so far, of each table that has begun.
    chains: BTreeMap<Table, BTreeSet<ChainName>>,
    plan: Plan,
}

impl Reader<'_> {
    fn before(&self, table: Table) -> RefMut<'_, Vec<ChainName>> {
        RefMut::map(self.before.borrow_mut(), |before| {
            before.entry(table).or_insert_with(|| (self.ask)(table))
        })
    }

    /// Whether a chain of the machine itself is there, and not to be left out.
    fn takes_host_chain(&self, table: Table, name: &str) -> bool {
        let is_there = || self.before(table).iter().any(|chain| chain.as_str() == name);
        !self.options.forward_only && is_there()
    }

    fn line(
        &mut self,
        bytes: &[u8],
        number: usize,
        place: Place,
    ) -> Result<Place, RestoreErrorKind> {
        if bytes.len() > LINE_BYTES_MAX {
            return Err(RestoreErrorKind::LineTooLong { bytes: bytes.len() });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RestoreErrorKind::NotText)?;
        if text.contains('\0') {
            return Err(RestoreErrorKind::NotText);
        }
        if text == "\n" || text.starts_with('#') {
            return Ok(place);
        }
        match place {
            Place::Outside => match text.strip_prefix('*') {
                Some(rest) => self.begin(rest, number),
                None => Err(RestoreErrorKind::OutsideTable),
            },
            Place::LeftOut(left_out) => Ok(self.pass_over(text, left_out)),
            Place::Table(mut table) if text == "COMMIT\n" => {
                table.lines.push(number);
                self.plan.tables.push(table);
                Ok(Place::Outside)
            }
            Place::Table(mut table) => {
                let its = table.transaction.table;
                let commands = match text.strip_prefix(':') {
                    Some(rest) => self.chain(its, rest, number)?,
                    None => self.command(its, text, number)?,
                };
                table.lines.extend(commands.iter().map(|_| number));
                table.transaction.commands.extend(commands);
                Ok(Place::Table(table))
            }
        }
    }

    fn begin(&mut self, rest: &str, line: usize) -> Result<Place, RestoreErrorKind> {
        let name = line::words(rest).next().ok_or(RestoreErrorKind::TableMissing)?;
        let passed_over = self.options.table.as_ref().is_some_and(|wanted| wanted != name);
        let Options { filter_only, known_only, .. } = *self.options;
        let known = Table::named(name);
        let wanted = known.filter(|table| *table == Table::Filter || !filter_only);
        let left_out = match known {
            Some(_) => wanted.is_none(),
            None => (filter_only || known_only) && is_table(name),
        };
        if passed_over || left_out {
            let table = name.to_owned();
            return Ok(Place::LeftOut(LeftOut { table, line, commands: 0, told: !passed_over }));
        }
        let Some(table) = wanted else {
            return Err(RestoreErrorKind::Table { table: name.to_owned() });
        };
        if !self.options.noflush {
            self.chains.insert(table, BTreeSet::new());
        } else if !self.chains.contains_key(&table) {
            let user_defined = |chain: &&ChainName| !chain.is_reserved(table);
            let before = self.before(table).iter().filter(user_defined).cloned().collect();
            self.chains.insert(table, before);
        }
        let flush = !self.options.noflush;
        let transaction = Transaction { table, flush, commands: Vec::new() };
        Ok(Place::Table(PlannedTable { transaction, lines: Vec::new() }))
    }

    fn pass_over(&mut self, text: &str, mut left_out: LeftOut) -> Place {
        if text != "COMMIT\n" {
            left_out.commands += usize::from(!text.starts_with(':'));
            return Place::LeftOut(left_out);
        }
        if left_out.told {
            let LeftOut { table, line, commands, .. } = left_out;
            let text = format!("table {table} is left out, with {commands} rules");
            self.plan.remarks.push(Remark { line, text });
        }
        Place::Outside
    }

    /// `:CHAIN POLICY [PACKETS:BYTES]`
    fn chain(
        &mut self,
        table: Table,
        rest: &str,
        number: usize,
    ) -> Result<Vec<Command>, RestoreErrorKind> {
        let mut words = line::words(rest);
        let name = words.next().ok_or(RestoreErrorKind::ChainMissing)?;
        let chain = name.to_owned();
        if name.len() > CHAIN_CHARS_MAX {
            return Err(RestoreErrorKind::ChainTooLong { chain });
        }
        let policy = words.next().ok_or(RestoreErrorKind::PolicyMissing)?;
        let counters = words.next();
        let built_in = table.built_in().contains(&name);
        let counted = match counters.and_then(line::policy_counters) {
            Some(counted) => counted,
            None if policy != "-" && self.options.counters => {
                return Err(RestoreErrorKind::PolicyCounters { chain });
            }
            None => Counters::default(),
        };
        let declared = match name.parse::<ChainName>() {
            Ok(name) if built_in || !name.is_reserved(table) => name,
            _ => return Err(RestoreErrorKind::ChainName { chain }),
        };
        if policy != "-" && !built_in {
            let policy = policy.to_owned();
            return Err(RestoreErrorKind::PolicyOfUserChain { chain, policy });
        }
        let value = match policy {
            "-" => None,
            "ACCEPT" => Some(Policy::Accept),
            "DROP" => Some(Policy::Drop),
            _ => return Err(RestoreErrorKind::PolicyName { chain, policy: policy.to_owned() }),
        };
        if is_host_chain(table, name) && !self.takes_host_chain(table, name) {
            return self.host_policy(name, value, number).map(|()| Vec::new());
        }
        if !built_in {
            self.chains.entry(table).or_default().insert(declared.clone());
            return Ok(vec![Command::DeclareChain { chain: declared }]);
        }
        let counters = Some(counted).filter(|_| self.options.counters);
        let set = value.map(|policy| Command::Policy { chain: declared, policy, counters });
        Ok(set.into_iter().collect())
    }

    /// A chain that Weir has not, and that accepts what Weir never sees, is as good as none.
    fn host_policy(
        &mut self,
        chain: &str,
        policy: Option<Policy>,
        line: usize,
    ) -> Result<(), RestoreErrorKind> {
        let Some(policy) = policy.filter(|policy| *policy != Policy::Accept) else { return Ok(()) };
        let (chain, policy) = (chain.to_owned(), policy.name().to_owned());
        if !self.options.forward_only {
            return Err(RestoreErrorKind::HostPolicy { chain, policy });
        }
        let text = format!("policy {policy} of chain {chain} is left out");
        self.plan.remarks.push(Remark { line, text });
        Ok(())
    }

    /// A command line, with counters before it or not.
    fn command(
        &mut self,
        table: Table,
        text: &str,
        number: usize,
    ) -> Result<Vec<Command>, RestoreErrorKind> {
        let (counters, rest) =
            line::rule_counters(text).map_err(|missing| RestoreErrorKind::Counters { missing })?;
        let mut arguments = Vec::new();
        if let Some((packets, bytes)) = counters.filter(|_| self.options.counters) {
            arguments.extend(["--set-counters", packets, bytes].map(str::to_owned));
        }
        arguments.extend(line::arguments(rest));
        let is_user_defined = |table, name: &ChainName| {
            self.chains.get(&table).is_some_and(|chains| chains.contains(name))
        };
        let is_chain = |table, name: &str| match is_host_chain(table, name) {
            true => self.takes_host_chain(table, name),
            false => name.parse().is_ok_and(|name| is_user_defined(table, &name)),
        };
        let Self { names, options: Options { family, .. }, .. } = *self;
        let family = *family;
        let context = Context { names, table, is_chain: &is_chain, restoring: true, family };
        let line = match parse_in(&arguments, context) {
            Ok(Parsed::Command(line)) => line,
            Ok(Parsed::Help | Parsed::Version) => return Err(RestoreErrorKind::Listing),
            // One text may be for both programs: a line with -4 or -6 is for one of them.
            Err(error) if error.kind.is_of_other_family() => return Ok(Vec::new()),
            Err(error) if error.kind.is_host_chain() && self.options.forward_only => {
                let text = format!("left out: {}", text.trim());
                self.plan.remarks.push(Remark { line: number, text });
                return Ok(Vec::new());
            }
            Err(error) => return Err(RestoreErrorKind::Command(Box::new(error))),
        };
        let CommandLine { command, warnings, .. } = *line;
        let remark = |text| Remark { line: number, text };
        self.plan.remarks.extend(warnings.into_iter().map(remark));
        if command.is_listing() {
            return Err(RestoreErrorKind::Listing);
        }
        self.follow(table, &command);
        Ok(vec![command])
    }

    /// Keeps the user-defined chains that the commands so far leave.
    fn follow(&mut self, table: Table, command: &Command) {
        let chains = self.chains.entry(table).or_default();
        match command {
            Command::NewChain { chain } => {
                chains.insert(chain.clone());
            }
            Command::DeleteChain { chain: Some(chain) } => {
                chains.remove(chain);
            }
            Command::DeleteChain { chain: None } => chains.clear(),
            Command::RenameChain { chain, to } => {
                chains.remove(chain);
                chains.insert(to.clone());
            }
            _ => {}
        }
    }
}
