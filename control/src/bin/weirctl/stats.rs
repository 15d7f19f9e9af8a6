//! `weirctl stats`

use std::path::Path;
use std::time::Duration;

use weir_control::client::{Client, ClientError};
use weir_control::protocol::{PacketTotals, Percentiles, Reply, RequestBody, Stats};

use crate::output::{BAD, Failed, HEADING, Output, duration, grouped, table};

pub(crate) fn run(
    socket: Option<&Path>,
    watch: Option<u32>,
    output: &mut Output,
) -> Result<(), Failed> {
    let mut before: Option<Stats> = None;
    loop {
        // Anew each time: the daemon hangs up on clients that are silent for long.
        let mut client = Client::connect(socket)?;
        let Reply::Stats(stats) = client.request(RequestBody::Stats)? else {
            return Err(ClientError::UnexpectedReply.into());
        };
        if output.json {
            // One document a line, so that a reader of the stream can tell them apart.
            output.json(&stats, watch.is_some())?;
        } else {
            let text = describe(&stats, before.as_ref(), output);
            output.text(&text)?;
        }
        let Some(seconds) = watch else { return Ok(()) };
        if !output.json {
            output.text("\n")?;
        }
        before = Some(*stats);
        std::thread::sleep(Duration::from_secs(seconds.into()));
    }
}

/// The fields of [`PacketTotals`] with their names, begun first.
fn fields(totals: &PacketTotals) -> [(&'static str, u64); 9] {
    [
        ("received", totals.received),
        ("originated", totals.originated),
        ("handed in", totals.handed_in),
        ("transmitted", totals.transmitted),
        ("to host", totals.to_host),
        ("handed out", totals.handed_out),
        ("dropped", totals.dropped),
        ("absorbed", totals.absorbed),
        ("held now", totals.held),
    ]
}

fn describe(stats: &Stats, before: Option<&Stats>, output: &Output) -> String {
    let mut text = format!("{}\n", output.paint(HEADING, "Packets"));
    let old = before.map(|before| (fields(&before.totals), before.uptime_ns));
    let rows = fields(&stats.totals).into_iter().enumerate().map(|(index, (name, count))| {
        let rate = old.map(|(fields, then)| rate(fields[index].1, count, stats.uptime_ns, then));
        vec![name.to_owned(), grouped(count), rate.unwrap_or_default()]
    });
    let headings = ["", "count", if before.is_some() { "per second" } else { "" }];
    text.push_str(&table(&headings, &[1, 2], rows.collect()));
    if !stats.totals.is_balanced() {
        let warning = "the packets do not add up: some ended uncounted (a bug in weir)";
        text.push_str(&format!("{}\n", output.paint(BAD, warning)));
    }
    text.push_str(&early_drop(stats, before, output));
    text.push_str(&drops(stats, before, output));
    text.push_str(&events(stats, output));
    text.push_str(&format!("\n{}\n", output.paint(HEADING, "Ports")));
    text.push_str(&ports(stats));
    text.push_str(&format!("\n{}\n", output.paint(HEADING, "Workers")));
    text.push_str(&workers(stats));
    text.push_str(&format!("\n{}\n", output.paint(HEADING, "Times")));
    let latency = stats.latency;
    let times = [("poll to poll", latency.poll_ns), ("forwarding", latency.forward_ns)];
    let rows = times.iter().map(|(name, values)| percentiles(name, values)).collect();
    let headings = ["", "count", "p50", "p90", "p99", "p99.9", "max"];
    text.push_str(&table(&headings, &[1, 2, 3, 4, 5, 6], rows));
    text
}

/// Events a second between two readings; empty if no time passed.
fn rate(then: u64, now: u64, now_ns: u64, then_ns: u64) -> String {
    let elapsed = u128::from(now_ns.saturating_sub(then_ns));
    let events = u128::from(now.saturating_sub(then)) * 1_000_000_000;
    let rate = events.checked_div(elapsed);
    rate.map(|rate| grouped(u64::try_from(rate).unwrap_or(u64::MAX))).unwrap_or_default()
}

/// What ended in the XDP program, beside the packets and not among them: those begin behind it.
fn early_drop(stats: &Stats, before: Option<&Stats>, output: &Output) -> String {
    let now = stats.early_drop;
    if now.packets == 0 && now.blocked == 0 && now.allowed == 0 {
        return String::new();
    }
    let rate = before.map(|before| {
        rate(before.early_drop.packets, now.packets, stats.uptime_ns, before.uptime_ns)
    });
    let rate = rate.map(|rate| format!(" ({rate} per second)")).unwrap_or_default();
    format!(
        "\n{}\n {} packets of blocked sources{rate}, {} bytes: dropped before they were received\n {} entries in the \
         blocklist, {} of them by the limiter; {} in the allowlist\n",
        output.paint(HEADING, "Early drop"),
        grouped(now.packets),
        grouped(now.bytes),
        grouped(now.blocked),
        grouped(now.pushed),
        grouped(now.allowed)
    )
}

/// Reasons that occurred.
fn drops(stats: &Stats, before: Option<&Stats>, output: &Output) -> String {
    let rows: Vec<_> = stats
        .drops
        .iter()
        .filter(|drop| drop.packets > 0)
        .map(|drop| {
            let rate = before.map(|before| {
                let same = before.drops.iter().find(|old| old.reason == drop.reason);
                let then = same.map_or(0, |old| old.packets);
                rate(then, drop.packets, stats.uptime_ns, before.uptime_ns)
            });
            vec![drop.reason.clone(), grouped(drop.packets), rate.unwrap_or_default()]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let headings = ["reason", "packets", if before.is_some() { "per second" } else { "" }];
    let heading = output.paint(HEADING, "Drops");
    format!("\n{heading}\n{}", table(&headings, &[1, 2], rows))
}

/// Events that occurred.
fn events(stats: &Stats, output: &Output) -> String {
    let rows: Vec<_> = stats
        .events
        .iter()
        .filter(|event| event.count > 0)
        .map(|event| vec![event.event.clone(), grouped(event.count)])
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!("\n{}\n{}", output.paint(HEADING, "Events"), table(&["event", "times"], &[1], rows))
}

fn ports(stats: &Stats) -> String {
    let number = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), grouped);
    let rows = stats.ports.iter().map(|port| {
        let (kernel, xdp) = (port.kernel, port.xdp);
        vec![
            port.name.clone(),
            grouped(port.received_packets),
            grouped(port.received_bytes),
            grouped(port.transmitted_packets),
            grouped(port.transmitted_bytes),
            number(kernel.map(|kernel| kernel.rx_ring_full)),
            number(kernel.map(|kernel| kernel.rx_fill_ring_empty_descs)),
            number(kernel.map(|kernel| {
                kernel
                    .rx_dropped
                    .saturating_add(kernel.rx_invalid_descs)
                    .saturating_add(kernel.tx_invalid_descs)
            })),
            number(xdp.map(|xdp| xdp.redirected)),
            number(xdp.map(|xdp| xdp.passed)),
            number(xdp.map(|xdp| xdp.early_dropped)),
            number(xdp.map(|xdp| xdp.dropped.saturating_add(xdp.fell_back))),
        ]
    });
    let headings = [
        "name",
        "rx packets",
        "rx bytes",
        "tx packets",
        "tx bytes",
        "rx ring full",
        "fill empty",
        "kernel errors",
        "xdp redirected",
        "xdp passed",
        "early dropped",
        "xdp no socket",
    ];
    table(&headings, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11], rows.collect())
}

