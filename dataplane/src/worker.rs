//! The worker: one pinned thread around one [`Engine`].
//!
//! ```text
//!   orders (open, close, stop) ---> read clock -> engine.poll -> record latency --+
//!                                       ^                                         |
//!                                       +------ spin, or sleep in poll(2) <-------+
//! ```
//!
//! The clock is read once a turn, here and nowhere below. While it sleeps the worker waits on its
//! sockets and on its [`Waker`]; whoever publishes rules or routes, or gives an order, wakes it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::engine::{Engine, Remains, Work};
use crate::errand::{Errand, Task};
use crate::idle::{Idle, IdleConfig, Step};
use crate::port::{Port, PortIndex};
use crate::telemetry::{Counter, LatencyRecorder, PublishedCounters};
use crate::wake::Waker;

/// Longest sleep: a bound on how late anything is noticed that nobody wakes the worker for.
const SLEEP_MAX: Duration = Duration::from_millis(20);

/// Longest sleep while packets are held for their next hops, or a device has not taken all of its packets.
const SLEEP_UNFINISHED_MAX: Duration = Duration::from_millis(1);

/// How long a worker that is dropped may take to stop.
const DROP_PATIENCE: Duration = Duration::from_secs(2);

/// Orders that wait at most; the control thread waits for each before it gives the next.
pub const ORDERS_MAX: usize = 64;

/// What the control thread can ask of a worker.
pub enum Order {
    /// Serve a queue.
    Open(Box<dyn Port>),
    /// Close all queues of a port.
    Close(PortIndex),
    /// Do something with the flows; it comes back by [`Worker::errand`].
    Conntrack(Box<Errand>),
    /// End.
    Stop,
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Polls without pause.
    Polling = 0,
    /// Sleeps until something happens.
    Sleeping = 1,
    /// Has ended, in order or not.
    Stopped = 2,
}

/// What a worker and its handle share.
#[derive(Debug)]
struct Shared {
    orders: ArrayQueue<Order>,
    /// The errand that is done. There is one.
    errand: ArrayQueue<Box<Errand>>,
    orders_done: AtomicU64,
    state: AtomicU8,
    policy_epoch: AtomicU64,
    pinned: AtomicBool,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(queue) => write!(f, "Open({})", queue.index()),
            Self::Close(port) => write!(f, "Close({port})"),
            Self::Conntrack(_) => f.write_str("Conntrack"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// How a worker runs.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Its number.
    pub id: usize,
    /// The core to pin it to, if any.
    pub core: Option<usize>,
    /// When it spins and when it sleeps.
    pub idle: IdleConfig,
    /// When its time begins: the same for all workers, for what rules keep has times of all.
    pub clock: Instant,
}

/// The control thread's side of a worker.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    counters: Arc<PublishedCounters>,
    latency: LatencyRecorder,
    /// How many orders are on the queue or done. Locked while one is put there, so that the number that an
    /// order is waited for by is its place on the queue.
    orders_given: Mutex<u64>,
    /// The errand, unless the worker has it. Locked while it is under way: one at a time.
    errand: Mutex<Option<Box<Errand>>>,
    thread: Mutex<Option<JoinHandle<Remains>>>,
}

