//! `weirctl blocklist` and `weirctl allowlist`

use std::path::Path;

use clap::Subcommand;
use serde_json::json;

use weir_control::address_list::{AddressEntry, AddressList, TIMEOUT_S_MAX, parse_source};
use weir_control::client::{Client, ClientError};
use weir_control::protocol::{
    AddressListChange, AddressListed, AddressPage, ListedBy, Reply, RequestBody,
};

use crate::output::{Failed, Output, grouped, table, uptime};

/// What is done with a list.
#[derive(Debug, Subcommand)]
pub(crate) enum ListCommand {
    /// Show the entries, with what each has dropped
    List {
        /// As lines of a file that early_drop.blocklist or early_drop.allowlist loads; without the limiter's
        #[arg(long)]
        save: bool,
    },
    /// Add an address or a prefix; one that is there gets the new time and comment, and counts on
    Add {
        /// ADDRESS or ADDRESS/LENGTH, of IPv4 or IPv6
        #[arg(value_name = "ADDRESS[/LENGTH]")]
        source: String,
        /// For so many seconds; without it until it is deleted, or Weir ends
        #[arg(
            long, value_name = "SECONDS",
            value_parser = clap::value_parser!(u32).range(1..=i64::from(TIMEOUT_S_MAX))
        )]
        timeout: Option<u32>,
        /// Why, at most 255 bytes
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// Even if it cuts off this machine
        #[arg(long)]
        force: bool,
    },
    /// Take out an entry
    Del {
        /// As it stands in the list
        #[arg(value_name = "ADDRESS[/LENGTH]")]
        source: String,
        /// Even if it cuts off this machine
        #[arg(long)]
        force: bool,
    },
    /// Take out all entries that were added
    Flush {
        /// Even if it cuts off this machine
        #[arg(long)]
        force: bool,
    },
}

pub(crate) fn run(
    list: AddressList,
    what: ListCommand,
    socket: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failed> {
    let change = match what {
        ListCommand::List { save } => return show(list, save, socket, output),
        ListCommand::Add { source, timeout, comment, force } => {
            let entry =
                AddressEntry { source: parse_source(&source)?, timeout_s: timeout, comment };
            entry.check()?;
            AddressListChange::Add { entry, force }
        }
        ListCommand::Del { source, force } => {
            AddressListChange::Delete { source: parse_source(&source)?, force }
        }
        ListCommand::Flush { force } => AddressListChange::Flush { force },
    };
    let reply =
        Client::connect(socket)?.request(RequestBody::AddressListChange { list, change })?;
    match reply {
        Reply::AddressListChanged { entries } if output.json => {
            output.json(&json!({ "entries": entries }), false)
        }
        Reply::AddressListChanged { .. } => Ok(()),
        _ => Err(ClientError::UnexpectedReply.into()),
    }
}

fn show(
    list: AddressList,
    save: bool,
    socket: Option<&Path>,
    output: &mut Output,
) -> Result<(), Failed> {
    let entries = entries(list, socket)?;
    match (save, output.json) {
        (true, _) => output.text(&saved(&entries)),
        (false, true) => output.json(&entries, false),
        (false, false) => output.text(&described(list, &entries)),
    }
}

fn entries(list: AddressList, socket: Option<&Path>) -> Result<Vec<AddressListed>, Failed> {
    let mut client = Client::connect(socket)?;
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let reply = client.request(RequestBody::AddressList { list, after })?;
        let Reply::AddressPage(AddressPage { entries, next }) = reply else {
            return Err(ClientError::UnexpectedReply.into());
        };
        all.extend(entries);
        if next.is_none() {
            return Ok(all);
        }
        if next == after {
            let reason = "the daemon's pages do not lead on (a bug in weir)";
            return Err(Failed::Because(reason.to_owned()));
        }
        after = next;
    }
}

/// What stays of an entry's time, in whole seconds, begun ones included.
fn left_s(entry: &AddressListed) -> Option<u64> {
    entry.left_ms.map(|left_ms| left_ms.div_ceil(1_000))
}

fn saved(entries: &[AddressListed]) -> String {
    let own = entries.iter().filter(|entry| entry.by == ListedBy::Operator);
    let line = |entry: &AddressListed| {
        let timeout_s =
            left_s(entry).map(|left_s| u32::try_from(left_s).unwrap_or(TIMEOUT_S_MAX).max(1));
        let (source, comment) = (entry.source, entry.comment.clone());
        format!("{}\n", AddressEntry { source, timeout_s, comment })
    };
    own.map(line).collect()
}

fn described(list: AddressList, entries: &[AddressListed]) -> String {
    if entries.is_empty() {
        return format!("the {list} is empty\n");
    }
    let by = |entry: &AddressListed| match entry.by {
        ListedBy::Limiter { condition, acceptance_ppm } => {
            let (percent, thousandths) = (acceptance_ppm / 10_000, acceptance_ppm / 10 % 1_000);
            format!("limiter {condition}, lets {percent}.{thousandths:03} % through")
        }
        _ => "operator".to_owned(),
    };
    let row = |entry: &AddressListed| {
        let mut row = vec![
            entry.source.to_listing(),
            left_s(entry).map_or_else(|| "-".to_owned(), uptime),
            entry.comment.clone().unwrap_or_default(),
        ];
        if list == AddressList::Blocklist {
            let counts = [grouped(entry.packets), grouped(entry.bytes), by(entry)];
            row.splice(1..1, counts);
        }
        row
    };
    let rows = entries.iter().map(row).collect();
    match list {
        AddressList::Blocklist => {
            table(&["source", "packets", "bytes", "by", "ends in", "comment"], &[1, 2], rows)
        }
        AddressList::Allowlist => table(&["source", "ends in", "comment"], &[], rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(source: &str, left_ms: Option<u64>, comment: Option<&str>) -> AddressListed {
        AddressListed {
            source: parse_source(source).expect(source),
            by: ListedBy::Operator,
            left_ms,
            comment: comment.map(str::to_owned),
            packets: 12_345,
            bytes: 740_700,
        }
    }

    #[test]
    fn lists_are_for_people_and_for_files() {
        let limiter = ListedBy::Limiter { condition: 2, acceptance_ppm: 10_156 };
        let pushed = AddressListed { by: limiter, ..entry("192.0.2.7", Some(900), None) };
        let entries = [
            entry("192.0.2.0/24", None, Some("a flood")),
            pushed,
            entry("2001:db8::1", Some(61_001), None),
        ];
        let lines = [
            " source        packets    bytes  by                               ends in    comment",
            " 192.0.2.0/24   12 345  740 700  operator                         -          a flood",
            " 192.0.2.7      12 345  740 700  limiter 2, lets 1.015 % through  1 s",
            " 2001:db8::1    12 345  740 700  operator                         1 min 2 s",
            "",
        ];
        let expected = lines.join("\n");
        assert_eq!(described(AddressList::Blocklist, &entries), expected);
        let expected = " source       ends in    comment\n 2001:db8::1  1 min 2 s\n";
        assert_eq!(described(AddressList::Allowlist, &entries[2..]), expected);
        assert_eq!(described(AddressList::Allowlist, &[]), "the allowlist is empty\n");
        assert_eq!(
            saved(&entries),
            "192.0.2.0/24 --comment \"a flood\"\n2001:db8::1 --timeout 62\n"
        );
    }
}
