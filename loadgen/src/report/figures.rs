//! What is made of a result: every figure that is printed, drawn or compared, under one name.

use serde::Serialize;

use crate::report::unit::Unit;
use crate::result::{Expect, Latency, RunResult, StreamResult, UsersResult};

/// Which way a figure should move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// It describes the run; a difference is neither.
    Neither,
}

/// One figure of one run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What it is about: `users`, `machine`, or `stream NAME`.
    pub subject: String,
    /// Its name, such as `p99 latency`.
    pub name: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Its value, in the plain unit: nanoseconds, packets a second, 1 for 100 %.
    pub value: f64,
    /// Which way is better.
    pub better: Better,
    /// Whether the least amount of it is a fault, so that even a single run shows one: a leak, a loss where nothing
    /// may be lost, a duplicate, damage.
    pub is_fault: bool,
}

/// Every figure that the run has. Those that were not measured are left out.
#[must_use]
pub fn of(result: &RunResult) -> Vec<Figure> {
    let mut figures = Vec::new();
    for stream in &result.streams {
        of_stream(stream, &mut figures);
    }
    if let Some(users) = &result.users {
        of_users(users, result.elapsed_s, &mut figures);
    }
    if let Some(cpu) = &result.cpu {
        let mut list = List { subject: "machine".to_owned(), figures: &mut figures };
        let available = cpu.over_s * count(cpu.cores as u64);
        list.share("processor time", ratio(cpu.machine_s, available), Better::Lower);
        list.share(
            "generator's processor time",
            ratio(cpu.generator_s, available),
            Better::Neither,
        );
        list.share("taken away by the host", ratio(cpu.stolen_s, available), Better::Neither);
        let stalled_s = count(result.stalls.total_ns) / 1e9;
        list.share("generator stalled", ratio(stalled_s, cpu.over_s), Better::Neither);
    }
    figures
}

/// The figure of that subject and name.
#[must_use]
pub fn find<'a>(figures: &'a [Figure], subject: &str, name: &str) -> Option<&'a Figure> {
    figures.iter().find(|figure| figure.subject == subject && figure.name == name)
}

fn of_stream(stream: &StreamResult, figures: &mut Vec<Figure>) {
    let mut list = List { subject: format!("stream {}", stream.name), figures };
    list.add("sent", Unit::PacketsPerSecond, Some(stream.achieved_pps), Better::Neither);
    match stream.expect {
        Expect::Pass => {
            list.share("lost", ratio(count(stream.lost()), count(stream.sent)), Better::Lower);
        }
        Expect::Drop => list.fault("leaked", stream.leaked()),
        Expect::Either => list.share("accepted", stream.acceptance(), Better::Neither),
    }
    list.fault("duplicated", stream.duplicated);
    list.fault("reordered", stream.reordered);
    list.fault("damaged", stream.damaged);
    list.latency(
        stream.latency.as_ref(),
        ["p50 latency", "p90 latency", "p99 latency", "p99.9 latency"],
    );
}

fn of_users(users: &UsersResult, elapsed_s: f64, figures: &mut Vec<Figure>) {
    let mut list = List { subject: "users".to_owned(), figures };
    let per_second = |amount| ratio(amount, elapsed_s);
    let attempted = count(users.attempted);
    list.add("begun", Unit::ConnectionsPerSecond, per_second(attempted), Better::Neither);
    let completed = per_second(count(users.completed));
    list.add("completed", Unit::ConnectionsPerSecond, completed, Better::Higher);
    list.share("completed share", ratio(count(users.completed), attempted), Better::Higher);
    let bits = per_second(count(users.goodput_bytes) * 8.0);
    list.add("goodput", Unit::BitsPerSecond, bits, Better::Higher);
    let again = count(users.client_retransmissions) + count(users.server_retransmissions);
    list.add("retransmissions", Unit::Packets, Some(again), Better::Lower);
    let most = Some(count(users.concurrent_max));
    list.add("most open at once", Unit::Connections, most, Better::Neither);
    let server = &users.server;
    for (name, number) in [
        ("SYNs at the server", server.syns),
        ("SYNs for which its queue was full", server.backlog_dropped),
        ("cookies sent", server.cookies_sent),
        ("most half-open at once", server.half_open_max),
        ("resets sent", server.resets_sent),
    ] {
        list.add(name, Unit::Packets, Some(count(number)), Better::Neither);
    }
    list.fault("segments damaged", users.damaged + server.damaged);
    if let Some(shared) = &users.shared {
        let share = ratio(count(shared.completed), count(shared.attempted));
        list.share("completed share behind one address", share, Better::Higher);
    }
    let connect = ["p50 connect", "p90 connect", "p99 connect", "p99.9 connect"];
    list.latency(users.connect.as_ref(), connect);
    let first = ["p50 first byte", "p90 first byte", "p99 first byte", "p99.9 first byte"];
    list.latency(users.first_byte.as_ref(), first);
    let last = ["p50 last byte", "p90 last byte", "p99 last byte", "p99.9 last byte"];
    list.latency(users.last_byte.as_ref(), last);
}

