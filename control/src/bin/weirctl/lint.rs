//! `weirctl lint`.

use std::path::Path;
use std::process::ExitCode;

use weir_control::client::Client;
use weir_control::command::{Command, Selection};
use weir_control::lint::{Finding, lint};
use weir_control::protocol::{Reply, RequestBody};
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names};
use weir_control::ruleset::Ruleset;

use crate::output::{Failed, Output};

pub(crate) fn run(
    family: Family,
    socket: Option<&Path>,
    file: Option<&Path>,
    output: &mut Output,
) -> Result<ExitCode, Failed> {
    let (ruleset, ports) = match file {
        Some(file) => (saved(family, file)?, None),
        None => running(family, socket)?,
    };
    let findings = lint(&ruleset, ports.as_deref());
    if output.json {
        output.json(&findings, false)?;
    } else {
        let names = Names::system();
        let text: String = findings.iter().map(|finding| told(finding, &ruleset, &names)).collect();
        output.text(&match text.as_str() {
            "" => format!("{} rules, nothing found\n", ruleset.rule_count()),
            text => text.to_owned(),
        })?;
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn saved(family: Family, file: &Path) -> Result<Ruleset, Failed> {
    let because = |reason: String| Failed::Because(format!("{}: {reason}", file.display()));
    let text = std::fs::read(file).map_err(|error| because(error.to_string()))?;
    // Chains of the machine itself are looked at also where Weir leaves them to the kernel: their rules, too, lead to
    // other chains.
    let mut ruleset = Ruleset::with_host_chains_of(family);
    let options = Options { family, filter_only: true, ..Options::default() };
    let chains = || ruleset.chains().iter().map(|chain| chain.name.clone()).collect();
    let plan = read(&text, &options, &Names::system(), chains)
        .map_err(|error| Failed::Because(error.report()))?;
    for table in &plan.tables {
        ruleset.apply_all(&table.transaction).map_err(|(command, error)| {
            because(format!("line {}: {error}", table.lines[command.min(table.lines.len() - 1)]))
        })?;
    }
    Ok(ruleset)
}

fn running(
    family: Family,
    socket: Option<&Path>,
) -> Result<(Ruleset, Option<Vec<String>>), Failed> {
    let failed = |error: weir_control::client::ClientError| Failed::Because(error.to_string());
    let mut client = Client::connect(socket).map_err(failed)?;
    let command = Command::ListRules { selection: Selection::default(), counters: false };
    let rules = client.request(RequestBody::Iptables { family, command, confirm_s: None });
    let ports = client.request(RequestBody::Ports);
    match (rules.map_err(failed)?, ports.map_err(failed)?) {
        (Reply::Listing(listing), Reply::Ports(ports)) => {
            let names = ports.into_iter().map(|port| port.name).collect();
            Ok((listing.ruleset, Some(names)))
        }
        _ => Err(Failed::Because("the daemon answered something else than was asked".to_owned())),
    }
}

/// A finding as a person reads it: what, the rule, whose fault it is, and a packet.
fn told(finding: &Finding, ruleset: &Ruleset, names: &Names) -> String {
    let Finding { kind, chain, rule, what, because_of, witness } = finding;
    let line = |number: usize| {
        let entry = ruleset.chain(chain)?.rules.get(number - 1)?;
        let (conditions, target) = entry.rule.saved_line(names);
        let line = format!("-A {chain} {conditions} {target}").replace("  ", " ");
        Some(format!("    {number:>5}: {}\n", line.trim_end()))
    };
    let place = rule.map_or_else(|| chain.to_string(), |rule| format!("{chain}, rule {rule}"));
    let mut text = format!("{}: {place}: {what}\n", kind.name().replace('_', " "));
    let numbers = rule.iter().chain(because_of).copied();
    text.extend(numbers.filter_map(line));
    if let Some(witness) = witness {
        text.push_str(&format!("    for instance {witness}\n"));
    }
    text
}
