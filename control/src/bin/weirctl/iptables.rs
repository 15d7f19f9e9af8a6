//! `weirctl iptables …`, `weirctl ip6tables …`, and the links of these names.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use weir_control::client::{Client, ClientError};
use weir_control::command::{
    ChainName, Command, CommandLine, Context, ExitStatus, Parsed, Wait, parse_in, version_line,
};
use weir_control::list;
use weir_control::protocol::{Failure, Listing, Reply, RequestBody};
use weir_control::rule::{Family, Names, Rule, Table};
use weir_control::ruleset::RuleError;

use crate::help::help;
use crate::listing;
use crate::output::{Failed, Output};

/// Why the command ended otherwise than well.
pub(crate) enum Problem {
    Output(Failed),
    Client(ClientError),
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        Self::Output(failed)
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

pub(crate) fn run(
    family: Family,
    arguments: &[OsString],
    socket: Option<&Path>,
    confirm_s: Option<u32>,
    output: &mut Output,
) -> ExitCode {
    // Bytes that are no UTF-8 occur in no valid word; the parser will point at them.
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let names = Names::system();
    // A word after -j that is no target may be a chain, and INPUT and OUTPUT may be there. Should
    // the daemon not be reached, the command itself will say so.
    let is_chain = |table, name: &str| {
        chain_names(family, table, socket)
            .is_none_or(|names| names.iter().any(|n| n.as_str() == name))
    };
    let context = Context { is_chain: &is_chain, ..Context::of(family, &names) };
    let version = version_line(family.program());
    let line = match parse_in(&arguments, context) {
        Ok(Parsed::Command(line)) => line,
        Ok(Parsed::Help) => {
            let text = format!("{version}\n\n{}", help(family));
            return finish_as(family.program(), print(output, &text));
        }
        Ok(Parsed::Version) => {
            return finish_as(family.program(), print(output, &format!("{version}\n")));
        }
        Err(error) => {
            eprintln!("{}", error.report());
            return ExitCode::from(error.kind.exit_status().code());
        }
    };
    for warning in &line.warnings {
        eprintln!("{warning}");
    }
    let result = carry_out(&line, (socket, confirm_s), &names, output);
    if let Err(Problem::Client(ClientError::Refused(Failure::Rule(error)))) = &result
        && let Some(report) = line.locate(error)
    {
        eprintln!("{report}");
        let status = match error {
            RuleError::NoSuchSet { .. } | RuleError::SetFamily { .. } => {
                ExitStatus::ParameterProblem
            }
            _ => ExitStatus::OtherProblem,
        };
        return ExitCode::from(status.code());
    }
    finish_as(family.program(), result)
}

/// The names of all chains of a table, if the daemon tells them.
pub(crate) fn chain_names(
    family: Family,
    table: Table,
    socket: Option<&Path>,
) -> Option<Vec<ChainName>> {
    let body = RequestBody::ChainNames { family, table };
    match Client::connect(socket).ok()?.request(body).ok()? {
        Reply::ChainNames(names) => Some(names),
        _ => None,
    }
}

fn print(output: &mut Output, text: &str) -> Result<(), Problem> {
    Ok(output.text(text)?)
}

fn carry_out(
    line: &CommandLine,
    (socket, confirm_s): (Option<&Path>, Option<u32>),
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    let (family, table) = (line.family, line.table);
    // All chains are named by -v, as they were before.
    let chains = match line.verbose {
        true => chain_names(family, table, socket).unwrap_or_default(),
        false => Vec::new(),
    };
    let mut client = Client::connect(socket)?;
    client.set_timeout(timeout(line.wait)).map_err(|error| Failed::Because(error.to_string()))?;
    let request = |client: &mut Client, command: &Command| {
        let confirm_s = confirm_s.filter(|_| !command.is_listing());
        let command = command.clone();
        client.request(RequestBody::Iptables { family, table, command, confirm_s })
    };
    match request(&mut client, &line.command)? {
        Reply::Listing(listing) if line.command.is_listing() => {
            print_listing(&line.command, &listing, names, output)?;
        }
        Reply::Done { policy_epoch } if !line.command.is_listing() => {
            if output.json {
                output.json(&serde_json::json!({ "policy_epoch": policy_epoch }), false)?;
            } else if line.verbose {
                output.text(&echo(line, &chains))?;
            }
        }
        _ => return Err(ClientError::UnexpectedReply.into()),
    }
    if let Some(then) = &line.then {
        match request(&mut client, then)? {
            Reply::Done { .. } => {}
            _ => return Err(ClientError::UnexpectedReply.into()),
        }
    }
    Ok(())
}

/// How long to wait for the daemon.
pub(crate) fn timeout(wait: Option<Wait>) -> Option<Duration> {
    match wait {
        None => Some(weir_control::client::TIMEOUT_DEFAULT),
        Some(Wait::Forever) => None,
        Some(Wait::Seconds(seconds)) => Some(Duration::from_secs(seconds.into())),
    }
}

fn print_listing(
    command: &Command,
    listing: &Listing,
    names: &Names,
    output: &mut Output,
) -> Result<(), Failed> {
    let (selection, text) = match command {
        Command::List { selection, format } => {
            (selection, list::list(listing, selection, *format, names))
        }
        Command::ListRules { selection, counters } => {
            (selection, list::list_rules(listing, selection, *counters, names))
        }
        _ => return Ok(()),
    };
    if output.json {
        output.json(&listing::document(listing, selection, names), false)
    } else {
        output.text(&text)
    }
}

/// What `-v` prints after a change; `chains` are those of before.
fn echo(line: &CommandLine, chains: &[ChainName]) -> String {
    let (family, table, command) = (line.family, line.table, &line.command);
    let rules = |rules: &[Rule]| rules.iter().map(|rule| list::echo(family, rule)).collect();
    let each = |doing: &str, chain: &Option<ChainName>, chains: &[ChainName]| {
        let chains = chain.as_ref().map_or(chains, std::slice::from_ref);
        chains.iter().map(|chain| format!("{doing} chain `{chain}'\n")).collect()
    };
    match command {
        Command::Append { rules: list, .. }
        | Command::Insert { rules: list, .. }
        | Command::Delete { rules: list, .. }
        | Command::Check { rules: list, .. } => rules(list),
        Command::Replace { rule, .. } => rules(std::slice::from_ref(rule)),
        Command::Flush { chain } => each("Flushing", chain, chains),
        Command::Zero { number: None, chain } => each("Zeroing", chain, chains),
        Command::DeleteChain { chain } => {
            let user_defined: Vec<_> =
                chains.iter().filter(|chain| !chain.is_reserved(table)).cloned().collect();
            each("Deleting", chain, &user_defined)
        }
        _ => String::new(),
    }
}

/// Says what went wrong, and how the program of that name ends.
pub(crate) fn finish_as(program: &str, result: Result<(), Problem>) -> ExitCode {
    let error = match result {
        Ok(()) | Err(Problem::Output(Failed::PipeClosed)) => return ExitCode::SUCCESS,
        Err(Problem::Output(Failed::Because(reason))) => {
            eprintln!("{program}: {reason}");
            return ExitCode::from(ExitStatus::OtherProblem.code());
        }
        Err(Problem::Client(error)) => error,
    };
    eprintln!("{program}: {error}");
    let status = match &error {
        ClientError::Refused(Failure::Rule(error) | Failure::Transaction { error, .. })
            if !matches!(
                error,
                RuleError::TooManyRules { .. }
                    | RuleError::TooManyChains
                    | RuleError::TooDeep { .. }
                    | RuleError::TooManyJumps { .. }
            ) =>
        {
            ExitStatus::OtherProblem
        }
        ClientError::Refused(Failure::NotFiltered { .. }) => ExitStatus::ParameterProblem,
        ClientError::Refused(Failure::Version { .. }) => ExitStatus::VersionProblem,
        _ => ExitStatus::ResourceProblem,
    };
    ExitCode::from(status.code())
}
