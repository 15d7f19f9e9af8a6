//! `weirctl iptables-save`, `weirctl ip6tables-save`, and the links of these names.

use std::path::Path;
use std::process::ExitCode;

use weir_control::client::{Client, ClientError};
use weir_control::command::{Command, ExitStatus, version_line};
use weir_control::list::{self, SaveFormat};
use weir_control::protocol::{Reply, RequestBody};
use weir_control::rule::{Family, Names, Table};

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
    let asked = match save.table.as_deref().map(|name| Table::named(name).ok_or(name)) {
        Some(Err(table)) => {
            eprintln!(
                "{}: Cannot initialize: Table does not exist: Weir has the tables filter and raw, not `{table}'",
                version_line(&program)
            );
            return ExitCode::from(ExitStatus::OtherProblem.code());
        }
        Some(Ok(table)) => Some(table),
        None => None,
    };
    finish_as(&program, print(family, asked, (socket, save), output))
}

fn print(
    family: Family,
    asked: Option<Table>,
    (socket, save): (Option<&Path>, &Save),
    output: &mut Output,
) -> Result<(), Problem> {
    let mut client = Client::connect(socket)?;
    let mut listings = Vec::new();
    for table in Table::ALL.into_iter().filter(|table| asked.is_none_or(|asked| asked == *table)) {
        let command = Command::ListRules { selection: Default::default(), counters: save.counters };
        let body = RequestBody::Iptables { family, table, command, confirm_s: None };
        let Reply::Listing(listing) = client.request(body)? else {
            return Err(ClientError::UnexpectedReply.into());
        };
        // As the kernel, which has no table raw before it is used.
        if asked.is_some() || table == Table::Filter || !listing.is_untouched() {
            listings.push(listing);
        }
    }
    let names = Names::system();
    if output.json {
        let document = |listing| crate::listing::document(listing, &Default::default(), &names);
        return Ok(output.json(&listings.iter().map(document).collect::<Vec<_>>(), false)?);
    }
    let date = chrono::Local::now().format("%a %b %e %H:%M:%S %Y").to_string();
    let format = SaveFormat { counters: save.counters, date };
    let text: String =
        listings.iter().map(|listing| list::save(listing, &format, &names)).collect();
    match &save.file {
        None => Ok(output.text(&text)?),
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failed::Because(format!("{}: {error}", path.display())).into()),
    }
}
