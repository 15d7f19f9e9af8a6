//! `weirgen sink`: AF_XDP sockets on every queue of an interface, behind Weir's XDP program, counting.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use af_xdp::AreaConfig;
use rustix::event::{PollFd, PollFlags, Timespec};
use weir_dataplane::batch::Batch;
use weir_dataplane::config::SocketOptions;
use weir_dataplane::frame::FramePool;
use weir_dataplane::port::Port;
use weir_dataplane::port::xdp::{Bank, HostAddresses, OpenPort, XdpQueue};
use weir_dataplane::program::{OnExit, ProgramConfig};

use crate::cli::SinkOptions;
use crate::device;
use crate::error::Error;
use crate::report::{Amount, SinkReport};
use crate::stop::Stop;

/// Slots of each ring.
const RING_ENTRIES: u32 = 4096;

/// Chunks of packet memory for all queues.
const CHUNKS: u32 = 16_384;

/// How long it sleeps when nothing comes; Ctrl-C is heeded after it.
const SLEEP: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Counts until the duration is over or the user stops it.
pub(crate) fn run(options: &SinkOptions, stop: &Stop) -> Result<SinkReport, Error> {
    device::check(&options.interface, options.allow_default_route)?;
    let bank = Bank {
        area: AreaConfig { chunks: CHUNKS, ..AreaConfig::default() },
        mode: options.mode,
        early: None,
        sockets: SocketOptions {
            rx_entries: RING_ENTRIES,
            tx_entries: 64,
            fill_entries: RING_ENTRIES,
            completion_entries: 64,
            busy_poll: None,
            bind_retry_ms: 1000,
        },
        // Held by a bpf_link, which the kernel removes however this process ends.
        program: ProgramConfig::forwarding(OnExit::Pass),
        workers: 1,
        ports: 1,
    };
    let opened = bank.open(std::slice::from_ref(&options.interface), &HostAddresses::default())?;
    let mut pools = FramePool::split(opened.frames, 1);
    let mut ports = opened.ports.into_iter();
    let (Some(mut pool), Some((port, sockets))) = (pools.pop(), ports.next()) else {
        // One interface gives one port, one worker one pool.
        unreachable!("asked for one port and one pool");
    };
    let mut queues: Vec<XdpQueue> = sockets
        .into_iter()
        .map(|socket| XdpQueue::new(port.index(), socket, &opened.memory, port.fill_frames()))
        .collect();
    queues.iter_mut().for_each(|queue| queue.recycle(&mut pool));
    eprintln!(
        "weirgen: counting on {} ({} queue(s), {}) for at most {} s; Ctrl-C ends it",
        options.interface,
        queues.len(),
        opened.rung,
        options.duration,
    );

    let mut tally = Tally::new();
    let duration = Duration::from_secs_f64(options.duration);
    while !stop.requested() && tally.start.elapsed() < duration {
        if !take(&mut queues, &mut pool, &mut tally) {
            wait(&queues)?;
        }
    }
    let elapsed = tally.start.elapsed().min(duration);
    // What is still on the rings has arrived.
    while take(&mut queues, &mut pool, &mut tally) {}
    let report = report(options, &port, &opened.rung.to_string(), &tally, elapsed, stop);
    port.close();
    queues.into_iter().for_each(|queue| Box::new(queue).close(&mut |frame| pool.put(frame)));
    Ok(report)
}

/// Takes one batch from each queue; whether there was any packet.
fn take(queues: &mut [XdpQueue], pool: &mut FramePool, tally: &mut Tally) -> bool {
    let mut any = false;
    for queue in queues {
        if queue.receive(&mut tally.batch) > 0 {
            any = true;
            tally.count(pool);
        }
        queue.recycle(pool);
    }
    any
}

/// Sleeps until a packet comes.
fn wait(queues: &[XdpQueue]) -> Result<(), Error> {
    let ready = queues.iter().filter_map(Port::readiness);
    let mut ready: Vec<PollFd<'_>> =
        ready.map(|fd: BorrowedFd<'_>| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    match rustix::event::poll(&mut ready, Some(&SLEEP)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::Wait(error.into())),
    }
}

/// What has arrived.
struct Tally {
    start: Instant,
    first: Option<Duration>,
    last: Duration,
    total: Amount,
    each_second: Vec<Amount>,
    batch: Box<Batch>,
}

impl Tally {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            first: None,
            last: Duration::ZERO,
            total: Amount::default(),
            each_second: Vec::new(),
            batch: Box::new(Batch::new()),
        }
    }

    /// Counts the batch and gives its frames back.
    fn count(&mut self, pool: &mut FramePool) {
        let now = self.start.elapsed();
        self.first.get_or_insert(now);
        self.last = now;
        let second = usize::try_from(now.as_secs()).unwrap_or(usize::MAX);
        if self.each_second.len() <= second {
            self.each_second.resize(second + 1, Amount::default());
        }
        for frame in self.batch.drain() {
            let bytes = frame.len() as u64;
            for amount in [&mut self.total, &mut self.each_second[second]] {
                amount.packets += 1;
                amount.bytes += bytes;
            }
            pool.put(frame);
        }
    }
}

fn report(
    options: &SinkOptions,
    port: &OpenPort,
    mode: &str,
    tally: &Tally,
    elapsed: Duration,
    stop: &Stop,
) -> SinkReport {
    // A map that cannot be read leaves its numbers at 0; what was received is known all the same.
    let program = port.program_counters().unwrap_or_default();
    let passed = [program.arp_passed, program.host_passed, program.control_passed];
    let statistics = port.statistics();
    let active = tally.last.saturating_sub(tally.first.unwrap_or_default());
    let active_s = active.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    let average_pps = if active_s > 0.0 { tally.total.packets as f64 / active_s } else { 0.0 };
    SinkReport {
        interface: options.interface.clone(),
        mode: mode.to_owned(),
        queues: port.queues(),
        received: tally.total,
        passed_up: Amount {
            packets: passed.iter().map(|count| count.packets).sum(),
            bytes: passed.iter().map(|count| count.bytes).sum(),
        },
        lost_packets: statistics.rx_dropped + statistics.rx_ring_full,
        elapsed_s: elapsed.as_secs_f64(),
        active_s,
        average_pps,
        each_second: tally.each_second.clone(),
        interrupted: stop.requested(),
    }
}
