//! `weirctl iptables-save`, `weirctl ip6tables-save`, and the links of these names.

use std::path::Path;
use std::process::ExitCode;

use weir_control::client::{Client, ClientError};
use weir_control::command::{Command, ExitStatus, version_line};
use weir_control::list::{self, SaveFormat};
use weir_control::protocol::{Reply, RequestBody};
use weir_control::rule::{Family, Names};

use crate::cli::Save;
use crate::iptables::{Problem, finish_as};
use crate::output::{Failed, Output};

pub(crate) fn run(
    family: Family,
    socket: Option<&Path>,
    save: &Save,
    output: &mut Output,
) -> ExitCode {
    let program = format!("{}-save", family.program());
    if let Some(table) = save.table.as_ref().filter(|table| *table != "filter") {
        eprintln!(
            "{}: Cannot initialize: Table does not exist: Weir has the table filter, not `{table}'",
            version_line(&program)
        );
        return ExitCode::from(ExitStatus::OtherProblem.code());
    }
    finish_as(&program, print(family, socket, save, output))
}

fn print(
    family: Family,
    socket: Option<&Path>,
    save: &Save,
    output: &mut Output,
) -> Result<(), Problem> {
    let mut client = Client::connect(socket)?;
    let command = Command::ListRules { selection: Default::default(), counters: save.counters };
    let reply = client.request(RequestBody::Iptables { family, command, confirm_s: None })?;
    let Reply::Listing(listing) = reply else { return Err(ClientError::UnexpectedReply.into()) };
    let names = Names::system();
    if output.json {
        let document = crate::listing::document(&listing, &Default::default(), &names);
        return Ok(output.json(&document, false)?);
    }
    let date = chrono::Local::now().format("%a %b %e %H:%M:%S %Y").to_string();
    let format = SaveFormat { counters: save.counters, date };
    let text = list::save(&listing, &format, &names);
    match &save.file {
        None => Ok(output.text(&text)?),
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failed::Because(format!("{}: {error}", path.display())).into()),
    }
}
