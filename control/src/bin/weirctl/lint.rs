//! `weirctl lint`.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;
use weir_control::client::Client;
use weir_control::command::{Command, Selection};
use weir_control::lint::{Finding, lint};
use weir_control::protocol::{Reply, RequestBody};
use weir_control::restore::{Options, read};
use weir_control::rule::{Family, Names, Table};
use weir_control::ruleset::Ruleset;

use crate::output::{Failed, Output};

pub(crate) fn run(
    family: Family,
    socket: Option<&Path>,
    file: Option<&Path>,
    output: &mut Output,
) -> Result<ExitCode, Failed> {
    let (rulesets, ports) = match file {
        Some(file) => (saved(family, file)?, None),
        None => running(family, socket)?,
    };
    let found = |ruleset| lint(ruleset, ports.as_deref()).into_iter().map(move |it| (ruleset, it));
    let findings: Vec<(&Ruleset, Finding)> = rulesets.iter().flat_map(found).collect();
    if output.json {
        let document = |(ruleset, finding): &(&Ruleset, Finding)| {
            let (table, finding) = (ruleset.table(), finding.clone());
            Document { table, finding }
        };
        output.json(&findings.iter().map(document).collect::<Vec<_>>(), false)?;
    } else {
        let names = Names::system();
        let tell = |(ruleset, finding): &(&Ruleset, Finding)| told(finding, ruleset, &names);
        let text: String = findings.iter().map(tell).collect();
        let rules: usize = rulesets.iter().map(Ruleset::rule_count).sum();
        output.text(&match text.as_str() {
            "" => format!("{rules} rules, nothing found\n"),
            text => text.to_owned(),
        })?;
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A finding for programs.
#[derive(Serialize)]
struct Document {
    table: Table,
    #[serde(flatten)]
    finding: Finding,
}

fn saved(family: Family, file: &Path) -> Result<Vec<Ruleset>, Failed> {
    let because = |reason: String| Failed::Because(format!("{}: {reason}", file.display()));
    let text = std::fs::read(file).map_err(|error| because(error.to_string()))?;
    // Chains of the machine itself are looked at also where Weir leaves them to the kernel: their rules, too, lead to
    // other chains.
    let mut rulesets =
        vec![Ruleset::raw_with_host_chains(family), Ruleset::with_host_chains_of(family)];
    let chains = |table: Table| {
        let its = rulesets.iter().filter(|ruleset| ruleset.table() == table);
        its.flat_map(Ruleset::chains).map(|chain| chain.name.clone()).collect()
    };
    let options = Options { family, known_only: true, ..Options::default() };
    let plan = read(&text, &options, &Names::system(), chains)
        .map_err(|error| Failed::Because(error.report()))?;
    for table in &plan.tables {
        let its = |ruleset: &&mut Ruleset| ruleset.table() == table.transaction.table;
        let Some(ruleset) = rulesets.iter_mut().find(its) else { continue };
        ruleset.apply_all(&table.transaction).map_err(|(command, error)| {
            because(format!("line {}: {error}", table.lines[command.min(table.lines.len() - 1)]))
        })?;
    }
    Ok(rulesets)
}

fn running(
    family: Family,
    socket: Option<&Path>,
) -> Result<(Vec<Ruleset>, Option<Vec<String>>), Failed> {
    let failed = |error: weir_control::client::ClientError| Failed::Because(error.to_string());
    let mut client = Client::connect(socket).map_err(failed)?;
    let unexpected =
        || Failed::Because("the daemon answered something else than was asked".to_owned());
    let mut rulesets = Vec::new();
    for table in Table::ALL {
        let command = Command::ListRules { selection: Selection::default(), counters: false };
        let body = RequestBody::Iptables { family, table, command, confirm_s: None };
        match client.request(body).map_err(failed)? {
            Reply::Listing(listing) => rulesets.push(listing.ruleset),
            _ => return Err(unexpected()),
        }
    }
    match client.request(RequestBody::Ports).map_err(failed)? {
        Reply::Ports(ports) => {
            let names = ports.into_iter().map(|port| port.name).collect();
            Ok((rulesets, Some(names)))
        }
        _ => Err(unexpected()),
    }
}

/// A finding as a person reads it: what, the rule, whose fault it is, and a packet.
fn told(finding: &Finding, ruleset: &Ruleset, names: &Names) -> String {
    let Finding { kind, chain, rule, what, because_of, witness } = finding;
    let table = match ruleset.table() {
        Table::Filter => "",
        Table::Raw => "-t raw ",
    };
    let line = |number: usize| {
        let entry = ruleset.chain(chain)?.rules.get(number - 1)?;
        let (conditions, target) = entry.rule.saved_line(names);
        let line = format!("{table}-A {chain} {conditions} {target}").replace("  ", " ");
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
