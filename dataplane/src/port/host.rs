//! `HostPort`: the way to and from the machine itself, one queue of a TUN device.
//!
//! A TUN device carries IP packets without a link layer. Frames elsewhere in Weir begin with an Ethernet header, so
//! those read here get one, from and to the address of zeroes that the device has in the mirror; of those written,
//! it is left out.
//!
//! Each packet is a system call. The machine's own traffic can bear that, and it is bounded: at most one batch is read
//! a poll, and no more written than an outbox holds. Writing copies, so that a frame is free as soon as it is
//! written.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Port, PortIndex, Trouble};
use crate::batch::{BATCH_MAX, Batch};
use crate::frame::{Frame, FramePool, HEADROOM_BYTES};
use crate::wire::ethernet::{EtherType, EthernetHeader, HEADER_BYTES, MacAddr};

/// Where packets are read from and written to.
pub trait Packets: Send {
    /// Reads a packet; `None` when none waits.
    ///
    /// # Errors
    /// When the device is down or gone.
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Option<usize>>;

    /// Writes a packet.
    ///
    /// # Errors
    /// When the device does not take it.
    fn write(&mut self, packet: &[u8]) -> std::io::Result<()>;

    /// What to wait on for packets to read.
    fn readiness(&self) -> Option<BorrowedFd<'_>>;
}

