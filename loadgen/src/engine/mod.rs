//! The engine: sends what a profile says by two sides, takes in what arrives on either, and says what became of it.
//!
//! ```text
//!            left                                                right
//!   attackers, users ──► port ══► the box under test ══► port ──► server, and whoever else is meant
//!                        port ◄══                    ◄══ port
//! ```
//!
//! Both sides are in one process, so one clock stamps and reads, and one thread can serve both: then the box has the
//! other cores for itself. With several threads each has a queue of either side, and every n-th packet of every stream.
//!
//! What a thread does at a time is in `worker` and takes the time as an argument; [`run`] only reads the clock,
//! waits, and looks after the devices. The ports may be AF_XDP sockets ([`Ports::open`]) or anything else that is a
//! [`Port`](weir_dataplane::port::Port).

mod arrivals;
mod board;
mod lane;
mod outcome;
mod ports;
mod simulate;
mod thread;
mod way;
mod worker;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use ports::{Nothing, Ports, Sides, Watch};
pub use simulate::simulate;
pub use thread::Idle;
pub use way::{Choice, Way};
pub use worker::{Acting, Equipment};

use crate::clock::Clock;
use crate::error::Error;
use crate::neighbour::{Answerer, Played};
use crate::packet::{Key, LANES_MAX, mix};
use crate::profile::{Content, Profile, Side, Stream};
use crate::result::{Environment, RunResult};
use crate::stop::Stop;
use crate::users::{Link, Settings, both_ends};
use board::Board;
use lane::{Known, Lane, NO_TAG, Seat};
use weir_dataplane::wire::MacAddr;
use worker::{Orders, Timing, Worker};

/// How often the observer is called and the devices are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// The seed of a run that names none.
pub const SEED: u64 = 0x5eed;

/// Longest run whose seconds are counted each for itself: a day.
const SECONDS_MAX: u64 = 86_400 + 60;

/// How a run is done; what is sent is the profile's.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// What the result is called.
    pub label: String,
    /// The command line, for the result.
    pub command: Vec<String>,
    /// What is known of the machine, for the result. The interfaces are filled in.
    pub environment: Environment,
    /// Cores that the threads are pinned to, in turn; none: wherever the scheduler puts them.
    pub cores: Vec<usize>,
    /// What a thread does when nothing is due.
    pub idle: Idle,
    /// Which engine sends the streams.
    pub engine: Choice,
}

/// What has happened so far, for a live view.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Since the first packet, in seconds.
    pub elapsed_s: f64,
    /// Frames sent and received so far, of each stream.
    pub streams: Vec<(u64, u64)>,
    /// Connections completed so far.
    pub completed: u64,
    /// Connections given up or reset so far.
    pub failed: u64,
}

/// Runs a profile once over the ports, and says what came of it. `observer` is called ten times a second.
///
/// The ports are as good as before when it returns, whatever it returns, and may be used for the next run.
///
/// # Errors
/// When a frame of the profile cannot be made, or the threads cannot be started. What happens during the run, to the
/// devices too, is in the result.
pub fn run(
    profile: &Profile,
    ports: &mut Ports,
    options: &Options,
    stop: &Stop,
    observer: &mut dyn FnMut(&Snapshot),
) -> Result<RunResult, Error> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began_unix_s = wall.as_secs();
    let before = ports.watch.overruns();
    let cpu_before = outcome::CpuTimes::read(options.environment.cores);
    let mut plan = Plan::new(profile, ports, options, began_unix_s)?;
    let board = Arc::clone(&plan.board);
    let workers = std::mem::take(&mut plan.workers);
    let clock = Clock::start();
    let mut lost = None;
    let workers = std::thread::scope(|scope| {
        let start = |(at, worker): (usize, Worker)| {
            let core = options.cores.get(at % options.cores.len().max(1)).copied();
            let (clock, idle) = (clock.clone(), options.idle);
            scope.spawn(move || thread::drive(worker, &clock, idle, core))
        };
        let threads: Vec<_> = workers.into_iter().enumerate().map(start).collect();
        while !threads.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::park_timeout(LOOK);
            observer(&plan.snapshot(clock.now_ns()));
            lost = lost.take().or_else(|| ports.watch.lost());
            if stop.requested() || lost.is_some() {
                board.halt.store(true, Ordering::Relaxed);
            }
        }
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.collect::<Result<Vec<Worker>, _>>()
    });
    // A panic of a thread is one of ours; its frames are gone with it.
    let workers = workers.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let outside = outcome::Outside {
        began_unix_s,
        lost,
        is_interrupted: stop.requested(),
        overruns: ports.watch.overruns().saturating_sub(before),
        interfaces: ports.watch.interfaces(),
        cpu: outcome::CpuTimes::read(options.environment.cores).since(&cpu_before),
        clock_drift_ppm: clock.drift_ppm(),
    };
    let result = outcome::assemble(profile, options, &workers, outside);
    ports.equipment = workers.into_iter().map(Worker::into_equipment).collect();
    Ok(result)
}

