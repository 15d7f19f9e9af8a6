//! Workers as they run: real threads over ports in memory.
//!
//! Nothing here depends on how long something takes; deadlines only end a test that hangs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use weir_control::protocol::FlowFilter;
use weir_dataplane::batch::Batch;
use weir_dataplane::errand::Task;
use weir_dataplane::frame::{Frame, FramePool};
use weir_dataplane::idle::IdleConfig;
use weir_dataplane::port::{MemoryPort, Port, PortIndex};
use weir_dataplane::telemetry::{Counter, Counters};
use weir_dataplane::verdict::DropReason;
use weir_dataplane::worker::{Order, OrderError, State, Worker, WorkerConfig};

use crate::packet::{ACK, Packet};
use crate::world::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A world whose engines run in threads. Its own checks need them back.
struct Running {
    world: World,
    workers: Vec<Worker>,
}

impl Running {
    fn start(sizes: Sizes, idle: IdleConfig) -> Self {
        let mut world = World::new(sizes);
        let clock = Instant::now();
        let engines: Vec<_> = world.engines.iter_mut().map(|engine| engine.take()).collect();
        let workers = engines
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(id, engine)| {
                Worker::start(WorkerConfig { id, core: None, idle, clock }, engine)
                    .expect("a thread")
            })
            .collect();
        Self { world, workers }
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.workers.iter().for_each(|worker| sum.merge(&worker.counters().read()));
        sum
    }

    /// Waits for something that is bound to happen.
    #[track_caller]
    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    /// Puts a packet on a wire and tells the worker: a memory port has nothing to wait on.
    fn inject(&mut self, worker: usize, port: PortIndex, packet: &Packet) {
        self.world.inject_packet(worker, port, packet);
        self.workers[worker].wake();
    }

    /// Publishes rules and waits until every worker enforces them.
    fn rules(&mut self, lines: &[&str]) {
        let epoch = self.world.rules(lines);
        self.until("the rules in force on every worker", |hosts| {
            hosts.workers.iter().all(|worker| worker.policy_epoch() >= epoch)
        });
    }

    /// Identifications of what has left a port, on all workers.
    fn left(&self, port: PortIndex) -> Vec<u16> {
        (0..self.world.sizes.workers)
            .flat_map(|worker| self.world.wire(worker, port).take_sent())
            .map(|bytes| u16::from_be_bytes([bytes[18], bytes[19]]))
            .collect()
    }

    /// Ends all workers; every frame must be back.
    fn stop(self) {
        let chunks = self.world.sizes.chunks as usize;
        let memory = Arc::clone(&self.world.memory);
        let pools: Vec<_> = self.workers.into_iter().map(|worker| worker.stop(PATIENCE)).collect();
        let mut pools: Vec<FramePool> =
            pools.into_iter().map(|remains| remains.expect("no panic").pool).collect();
        pools.iter_mut().for_each(FramePool::collect_returns);
        assert_eq!(pools.iter().map(FramePool::available).sum::<usize>(), chunks);
        drop((pools, self.world));
        assert_eq!(memory.frames_alive(0), 0);
    }
}

/// Sleeps as soon as there is nothing to do.
const SLEEPY: IdleConfig = IdleConfig { spin_ns_min: 1, spin_ns_max: 1 };
/// Spins for a while, then sleeps.
const USUAL: IdleConfig = IdleConfig { spin_ns_min: 1_000, spin_ns_max: 50_000 };

fn tcp(n: u16) -> Packet {
    let packet = Packet::tcp((ALICE, n % 1000), (BOB, 80), ACK, b"");
    Packet { identification: n, ..packet }
}

fn udp(n: u16) -> Packet {
    Packet { identification: n, ..Packet::udp((ALICE, n % 1000), (BOB, 53), b"") }
}

/// Two rule sets, each of two rules, that drop exactly one of two kinds. Half of one and half of
/// the other would drop both kinds or none.
const NO_TCP: [&str; 4] =
    ["-F", "-P FORWARD DROP", "-A FORWARD -p tcp -j DROP", "-A FORWARD -p udp -j ACCEPT"];
const NO_UDP: [&str; 4] =
    ["-F", "-P FORWARD DROP", "-A FORWARD -p udp -j DROP", "-A FORWARD -p tcp -j ACCEPT"];