/// A worker did not carry out an order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is still busy with something else.
    #[error("worker {0} did not react in time")]
    TimedOut(usize),
    /// Its thread has ended.
    #[error("worker {0} has stopped")]
    Stopped(usize),
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(config: WorkerConfig, engine: Engine) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            orders: ArrayQueue::new(ORDERS_MAX),
            errand: ArrayQueue::new(1),
            orders_done: AtomicU64::new(0),
            state: AtomicU8::new(State::Polling as u8),
            policy_epoch: AtomicU64::new(0),
            pinned: AtomicBool::new(false),
        });
        let waker = Arc::clone(engine.inboxes.waker(config.id));
        let counters = engine.published();
        let latency = LatencyRecorder::new();
        let turn = Turn {
            config: config.clone(),
            shared: Arc::clone(&shared),
            waker: Arc::clone(&waker),
            latency: latency.clone(),
        };
        let thread = std::thread::Builder::new()
            .name(format!("weir-worker-{}", config.id))
            .spawn(move || turn.run(engine))?;
        let orders_given = Mutex::new(0);
        Ok(Self {
            config,
            shared,
            waker,
            counters,
            latency,
            orders_given,
            errand: Mutex::new(Some(Box::default())),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> usize {
        self.config.id
    }

    /// The core that it is pinned to; `None` if none was asked for or the system refused.
    #[must_use]
    pub fn core(&self) -> Option<usize> {
        self.config.core.filter(|_| self.shared.pinned.load(Ordering::Relaxed))
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self) -> State {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return State::Stopped;
        }
        drop(thread);
        match self.shared.state.load(Ordering::Relaxed) {
            0 => State::Polling,
            1 => State::Sleeping,
            _ => State::Stopped,
        }
    }

    /// Its counters as of the end of its last poll.
    #[must_use]
    pub fn counters(&self) -> &PublishedCounters {
        &self.counters
    }

    /// Its histograms.
    #[must_use]
    pub fn latency(&self) -> &LatencyRecorder {
        &self.latency
    }

    /// The policy that it enforces.
    #[must_use]
    pub fn policy_epoch(&self) -> u64 {
        self.shared.policy_epoch.load(Ordering::Acquire)
    }

    /// Ends its sleep, if it sleeps: there is something on a port that it cannot wait on.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Gives an order and waits until it is carried out.
    ///
    /// # Errors
    /// When the worker has stopped, or takes longer than `patience`. It may then still carry the order out,
    /// unless [`ORDERS_MAX`] others waited all the time.
    pub fn order(&self, order: Order, patience: Duration) -> Result<(), OrderError> {
        let start = Instant::now();
        let number = self.give(order, patience)?;
        loop {
            self.waker.wake();
            if self.shared.orders_done.load(Ordering::Acquire) >= number {
                return Ok(());
            }
            self.check_patience(start, patience)?;
        }
    }

    /// Has the worker do something with its flows, and shows `read` what came of it. Waits while another caller's
    /// errand is under way.
    ///
    /// # Errors
    /// As [`Worker::order`]. The errand may then still be carried out, and no other is until it was.
    pub fn errand<R>(
        &self,
        task: Task,
        patience: Duration,
        read: impl FnOnce(&Errand) -> R,
    ) -> Result<R, OrderError> {
        let mut place = self.errand.lock().unwrap_or_else(PoisonError::into_inner);
        // Asked before the look into the queue: an errand that comes back in between is not taken for lost.
        let none_under_way = self.has_obeyed();
        let mut errand = match place.take().or_else(|| self.shared.errand.pop()) {
            Some(errand) => errand,
            None if self.state() == State::Stopped => return Err(OrderError::Stopped(self.id())),
            // One that found no place among the orders is no more.
            None if none_under_way => Box::default(),
            None => return Err(OrderError::TimedOut(self.id())),
        };
        errand.set(task);
        self.order(Order::Conntrack(errand), patience)?;
        let errand = self.shared.errand.pop().ok_or(OrderError::Stopped(self.id()))?;
        let result = read(&errand);
        *place = Some(errand);
        Ok(result)
    }

    /// Whether all orders given are carried out.
    fn has_obeyed(&self) -> bool {
        let given = *self.orders_given.lock().unwrap_or_else(PoisonError::into_inner);
        self.shared.orders_done.load(Ordering::Acquire) >= given
    }

    /// Puts an order on the queue; returns its place.
    fn give(&self, mut order: Order, patience: Duration) -> Result<u64, OrderError> {
        let start = Instant::now();
        loop {
            let mut given = self.orders_given.lock().unwrap_or_else(PoisonError::into_inner);
            match self.shared.orders.push(order) {
                Ok(()) => {
                    *given += 1;
                    return Ok(*given);
                }
                Err(back) => order = back,
            }
            drop(given);
            self.check_patience(start, patience)?;
        }
    }

    /// Waits a little, unless it has been long enough.
    fn check_patience(&self, start: Instant, patience: Duration) -> Result<(), OrderError> {
        if self.state() == State::Stopped {
            return Err(OrderError::Stopped(self.id()));
        }
        if start.elapsed() > patience {
            return Err(OrderError::TimedOut(self.id()));
        }
        std::thread::sleep(Duration::from_micros(50));
        Ok(())
    }

    /// Stops the thread and takes over its frames and flows; `None` if the thread had panicked, was stopped before,
    /// or does not take the order within `patience`.
    #[must_use]
    pub fn stop(&self, patience: Duration) -> Option<Remains> {
        match self.order(Order::Stop, patience) {
            Err(OrderError::TimedOut(_)) => return None,
            // One that has stopped already needs no order.
            Ok(()) | Err(OrderError::Stopped(_)) => {}
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread?.join().ok()
    }
}

impl Drop for Worker {
    /// Stops a worker that nobody has stopped: for a start that failed half-way.
    fn drop(&mut self) {
        let running = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).is_some();
        if running {
            let _ = self.stop(DROP_PATIENCE);
        }
    }
}

