//! A bare AF_XDP forwarder: the most that any forwarder can reach on these sockets.
//!
//! ```text
//!   rx ring of A ──► two MAC addresses written ──► tx ring of B        and the other way round
//!   completion ring of B ──► free chunks ──► fill ring of A
//! ```
//!
//! Two interfaces, one UMEM, the sockets, rings and XDP program of Weir (it opens them with Weir's own `Bank`),
//! and nothing else: no parsing, no ledger, no rules, no counters but one. What Weir forwards is to be compared with
//! what this forwards in the same run. It spins; on SIGTERM it prints what it did and ends.
//!
//! With `--drop` it forwards nothing: what the first interface receives goes back to its fill ring. On SIGUSR1 it
//! prints how many packets it has forwarded or dropped until then.
//!
//! With `--complete-checksums` it also completes partial TCP and UDP checksums in user space, as everything that
//! forwards between local stacks over veth must; without it, TCP does not work across.

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use af_xdp::{AreaConfig, Desc, ModeChoice, Socket};
use clap::Parser;
use weir_dataplane::config::SocketOptions;
use weir_dataplane::frame::Frame;
use weir_dataplane::port::xdp::{Bank, HostAddresses};
use weir_dataplane::program::{OnExit, ProgramConfig};
use weir_dataplane::wire::MacAddr;
use weir_dataplane::wire::checksum::complete_partial;

/// Packets at one time, as in Weir.
const BATCH: u32 = 64;

/// Where the IPv4 header starts.
const ETHERNET_BYTES: usize = 14;

/// A bare AF_XDP forwarder between two interfaces.
#[derive(Debug, Parser)]
struct Options {
    /// The two interfaces.
    #[arg(long, num_args = 2, value_names = ["IF", "IF"], required = true)]
    interfaces: Vec<String>,
    /// Where frames go that leave by the first, and by the second interface.
    #[arg(long, num_args = 2, value_names = ["MAC", "MAC"], required = true)]
    destination_macs: Vec<MacAddr>,
    /// Ring slots, all four rings.
    #[arg(long, default_value_t = 2048)]
    ring: u32,
    /// Chunks of packet memory.
    #[arg(long, default_value_t = 16_384)]
    chunks: u32,
    /// auto, zero-copy, copy or skb.
    #[arg(long, default_value_t = ModeChoice::Auto)]
    mode: ModeChoice,
    /// The core to run on.
    #[arg(long)]
    core: Option<usize>,
    /// Complete partial TCP and UDP checksums of IPv4 packets.
    #[arg(long)]
    complete_checksums: bool,
    /// Drop what the first interface receives.
    #[arg(long, conflicts_with = "complete_checksums")]
    drop: bool,
}

/// One interface.
struct End {
    socket: Socket,
    /// Source and destination of the frames that leave here, as they stand in the frame.
    macs: [u8; 12],
    /// Chunks on the fill ring or received into.
    filled: u32,
}

/// All chunks, and those that no ring has.
struct Chunks {
    frames: Vec<Option<Frame>>,
    free: VecDeque<u32>,
    chunk_bytes: u64,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(packets) => {
            tell(packets);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("l2fwd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn tell(packets: u64) {
    println!("{{\"packets\":{packets}}}");
}

fn run(options: &Options) -> Result<u64, Box<dyn std::error::Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let asked = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&asked))?;
    if let Some(id) = options.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(format!("cannot run on core {id}").into());
    }
    let bank = Bank {
        area: AreaConfig { chunks: options.chunks, ..AreaConfig::default() },
        mode: options.mode,
        early: None,
        sockets: SocketOptions {
            rx_entries: options.ring,
            tx_entries: options.ring,
            fill_entries: options.ring,
            completion_entries: options.ring,
            busy_poll: None,
            bind_retry_ms: 2000,
        },
        program: ProgramConfig::forwarding(OnExit::Pass),
        workers: 1,
        ports: options.interfaces.len(),
    };
    let opened = bank.open(&options.interfaces, &HostAddresses::default())?;
    let mut ports = Vec::new();
    let mut ends = Vec::new();
    for (place, (port, sockets)) in opened.ports.into_iter().enumerate() {
        let source = af_xdp::nic::mac(port.interface())?;
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&options.destination_macs[place].0);
        macs[6..].copy_from_slice(&source);
        let socket = sockets.into_iter().next().ok_or("an interface without a queue")?;
        ends.push(End { socket, macs, filled: 0 });
        ports.push(port);
    }
    let [mut a, mut b] = <[End; 2]>::try_from(ends).map_err(|_| "two interfaces are needed")?;
    let mut chunks = Chunks {
        free: opened.frames.iter().map(Frame::chunk).collect(),
        frames: opened.frames.into_iter().map(Some).collect(),
        chunk_bytes: u64::from(bank.area.chunk_bytes),
    };
    eprintln!(
        "l2fwd: {} <-> {} ({}); ready",
        options.interfaces[0], options.interfaces[1], opened.rung
    );

    let mut packets = 0;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..64 {
            packets += if options.drop {
                chunks.drop_received(&mut a)
            } else {
                forward(&mut a, &mut b, &mut chunks, options.complete_checksums)?
                    + forward(&mut b, &mut a, &mut chunks, options.complete_checksums)?
            };
        }
        if asked.swap(false, Ordering::Relaxed) {
            tell(packets);
        }
    }
    // The program first, so that no packet meets a closing socket.
    ports.into_iter().for_each(weir_dataplane::port::xdp::OpenPort::close);
    Ok(packets)
}

