//! `weirctl iptables-restore`, `weirctl ip6tables-restore`, the links of these names, and `weirctl confirm`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use weir_control::client::{Client, ClientError};
use weir_control::command::{ExitStatus, Wait};
use weir_control::protocol::{Failure, Reply, RequestBody};
use weir_control::restore::{Options, Plan, PlannedTable, read};
use weir_control::rule::{Family, Names, Table};

use crate::cli::Restore;
use crate::iptables::{Problem, finish_as, timeout};
use crate::output::{Failed, Output};

/// The longest text that is read: a full rule set has far less.
const TEXT_BYTES_MAX: u64 = 64 << 20;

pub(crate) fn run(
    family: Family,
    socket: Option<&Path>,
    restore: &Restore,
    output: &mut Output,
) -> ExitCode {
    let program = format!("{}-restore", family.program());
    let text = match text(&program, restore.file.as_deref()) {
        Ok(text) => text,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(ExitStatus::OtherProblem.code());
        }
    };
    let options = Options {
        family,
        counters: restore.counters,
        noflush: restore.noflush,
        table: restore.table.clone(),
        filter_only: restore.filter_only,
        known_only: false,
        forward_only: restore.forward_only,
    };
    let names = Names::system();
    // Should the daemon not be reached, the request itself will say so.
    let chains = |table: Table| {
        let all = || table.built_in().iter().filter_map(|name| name.parse().ok()).collect();
        crate::iptables::chain_names(family, table, socket).unwrap_or_else(all)
    };
    let plan = match read(&text, &options, &names, chains) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("{}", error.report());
            return ExitCode::from(error.kind.exit_status().code());
        }
    };
    for remark in &plan.remarks {
        eprintln!("{program}: line {}: {}", remark.line, remark.text);
    }
    match carry_out(plan, (family, socket), restore, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(NotDone::Line { number, reason }) => {
            eprintln!("{program}: line {number} failed: {reason} Nothing was changed.");
            ExitCode::from(ExitStatus::OtherProblem.code())
        }
        Err(NotDone::Problem(problem)) => finish_as(&program, Err(problem)),
    }
}

fn text(program: &str, file: Option<&Path>) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = match file.filter(|path| path.as_os_str() != "-") {
        None => std::io::stdin().lock().take(TEXT_BYTES_MAX + 1).read_to_end(&mut text),
        Some(path) => std::fs::File::open(path)
            .map_err(|error| format!("Can't open {}: {error}", path.display()))?
            .take(TEXT_BYTES_MAX + 1)
            .read_to_end(&mut text),
    };
    match read {
        Err(error) => Err(format!("{program}: cannot read: {error}")),
        Ok(bytes) if bytes as u64 > TEXT_BYTES_MAX => {
            Err(format!("{program}: more than {TEXT_BYTES_MAX} bytes: is this a saved rule set?"))
        }
        Ok(_) => Ok(text),
    }
}

/// Why nothing was changed.
enum NotDone {
    /// The daemon refused a command.
    Line {
        number: usize,
        reason: String,
    },
    Problem(Problem),
}

impl<T: Into<Problem>> From<T> for NotDone {
    fn from(problem: T) -> Self {
        Self::Problem(problem.into())
    }
}

fn carry_out(
    plan: Plan,
    (family, socket): (Family, Option<&Path>),
    restore: &Restore,
    output: &mut Output,
) -> Result<(), NotDone> {
    let mut client = Client::connect(socket)?;
    let wait = restore.wait.map(|seconds| seconds.map_or(Wait::Forever, Wait::Seconds));
    client.set_timeout(timeout(wait)).map_err(|error| Failed::Because(error.to_string()))?;
    let tables = join(plan).into_iter();
    let (transactions, lines): (Vec<_>, Vec<_>) =
        tables.map(|PlannedTable { transaction, lines }| (transaction, lines)).unzip();
    if transactions.is_empty() {
        return Ok(());
    }
    let (dry_run, confirm_s) = (restore.test, restore.confirm);
    let commands: usize = transactions.iter().map(|table| table.commands.len()).sum();
    let reply = client.request(RequestBody::Restore { family, transactions, dry_run, confirm_s });
    match reply {
        Ok(Reply::Done { policy_epoch }) if output.json => {
            let done = serde_json::json!({
                "policy_epoch": policy_epoch, "commands": commands, "dry_run": dry_run,
            });
            Ok(output.json(&done, false)?)
        }
        Ok(Reply::Done { .. }) => {
            if restore.verbose {
                let what = if dry_run { "could be carried out" } else { "are in force" };
                output.text(&format!("{commands} commands {what}\n"))?;
            }
            Ok(())
        }
        Ok(_) => Err(ClientError::UnexpectedReply.into()),
        Err(ClientError::Refused(Failure::Transaction { transaction, command, error })) => {
            let lines = lines.get(transaction).map_or(&[][..], Vec::as_slice);
            let number = lines.get(command).or(lines.last()).copied().unwrap_or(0);
            Err(NotDone::Line { number, reason: error.to_string() })
        }
        Err(error) => Err(error.into()),
    }
}

/// All sections of each table as one, for all together are one change: all of them or none. Where a later section
/// flushes its table, what came before has been for nothing.
fn join(plan: Plan) -> Vec<PlannedTable> {
    let mut tables: Vec<PlannedTable> = Vec::new();
    for table in plan.tables {
        let its = table.transaction.table;
        let place = tables.iter().position(|joined| joined.transaction.table == its);
        let Some(place) = place.filter(|_| !table.transaction.flush) else {
            tables.retain(|joined| joined.transaction.table != its);
            tables.push(table);
            continue;
        };
        let joined = &mut tables[place];
        joined.lines.truncate(joined.transaction.commands.len());
        joined.transaction.commands.extend(table.transaction.commands);
        joined.lines.extend(table.lines);
    }
    tables
}

pub(crate) fn confirm(socket: Option<&Path>, output: &mut Output) -> ExitCode {
    let confirm = |output: &mut Output| -> Result<(), Problem> {
        match Client::connect(socket)?.request(RequestBody::Confirm)? {
            Reply::Done { policy_epoch } if output.json => {
                Ok(output.json(&serde_json::json!({ "policy_epoch": policy_epoch }), false)?)
            }
            Reply::Done { .. } => Ok(()),
            _ => Err(ClientError::UnexpectedReply.into()),
        }
    };
    finish_as("weirctl", confirm(output))
}
