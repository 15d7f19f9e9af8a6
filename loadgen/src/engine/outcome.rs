//! What the threads have counted, put together.

use std::fs;
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use super::worker::Worker;
use super::{Options, Way, kind};
use crate::measure::Histogram;
use crate::pace::{KEPT_UP, SECOND_NS};
use crate::profile::{Profile, Side};
use crate::result::{
    Cpu, End, Environment, Expect, FORMAT, Interface, RunResult, Second, Stalls, StreamResult,
    UsersResult,
};

/// Frames that a device may keep after sending them, without anything being wrong.
const UNCONFIRMED_MAX: usize = 256;

/// What only the outside of the threads knows of a run.
#[derive(Default)]
pub(super) struct Outside {
    pub(super) began_unix_s: u64,
    /// What has become of a device, if it was lost.
    pub(super) lost: Option<String>,
    pub(super) is_interrupted: bool,
    /// Frames that the kernel had no room for in our rings.
    pub(super) overruns: u64,
    pub(super) interfaces: Vec<Interface>,
    pub(super) cpu: Option<Cpu>,
    pub(super) clock_drift_ppm: Option<f64>,
}

/// Packets of a stream with what its schedule wanted.
struct Wanted {
    due: u64,
    is_flood: bool,
}

/// Makes the result of a run.
pub(super) fn assemble(
    profile: &Profile,
    options: &Options,
    workers: &[Worker],
    outside: Outside,
) -> RunResult {
    let ended = workers.iter().filter_map(|worker| worker.ended);
    let (ended_ns, end) =
        ended.max_by_key(|(ended_ns, _)| *ended_ns).unwrap_or((1, End::Interrupt));
    let end = match (&outside.lost, outside.is_interrupted) {
        (Some(_), _) => End::DeviceLost,
        (None, true) => End::Interrupt,
        (None, false) => end,
    };
    let elapsed_s = seconds(ended_ns.max(1));
    let (streams, wanted): (Vec<StreamResult>, Vec<Wanted>) = profile
        .streams
        .iter()
        .enumerate()
        .map(|(at, stream)| {
            let mut result = joined(workers, at, elapsed_s);
            result.name.clone_from(&stream.name);
            result.kind = kind(stream);
            result.expect = stream.expect;
            result.requested_pps = stream.schedule.mean_pps(ended_ns.max(1));
            let lanes = workers.iter().map(|worker| &worker.lanes[at]);
            let due = lanes.map(|lane| lane.sent + lane.owed(ended_ns.min(profile.duration_ns)));
            let is_flood = super::lane::is_flood(&stream.schedule);
            (result, Wanted { due: due.sum(), is_flood })
        })
        .unzip();
    let foreign_frames = workers.iter().map(|worker| worker.foreign).sum();
    let overrun_frames =
        outside.overruns + workers.iter().map(|worker| worker.overruns).sum::<u64>();
    let unconfirmed = workers.iter().map(Worker::unconfirmed).sum::<usize>();
    let users = users_result(profile, workers);
    let void = outside
        .lost
        .or_else(|| not_kept_up(&streams, &wanted, overtime(ended_ns, profile.duration_ns)))
        .or_else(|| overrun(overrun_frames))
        .or_else(|| unsent(unconfirmed))
        .or_else(|| workers.iter().find_map(|worker| worker.live_trouble.clone()))
        .or_else(|| refused(&streams))
        .or_else(|| not_begun(users.as_ref()));
    let silence = silence(&streams, foreign_frames).filter(|_| void.is_none());
    let is_silent = silence.is_some();
    let environment = Environment { interfaces: outside.interfaces, ..options.environment.clone() };
    RunResult {
        format: FORMAT,
        command: options.command.clone(),
        label: options.label.clone(),
        environment,
        begun_unix_s: outside.began_unix_s,
        seed: options.seed,
        threads: Some(workers.len()),
        elapsed_s,
        ended_by: end,
        void: void.or(silence),
        is_silent,
        clock_drift_ppm: outside.clock_drift_ppm,
        seconds: each_second(workers, profile.streams.len(), ended_ns.min(profile.duration_ns)),
        streams,
        users,
        cpu: outside.cpu,
        stalls: workers.iter().fold(Stalls::default(), |all, worker| all.and(worker.stalls)),
        foreign_frames,
        overrun_frames,
    }
}