/// One batch from `from` to `to`.
fn forward(
    from: &mut End,
    to: &mut End,
    chunks: &mut Chunks,
    complete: bool,
) -> std::io::Result<u64> {
    chunks.take_completions(to);
    chunks.refill(from);
    let mut slots = to.socket.tx.reserve(BATCH);
    // What finds no room stays on the rx ring: nothing is dropped here.
    let received = from.socket.rx.peek(slots.len());
    for descriptor in &received {
        chunks.rewrite(descriptor, &to.macs, complete);
        // There are as many slots as packets were asked for.
        let _ = slots.push(descriptor);
    }
    let taken = received.release();
    from.filled -= taken;
    slots.submit();
    if taken > 0 || to.socket.tx.pending() > 0 {
        to.socket.wake_tx()?;
    }
    Ok(u64::from(taken))
}

impl Chunks {
    fn rewrite(&mut self, descriptor: Desc, macs: &[u8; 12], complete: bool) {
        let chunk = usize::try_from(descriptor.addr / self.chunk_bytes).unwrap_or(usize::MAX);
        let offset = usize::try_from(descriptor.addr % self.chunk_bytes).unwrap_or(usize::MAX);
        let Some(Some(frame)) = self.frames.get_mut(chunk) else { return };
        if frame.set_window(offset, descriptor.len as usize) {
            let bytes = frame.bytes_mut();
            if let Some(header) = bytes.first_chunk_mut() {
                *header = *macs;
            }
            if complete && let Some(packet) = bytes.get_mut(ETHERNET_BYTES..) {
                let _ = complete_partial(packet);
            }
        }
    }

    /// Takes one batch out of the rx ring, and nothing else. Its chunks are the next to be filled: they are near.
    fn drop_received(&mut self, from: &mut End) -> u64 {
        self.refill(from);
        let received = from.socket.rx.peek(BATCH);
        let chunk_bytes = self.chunk_bytes;
        let number = |descriptor: Desc| u32::try_from(descriptor.addr / chunk_bytes).ok();
        received.iter().filter_map(number).for_each(|chunk| self.free.push_front(chunk));
        let taken = received.release();
        from.filled -= taken;
        u64::from(taken)
    }

    fn take_completions(&mut self, end: &mut End) {
        let sent = end.socket.completion.peek(u32::MAX);
        let chunk_bytes = self.chunk_bytes;
        let number = |address: u64| u32::try_from(address / chunk_bytes).ok();
        self.free.extend(sent.iter().filter_map(number));
        sent.release();
    }

    /// Tops the fill ring up when it lacks a batch.
    fn refill(&mut self, end: &mut End) {
        let missing = end.socket.fill.entries().saturating_sub(end.filled);
        if missing < BATCH {
            return;
        }
        let available = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        let mut slots = end.socket.fill.reserve(missing.min(available));
        let chunk_bytes = self.chunk_bytes;
        let count = slots.len() as usize;
        slots.extend(self.free.drain(..count).map(|chunk| u64::from(chunk) * chunk_bytes));
        end.filled += slots.submit();
        if end.socket.fill.needs_wakeup() {
            // A driver that cannot be woken now is woken in the next turn.
            let _ = end.socket.wake_rx();
        }
    }
}
