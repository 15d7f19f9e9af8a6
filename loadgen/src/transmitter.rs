//! One AF_XDP socket that only sends.
//!
//! ```text
//!   free --rewrite, lend--> tx ring ==> kernel ==> completion ring --reclaim--> free
//! ```
//!
//! Frames keep their bytes on the way round, so each is written whole only once.

use af_xdp::{Area, AreaConfig, Desc, ModeChoice, Rung, SetupError, Socket, SocketConfig, TxWake};
use weir_dataplane::frame::{Frame, Memory};
use weir_dataplane::port::Ledger;

/// Slots of the tx and completion ring, and frames.
const RING_ENTRIES: u32 = 2048;

/// Packets that one system call may send in copy mode.
const TX_BUDGET: u32 = 256;

/// A bound socket with its frames.
#[derive(Debug)]
pub(crate) struct Transmitter {
    socket: Socket,
    ledger: Ledger,
    free: Vec<Frame>,
    completed: u64,
}

/// What has become of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It sends.
    Well,
    /// It was switched off, or it is gone.
    Lost,
}

impl Transmitter {
    /// Binds to a queue on the best rung that `mode` allows, every frame `frame_bytes` long.
    pub(crate) fn open(
        ifindex: u32,
        queue: u32,
        mode: ModeChoice,
        frame_bytes: usize,
    ) -> Result<Self, SetupError> {
        let rungs = mode.rungs();
        let (last, higher) = rungs.split_last().unwrap_or((&Rung::Skb, &[]));
        for &rung in higher {
            match Self::open_on(rung, ifindex, queue, frame_bytes) {
                Err(error) if error.is_rung_refusal() => {}
                outcome => return outcome,
            }
        }
        Self::open_on(*last, ifindex, queue, frame_bytes)
    }

    fn open_on(
        rung: Rung,
        ifindex: u32,
        queue: u32,
        frame_bytes: usize,
    ) -> Result<Self, SetupError> {
        let area = Area::new(&AreaConfig { chunks: RING_ENTRIES, ..AreaConfig::default() })?;
        let config = SocketConfig {
            // Bound for sending only: the kernel wants the two other rings to exist, not to be
            // used.
            rx_entries: 64,
            fill_entries: 64,
            tx_entries: RING_ENTRIES,
            completion_entries: RING_ENTRIES,
            rung,
            tx_budget: TX_BUDGET,
            ..SocketConfig::default()
        };
        let socket = Socket::bind(&area, None, ifindex, queue, &config)?;
        let ledger = Ledger::new(area.chunks(), area.chunk_bytes());
        let (_, mut free) = Memory::new(area);
        let blank = vec![0; frame_bytes];
        // A frame that cannot be so long is left out; `longest` says what fits.
        free.retain_mut(|frame| frame.fill(&blank));
        Ok(Self { socket, ledger, free, completed: 0 })
    }

    /// Longest frame that fits a chunk, in bytes.
    pub(crate) fn longest() -> usize {
        usize::try_from(AreaConfig::default().frame_bytes_max()).unwrap_or(usize::MAX)
    }

    /// The rung in use.
    pub(crate) fn rung(&self) -> Rung {
        self.socket.rung()
    }

    /// Does something to every frame, before the first is sent.
    pub(crate) fn for_each(&mut self, change: impl FnMut(&mut [u8])) {
        self.free.iter_mut().map(Frame::bytes_mut).for_each(change);
    }

    /// Puts up to `wanted` frames on the tx ring, each changed by `rewrite` first. Returns how
    /// many found room.
    pub(crate) fn queue(&mut self, wanted: u32, mut rewrite: impl FnMut(&mut [u8])) -> u32 {
        let available = u32::try_from(self.free.len()).unwrap_or(u32::MAX);
        let mut slots = self.socket.tx.reserve(wanted.min(available));
        let first = self.free.len() - slots.len() as usize;
        slots.extend(self.free.drain(first..).map(|mut frame| {
            rewrite(frame.bytes_mut());
            let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
            Desc::new(self.ledger.lend(frame), len)
        }));
        slots.submit()
    }

    /// Makes the kernel send, and takes back what it has sent.
    pub(crate) fn turn(&mut self) -> std::io::Result<Health> {
        let health = if self.ledger.lent() > 0 && self.socket.tx_needs_wake() {
            match self.socket.wake_tx()? {
                TxWake::Done | TxWake::Again => Health::Well,
                TxWake::DeviceDown | TxWake::DeviceGone => Health::Lost,
            }
        } else {
            Health::Well
        };
        let sent = self.socket.completion.peek(u32::MAX);
        for address in &sent {
            if let Some(frame) = self.ledger.reclaim(address) {
                self.free.push(frame);
                self.completed += 1;
            }
        }
        sent.release();
        Ok(health)
    }

    /// Packets that the kernel has sent and let go of.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    /// Packets that the kernel still has.
    pub(crate) fn in_flight(&self) -> usize {
        self.ledger.lent()
    }
}