/// What the users got, and what their server saw.
fn users_result(profile: &Profile, workers: &[Worker]) -> Option<UsersResult> {
    let settings = profile.users.as_ref()?;
    let mut result = UsersResult { requested_cps: settings.rate, ..UsersResult::default() };
    for acting in workers.iter().flat_map(|worker| &worker.actors) {
        acting.actor.tell(&mut result);
    }
    result.memory_bytes = settings.memory_bytes();
    Some(result)
}

/// One stream's figures of all threads.
fn joined(workers: &[Worker], stream: usize, elapsed_s: f64) -> StreamResult {
    let mut latency = Histogram::new();
    let mut result = StreamResult {
        name: String::new(),
        kind: String::new(),
        expect: Expect::Pass,
        requested_pps: None,
        achieved_pps: 0.0,
        sent: 0,
        sent_bytes: 0,
        received: 0,
        received_bytes: 0,
        missing: 0,
        duplicated: 0,
        reordered: 0,
        damaged: 0,
        engine: Way::Socket,
        refused: 0,
        latency: None,
    };
    for worker in workers {
        let (lane, arrivals) = (&worker.lanes[stream], &worker.arrivals[stream]);
        result.sent += lane.sent;
        result.sent_bytes += lane.sent_bytes;
        result.engine = lane.way;
        result.refused += lane.refused;
        result.received += arrivals.received();
        result.received_bytes += arrivals.bytes;
        result.duplicated += arrivals.duplicated();
        result.reordered += arrivals.reordered();
        result.damaged += arrivals.damaged;
        latency.join(&arrivals.latency);
    }
    result.missing = result.sent.saturating_sub(result.received);
    // What is sent in batches was late by our own doing.
    result.latency = latency.result().filter(|_| result.engine == Way::Socket);
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    let achieved_pps = result.sent as f64 / elapsed_s;
    result.achieved_pps = achieved_pps;
    result
}

fn each_second(workers: &[Worker], streams: usize, ended_ns: u64) -> Vec<Second> {
    let count = usize::try_from(ended_ns.div_ceil(SECOND_NS)).unwrap_or(0);
    // What users had got by the end of a second: as noted, or at the end.
    let users = |second: usize| {
        let Some(worker) = workers.iter().find(|worker| !worker.actors.is_empty()) else {
            return (0, 0);
        };
        let noted = worker.users_seconds.get(second).copied();
        let clients = worker.actors.iter().find(|acting| acting.side == Side::Left);
        let now = clients.map(|acting| acting.actor.progress());
        noted.or(now.map(|now| (now.completed, now.failed))).unwrap_or_default()
    };
    let before = |second: usize| second.checked_sub(1).map_or((0, 0), users);
    let at = |second: usize| {
        let sum = |of: &dyn Fn(&Worker, usize) -> u64| -> Vec<u64> {
            (0..streams)
                .map(|stream| workers.iter().map(|worker| of(worker, stream)).sum())
                .collect()
        };
        let get = |seconds: &[u64]| seconds.get(second).copied().unwrap_or(0);
        Second {
            sent: sum(&|worker, stream| get(&worker.lanes[stream].seconds)),
            received: sum(&|worker, stream| get(&worker.arrivals[stream].seconds)),
            completed: users(second).0 - before(second).0,
            failed: users(second).1 - before(second).1,
        }
    };
    (0..count).map(at).collect()
}

/// How much longer than meant it took to send what was due: 1 or more.
#[expect(clippy::cast_precision_loss, reason = "a day is below 2^53 ns")]
fn overtime(ended_ns: u64, duration_ns: u64) -> f64 {
    (ended_ns as f64 / duration_ns as f64).max(1.0)
}