/// The thread's side.
struct Turn {
    config: WorkerConfig,
    shared: Arc<Shared>,
    waker: Arc<Waker>,
    latency: LatencyRecorder,
}

impl Turn {
    fn run(self, mut engine: Engine) -> Remains {
        if let Some(core) = self.config.core {
            let pinned = core_affinity::set_for_current(core_affinity::CoreId { id: core });
            self.shared.pinned.store(pinned, Ordering::Relaxed);
        }
        let clock = self.config.clock;
        let elapsed_ns = || u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut now_ns = elapsed_ns();
        let mut idle = Idle::new(self.config.idle, now_ns);
        let mut last = Work::default();
        let mut missed = 0;
        // All sleeps since the last packet together: each one is cut short by `SLEEP_MAX`.
        let (mut slept_ns, mut just_slept) = (0, false);
        loop {
            let before_ns = now_ns;
            now_ns = elapsed_ns();
            if !just_slept {
                self.latency.record(now_ns - before_ns, last.transmitted, &mut missed);
            }
            if self.obey(&mut engine) {
                self.shared.state.store(State::Stopped as u8, Ordering::Relaxed);
                return engine.shut_down();
            }
            last = engine.poll(now_ns, wall_s());
            self.shared.policy_epoch.store(engine.policies.epoch(), Ordering::Release);
            if last.packets > 0 {
                idle.busy(now_ns);
                if slept_ns > 0 {
                    idle.woke(slept_ns);
                }
                slept_ns = 0;
            }
            just_slept = false;
            if idle.step(now_ns) == Step::Sleep && last.packets == 0 {
                self.sleep(&mut engine);
                slept_ns += elapsed_ns() - now_ns;
                just_slept = true;
            }
        }
    }

    /// Carries out what was ordered; true when the order is to stop.
    fn obey(&self, engine: &mut Engine) -> bool {
        while let Some(order) = self.shared.orders.pop() {
            match order {
                Order::Open(queue) => {
                    engine.open(queue);
                    // Until the first packet nothing else would say where the frames are.
                    engine.publish();
                }
                Order::Close(port) => engine.close(port),
                Order::Conntrack(mut errand) => {
                    let worker = u32::try_from(self.config.id).unwrap_or(u32::MAX);
                    errand.carry_out(worker, engine.conntrack_mut());
                    // There is room: nobody sends one before the last one is back.
                    let _ = self.shared.errand.push(errand);
                }
                Order::Stop => {
                    self.shared.orders_done.fetch_add(1, Ordering::Release);
                    return true;
                }
            }
            self.shared.orders_done.fetch_add(1, Ordering::Release);
        }
        false
    }

    fn sleep(&self, engine: &mut Engine) {
        self.waker.announce_sleep();
        self.shared.state.store(State::Sleeping as u8, Ordering::Relaxed);
        if self.shared.orders.is_empty() && !engine.has_news() {
            engine.counters_mut().add(Counter::Sleeps, 1);
            let patience = if engine.is_unfinished() { SLEEP_UNFINISHED_MAX } else { SLEEP_MAX };
            wait(engine, &self.waker, patience);
        }
        self.shared.state.store(State::Polling as u8, Ordering::Relaxed);
        self.waker.awake();
    }
}

/// The time of day in seconds since 1970, 0 if it is before. The coarse clock is the one that the kernel's rules read
/// (`ktime_get_real_seconds`), and the cheapest.
fn wall_s() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

/// Queues that one worker can wait on at most; those beyond are looked at after [`SLEEP_MAX`].
const WAITS_MAX: usize = 64;

fn wait(engine: &Engine, waker: &Waker, patience: Duration) {
    // Not a `Vec`: a worker allocates only when a port is opened or closed.
    let mut fds = [const { None }; WAITS_MAX + 1];
    fds[0] = Some(PollFd::new(waker, PollFlags::IN));
    let queues = engine.ports().iter().filter_map(Port::readiness);
    let mut waits = 1;
    for (slot, queue) in fds[1..].iter_mut().zip(queues) {
        *slot = Some(PollFd::from_borrowed_fd(queue, PollFlags::IN));
        waits += 1;
    }
    let spare = PollFd::new(waker, PollFlags::empty());
    let mut fds = fds.map(|fd| fd.unwrap_or_else(|| spare.clone()));
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(patience.subsec_nanos()) };
    // Whatever ends it, the next poll looks at everything.
    let _ = rustix::event::poll(&mut fds[..waits], Some(&timeout));
}
