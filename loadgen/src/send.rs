//! `weirgen send`: the loop between schedule and transmitter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::SendOptions;
use crate::device::{self, Device};
use crate::error::Error;
use crate::flow::Flows;
use crate::report::{self, SendReport};
use crate::result::End;
use crate::schedule::Schedule;
use crate::stop::Stop;
use crate::template::{FRAME_BYTES_MIN, Template};
use crate::transmitter::{Health, Transmitter};

/// Packets that are put on the ring between two looks at the clock.
const BATCH_MAX: u64 = 64;

/// A gap longer than this is slept through, up to this long before its end; the rest is spun.
const SPIN: Duration = Duration::from_micros(200);

/// Longest sleep: Ctrl-C is heeded after it.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// How long the kernel may take over the last packets.
const DRAIN_MAX: Duration = Duration::from_millis(500);

/// Sends as the options say; the report is also made of a run that was cut short.
pub(crate) fn run(options: &SendOptions, stop: &Stop) -> Result<SendReport, Error> {
    let device = device::check(&options.interface, options.allow_default_route)?;
    check_length(options, device)?;
    let template = Template {
        source_mac: options.source_mac.unwrap_or(device.mac),
        destination_mac: options.destination_mac,
        kind: options.protocol,
    };
    let mut flows = Flows::new(
        options.source,
        options.destination,
        options.source_port,
        options.destination_port,
    );
    let flow_count = flows.count();
    let mut transmitter =
        Transmitter::open(device.ifindex, options.queue, options.mode, options.length)?;
    let first = flows.next();
    // `check_length` has made sure that the headers fit.
    transmitter.for_each(|bytes| {
        let written = template.write(&first, bytes);
        debug_assert!(written.is_ok(), "{written:?}");
    });
    announce(options, &template, &transmitter, flow_count);

    let schedule = options.rate.map_or(Schedule::Flood, Schedule::Constant);
    let progress = Progress::start(options, schedule);
    let varies = flow_count > 1;
    let mut rewrite = |bytes: &mut [u8]| {
        if varies {
            let written = template.rewrite(&flows.next(), bytes);
            debug_assert!(written.is_ok(), "{written:?}");
        }
    };
    let mut pump = Pump { transmitter, schedule, queued: 0, start: Instant::now() };
    let end = pump.run(options, stop, &progress.sent, &mut rewrite)?;
    let elapsed = pump.drain()?;
    progress.finish();
    Ok(report(options, &pump, end, elapsed, flow_count))
}

/// Refuses a frame that no interface, or not this one, can carry.
fn check_length(options: &SendOptions, device: Device) -> Result<(), Error> {
    let longest = (device.mtu + 14).min(Transmitter::longest());
    if (FRAME_BYTES_MIN..=longest).contains(&options.length) {
        return Ok(());
    }
    let allowed = format!(
        "{FRAME_BYTES_MIN} to {longest} bytes on {} (MTU {}, and one chunk of packet memory)",
        options.interface, device.mtu
    );
    Err(Error::Value { option: "--length", value: options.length.to_string(), allowed })
}

/// Says what will be sent, and where, on standard error.
fn announce(options: &SendOptions, template: &Template, transmitter: &Transmitter, flows: u128) {
    let rate =
        options.rate.map_or("as fast as they go".to_owned(), |rate| format!("{rate} a second"));
    eprintln!(
        "weirgen: sending {} frames of {} bytes by {} queue {} ({})\n\
         weirgen:   {} -> {}, {} port {} -> {} port {}, {flows} flow(s)\n\
         weirgen:   {rate}, at most {} packets and {} s; Ctrl-C ends it",
        options.protocol,
        options.length,
        options.interface,
        options.queue,
        transmitter.rung(),
        template.source_mac,
        template.destination_mac,
        options.source,
        options.source_port,
        options.destination,
        options.destination_port,
        options.count,
        options.duration,
    );
}

/// The transmitter with its place in the schedule.
struct Pump {
    transmitter: Transmitter,
    schedule: Schedule,
    queued: u64,
    start: Instant,
}

