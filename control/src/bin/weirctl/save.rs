//! `weirctl iptables-save`, and the link named `iptables-save`.

use std::path::Path;
use std::process::ExitCode;

use weir_control::client::{Client, ClientError};
use weir_control::command::{Command, ExitStatus, VERSION_LINE};
use weir_control::list::{self, SaveFormat};
use weir_control::protocol::{Reply, RequestBody};
use weir_control::rule::Names;

use crate::cli::Save;
use crate::iptables::{Problem, finish_as};
use crate::output::{Failed, Output};

pub(crate) fn run(socket: Option<&Path>, save: &Save, output: &mut Output) -> ExitCode {
    if let Some(table) = save.table.as_ref().filter(|table| *table != "filter") {
        eprintln!(
            "{}: Cannot initialize: Table does not exist: Weir has the table filter, not `{table}'",
            VERSION_LINE.replacen("iptables", "iptables-save", 1)
        );
        return ExitCode::from(ExitStatus::OtherProblem.code());
    }
    finish_as("iptables-save", print(socket, save, output))
}

fn print(socket: Option<&Path>, save: &Save, output: &mut Output) -> Result<(), Problem> {
    let mut client = Client::connect(socket)?;
    let command = Command::ListRules { selection: Default::default(), counters: save.counters };
    let reply = client.request(RequestBody::Iptables { command, confirm_s: None })?;
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