fn workers(stats: &Stats) -> String {
    let rows = stats.workers.iter().map(|worker| {
        let totals = worker.totals;
        vec![
            worker.id.to_string(),
            grouped(totals.received),
            grouped(totals.transmitted),
            grouped(totals.dropped),
            grouped(totals.handed_in),
            grouped(totals.handed_out),
            grouped(worker.polls),
            grouped(worker.polls_idle),
        ]
    });
    let headings =
        ["id", "received", "transmitted", "dropped", "handed in", "handed out", "polls", "idle"];
    table(&headings, &[0, 1, 2, 3, 4, 5, 6, 7], rows.collect())
}

fn percentiles(name: &str, values: &Percentiles) -> Vec<String> {
    let Percentiles { count, p50, p90, p99, p999, max } = *values;
    let mut row = vec![name.to_owned(), grouped(count)];
    row.extend([p50, p90, p99, p999, max].map(|ns| match count {
        0 => "-".to_owned(),
        _ => duration(ns),
    }));
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time() {
        assert_eq!(rate(1_000, 3_000, 3_000_000_000, 1_000_000_000), "1 000");
        assert_eq!(rate(5, 5, 2, 1), "0");
        assert_eq!(rate(0, 5, 7, 7), "");
        assert_eq!(rate(9, 5, 8, 7), "0", "a restarted daemon counts from zero");
    }
}
