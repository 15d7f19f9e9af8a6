//! `weirctl conntrack …`: conntrack(8) for Weir.

mod filter;
mod line;

use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{
    ConntrackCursor, ConntrackDeleted, ConntrackEvents, ConntrackPage, FlowEntry, FlowEventKind,
    FlowFilter, Reply, RequestBody,
};

use crate::output::{Failed, Output};
use filter::FilterArgs;

/// How long the daemon is to wait for events before it answers that there are none: what passes at
/// most until a reader who has left is noticed.
const WAIT_MS: u32 = 500;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Conntrack {
    /// List tracked flows, one a line as `conntrack -L`
    List {
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Print how many flows are tracked; with --json by worker, and for how many there is room
    Count,
    /// Delete the flows that meet the options, and list them
    ///
    /// The next packet of a deleted flow is NEW or INVALID, as after `conntrack -D`. Exit status 1
    /// if there were none.
    Delete {
        #[command(flatten)]
        filter: FilterArgs,
    },
    /// Delete all flows
    Flush,
    /// Print what happens to flows as it happens, until interrupted, one a line as `conntrack -E`
    Events {
        #[command(flatten)]
        filter: FilterArgs,

        /// Only these kinds
        #[arg(short, long, value_name = "KIND", value_delimiter = ',', ignore_case = true)]
        event_mask: Vec<Kind>,
    },
    /// Print counters, one line a worker as `conntrack -S`
    Stats,
}

/// Kinds of events, named as by conntrack(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Kind {
    All,
    New,
    Updates,
    Destroy,
}

