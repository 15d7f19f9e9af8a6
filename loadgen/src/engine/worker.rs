//! One thread's part of a run, with time as an argument: what it does in a turn is told by `now_ns` and its ports
//! alone.
//!
//! ```text
//!   turn(now):  recycle ── receive ──┬─ a stamp of ours ──► Arrivals of its lane (perhaps another thread's)
//!                                    ├─ an actor's frame ─► Actor::receive
//!                                    └─ anything else ────► foreign
//!               due? ── actors first, then streams with a schedule, then floods ──► outbox ──► transmit ──► kick
//! ```
//!
//! Users come before attackers here: what the generator cannot send is missing from the flood, and the flood's rate is
//! reported; what users wait for the generator would be blamed on the box.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use weir_dataplane::batch::Batch;
use weir_dataplane::frame::{Frame, FramePool, HEADROOM_BYTES};
use weir_dataplane::port::Port;

use super::arrivals::Arrivals;
use super::board::{Board, Letter};
use super::lane::{Known, Lane, NO_TAG};
use super::thread::SPIN_NS;
use super::way::Way;
use crate::live_frames::LiveFrames;
use crate::pace::SECOND_NS;
use crate::packet::{Key, Place, Stamp};
use crate::profile::Side;
use crate::result::{End, Expect, Stalls};
use crate::users::Actor;

/// Frames that a side's outbox takes in a turn.
const BURST: usize = 64;

/// Of these, so many at most for users.
const ACTORS_BURST: usize = 32;

/// Batches that are received in a turn and on a queue at most, so that sending is not forgotten.
const BATCHES: usize = 4;

/// A packet that was due before the end is still sent if it is late by no more than this.
const LATE_NS: u64 = 50_000_000;

/// When all has arrived, so long is waited for copies of it.
const COPIES_NS: u64 = 50_000_000;

/// After Ctrl-C what is on its way is waited for no longer than this.
const SETTLE_INTERRUPTED_NS: u64 = 100_000_000;

/// What a frame in the outbox belongs to, if not to a lane.
const NO_LANE: u8 = u8::MAX;

/// The ports of one side that a thread has, and what waits to be sent by the first of them.
#[derive(Default)]
struct Exit {
    ports: Vec<Box<dyn Port>>,
    outbox: Vec<Frame>,
    /// The place of each frame's lane among the thread's own, or [`NO_LANE`].
    owners: Vec<u8>,
    live: Option<Box<LiveExit>>,
}

/// The way out for live frames: slots, and what is in them.
struct LiveExit {
    frames: LiveFrames,
    /// By slot: which template's bytes it has behind the headers.
    tags: Box<[u32]>,
    /// By slot that is filled: the place of its lane, and its length.
    filled: Vec<(u8, usize)>,
    /// No earlier than then is it worth a call.
    next_ns: u64,
    /// Between two calls.
    gap_ns: u64,
}

/// What a thread needs to send and receive.
pub struct Equipment {
    /// Its queues on either side, left first.
    pub ports: [Vec<Box<dyn Port>>; 2],
    /// What it sends live frames by on either side, if that is possible and was asked for.
    pub live: [Option<LiveFrames>; 2],
    /// Its frames.
    pub pool: FramePool,
    /// Chunks of the whole packet memory.
    pub chunks: u32,
}

impl Equipment {
    /// Without live frames.
    #[must_use]
    pub fn new(ports: [Vec<Box<dyn Port>>; 2], pool: FramePool, chunks: u32) -> Self {
        Self { ports, live: [None, None], pool, chunks }
    }
}

/// An actor with the side that it stands on.
pub struct Acting {
    /// The side.
    pub side: Side,
    /// The actor.
    pub actor: Box<dyn Actor + Send>,
}

/// What all threads of a run are told.
#[derive(Clone)]
pub(super) struct Orders {
    pub(super) known: Arc<[Known]>,
    pub(super) expects: Arc<[Expect]>,
    pub(super) board: Arc<Board>,
    pub(super) key: Key,
    pub(super) timing: Timing,
    /// Whether the first thread has users' ends.
    pub(super) has_users: bool,
}

/// When a worker does what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) duration_ns: u64,
    pub(super) settle_ns: u64,
    /// Packets that this thread may make.
    pub(super) packets_max: u64,
    /// The time on the wall when the run began, in seconds since 1970.
    pub(super) wall_s: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Sending,
    /// Waiting for what is on its way, until then at most.
    Settling(u64),
    Over,
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was received or sent.
    Busy,
    /// Nothing; the next packet is due then.
    Idle(u64),
    /// This thread is done.
    Over,
}