/// Everything that is made before the first packet.
struct Plan {
    workers: Vec<Worker>,
    board: Arc<Board>,
    streams: usize,
    threads: usize,
}

impl Plan {
    fn new(
        profile: &Profile,
        ports: &mut Ports,
        options: &Options,
        began_unix_s: u64,
    ) -> Result<Self, Error> {
        let (streams, threads) = (profile.streams.len(), ports.equipment.len());
        if streams * threads > LANES_MAX - 1 {
            let allowed =
                format!("{streams} streams may have {} threads", (LANES_MAX - 1) / streams);
            return Err(Error::Value { option: "--threads", value: threads.to_string(), allowed });
        }
        check_lengths(profile, ports)?;
        let board = Arc::new(Board::new(streams * threads, threads));
        let seconds =
            (profile.duration_ns + profile.settle_ns).div_ceil(crate::pace::SECOND_NS) + 2;
        let seconds = usize::try_from(seconds.min(SECONDS_MAX)).unwrap_or(0);
        let wall_s = local_s(began_unix_s);
        let expects = profile.streams.iter().map(|stream| stream.expect).collect();
        // Another key in every run, so that what is late of the one before is foreign.
        let key = Key::new(options.seed ^ mix(began_unix_s) ^ ports.next_run());
        let ways = ways(profile, ports, options.engine)?;
        let (macs, mut workers) = (ports.macs, Vec::new());
        let lanes_of = |thread: usize| -> Result<Vec<Lane>, String> {
            let mut first_tag = NO_TAG + 1;
            let lane = |(at, stream): (usize, &crate::profile::Stream)| {
                let lane = u8::try_from(at * threads + thread).unwrap_or(u8::MAX);
                let seat = Seat { lane, stream: at, thread, threads, first_tag };
                let side = macs[stream.from.index()];
                let mut lane = Lane::new(stream, seat, side, options.seed, wall_s, seconds)?;
                lane.way = ways[at];
                first_tag += lane.tags();
                Ok(lane)
            };
            profile.streams.iter().enumerate().map(lane).collect()
        };
        let all: Vec<Vec<Lane>> =
            (0..threads).map(lanes_of).collect::<Result<_, _>>().map_err(Error::Profile)?;
        let known = profile.streams.iter().zip(all.iter().flatten()).enumerate();
        let known = known
            .map(|(at, (stream, lane))| Known::new(stream, mix(options.seed ^ at as u64), lane))
            .collect();
        let timing = Timing {
            duration_ns: profile.duration_ns,
            settle_ns: profile.settle_ns,
            packets_max: profile.packets_max / threads as u64,
            wall_s,
        };
        let has_users = profile.users.is_some();
        let orders = Orders { known, expects, board: Arc::clone(&board), key, timing, has_users };
        for (thread, (equipment, lanes)) in ports.equipment.drain(..).zip(all).enumerate() {
            let mut orders = orders.clone();
            let rest = profile.packets_max % threads as u64;
            orders.timing.packets_max += u64::from((thread as u64) < rest);
            workers.push(Worker::new(thread, equipment, lanes, orders));
        }
        if let Some(first) = workers.first_mut() {
            let users = profile.users.as_ref().map(|users| self::users(users, macs, options.seed));
            first.actors = users.unwrap_or_default();
            first.actors.extend(Side::BOTH.map(|side| {
                let played = Played::of(profile, side, &ports.residents[side.index()]);
                let answerer = Answerer::new(played, macs[side.index()][0]);
                Acting { side, actor: Box::new(answerer) }
            }));
        }
        Ok(Self { workers, board, streams, threads })
    }