/// The figures of one subject, as they are gathered.
struct List<'a> {
    subject: String,
    figures: &'a mut Vec<Figure>,
}

impl List<'_> {
    fn add(&mut self, name: &'static str, unit: Unit, value: Option<f64>, better: Better) {
        let Some(value) = value else { return };
        let subject = self.subject.clone();
        self.figures.push(Figure { subject, name, unit, value, better, is_fault: false });
    }

    fn share(&mut self, name: &'static str, value: Option<f64>, better: Better) {
        self.add(name, Unit::Share, value, better);
    }

    fn fault(&mut self, name: &'static str, packets: u64) {
        self.add(name, Unit::Packets, Some(count(packets)), Better::Lower);
        if let Some(figure) = self.figures.last_mut() {
            figure.is_fault = true;
        }
    }

    fn latency(&mut self, latency: Option<&Latency>, names: [&'static str; 4]) {
        let Some(latency) = latency else { return };
        let values = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns];
        for (name, value) in names.into_iter().zip(values) {
            self.add(name, Unit::Nanoseconds, Some(count(value)), Better::Lower);
        }
    }
}

/// The rate of what is not meant to pass freely, in packets a second, as it was sent: the flood. 0 if there is none.
#[must_use]
pub fn flood_pps(result: &RunResult) -> f64 {
    let flood = result.streams.iter().filter(|stream| stream.expect != Expect::Pass);
    flood.map(|stream| stream.achieved_pps).sum()
}

/// The rate that was asked for of the flood; `None` if any of it goes as fast as it can.
#[must_use]
pub fn flood_requested_pps(result: &RunResult) -> Option<f64> {
    let mut flood = result.streams.iter().filter(|stream| stream.expect != Expect::Pass);
    flood.try_fold(0.0, |sum, stream| Some(sum + stream.requested_pps?))
}

/// A whole number as one that can be divided.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "packets and nanoseconds are below 2^53")]
pub fn count(number: u64) -> f64 {
    number as f64
}

/// A part of a whole; `None` of nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_study_has_every_figure() {
        let figures = of(&sample::study("weir", 100_000.0, 1));
        let value = |subject, name| find(&figures, subject, name).map(|figure| figure.value);
        assert_eq!(value("users", "completed"), Some(990.0));
        assert_eq!(value("users", "completed share"), Some(0.99));
        assert_eq!(value("stream flood", "leaked"), Some(0.0));
        assert_eq!(value("stream flood", "lost"), None);
        assert_eq!(value("stream probe", "lost"), Some(0.001));
        assert_eq!(value("machine", "processor time"), Some(0.5));
        assert!(find(&figures, "stream flood", "leaked").unwrap().is_fault);
        let names: std::collections::BTreeSet<_> =
            figures.iter().map(|figure| (&figure.subject, figure.name)).collect();
        assert_eq!(names.len(), figures.len(), "a name stands for one figure");
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let mut result = sample::study("weir", 100_000.0, 1);
        result.elapsed_s = 0.0;
        result.streams.iter_mut().for_each(|stream| (stream.sent, stream.latency) = (0, None));
        let figures = of(&result);
        assert_eq!(find(&figures, "users", "completed"), None);
        assert_eq!(find(&figures, "stream probe", "lost"), None);
        assert_eq!(find(&figures, "stream probe", "p99 latency"), None);
    }

    #[test]
    fn the_flood_is_what_need_not_pass() {
        let mut result = sample::study("weir", 100_000.0, 1);
        assert_eq!((flood_pps(&result), flood_requested_pps(&result)), (99_900.0, Some(100_000.0)));
        result.streams[0].requested_pps = None;
        assert_eq!(flood_requested_pps(&result), None);
        result.streams.clear();
        assert_eq!((flood_pps(&result), flood_requested_pps(&result)), (0.0, Some(0.0)));
    }
}
