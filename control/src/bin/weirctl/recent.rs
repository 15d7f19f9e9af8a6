//! `weirctl recent`: the tables of `-m recent`.

use std::net::IpAddr;
use std::path::Path;

use serde::Serialize;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{RecentAddress, RecentChange, RecentHeader, Reply, RequestBody};
use weir_control::rule::RecentName;

use crate::output::{Failed, HEADING, Output, table, uptime};

/// What is to be done.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Recent {
    /// Show what is in all tables, or in one (the same without this word)
    List {
        /// The table
        name: Option<RecentName>,
    },
    /// Note that a packet came of an address, as `echo +ADDRESS > /proc/net/xt_recent/NAME` does
    Add {
        /// The table
        name: RecentName,
        /// The address
        address: IpAddr,
    },
    /// Forget an address; status 1 if it is not there
    Delete {
        /// The table
        name: RecentName,
        /// The address
        address: IpAddr,
    },
    /// Forget all addresses
    Flush {
        /// The table
        name: RecentName,
    },
}

/// A table and what is in it.
#[derive(Serialize)]
struct Document {
    #[serde(flatten)]
    header: RecentHeader,
    /// The one that was noted last comes first.
    entries: Vec<RecentAddress>,
}

pub(crate) fn run(
    socket: Option<&Path>,
    what: Option<Recent>,
    output: &mut Output,
) -> Result<(), Failed> {
    let mut client = Client::connect(socket)?;
    let (name, change) = match what.unwrap_or(Recent::List { name: None }) {
        Recent::List { name } => return list(&mut client, name.as_ref(), output),
        Recent::Add { name, address } => (name, RecentChange::Add(address)),
        Recent::Delete { name, address } => (name, RecentChange::Delete(address)),
        Recent::Flush { name } => (name, RecentChange::Flush),
    };
    let request = RequestBody::RecentChange { name: name.clone(), change };
    let Reply::RecentChanged(changed) = client.request(request)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    match change {
        RecentChange::Delete(address) if !changed => {
            Err(Failed::Because(format!("{address} is not in table {name}")))
        }
        _ if output.json => output.json(&serde_json::json!({ "changed": changed }), false),
        _ => Ok(()),
    }
}

fn list(client: &mut Client, name: Option<&RecentName>, output: &mut Output) -> Result<(), Failed> {
    let Reply::Recents(headers) = client.request(RequestBody::Recents)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    let mut tables = Vec::new();
    for header in headers.into_iter().filter(|header| name.is_none_or(|name| header.name == *name))
    {
        let entries = entries(client, &header.name)?;
        tables.push(Document { header, entries });
    }
    if let Some(name) = name.filter(|_| tables.is_empty()) {
        return Err(Failed::Because(format!("no rule has `-m recent --name {name}'")));
    }
    if output.json {
        return output.json(&tables, false);
    }
    if tables.is_empty() {
        return output.text("no rule has `-m recent'\n");
    }
    let text: Vec<String> = tables.iter().map(|table| describe(table, output)).collect();
    output.text(&text.join("\n"))
}

/// All addresses of a table; none if the last rule that named it has gone meanwhile.
fn entries(client: &mut Client, name: &RecentName) -> Result<Vec<RecentAddress>, Failed> {
    let (mut entries, mut cursor) = (Vec::new(), None);
    loop {
        let request = RequestBody::RecentList { name: name.clone(), cursor };
        let Reply::RecentPage(page) = client.request(request)? else {
            return Err(ClientError::UnexpectedReply.into());
        };
        entries.extend(page.addresses);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    entries.sort_by_key(|entry: &RecentAddress| (entry.ages_ms.first().copied(), entry.address));
    Ok(entries)
}

fn describe(Document { header, entries }: &Document, output: &Output) -> String {
    let RecentHeader { name, addresses_max, packets_max, mask, mask6, .. } = header;
    let heading = output.paint(HEADING, format!("table {name}"));
    let mut text = format!(
        "{heading}: {} of {addresses_max} addresses, the last {packets_max} packets of each; masks {mask}, {mask6}\n",
        entries.len()
    );
    if entries.is_empty() {
        return text;
    }
    let ago = |ms: Option<&u64>| ms.map_or_else(String::new, |ms| age(*ms));
    let rows = entries.iter().map(|RecentAddress { address, ttl, ages_ms }| {
        vec![
            address.to_string(),
            ttl.to_string(),
            ages_ms.len().to_string(),
            ago(ages_ms.first()),
            ago(ages_ms.last()),
        ]
    });
    let headings = ["address", "ttl", "packets", "last, ago", "first, ago"];
    text.push_str(&table(&headings, &[1, 2, 3, 4], rows.collect()));
    text
}

/// Milliseconds in words.
fn age(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms / 100 % 10),
        _ => uptime(ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_readable() {
        assert_eq!(age(0), "0.0 s");
        assert_eq!(age(1_260), "1.2 s");
        assert_eq!(age(59_999), "59.9 s");
        assert_eq!(age(61_000), "1 min 1 s");
    }
}