    fn snapshot(&self, now_ns: u64) -> Snapshot {
        let stream = |stream: usize| {
            let lanes = &self.board.lanes[stream * self.threads..(stream + 1) * self.threads];
            let sum = |(sent, received), lane: &board::Counters| {
                (
                    sent + lane.sent.load(Ordering::Relaxed),
                    received + lane.received.load(Ordering::Relaxed),
                )
            };
            lanes.iter().fold((0, 0), sum)
        };
        Snapshot {
            elapsed_s: Duration::from_nanos(now_ns).as_secs_f64(),
            streams: (0..self.streams).map(stream).collect(),
            completed: self.board.completed.load(Ordering::Relaxed),
            failed: self.board.failed.load(Ordering::Relaxed),
        }
    }
}

/// Which way each stream goes. Where it may be either, what cannot be had is done without; the result says so.
fn ways(profile: &Profile, ports: &mut Ports, choice: Choice) -> Result<Vec<Way>, Error> {
    let way = |stream: &Stream| {
        let wanted = choice.way(stream, profile.duration_ns);
        match (wanted, choice) {
            (Way::Socket, _) => Ok(Way::Socket),
            (Way::Live, Choice::LiveFrames) => Ok(ports.open_live(stream.from).map(|()| wanted)?),
            (Way::Live, _) => Ok(ports.open_live(stream.from).map_or(Way::Socket, |()| wanted)),
        }
    };
    profile.streams.iter().map(way).collect()
}

/// Both ends of the users' connections.
fn users(settings: &Settings, macs: [[MacAddr; 2]; 2], seed: u64) -> Vec<Acting> {
    let link = |side: Side| {
        let ([source, destination], tag) = (macs[side.index()], settings.tags[side.index()]);
        Link { source, destination, tag }
    };
    let [left, right] = Side::BOTH.map(link);
    let (clients, server) = both_ends(settings, left, right, mix(seed ^ 0x7573_6572));
    let client = Acting { side: Side::Left, actor: Box::new(clients) };
    vec![client, Acting { side: Side::Right, actor: Box::new(server) }]
}

/// Refuses frames that an interface cannot carry.
fn check_lengths(profile: &Profile, ports: &Ports) -> Result<(), Error> {
    let longest = profile.users.as_ref().map_or(0, Settings::frame_bytes_max);
    if let Some(excess) = longest.checked_sub(ports.frame_bytes_max).filter(|excess| *excess > 0) {
        return Err(Error::Profile(format!(
            "users send frames of {longest} bytes and the interfaces carry {}: make users.tcp.mss less by {excess}",
            ports.frame_bytes_max
        )));
    }
    for stream in &profile.streams {
        let longest = match &stream.content {
            Content::Made(made) => made.sizes.iter().copied().max(),
            Content::Replay(replay) => replay.frames.iter().map(Vec::len).max(),
        };
        if let Some(longest) = longest.filter(|&longest| longest > ports.frame_bytes_max) {
            let (name, carried) = (&stream.name, ports.frame_bytes_max);
            return Err(Error::Profile(format!(
                "stream {name:?} has frames of {longest} bytes and the interfaces carry {carried} (without check \
                 sequence): set their MTU higher"
            )));
        }
    }
    Ok(())
}

/// The time on the wall: seconds since 1970 as if its clock stood at UTC.
fn local_s(unix_s: u64) -> i64 {
    let utc = i64::try_from(unix_s).unwrap_or(i64::MAX);
    let local =
        chrono::DateTime::from_timestamp(utc, 0).map(|utc| utc.with_timezone(&chrono::Local));
    local.map_or(utc, |local| utc + i64::from(local.offset().local_minus_utc()))
}

/// What a stream's packets are, for results: runs of one kind may be compared.
fn kind(stream: &Stream) -> String {
    let kind = match &stream.content {
        Content::Made(made) if made.is_ipv4() => made.kind.to_string(),
        Content::Made(made) => format!("{} IPv6", made.kind),
        Content::Replay(_) => "replay".to_owned(),
    };
    stream.tag.map_or(kind.clone(), |tag| format!("{kind} {tag}"))
}

#[cfg(test)]
mod tests;