/// The generator was too slow for a schedule.
#[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
fn not_kept_up(streams: &[StreamResult], wanted: &[Wanted], overtime: f64) -> Option<String> {
    let paced = streams.iter().zip(wanted).filter(|(_, wanted)| !wanted.is_flood && wanted.due > 0);
    let shares =
        paced.map(|(stream, wanted)| (stream, stream.sent as f64 / wanted.due as f64 / overtime));
    let (stream, share) = shares.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (share < KEPT_UP).then(|| {
        let (share, name) = (100.0 * share, &stream.name);
        format!("the generator could not keep up: {share:.1} % of the rate that stream {name:?} asks for")
    })
}

/// Users found no port or no room with us.
fn not_begun(users: Option<&UsersResult>) -> Option<String> {
    let missing = users.map(|users| users.not_begun).filter(|missing| *missing > 0)?;
    Some(format!(
        "{missing} connections that were due could not begin, for want of a port or of room in our own table: give \
         [users] more clients, client_ports or connections_max, or a shorter tcp.time_wait_s"
    ))
}

/// Frames were lost on the last yard.
fn overrun(frames: u64) -> Option<String> {
    (frames > 0).then(|| {
        format!("{frames} frames arrived and were lost for want of room in our own rings: losses may be ours")
    })
}

/// Frames are still with the device. Some drivers give the last ones back only when more are sent.
fn unsent(frames: usize) -> Option<String> {
    (frames > UNCONFIRMED_MAX).then(|| {
        format!("{frames} frames were given to the device and never confirmed as sent: is its other end there?")
    })
}

/// The device takes frames no more.
fn refused(streams: &[StreamResult]) -> Option<String> {
    let stream = streams.iter().find(|stream| stream.refused > stream.sent)?;
    let StreamResult { name, sent, refused, .. } = stream;
    Some(format!(
        "the device refused {refused} live frames of stream {name:?} and took {sent}: has the XDP program at its other \
         end gone?"
    ))
}

/// Nothing at all came through, of streams that were to pass.
fn silence(streams: &[StreamResult], foreign: u64) -> Option<String> {
    let mut pass = streams.iter().filter(|stream| stream.expect == Expect::Pass && stream.sent > 0);
    let any = pass.clone().next().is_some();
    (any && pass.all(|stream| stream.received == 0)).then(|| {
        format!(
            "nothing arrived on the other side ({foreign} foreign frames did): does the box forward, and are the next hops \
             right?"
        )
    })
}

fn seconds(ns: u64) -> f64 {
    std::time::Duration::from_nanos(ns).as_secs_f64()
}

/// Processor time so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct CpuTimes {
    at: Instant,
    generator_s: f64,
    machine: Option<Spent>,
    cores: usize,
}

impl CpuTimes {
    /// `cores` are those of the machine, whichever this program may use.
    pub(super) fn read(cores: usize) -> Self {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        #[expect(clippy::cast_precision_loss, reason = "seconds")]
        let generator_s = own.tv_sec as f64 + own.tv_nsec as f64 / 1e9;
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|text| Spent::read(&text));
        Self { at: Instant::now(), generator_s, machine, cores }
    }

    /// What was used since an earlier reading.
    pub(super) fn since(&self, before: &Self) -> Option<Cpu> {
        let (now, then) = (self.machine?, before.machine?);
        Some(Cpu {
            generator_s: self.generator_s - before.generator_s,
            machine_s: now.busy_s - then.busy_s,
            stolen_s: now.stolen_s - then.stolen_s,
            cores: self.cores,
            over_s: self.at.duration_since(before.at).as_secs_f64(),
        })
    }
}

/// Seconds of all cores together since the machine started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spent {
    /// Neither idle nor waiting.
    busy_s: f64,
    /// Given to others by the host.
    stolen_s: f64,
}

impl Spent {
    /// From the first line of `/proc/stat` (proc(5)), which counts in hundredths.
    fn read(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<f64> =
            line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
        let [user, nice, system, _, _, irq, softirq, steal, ..] = times.as_slice() else {
            return None;
        };
        let busy = user + nice + system + irq + softirq;
        Some(Self { busy_s: busy / 100.0, stolen_s: steal / 100.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_read_without_idle_and_waiting() {
        let stat = "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(Spent::read(stat), Some(Spent { busy_s: 1.63, stolen_s: 0.08 }));
        assert_eq!(Spent::read("intr 5"), None);
        assert_eq!(Spent::read("cpu 1 2"), None);
    }
}