pub(crate) fn run(
    socket: Option<&Path>,
    what: &Conntrack,
    output: &mut Output,
) -> Result<ExitCode, Failed> {
    // Mistakes are reported without a daemon.
    let filter = match what {
        Conntrack::List { filter }
        | Conntrack::Delete { filter }
        | Conntrack::Events { filter, .. } => filter.filter(),
        Conntrack::Count | Conntrack::Flush | Conntrack::Stats => Ok(FlowFilter::default()),
    };
    let filter = match filter {
        Ok(filter) => filter,
        Err(error) => return Ok(misused(&error.to_string())),
    };
    if matches!(what, Conntrack::Delete { .. }) && filter.is_empty() {
        return Ok(misused(
            "delete wants to be told which flows (see --help); to delete all, say `weirctl conntrack flush`",
        ));
    }
    let client = &mut Connection { socket, client: Client::connect(socket)? };
    match what {
        Conntrack::List { .. } => list(client, filter, output)?,
        Conntrack::Count => count(client, output)?,
        Conntrack::Delete { .. } => return delete(client, filter, output),
        Conntrack::Flush => flush(client, output)?,
        Conntrack::Events { event_mask, .. } => events(client, filter, event_mask, output)?,
        Conntrack::Stats => stats(client, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The status of a command line that cannot be meant.
fn misused(reason: &str) -> ExitCode {
    eprintln!("weirctl: {reason}");
    ExitCode::from(2)
}

/// The daemon hangs up on clients that are silent for long, and we are while nobody reads what we
/// print: who lists into a pager comes back to another connection.
struct Connection<'a> {
    socket: Option<&'a Path>,
    client: Client,
}

impl Connection<'_> {
    /// Asks, once more if the daemon has hung up meanwhile.
    fn request(&mut self, body: RequestBody) -> Result<Reply, ClientError> {
        self.request_or_resume(body).map(|(reply, _)| reply)
    }

    /// As [`Self::request`], and whether it took another connection.
    fn request_or_resume(&mut self, body: RequestBody) -> Result<(Reply, bool), ClientError> {
        match self.client.request(body.clone()) {
            Err(ClientError::Disconnected) => {
                self.client = Client::connect(self.socket)?;
                Ok((self.client.request(body)?, true))
            }
            result => Ok((result?, false)),
        }
    }
}

/// Asks for every page in turn: `request` makes the request for the page at a cursor, `take` deals
/// with the answer and says where the next page begins.
fn pages(
    client: &mut Connection<'_>,
    request: impl Fn(Option<ConntrackCursor>) -> RequestBody,
    mut take: impl FnMut(Reply) -> Result<Option<ConntrackCursor>, Failed>,
) -> Result<(), Failed> {
    let mut cursor = None;
    loop {
        let next = take(client.request(request(cursor))?)?;
        if next.is_none() {
            return Ok(());
        }
        if next <= cursor {
            let reason = "the daemon's pages do not lead on (a bug in weir)";
            return Err(Failed::Because(reason.to_owned()));
        }
        cursor = next;
    }
}

fn print(flows: &[FlowEntry], output: &mut Output) -> Result<(), Failed> {
    let mut text = String::new();
    for flow in flows {
        if output.json {
            text.push_str(&serde_json::to_string(flow)?);
            text.push('\n');
        } else {
            line::listed(&mut text, flow);
        }
    }
    output.text(&text)
}

/// What conntrack(8) tells the operator at the end. A program reads the answer.
fn tell(output: &Output, what: &str) {
    if !output.json {
        eprintln!("weirctl: {what}");
    }
}

fn list(
    client: &mut Connection<'_>,
    filter: FlowFilter,
    output: &mut Output,
) -> Result<(), Failed> {
    let mut shown = 0;
    let request = |cursor| RequestBody::ConntrackList { filter, cursor };
    pages(client, request, |reply| {
        let Reply::ConntrackPage(ConntrackPage { flows, next }) = reply else {
            return Err(ClientError::UnexpectedReply.into());
        };
        print(&flows, output)?;
        shown += flows.len();
        Ok(next)
    })?;
    tell(output, &format!("{shown} flow entries have been shown."));
    if shown == 0 && !output.json && tracks_nothing(client) {
        tell(
            output,
            "nothing is tracked: no rule asks for it (-m state, -m conntrack, -m connmark, -j CONNMARK), nor does the configuration \
             (conntrack.track = \"always\")",
        );
    }
    Ok(())
}

/// Whether the daemon says that it tracks nothing. Only for a hint, so any other answer will do for a no.
fn tracks_nothing(client: &mut Connection<'_>) -> bool {
    let reply = client.request(RequestBody::Status);
    matches!(reply, Ok(Reply::Status(status)) if !status.tracking)
}

/// Deletes what meets the filter; `show` prints it.
fn remove(
    client: &mut Connection<'_>,
    filter: FlowFilter,
    show: bool,
    output: &mut Output,
) -> Result<u64, Failed> {
    let mut sum = 0;
    let request = |cursor| RequestBody::ConntrackDelete { filter, cursor, show };
    pages(client, request, |reply| {
        let Reply::ConntrackDeleted(ConntrackDeleted { deleted, flows, next }) = reply else {
            return Err(ClientError::UnexpectedReply.into());
        };
        print(&flows, output)?;
        sum += deleted;
        Ok(next)
    })?;
    Ok(sum)
}

fn delete(
    client: &mut Connection<'_>,
    filter: FlowFilter,
    output: &mut Output,
) -> Result<ExitCode, Failed> {
    let deleted = remove(client, filter, true, output)?;
    tell(output, &format!("{deleted} flow entries have been deleted."));
    Ok(if deleted == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn flush(client: &mut Connection<'_>, output: &mut Output) -> Result<(), Failed> {
    let deleted = remove(client, FlowFilter::default(), false, output)?;
    if output.json {
        return output.json(&json!({ "deleted": deleted }), true);
    }
    let emptied = "connection tracking table has been emptied";
    tell(output, &format!("{emptied}, {deleted} flow entries have been deleted."));
    Ok(())
}

fn count(client: &mut Connection<'_>, output: &mut Output) -> Result<(), Failed> {
    let Reply::ConntrackCount(count) = client.request(RequestBody::ConntrackCount)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    if output.json {
        output.json(&count, false)
    } else {
        output.text(&format!("{}\n", count.flows))
    }
}

fn stats(client: &mut Connection<'_>, output: &mut Output) -> Result<(), Failed> {
    let Reply::ConntrackStats(stats) = client.request(RequestBody::ConntrackStats)? else {
        return Err(ClientError::UnexpectedReply.into());
    };
    if output.json {
        return output.json(&stats, false);
    }
    let lines: Vec<String> = stats.workers.iter().map(line::counters).collect();
    output.text(&lines.concat())
}

fn events(
    client: &mut Connection<'_>,
    filter: FlowFilter,
    mask: &[Kind],
    output: &mut Output,
) -> Result<(), Failed> {
    let wanted = |event| {
        let kind = match event {
            FlowEventKind::New => Kind::New,
            FlowEventKind::Update => Kind::Updates,
            FlowEventKind::Destroy => Kind::Destroy,
        };
        mask.is_empty() || mask.contains(&Kind::All) || mask.contains(&kind)
    };
    loop {
        let request = RequestBody::ConntrackEvents { wait_ms: WAIT_MS };
        let (reply, resumed) = client.request_or_resume(request)?;
        if resumed && output.json {
            output.json(&json!({ "lost": null }), true)?;
        } else if resumed {
            tell(output, "events were lost: they were not read until the daemon hung up");
        }
        let Reply::ConntrackEvents(ConntrackEvents { events, lost }) = reply else {
            return Err(ClientError::UnexpectedReply.into());
        };
        let mut text = String::new();
        for event in events.iter().filter(|e| wanted(e.event) && filter.matches(&e.flow)) {
            if output.json {
                text.push_str(&serde_json::to_string(event)?);
                text.push('\n');
            } else {
                line::event(&mut text, event);
            }
        }
        if lost > 0 && output.json {
            text.push_str(&format!("{}\n", json!({ "lost": lost })));
        }
        output.check_reader()?;
        output.text(&text)?;
        if lost > 0 {
            tell(output, &format!("{lost} events were lost: they came faster than they were read"));
        }
    }
}