#[test]
fn a_thousand_changes_of_rules_under_traffic_lose_nothing_and_are_never_half_seen() {
    let mut running = Running::start(Sizes { chunks: 2048, inbox: 512, ..Sizes::TWO }, USUAL);
    running.rules(&NO_TCP);
    let (mut number, mut sent) = (0_u16, 0);
    for swap in 0..1000 {
        // These meet the old rules or the new.
        for _ in 0..4 {
            number = number.wrapping_add(2);
            running.inject(usize::from(number / 2 % 2), EAST, &tcp(number));
            running.inject(usize::from(number / 2 % 2), EAST, &udp(number + 1));
        }
        let tcp_passes = swap % 2 == 0;
        running.rules(if tcp_passes { &NO_UDP } else { &NO_TCP });
        // These meet the new ones, wherever they come in and whoever's they are.
        let first = number.wrapping_add(2);
        for _ in 0..4 {
            number = number.wrapping_add(2);
            running.inject(usize::from(number / 2 % 2), EAST, &tcp(number));
            running.inject(usize::from(number / 2 % 2), EAST, &udp(number + 1));
        }
        sent += 16;
        running.until("all are through", |running| {
            let counters = running.counters();
            let ended = counters.get(Counter::Transmitted) + counters.dropped_all();
            // Whoever hands a packet over says so at the end of its poll; the other may be done by then.
            let handed = [Counter::HandedOut, Counter::HandedIn].map(|side| counters.get(side));
            ended == sent && handed[0] == handed[1]
        });
        let counters = running.counters();
        // Nothing but a rule has ended one; the default policy has met none.
        assert_eq!(counters.dropped(DropReason::Rule), counters.dropped_all(), "swap {swap}");
        assert_eq!(counters.imbalance(), 0);
        let left = running.left(WEST);
        let wanted = (0..4).map(|n| first.wrapping_add(2 * n + u16::from(!tcp_passes)));
        let mut after: Vec<_> = left.into_iter().filter(|n| n.wrapping_sub(first) < 8).collect();
        after.sort_unstable_by_key(|n| n.wrapping_sub(first));
        assert_eq!(after, wanted.collect::<Vec<_>>(), "swap {swap}");
    }
    let counters = running.counters();
    assert!(counters.get(Counter::HandedOut) > 1000, "packets were handed over");
    running.stop();
}

#[test]
fn sleepers_are_woken_by_orders_rules_and_packets_of_others() {
    let mut running = Running::start(Sizes::TWO, SLEEPY);
    let asleep =
        |running: &Running| running.workers.iter().all(|worker| worker.state() == State::Sleeping);
    for n in 0..50 {
        running.until("both sleep", asleep);
        running.workers[0].order(Order::Close(WAN), PATIENCE).expect("carried out");
        let wire = running.world.wire(0, WAN);
        let queue = Box::new(MemoryPort::new(WAN, wire, 16, 16));
        running.workers[0].order(Order::Open(queue), PATIENCE).expect("carried out");

        running.until("both sleep", asleep);
        running.rules(&["-F", "-A FORWARD -p udp -j ACCEPT"]);

        running.until("both sleep", asleep);
        // A flow of worker 1, received by worker 0: worker 0 wakes it.
        let port = (0..1000).map(|port| 100 * n + port).find(|port| {
            let tuple = weir_dataplane::conntrack::Tuple {
                source: ALICE.into(),
                destination: BOB.into(),
                source_port: *port,
                destination_port: 53,
                protocol: 17,
            };
            running.world.flow_hash.worker(&tuple) == 1
        });
        let packet = Packet::udp((ALICE, port.expect("half of all")), (BOB, 53), b"");
        let handed_in = running.workers[1].counters().read().get(Counter::HandedIn);
        running.inject(0, EAST, &packet);
        running.until("it is taken", |running| {
            running.workers[1].counters().read().get(Counter::HandedIn) == handed_in + 1
        });
    }
    running.until("all have left", |running| running.counters().get(Counter::Transmitted) == 50);
    assert!(running.counters().get(Counter::Sleeps) >= 100);
    running.stop();
}

/// A port that lets nobody pass who does not get the lock.
struct Gate {
    port: MemoryPort,
    lock: Arc<Mutex<()>>,
}

impl Port for Gate {
    fn index(&self) -> PortIndex {
        self.port.index()
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        drop::<MutexGuard<'_, ()>>(self.lock.lock().expect("nobody panics"));
        self.port.receive(batch)
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        self.port.transmit(outbox)
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        self.port.recycle(pool);
    }

    fn lent(&self) -> usize {
        self.port.lent()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        Box::new(self.port).close(give_back);
    }
}

#[test]
fn a_busy_worker_times_orders_out_and_obeys_again_afterwards() {
    let running = Running::start(Sizes::ONE, USUAL);
    let lock = Arc::new(Mutex::new(()));
    let worker = &running.workers[0];
    let port = MemoryPort::new(WAN, running.world.wire(0, WAN), 16, 16);
    let gate = Gate { port, lock: Arc::clone(&lock) };
    let guard = lock.lock().expect("nobody panics");
    worker.order(Order::Open(Box::new(gate)), PATIENCE).expect("carried out");
    // It now hangs in `receive`. The queue of orders fills up and then refuses.
    for _ in 0..70 {
        let refused = worker.order(Order::Close(EAST), Duration::ZERO);
        assert_eq!(refused, Err(OrderError::TimedOut(0)));
    }
    drop(guard);
    worker.order(Order::Close(WEST), PATIENCE).expect("carried out");
    running.stop();
}