/// See the module.
pub(super) struct Worker {
    thread: usize,
    exits: [Exit; 2],
    pool: FramePool,
    batch: Box<Batch>,
    /// By chunk: which template's bytes it has behind the headers.
    tags: Box<[u32]>,
    pub(super) lanes: Vec<Lane>,
    pub(super) arrivals: Vec<Arrivals>,
    known: Arc<[Known]>,
    expects: Arc<[Expect]>,
    threads: usize,
    pub(super) actors: Vec<Acting>,
    has_users: bool,
    /// Connections completed and failed by the end of each second, as far as they are over.
    pub(super) users_seconds: Vec<(u64, u64)>,
    board: Arc<Board>,
    key: Key,
    timing: Timing,
    phase: Phase,
    has_begun: bool,
    is_content: bool,
    told_s: u64,
    last_arrival_ns: u64,
    /// Where the round over the lanes begins in this turn.
    first_lane: usize,
    pub(super) made: u64,
    pub(super) foreign: u64,
    /// Frames for another thread whose letter box was full.
    pub(super) overruns: u64,
    /// Why the kernel refused a call for live frames.
    pub(super) live_trouble: Option<String>,
    /// Turns that took too long.
    pub(super) stalls: Stalls,
    /// When sending ended, and why.
    pub(super) ended: Option<(u64, End)>,
}

impl Worker {
    // long: a struct's fields, one a line
    pub(super) fn new(
        thread: usize,
        equipment: Equipment,
        lanes: Vec<Lane>,
        orders: Orders,
    ) -> Self {
        let Orders { known, expects, board, key, timing, has_users } = orders;
        let Equipment { ports: [left, right], live: [left_live, right_live], pool, chunks } =
            equipment;
        let exit = |ports, live: Option<LiveFrames>| Exit {
            ports,
            outbox: Vec::with_capacity(BURST),
            owners: Vec::with_capacity(BURST),
            live: live.map(LiveExit::new).map(Box::new),
        };
        let seconds = lanes.first().map_or(0, |lane| lane.seconds.len());
        let threads = board.letters.len();
        Self {
            thread,
            exits: [exit(left, left_live), exit(right, right_live)],
            pool,
            batch: Box::new(Batch::new()),
            tags: vec![NO_TAG; chunks as usize].into(),
            arrivals: lanes.iter().map(|_| Arrivals::new(seconds)).collect(),
            lanes,
            known,
            expects,
            threads,
            actors: Vec::new(),
            has_users,
            users_seconds: Vec::with_capacity(seconds),
            board,
            key,
            timing,
            phase: Phase::Sending,
            has_begun: false,
            is_content: false,
            told_s: 0,
            last_arrival_ns: 0,
            first_lane: 0,
            made: 0,
            foreign: 0,
            overruns: 0,
            live_trouble: None,
            stalls: Stalls::default(),
            ended: None,
        }
    }

    /// Gives everything back.
    pub(super) fn into_equipment(mut self) -> Equipment {
        self.discard();
        while let Some(letter) = self.board.letters[self.thread].pop() {
            self.pool.put(letter.frame);
        }
        let [left, right] = self.exits;
        let chunks = u32::try_from(self.tags.len()).unwrap_or(0);
        let live = [left.live, right.live].map(|live| live.map(|live| live.frames));
        Equipment { ports: [left.ports, right.ports], live, pool: self.pool, chunks }
    }

    /// Throws away what waits to be sent.
    fn discard(&mut self) {
        for exit in &mut self.exits {
            exit.owners.clear();
            exit.outbox.drain(..).for_each(|frame| self.pool.put(frame));
        }
    }

    /// Frames of this thread's ports that the device has not confirmed as sent.
    pub(super) fn unconfirmed(&self) -> usize {
        self.exits.iter().flat_map(|exit| &exit.ports).map(|port| port.in_transmission()).sum()
    }

    /// The ports to wait on.
    pub(super) fn ports(&self) -> impl Iterator<Item = &dyn Port> {
        self.exits.iter().flat_map(|exit| exit.ports.iter().map(|port| &**port))
    }

    /// Does what is to be done at a time, once. Times never fall.
    pub(super) fn turn(&mut self, now_ns: u64) -> Turn {
        self.begin(now_ns);
        self.tell(now_ns);
        let received = self.receive(now_ns);
        self.change_phase(now_ns);
        if self.phase == Phase::Over {
            return Turn::Over;
        }
        let sent = self.send(now_ns);
        self.publish();
        if received || sent {
            return Turn::Busy;
        }
        Turn::Idle(self.next_due_ns())
    }