impl Pump {
    fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Sends until something ends the run.
    fn run(
        &mut self,
        options: &SendOptions,
        stop: &Stop,
        sent: &AtomicU64,
        rewrite: &mut impl FnMut(&mut [u8]),
    ) -> Result<End, Error> {
        let duration = Duration::from_secs_f64(options.duration);
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.start = Instant::now();
        loop {
            let now_ns = self.elapsed_ns();
            if stop.requested() {
                return Ok(End::Interrupt);
            }
            if self.queued == options.count {
                return Ok(End::Count);
            }
            // Packets due before the end are sent even if it has passed: they are late, not
            // cancelled.
            let due = self.schedule.due(now_ns.min(duration_ns.saturating_sub(1)));
            if now_ns >= duration_ns && (due <= self.queued || self.is_late(now_ns, duration_ns)) {
                return Ok(End::Duration);
            }
            let owed = due.min(options.count).saturating_sub(self.queued);
            if owed > 0 {
                let wanted = u32::try_from(owed.min(BATCH_MAX)).unwrap_or(u32::MAX);
                self.queued += u64::from(self.transmitter.queue(wanted, &mut *rewrite));
                sent.store(self.queued, Ordering::Relaxed);
            }
            if self.transmitter.turn().map_err(Error::Wait)? == Health::Lost {
                return Ok(End::DeviceLost);
            }
            if owed == 0 {
                self.wait(now_ns, duration_ns);
            }
        }
    }

    /// Whether the end has passed for longer than a stumble takes; a flood is late at once.
    fn is_late(&self, now_ns: u64, duration_ns: u64) -> bool {
        self.schedule == Schedule::Flood || now_ns > duration_ns.saturating_add(10_000_000)
    }

    /// Waits for the next packet, or for the end.
    fn wait(&self, now_ns: u64, duration_ns: u64) {
        let until_ns = self.schedule.time_ns(self.queued).min(duration_ns);
        let gap = Duration::from_nanos(until_ns.saturating_sub(now_ns));
        match gap.checked_sub(SPIN) {
            Some(long) if !long.is_zero() => thread::sleep(long.min(SLEEP_MAX)),
            _ => std::hint::spin_loop(),
        }
    }

    /// Waits for the packets that the kernel still has, and says how long all took.
    fn drain(&mut self) -> Result<Duration, Error> {
        let start = Instant::now();
        while self.transmitter.in_flight() > 0 && start.elapsed() < DRAIN_MAX {
            if self.transmitter.turn().map_err(Error::Wait)? == Health::Lost {
                break;
            }
        }
        Ok(self.start.elapsed())
    }
}

fn report(
    options: &SendOptions,
    pump: &Pump,
    end: End,
    elapsed: Duration,
    flows: u128,
) -> SendReport {
    let packets = pump.transmitter.completed();
    // A packet owns the time up to the next one's turn, the last one too.
    let nominal = Duration::from_nanos(pump.schedule.time_ns(packets));
    let elapsed_s = elapsed.max(nominal).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "packets are below 2^53")]
    let achieved_pps = if elapsed_s > 0.0 { packets as f64 / elapsed_s } else { 0.0 };
    let requested_pps = pump.schedule.rate();
    SendReport {
        interface: options.interface.clone(),
        queue: options.queue,
        mode: pump.transmitter.rung().to_string(),
        protocol: options.protocol,
        length: options.length,
        flows: flows.to_string(),
        packets,
        bytes: packets * options.length as u64,
        unconfirmed: pump.transmitter.in_flight() as u64,
        elapsed_s,
        requested_pps,
        achieved_pps,
        ended_by: end,
        void: report::void(requested_pps, achieved_pps, end),
    }
}

/// A progress bar with a thread of its own, so that drawing delays no packet. It is hidden where
/// standard error is no terminal.
struct Progress {
    sent: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    thread: thread::JoinHandle<()>,
}

impl Progress {
    fn start(options: &SendOptions, schedule: Schedule) -> Self {
        let by_time = schedule.rate().map(|rate| {
            let last_ns = Duration::from_secs_f64(options.duration).as_nanos();
            Schedule::Constant(rate).due(u64::try_from(last_ns).unwrap_or(u64::MAX))
        });
        let bar = ProgressBar::new(by_time.unwrap_or(u64::MAX).min(options.count));
        let template = "{bar:40} {human_pos} of {human_len} packets, {per_sec}, {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let (sent, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, ended) = (Arc::clone(&sent), Arc::clone(&over));
        let thread = thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                bar.set_position(seen.load(Ordering::Relaxed));
                thread::park_timeout(Duration::from_millis(200));
            }
            bar.finish_and_clear();
        });
        Self { sent, over, thread }
    }

    fn finish(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        // It cannot panic; if it did, only the bar is lost.
        let _ = self.thread.join();
    }
}
