//! What both ends share: connections in a table that is as large as it will ever be, their timers, and the order in
//! which they send.
//!
//! Every connection is free, or in the index and once in the table. Whatever happens to one ends with
//! [`settle`](Stack::settle), which sees to its timer and its turn; or with [`remove`](Stack::remove).

use std::collections::VecDeque;

use super::content::Content;
use super::frame::{self, Link};
use super::index::{Index, Pair};
use super::tcp::{Connection, Segment, State, TcpSettings};
use super::wheel::Wheel;

/// Segments that wait to be sent without a connection: resets, cookies.
const STRAYS_MAX: usize = 4_096;

/// Timers that one call of [`Stack::due`] looks at and finds put off.
const LOOKS_MAX: u32 = 64;

/// What an end keeps of each connection besides TCP.
pub(super) trait Visit {
    /// When it next wants to act by itself.
    fn due_ns(&self) -> Option<u64>;
}

/// One connection.
#[derive(Debug)]
pub(super) struct Entry<V> {
    pub(super) pair: Pair,
    pub(super) connection: Connection,
    pub(super) visit: V,
}

/// A place in the table.
#[derive(Debug)]
struct Slot<V> {
    entry: Option<Entry<V>>,
    hash: u32,
    /// Whether it stands in the queue of those that send; that may be left from the one before.
    queued: bool,
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StackCounts {
    /// Segments sent more than once.
    pub(super) repeated: u64,
    /// Frames that were broken.
    pub(super) damaged: u64,
    /// Resets to segments of no connection.
    pub(super) resets: u64,
    /// Resets and cookies that found no room to wait.
    pub(super) strays_dropped: u64,
    /// Frames that did not fit the buffer.
    pub(super) unwritten: u64,
}

impl StackCounts {
    /// What was to be sent and was not, for want of room of ours.
    pub(super) fn dropped(&self) -> u64 {
        self.strays_dropped + self.unwritten
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Stack<V> {
    pub(super) tcp: TcpSettings,
    pub(super) counts: StackCounts,
    link: Link,
    says: Content,
    slots: Box<[Slot<V>]>,
    free: Vec<u32>,
    index: Index,
    wheel: Wheel,
    ready: VecDeque<u32>,
    strays: VecDeque<(Pair, Segment)>,
}

/// Bytes of a connection, all tables together.
pub(super) const fn connection_bytes<V>() -> usize {
    size_of::<Slot<V>>() + Index::CONNECTION_BYTES + Wheel::CONNECTION_BYTES + 2 * size_of::<u32>()
}

impl<V: Visit> Stack<V> {
    /// For so many connections at once, all memory allocated and touched.
    pub(super) fn new(
        tcp: TcpSettings,
        link: Link,
        says: Content,
        connections: u32,
        seed: u64,
    ) -> Self {
        let empty = || Slot { entry: None, hash: 0, queued: false };
        let slots = std::iter::repeat_with(empty).take(connections as usize).collect();
        Self {
            tcp,
            counts: StackCounts::default(),
            link,
            says,
            slots,
            free: (0..connections).rev().collect(),
            index: Index::new(connections, seed),
            wheel: Wheel::new(connections as usize),
            ready: VecDeque::with_capacity(connections as usize),
            strays: VecDeque::with_capacity(STRAYS_MAX),
        }
    }

    /// Connections that are remembered, TIME-WAIT included.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether no further connection finds room.
    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    pub(super) fn find(&self, pair: &Pair) -> Option<u32> {
        let is_it = |at: u32| self.entry(at).is_some_and(|entry| entry.pair == *pair);
        self.index.find(self.index.hash(pair), is_it)
    }

    pub(super) fn entry(&self, at: u32) -> Option<&Entry<V>> {
        self.slots.get(at as usize)?.entry.as_ref()
    }

    pub(super) fn entry_mut(&mut self, at: u32) -> Option<&mut Entry<V>> {
        self.slots.get_mut(at as usize)?.entry.as_mut()
    }

    /// Enters a connection of a pair that is not there; `None` when the table is full.
    pub(super) fn insert(&mut self, pair: Pair, connection: Connection, visit: V) -> Option<u32> {
        let at = self.free.pop()?;
        let hash = self.index.hash(&pair);
        self.index.insert(hash, at);
        let slot = &mut self.slots[at as usize];
        slot.entry = Some(Entry { pair, connection, visit });
        slot.hash = hash;
        Some(at)
    }

    pub(super) fn remove(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        if slot.entry.take().is_some() {
            self.index.remove(slot.hash, at);
            self.wheel.clear(at);
            self.free.push(at);
        }
    }

    /// Puts a connection where its timers and its next segment want it.
    pub(super) fn settle(&mut self, at: u32) {
        let slot = &mut self.slots[at as usize];
        let Some(entry) = &slot.entry else { return };
        if entry.connection.has_next() && !slot.queued {
            slot.queued = true;
            self.ready.push_back(at);
        }
        match earlier(entry.connection.due_ns(), entry.visit.due_ns()) {
            Some(deadline_ns) => self.wheel.set(at, deadline_ns),
            None => self.wheel.clear(at),
        }
    }

    /// A connection whose timer has run out. Its owner acts, then settles or removes it.
    pub(super) fn due(&mut self, now_ns: u64) -> Option<u32> {
        for _ in 0..LOOKS_MAX {
            let at = self.wheel.next_due(now_ns)?;
            let entry = self.entry(at)?;
            let deadline_ns = earlier(entry.connection.due_ns(), entry.visit.due_ns());
            match deadline_ns {
                Some(deadline_ns) if deadline_ns > now_ns => self.wheel.set(at, deadline_ns),
                Some(_) => return Some(at),
                None => {}
            }
        }
        None
    }

    /// When there is something to send, or a timer to look at.
    pub(super) fn due_ns(&self) -> Option<u64> {
        if self.strays.is_empty() && self.ready.is_empty() { self.wheel.due_ns() } else { Some(0) }
    }

    /// Reads a frame; a broken one is counted.
    pub(super) fn read<'a>(&mut self, frame: &'a [u8]) -> Option<(Pair, Segment, &'a [u8])> {
        let read = frame::peek(frame).zip(frame::read(frame));
        self.counts.damaged += u64::from(read.is_none());
        read.map(|(pair, (segment, data))| (pair, segment, data))
    }

    /// Has a segment sent that belongs to no connection.
    pub(super) fn stray(&mut self, pair: Pair, segment: Segment) {
        if self.strays.len() < STRAYS_MAX {
            self.strays.push_back((pair, segment));
        } else {
            self.counts.strays_dropped += 1;
        }
    }

    /// Answers a segment that no connection takes.
    pub(super) fn refuse(&mut self, pair: Pair, segment: &Segment) {
        if let Some(reset) = super::tcp::stray_reset(segment) {
            self.counts.resets += 1;
            self.stray(pair, reset);
        }
    }

    /// Gives a connection up: the peer is told, and it is gone.
    pub(super) fn abort(&mut self, at: u32) {
        if let Some(Entry { pair, connection, .. }) = self.entry(at) {
            let (pair, reset) = (*pair, connection.reset());
            if connection.state() != State::SynSent {
                self.stray(pair, reset);
            }
        }
        self.remove(at);
    }

    /// Writes the next frame that is to be sent.
    pub(super) fn write(&mut self, now_ns: u64, out: &mut [u8]) -> Option<usize> {
        if let Some((pair, segment)) = self.strays.pop_front() {
            return self.put(&pair, &segment, out);
        }
        while let Some(at) = self.ready.pop_front() {
            let slot = &mut self.slots[at as usize];
            slot.queued = false;
            let Some(entry) = &mut slot.entry else { continue };
            let next = entry.connection.next(&self.tcp, now_ns);
            let pair = entry.pair;
            self.settle(at);
            if let Some((segment, again)) = next {
                self.counts.repeated += u64::from(again);
                return self.put(&pair, &segment, out);
            }
        }
        None
    }

    fn put(&mut self, pair: &Pair, segment: &Segment, out: &mut [u8]) -> Option<usize> {
        let length = frame::write(self.link, pair, segment, &self.says, out);
        self.counts.unwritten += u64::from(length.is_none());
        length
    }
}

/// The earlier of two times.
pub(super) fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