impl Packets for OwnedFd {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<Option<usize>> {
        match rustix::io::read(&*self, buffer) {
            Ok(len) => Ok(Some(len)),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn write(&mut self, packet: &[u8]) -> std::io::Result<()> {
        // The device takes a packet whole or not at all.
        Ok(rustix::io::write(&*self, packet).map(drop)?)
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

/// One queue of the machine's own port.
#[derive(Debug)]
pub struct HostPort<P> {
    index: PortIndex,
    packets: P,
    /// Lent for receiving: a batch.
    fill: Vec<Frame>,
    /// Written, to go back to the pool.
    written: Vec<Frame>,
    trouble: Trouble,
}

impl<P: Packets> HostPort<P> {
    /// The queue of port `index` behind `packets`.
    #[must_use]
    pub fn new(index: PortIndex, packets: P) -> Self {
        Self {
            index,
            packets,
            fill: Vec::with_capacity(BATCH_MAX),
            // Two batches are what an outbox holds.
            written: Vec::with_capacity(2 * BATCH_MAX),
            trouble: Trouble::default(),
        }
    }

    /// Reads a packet into a frame; false when there is none.
    fn read_into(&mut self, frame: &mut Frame) -> bool {
        let room = frame.capacity();
        if !frame.set_window(usize::from(HEADROOM_BYTES), room) {
            return false;
        }
        let Some((header, packet)) = frame.bytes_mut().split_at_mut_checked(HEADER_BYTES) else {
            return false;
        };
        let len = match self.packets.read(packet) {
            Ok(Some(len)) => len,
            Ok(None) => return false,
            Err(_) => {
                self.trouble.kick_errors += 1;
                return false;
            }
        };
        let ether_type = match packet.first().map(|first| first >> 4) {
            Some(6) => EtherType::IPV6,
            _ => EtherType::IPV4,
        };
        let nobody = MacAddr([0; 6]);
        let ethernet = EthernetHeader { destination: nobody, source: nobody, ether_type };
        // There is room: the slice has just its length.
        let _ = ethernet.emit(header);
        frame.truncate(HEADER_BYTES + len);
        true
    }
}

impl<P: Packets> Port for HostPort<P> {
    fn index(&self) -> PortIndex {
        self.index
    }

    fn receive(&mut self, batch: &mut Batch) -> usize {
        let mut received = 0;
        while batch.room() > 0 {
            let Some(mut frame) = self.fill.pop() else { break };
            if !self.read_into(&mut frame) {
                frame.clear();
                self.fill.push(frame);
                break;
            }
            batch.push(frame, self.index);
            received += 1;
        }
        received
    }

    fn transmit(&mut self, outbox: &mut Vec<Frame>) -> usize {
        let room = self.written.capacity() - self.written.len();
        let mut taken = 0;
        for frame in outbox.iter().take(room) {
            // A frame without a packet cannot be here; it would be refused like any other.
            let packet = frame.bytes().get(HEADER_BYTES..).unwrap_or_default();
            if self.packets.write(packet).is_err() {
                self.trouble.kick_errors += 1;
                break;
            }
            taken += 1;
        }
        self.written.extend(outbox.drain(..taken));
        taken
    }

    fn kick(&mut self) {}

    fn recycle(&mut self, pool: &mut FramePool) {
        self.written.drain(..).for_each(|frame| pool.put(frame));
        while self.fill.len() < BATCH_MAX {
            let Some(frame) = pool.take() else { break };
            self.fill.push(frame);
        }
    }

    fn lent(&self) -> usize {
        self.fill.len() + self.written.len()
    }

    fn close(self: Box<Self>, give_back: &mut dyn FnMut(Frame)) {
        self.fill.into_iter().chain(self.written).for_each(give_back);
    }

    fn readiness(&self) -> Option<BorrowedFd<'_>> {
        self.packets.readiness()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn trouble(&self) -> Trouble {
        self.trouble
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::io;

    use af_xdp::{Area, AreaConfig};

    use super::*;
    use crate::frame::Memory;

    /// A device in memory that takes so many packets.
    #[derive(Debug, Default)]
    struct Device {
        to_read: VecDeque<Vec<u8>>,
        written: Vec<Vec<u8>>,
        room: usize,
    }

    impl Packets for Device {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
            let Some(packet) = self.to_read.pop_front() else { return Ok(None) };
            if packet.is_empty() {
                return Err(io::ErrorKind::Other.into());
            }
            buffer[..packet.len()].copy_from_slice(&packet);
            Ok(Some(packet.len()))
        }

        fn write(&mut self, packet: &[u8]) -> io::Result<()> {
            self.room = self.room.checked_sub(1).ok_or(io::ErrorKind::Other)?;
            self.written.push(packet.to_vec());
            Ok(())
        }

        fn readiness(&self) -> Option<BorrowedFd<'_>> {
            None
        }
    }

    const CHUNKS: usize = 256;

    fn fixture(device: Device) -> (HostPort<Device>, FramePool) {
        let config = AreaConfig { chunk_bytes: 2048, chunks: 256, huge_pages: false };
        let (_, frames) = Memory::new(Area::new(&config).expect("memory"));
        let mut pool = FramePool::split(frames, 1).remove(0);
        let mut port = HostPort::new(PortIndex(2), device);
        port.recycle(&mut pool);
        (port, pool)
    }

    #[test]
    fn packets_get_a_link_header_and_lose_it_again() {
        let to_read = VecDeque::from([vec![0x45; 40], vec![0x60; 48]]);
        let (mut port, mut pool) = fixture(Device { to_read, room: 1, ..Device::default() });
        let mut batch = Batch::new();
        assert_eq!(port.receive(&mut batch), 2);
        let header = |low: [u8; 2]| [&[0; 12][..], &low].concat();
        assert_eq!(batch.bytes(0), [header([0x08, 0x00]), vec![0x45; 40]].concat());
        assert_eq!(batch.bytes(1), [header([0x86, 0xdd]), vec![0x60; 48]].concat());
        let mut outbox: Vec<Frame> = batch.drain().collect();
        assert_eq!((port.transmit(&mut outbox), outbox.len()), (1, 1), "it takes one");
        assert_eq!((port.transmit(&mut outbox), outbox.len()), (0, 1));
        assert_eq!(port.packets.written, [vec![0x45; 40]]);
        assert_eq!(port.trouble().kick_errors, 2);
        assert_eq!(pool.available() + port.lent() + outbox.len(), CHUNKS);
        outbox.drain(..).for_each(|frame| pool.put(frame));
        Box::new(port).close(&mut |frame| pool.put(frame));
        assert_eq!(pool.available(), CHUNKS);
    }

    #[test]
    fn a_poll_reads_one_batch_and_an_error_ends_it() {
        let packets = vec![vec![0x45; 20]; BATCH_MAX + 9];
        let to_read = packets.into_iter().chain([vec![], vec![0x45; 20]]).collect();
        let (mut port, mut pool) = fixture(Device { to_read, ..Device::default() });
        let mut batch = Batch::new();
        for expected in [BATCH_MAX, 9, 1, 0] {
            assert_eq!(port.receive(&mut batch), expected);
            batch.drain().for_each(|frame| pool.put(frame));
            port.recycle(&mut pool);
            assert_eq!(pool.available() + port.lent(), CHUNKS);
        }
        assert_eq!(port.trouble().kick_errors, 1);
    }
}
