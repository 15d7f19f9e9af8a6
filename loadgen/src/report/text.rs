//! A result for people, on a terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use crate::report::figures::count;
use crate::report::unit::Unit;
use crate::result::{End, Expect, Latency, RunResult, Stalls, StreamResult, UsersResult, Way};

/// The whole result, without a newline at the end.
#[must_use]
pub fn show(result: &RunResult) -> String {
    let mut text = format!(
        "{}: {:.3} s, seed {:#x}; {}\n",
        result.label,
        result.elapsed_s,
        result.seed,
        ended(result.ended_by)
    );
    if !result.streams.is_empty() {
        text += &section(&streams(&result.streams));
    }
    let latencies = latencies(result);
    if !latencies.is_empty() {
        text += &section(&times(&latencies));
    }
    if let Some(users) = &result.users {
        text += &section(&of_users(users, result.elapsed_s));
    }
    text += "\n";
    if let Some(cpu) = &result.cpu {
        let share =
            |seconds: f64| Unit::Share.show(seconds / (cpu.over_s * count(cpu.cores as u64)));
        let (machine, generator) = (share(cpu.machine_s), share(cpu.generator_s));
        let _ = write!(
            text,
            "processor  {machine} of {} cores, of which the generator {generator}",
            cpu.cores
        );
        if cpu.stolen_s > 0.0 {
            let _ = write!(text, "; {} were taken away by the host", share(cpu.stolen_s));
        }
        text += "\n";
    }
    if result.stalls.count > 0 {
        let Stalls { count, total_ns, longest_ns } = result.stalls;
        let _ = writeln!(
            text,
            "stalls     the generator lost its core {count} times for 1 ms and more, {} together, {} at most: \
             latencies of that size are the machine's",
            Unit::Nanoseconds.show(self::count(total_ns)),
            Unit::Nanoseconds.show(self::count(longest_ns))
        );
    }
    for stream in result.streams.iter().filter(|stream| stream.engine == Way::Live) {
        let StreamResult { name, refused, .. } = stream;
        let _ = writeln!(
            text,
            "live       stream {name:?} went by live frames: no latency; the device refused {refused}"
        );
    }
    let _ = write!(text, "strangers  {} frames of no stream and no user", result.foreign_frames);
    if result.overrun_frames > 0 {
        let _ = write!(text, "\noverrun    {} frames lost in our own rings", result.overrun_frames);
    }
    if let Some(why) = &result.void {
        let _ = write!(text, "\nVOID       {why}");
    }
    text
}

/// What ended a run, in words.
#[must_use]
pub fn ended(end: End) -> &'static str {
    match end {
        End::Duration => "its duration was over",
        End::Count => "all packets were sent",
        End::Interrupt => "interrupted: a partial report",
        End::DeviceLost => "an interface was lost: a partial report",
    }
}

fn section(table: &Table) -> String {
    format!("\n{}\n", table.trim_fmt())
}

