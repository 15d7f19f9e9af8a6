//! The bare loop: an AF_XDP socket that sends the same frames for ever, and does nothing else.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use af_xdp::{Area, AreaConfig, Desc, ModeChoice, Rung, SetupError, Socket, SocketConfig};
use clap::Args;
use weir_dataplane::frame::Memory;

/// Slots of the tx and completion ring, and frames.
const RING_ENTRIES: u32 = 4096;

/// Packets that one system call may send in copy mode.
const TX_BUDGET: u32 = 256;

#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The interface.
    #[arg(long)]
    interface: String,
    /// The frame, in hexadecimal.
    #[arg(long)]
    frame: String,
    /// Packets between two system calls.
    #[arg(long, default_value_t = 64)]
    batch: u32,
    /// Seconds.
    #[arg(long)]
    seconds: f64,
}

/// Sends until the time is over, or a signal comes.
pub(crate) fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let frame = bytes(&options.frame).ok_or("--frame is no hexadecimal number of whole bytes")?;
    let ifindex = af_xdp::nic::ifindex(&options.interface)?;
    let mut socket = open(ifindex)?;
    let area = Arc::clone(socket.area());
    let (_memory, mut frames) = Memory::new(area);
    let len = u32::try_from(frame.len())?;
    let mut free: Vec<u64> = Vec::new();
    for chunk in &mut frames {
        if !chunk.fill(&frame) {
            return Err("the frame is too long".into());
        }
        free.push(chunk.address());
    }
    println!("sending");
    let (start, time) = (Instant::now(), Duration::from_secs_f64(options.seconds));
    while start.elapsed() < time && !stop.load(Ordering::Relaxed) {
        let wanted = options.batch.min(u32::try_from(free.len())?);
        let mut slots = socket.tx.reserve(wanted);
        let first = free.len() - slots.len() as usize;
        slots.extend(free.drain(first..).map(|address| Desc::new(address, len)));
        slots.submit();
        if socket.tx_needs_wake() {
            socket.wake_tx()?;
        }
        let sent = socket.completion.peek(u32::MAX);
        free.extend(&sent);
        sent.release();
    }
    Ok(())
}

fn open(ifindex: u32) -> Result<Socket, SetupError> {
    let rungs = ModeChoice::Auto.rungs();
    let open = |&rung: &Rung| {
        let area = AreaConfig { chunk_bytes: 2048, chunks: RING_ENTRIES, huge_pages: false };
        let config = SocketConfig {
            rx_entries: 64,
            fill_entries: 64,
            tx_entries: RING_ENTRIES,
            completion_entries: RING_ENTRIES,
            rung,
            tx_budget: TX_BUDGET,
            ..SocketConfig::default()
        };
        Socket::bind(&Area::new(&area)?, None, ifindex, 0, &config)
    };
    let (last, higher) = rungs.split_last().unwrap_or((&Rung::Skb, &[]));
    for rung in higher {
        match open(rung) {
            Err(error) if error.is_rung_refusal() => {}
            outcome => return outcome,
        }
    }
    open(last)
}

/// The bytes of a hexadecimal number.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    rest.is_empty().then(|| pairs.iter().map(byte).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_from_its_digits() {
        assert_eq!(bytes("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!((bytes("0"), bytes("zz")), (None, None));
    }
}
