//! `Ledger`: the chunks that a port has lent to the kernel.

use crate::frame::Frame;

/// A port's record of the frames whose chunks the kernel has, one slot for each chunk of the UMEM.
///
/// A frame put in is out of reach until the kernel names its address again, or until the port is closed.
#[derive(Debug)]
pub struct Ledger {
    slots: Box<[Option<Frame>]>,
    chunk_shift: u32,
    lent: usize,
}

impl Ledger {
    /// An empty ledger for an area of `chunks` chunks of `chunk_bytes` bytes (a power of two).
    #[must_use]
    pub fn new(chunks: u32, chunk_bytes: u32) -> Self {
        Self {
            slots: (0..chunks).map(|_| None).collect(),
            chunk_shift: chunk_bytes.trailing_zeros(),
            lent: 0,
        }
    }

    /// Locks a frame up and gives its address for the ring.
    pub fn lend(&mut self, frame: Frame) -> u64 {
        let address = frame.address();
        let slot = &mut self.slots[frame.chunk() as usize];
        debug_assert!(slot.is_none(), "there is one frame a chunk, so its slot is empty");
        *slot = Some(frame);
        self.lent += 1;
        address
    }

    /// The frame at an address that the kernel named, or `None` if that chunk was not lent here.
    #[must_use]
    pub fn reclaim(&mut self, address: u64) -> Option<Frame> {
        let chunk = usize::try_from(address >> self.chunk_shift).ok()?;
        let frame = self.slots.get_mut(chunk)?.take()?;
        self.lent -= 1;
        Some(frame)
    }

    /// How many frames are lent.
    #[must_use]
    pub fn lent(&self) -> usize {
        self.lent
    }

    /// Hands out every frame that is lent: for when the kernel has let go of the whole ring.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        self.lent = 0;
        self.slots.iter_mut().filter_map(Option::take)
    }
}

#[cfg(test)]
mod tests {
    use af_xdp::{Area, AreaConfig};

    use super::*;
    use crate::frame::Memory;

    #[test]
    fn only_what_was_lent_comes_back() {
        let config = AreaConfig { chunk_bytes: 4096, chunks: 4, huge_pages: false };
        let (_, mut frames) = Memory::new(Area::new(&config).expect("memory"));
        let mut ledger = Ledger::new(4, 4096);
        let (a, b) = (frames.remove(0), frames.remove(0));
        let address = ledger.lend(a);
        assert_eq!((address, ledger.lent()), (256, 1));
        for strange in [4096, 16384, u64::MAX] {
            assert!(ledger.reclaim(strange).is_none(), "{strange} was never lent");
        }
        // The kernel may name any byte of the chunk: an RX address includes its own headroom.
        assert_eq!(ledger.reclaim(address + 14).expect("lent").chunk(), 0);
        assert!(ledger.reclaim(address).is_none(), "twice");
        ledger.lend(b);
        assert_eq!(ledger.drain().count(), 1);
        assert_eq!(ledger.lent(), 0);
    }
}