/// A table whose columns but the first are aligned to the right.
fn table<const N: usize>(heads: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(heads.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn streams(streams: &[StreamResult]) -> Table {
    let mut table = table([
        "stream",
        "asked",
        "sent",
        "packets",
        "arrived",
        "lost",
        "leaked",
        "twice",
        "reordered",
        "damaged",
    ]);
    for stream in streams {
        let pps = |rate| Unit::PacketsPerSecond.show(rate);
        let only = |expect, number| {
            if stream.expect == expect { whole(number) } else { "-".to_owned() }
        };
        let arrived = stream.acceptance().map_or("-".to_owned(), |share| Unit::Share.show(share));
        table.add_row([
            stream.name.clone(),
            stream.requested_pps.map_or("flood".to_owned(), pps),
            pps(stream.achieved_pps),
            whole(stream.sent),
            arrived,
            only(Expect::Pass, stream.lost()),
            only(Expect::Drop, stream.leaked()),
            whole(stream.duplicated),
            whole(stream.reordered),
            whole(stream.damaged),
        ]);
    }
    table
}

/// Every distribution of the result, with its name.
fn latencies(result: &RunResult) -> Vec<(String, &Latency)> {
    let of_streams =
        result.streams.iter().map(|stream| (stream.name.as_str(), stream.latency.as_ref()));
    let of_users = result.users.iter().flat_map(|users| {
        [
            ("connect", users.connect.as_ref()),
            ("first byte", users.first_byte.as_ref()),
            ("last byte", users.last_byte.as_ref()),
        ]
    });
    let named = of_streams.chain(of_users);
    named.filter_map(|(name, latency)| Some((name.to_owned(), latency?))).collect()
}

fn times(latencies: &[(String, &Latency)]) -> Table {
    let heads =
        ["from due to arrival", "measured", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
    let mut table = table(heads);
    for (name, latency) in latencies {
        let times = [
            latency.min_ns,
            latency.p50_ns,
            latency.p90_ns,
            latency.p99_ns,
            latency.p999_ns,
            latency.p9999_ns,
            latency.max_ns,
        ];
        let mut row = vec![name.clone(), whole(latency.count)];
        row.extend(times.map(|time| Unit::Nanoseconds.show(count(time))));
        table.add_row(row);
    }
    table
}

fn of_users(users: &UsersResult, elapsed_s: f64) -> Table {
    let mut table = table(["users", "connections", "a second"]);
    let rows = [
        ("begun", users.attempted),
        ("due and not begun", users.not_begun),
        ("connected", users.connected),
        ("completed", users.completed),
        ("handshake not answered", users.failed_connect),
        ("given up later", users.failed_transfer),
        ("reset", users.reset),
        ("unfinished", users.unfinished),
    ];
    for (name, number) in rows {
        let rate = Unit::ConnectionsPerSecond.show(count(number) / elapsed_s);
        table.add_row([name.to_owned(), whole(number), rate]);
    }
    table.add_row([
        "asked for".to_owned(),
        String::new(),
        Unit::ConnectionsPerSecond.show(users.requested_cps),
    ]);
    table.add_row(["most at once".to_owned(), whole(users.concurrent_max), String::new()]);
    let again = users.client_retransmissions + users.server_retransmissions;
    table.add_row(["segments sent again".to_owned(), whole(again), String::new()]);
    let goodput = Unit::BitsPerSecond.show(count(users.goodput_bytes) * 8.0 / elapsed_s);
    let server = [
        ("SYNs at the server", users.server.syns),
        ("thrown away, its queue full", users.server.backlog_dropped),
        ("answered with a cookie", users.server.cookies_sent),
        ("half-open, most at once", users.server.half_open_max),
        ("resets sent", users.server.resets_sent),
        ("segments damaged", users.damaged + users.server.damaged),
    ];
    let shared = users.shared.iter().flat_map(|shared| {
        [
            ("behind one address, begun", shared.attempted),
            ("behind one address, not begun", shared.not_begun),
            ("behind one address, completed", shared.completed),
        ]
    });
    for (name, number) in shared.chain(server) {
        table.add_row([name.to_owned(), whole(number), String::new()]);
    }
    table.add_row(["goodput".to_owned(), String::new(), goodput]);
    table
}

fn whole(number: u64) -> String {
    Unit::Packets.show(count(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_report_says_everything_once() {
        let mut result = sample::study("syn flood, weir", 100_000.0, 0x5eed);
        result.ended_by = End::Interrupt;
        result.void = Some("interrupted after 10 s".to_owned());
        let expected = [
            "syn flood, weir: 10.000 s, seed 0x5eed; interrupted: a partial report",
            "stream asked sent packets arrived lost leaked twice reordered damaged",
            "flood 100 kpps 99.9 kpps 999,000 0 % - 0 0 0 0",
            "probe 1 kpps 1 kpps 10,000 99.9 % 10 - 0 0 0",
            "last byte 10,000 162.2 µs 324.3 µs 486.5 µs 972.9 µs 3.243 ms 16.22 ms 16.22 ms",
            "completed 9,900 990 cps",
            "goodput 7.92 Mbit/s",
            "processor 50 % of 2 cores, of which the generator 25 %; 0.5 % were taken away by the host",
            "stalls the generator lost its core 3 times for 1 ms and more, 12 ms together, 9 ms at most: latencies of \
             that size are the machine's",
            "strangers 3 frames of no stream and no user",
            "VOID interrupted after 10 s",
        ];
        let text = show(&result);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for line in expected {
            assert!(lines.iter().any(|found| found == line), "{line}\n{text}");
        }
    }
}