    /// The first turn: the users' schedule counts from here.
    fn begin(&mut self, now_ns: u64) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.actors.iter_mut().for_each(|acting| acting.actor.begin(now_ns));
        }
    }

    /// Moves on when the time, the count or the work is over, or somebody says so.
    fn change_phase(&mut self, now_ns: u64) {
        let halted = self.board.halt.load(Ordering::Relaxed);
        match self.phase {
            Phase::Sending => {
                let end = if halted {
                    End::Interrupt
                } else if self.made >= self.timing.packets_max {
                    End::Count
                } else if self.is_over(now_ns) {
                    End::Duration
                } else {
                    return;
                };
                self.end_sending(now_ns, end);
            }
            Phase::Settling(until_ns) => {
                if self.is_complete(now_ns) && !self.is_content {
                    self.is_content = true;
                    self.board.content.fetch_add(1, Ordering::AcqRel);
                }
                let all = self.board.content.load(Ordering::Acquire) == self.threads;
                if all || now_ns >= until_ns {
                    self.phase = Phase::Over;
                }
            }
            Phase::Over => {}
        }
    }

    /// Whether the duration is over and nothing that was due before its end is still owed, but for what is too late.
    fn is_over(&self, now_ns: u64) -> bool {
        let end_ns = self.timing.duration_ns;
        let owes = |lane: &Lane| !lane.pace.is_flood() && lane.pace.due_ns() < end_ns;
        let is_late = now_ns >= end_ns.saturating_add(LATE_NS);
        now_ns >= end_ns && (is_late || !self.lanes.iter().any(owes))
    }

    fn end_sending(&mut self, now_ns: u64, end: End) {
        // What found no room in the ring was never sent.
        self.discard();
        for acting in &mut self.actors {
            acting.actor.wind_down(now_ns);
        }
        let settle_ns = match end {
            End::Interrupt => self.timing.settle_ns.min(SETTLE_INTERRUPTED_NS),
            _ => self.timing.settle_ns,
        };
        // The last packet owns the time up to the next one's turn.
        let next = self.lanes.iter().filter(|lane| !lane.pace.is_flood());
        let next_ns = next.map(|lane| lane.pace.due_ns()).min().unwrap_or(0);
        let ended_ns = match end {
            End::Count if next_ns < u64::MAX => now_ns.max(next_ns.min(self.timing.duration_ns)),
            _ => now_ns,
        };
        self.ended = Some((ended_ns, end));
        self.phase = Phase::Settling(now_ns.saturating_add(settle_ns));
    }

    /// Whether there is nothing more to wait for.
    fn is_complete(&self, now_ns: u64) -> bool {
        let waits = |(lane, arrivals): (&Lane, &Arrivals)| {
            self.expects[lane.seat.stream] != Expect::Pass || arrivals.received() < lane.sent
        };
        let idle = self.actors.iter().all(|acting| acting.actor.is_idle());
        idle && now_ns >= self.last_arrival_ns.saturating_add(COPIES_NS)
            && !self.lanes.iter().zip(&self.arrivals).any(waits)
    }

    fn next_due_ns(&self) -> u64 {
        let lanes =
            self.lanes.iter().map(|lane| match (&self.exits[lane.side.index()].live, lane.way) {
                // Nobody measures how late these are: they need no spinning before their time.
                (Some(live), Way::Live) => {
                    lane.pace.due_ns().max(live.next_ns).saturating_add(SPIN_NS)
                }
                _ => lane.pace.due_ns(),
            });
        let lanes = lanes.filter(|_| self.phase == Phase::Sending);
        let actors = self.actors.iter().filter_map(|acting| acting.actor.due_ns());
        lanes.chain(actors).min().unwrap_or(u64::MAX)
    }

    /// Lets the texts tell the time, once a second.
    fn tell(&mut self, now_ns: u64) {
        let second = now_ns / SECOND_NS;
        if second == self.told_s {
            return;
        }
        self.told_s = second;
        self.note_users();
        let wall_s = self.timing.wall_s.saturating_add(i64::try_from(second).unwrap_or(i64::MAX));
        let told = self.lanes.iter_mut().fold(false, |any, lane| lane.tell(wall_s) | any);
        if told {
            self.tags.fill(NO_TAG);
            for live in self.exits.iter_mut().filter_map(|exit| exit.live.as_mut()) {
                live.tags.fill(NO_TAG);
            }
        }
    }

    /// Notes what users have got by the end of each second that is over.
    fn note_users(&mut self) {
        let clients = self.actors.iter().find(|acting| acting.side == Side::Left);
        let Some(progress) = clients.map(|acting| acting.actor.progress()) else { return };
        let over = usize::try_from(self.told_s).unwrap_or(usize::MAX);
        while self.users_seconds.len() < over.min(self.users_seconds.capacity()) {
            self.users_seconds.push((progress.completed, progress.failed));
        }
    }

    fn publish(&self) {
        for (lane, arrivals) in self.lanes.iter().zip(&self.arrivals) {
            let counters = &self.board.lanes[usize::from(lane.seat.lane)];
            counters.sent.store(lane.sent, Ordering::Relaxed);
            counters.received.store(arrivals.received(), Ordering::Relaxed);
        }
        if let Some(acting) = self.actors.iter().find(|acting| acting.side == Side::Left) {
            let progress = acting.actor.progress();
            self.board.completed.store(progress.completed, Ordering::Relaxed);
            self.board.failed.store(progress.failed, Ordering::Relaxed);
        }
    }
}

mod live;
mod receive;
mod send;
