//! `FaultyPort`: a port that mistreats what it receives, by plan. It is what the generator measures itself with: what
//! was planned has to be reported, and nothing else.
//!
//! Packets are counted as they arrive, from 0; a fault is for one of them. Delays need a time, which is an argument
//! here too: whoever lets time pass sets it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_dataplane::batch::{BATCH_MAX, Batch};
use weir_dataplane::frame::{Frame, FramePool};
use weir_dataplane::port::{Port, PortIndex, Trouble};

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It never arrives.
    Lose,
    /// It arrives twice.
    Double,
    /// It arrives after so many that were behind it, at least 1.
    Behind(u64),
    /// Bit 0 of the byte at this offset is turned over; beyond the end: of the last byte.
    Damage(usize),
}

/// The time, set from outside, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Time(Arc<AtomicU64>);

impl Time {
    /// Sets it.
    pub fn set(&self, now_ns: u64) {
        self.0.store(now_ns, Ordering::Relaxed);
    }

    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How long the n-th packet is held back, in nanoseconds.
pub type Delays = Box<dyn FnMut(u64) -> u64 + Send>;

/// See the module.
pub struct FaultyPort {
    inner: Box<dyn Port>,
    faults: BTreeMap<u64, Fault>,
    delays: Option<(Time, Delays)>,
    /// Packets that have come so far.
    count: u64,
    batch: Box<Batch>,
    /// Held until so many packets have come.
    behind: BTreeMap<u64, Vec<Frame>>,
    /// Held until a time; the second number keeps the order of those with the same.
    delayed: BinaryHeap<Reverse<(u64, u64, Held)>>,
    ready: VecDeque<Frame>,
    /// Lost ones, on their way back to the pool.
    lost: Vec<Frame>,
    /// Empty ones, for copies.
    spare: Vec<Frame>,
}

/// A frame in a heap, where only its times are compared.
struct Held(Frame);

impl PartialEq for Held {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl FaultyPort {
    /// Puts faults before a port.
    #[must_use]
    pub fn new(inner: Box<dyn Port>, faults: BTreeMap<u64, Fault>) -> Self {
        Self {
            inner,
            faults,
            delays: None,
            count: 0,
            batch: Box::new(Batch::new()),
            behind: BTreeMap::new(),
            delayed: BinaryHeap::new(),
            ready: VecDeque::new(),
            lost: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Holds every packet back that is not lost.
    #[must_use]
    pub fn with_delays(mut self, time: Time, delays: Delays) -> Self {
        self.delays = Some((time, delays));
        self
    }

    /// Does to a packet what is planned for it.
    fn treat(&mut self, mut frame: Frame) {
        let number = self.count;
        self.count += 1;
        match self.faults.get(&number) {
            None => self.pass(frame, number),
            Some(Fault::Lose) => self.lost.push(frame),
            Some(Fault::Double) => {
                // Without a spare frame the plan cannot be kept; the count of copies shows it.
                if let Some(mut copy) = self.spare.pop() {
                    let fits = copy.fill(frame.bytes());
                    debug_assert!(fits, "frames are alike");
                    self.pass(copy, number);
                }
                self.pass(frame, number);
            }
            Some(&Fault::Behind(places)) => {
                self.behind.entry(number + places.max(1)).or_default().push(frame);
            }
            Some(&Fault::Damage(at)) => {
                let bytes = frame.bytes_mut();
                let at = at.min(bytes.len().saturating_sub(1));
                bytes[at] ^= 1;
                self.pass(frame, number);
            }
        }
        for frame in self.behind.remove(&number).unwrap_or_default() {
            self.pass(frame, number);
        }
    }

    fn pass(&mut self, frame: Frame, number: u64) {
        match &mut self.delays {
            None => self.ready.push_back(frame),
            Some((time, delays)) => {
                let until_ns = time.now_ns() + delays(number);
                self.delayed.push(Reverse((until_ns, number, Held(frame))));
            }
        }
    }

    /// Lets go what has been held long enough.
    fn release(&mut self) {
        let Some((time, _)) = &self.delays else { return };
        let now_ns = time.now_ns();
        while self.delayed.peek().is_some_and(|Reverse((until_ns, ..))| *until_ns <= now_ns) {
            if let Some(Reverse((_, _, Held(frame)))) = self.delayed.pop() {
                self.ready.push_back(frame);
            }
        }
    }
}

impl Port for FaultyPort {
    fn index(&self) -> PortIndex {
        self.inner.index()
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        self.inner.receive(&mut self.batch);
        let mut came = std::mem::take(&mut self.batch);
        came.drain().for_each(|frame| self.treat(frame));
        self.batch = came;
        self.release();
        let passed = self.ready.len().min(batch.room());
        self.ready.drain(..passed).for_each(|frame| batch.push(frame, self.inner.index()));
        passed
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        self.inner.transmit(outbox)
    }

    fn kick(&mut self) {
        self.inner.kick();
    }

    fn recycle(&mut self, pool: &mut FramePool) {
        self.lost.drain(..).for_each(|frame| pool.put(frame));
        while self.spare.len() < BATCH_MAX {
            let Some(frame) = pool.take() else { break };
            self.spare.push(frame);
        }
        self.inner.recycle(pool);
    }

    fn lent(&self) -> usize {
        let behind: usize = self.behind.values().map(Vec::len).sum();
        let own =
            self.ready.len() + self.lost.len() + self.spare.len() + self.delayed.len() + behind;
        self.inner.lent() + own
    }

    fn in_transmission(&self) -> usize {
        self.inner.in_transmission()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        let held = self.delayed.into_iter().map(|Reverse((_, _, Held(frame)))| frame);
        let behind = self.behind.into_values().flatten();
        let own = self.ready.into_iter().chain(self.lost).chain(self.spare);
        own.chain(held).chain(behind).for_each(&mut *give_back);
        self.inner.close(give_back);
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.inner.readiness()
    }

    fn trouble(&self) -> Trouble {
        self.inner.trouble()
    }
}