/// Sends errands through one worker's whole table; how many flows they came back with.
fn errands(worker: &Worker, task: impl Fn(u32) -> Task) -> usize {
    let mut flows = 0;
    let mut from = Some(0);
    while let Some(place) = from {
        let came = worker.errand(task(place), PATIENCE, |errand| {
            flows += errand.flows().len();
            errand.next()
        });
        from = came.expect("carried out");
    }
    flows
}

#[test]
fn flows_are_shown_and_deleted_under_traffic_and_no_packet_is_lost() {
    let sizes = Sizes { chunks: 2048, inbox: 512, flows: 4096, always_track: true, ..Sizes::TWO };
    let mut running = Running::start(sizes, USUAL);
    let filter = FlowFilter::default();
    let list = |from| Task::List { filter, from };
    for n in 0..1000 {
        running.inject(usize::from(n % 2), EAST, &udp(n));
        if n % 10 == 0 {
            // Two at the same time share the worker's one errand.
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| running.workers.iter().map(|w| errands(w, list)).sum::<usize>());
                }
            });
        }
    }
    running.until("all have left", |running| running.counters().get(Counter::Transmitted) == 1000);
    let sum = |task: &dyn Fn(u32) -> Task| -> usize {
        running.workers.iter().map(|worker| errands(worker, task)).sum()
    };
    assert_eq!(sum(&list), 1000);
    let tcp = FlowFilter { protocol: Some(6), ..filter };
    assert_eq!(sum(&|from| Task::Delete { filter: tcp, from }), 0);
    assert_eq!(sum(&|from| Task::Delete { filter, from }), 1000);
    assert_eq!(sum(&list), 0);
    for worker in &running.workers {
        let report = worker.errand(Task::Report, PATIENCE, |errand| *errand.report());
        let report = report.expect("carried out");
        assert!(report.stats.insert > 300, "both workers had flows");
        assert_eq!((report.flows, report.stats.insert), (0, report.stats.delete));
    }
    assert_eq!(running.left(WEST).len(), 1000);
    running.stop();
}

#[test]
fn an_errand_to_a_busy_worker_times_out_and_the_next_one_finds_it_again() {
    let running = Running::start(Sizes { always_track: true, ..Sizes::ONE }, USUAL);
    let lock = Arc::new(Mutex::new(()));
    let worker = &running.workers[0];
    let flows_max = |patience| worker.errand(Task::Report, patience, |e| e.report().flows_max);
    assert_eq!(flows_max(PATIENCE), Ok(512));
    for full in [false, true] {
        let port = MemoryPort::new(WAN, running.world.wire(0, WAN), 16, 16);
        let gate = Gate { port, lock: Arc::clone(&lock) };
        let guard = lock.lock().expect("nobody panics");
        worker.order(Order::Open(Box::new(gate)), PATIENCE).expect("carried out");
        // It now hangs in `receive`. With the queue of orders full, the errand does not even get there.
        for _ in 0..if full { 70 } else { 0 } {
            let _ = worker.order(Order::Close(EAST), Duration::ZERO);
        }
        for _ in 0..3 {
            assert_eq!(flows_max(Duration::ZERO), Err(OrderError::TimedOut(0)));
        }
        drop(guard);
        worker.order(Order::Close(WAN), PATIENCE).expect("carried out");
        running.until("all orders are done", |_| flows_max(PATIENCE).is_ok());
    }
    running.stop();
}

#[test]
fn stop_ends_a_worker_with_packets_everywhere() {
    for _ in 0..20 {
        let mut running = Running::start(Sizes { inbox: 16, ..Sizes::TWO }, SLEEPY);
        for n in 0..200 {
            let to = if n % 3 == 0 { NOBODY } else { BOB };
            let packet = Packet::udp((ALICE, n), (to, 53), &[0; 100]);
            running.inject(usize::from(n % 2), EAST, &packet);
        }
        running.workers.iter().for_each(|worker| assert_ne!(worker.state(), State::Stopped));
        stop_one_after_the_other(running);
    }
}

/// Worker 1 may go on handing over to worker 0, which has ended: what is in its inbox then belongs
/// to nobody until the inboxes go.
fn stop_one_after_the_other(running: Running) {
    let Running { world, workers } = running;
    let memory = Arc::clone(&world.memory);
    let pools: Vec<_> = workers.into_iter().map(|worker| worker.stop(PATIENCE)).collect();
    let mut pools: Vec<FramePool> =
        pools.into_iter().map(|remains| remains.expect("no panic").pool).collect();
    let chunks = world.sizes.chunks as usize;
    for (worker, pool) in pools.iter_mut().enumerate() {
        while let Some(packet) = world.inboxes.take(worker) {
            pool.put(packet.frame);
        }
    }
    pools.iter_mut().for_each(FramePool::collect_returns);
    assert_eq!(pools.iter().map(FramePool::available).sum::<usize>(), chunks);
    drop((pools, world));
    assert_eq!(memory.frames_alive(0), 0);
}
