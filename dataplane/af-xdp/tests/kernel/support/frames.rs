//! Bytes in chunks, and the ways of a chunk through a socket.

use af_xdp::{Area, Desc, Socket, TxWake};

use super::eventually;

/// A frame of an Ethernet type for experiments (0x88b5), whose payload says which one it is.
pub(crate) fn frame(serial: u8) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend([2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
    bytes.extend([serial; 50]);
    bytes
}

/// Writes a frame at the start of a chunk.
pub(crate) fn write(area: &Area, chunk: u32, bytes: &[u8]) -> Desc {
    let addr = area.chunk_addr(chunk).expect("a chunk of the area");
    assert!(bytes.len() <= area.chunk_bytes() as usize);
    let offset = usize::try_from(addr).expect("64 bit");
    // SAFETY: the chunk lies inside the area.
    let to = unsafe { area.base().add(offset) };
    // SAFETY: the frame is not longer than the chunk, which the test has not lent to the kernel.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
    Desc::new(addr, u32::try_from(bytes.len()).expect("a short frame"))
}

/// Reads what a descriptor of the area stands for.
pub(crate) fn read(area: &Area, desc: Desc) -> Vec<u8> {
    let end = desc.addr + u64::from(desc.len);
    assert!(desc.len > 0 && area.chunk_of(desc.addr) == area.chunk_of(end - 1), "{desc:?}");
    let offset = usize::try_from(desc.addr).expect("64 bit");
    // SAFETY: the descriptor lies inside one chunk of the area.
    let from = unsafe { area.base().add(offset) };
    // SAFETY: the kernel has given this chunk back, and nothing writes to it while the slice lives.
    unsafe { std::slice::from_raw_parts(from.as_ptr(), desc.len as usize) }.to_vec()
}

/// Lends chunks to receive into.
pub(crate) fn lend(socket: &mut Socket, chunks: std::ops::Range<u32>) {
    let addresses: Vec<u64> =
        chunks.map(|c| socket.area().chunk_addr(c).expect("a chunk of the area")).collect();
    let wanted = u32::try_from(addresses.len()).expect("few");
    let mut slots = socket.fill.reserve(wanted);
    assert_eq!(slots.extend(addresses), wanted);
    slots.submit();
}

/// Sends and waits until the chunks are back; returns their addresses in the order of completion.
pub(crate) fn send(socket: &mut Socket, descs: &[Desc]) -> Vec<u64> {
    let wanted = u32::try_from(descs.len()).expect("few");
    let mut slots = socket.tx.reserve(wanted);
    assert_eq!(slots.extend(descs.iter().copied()), wanted);
    assert_eq!(slots.submit(), wanted);
    eventually("completion", || {
        assert!(matches!(socket.wake_tx().unwrap(), TxWake::Done | TxWake::Again));
        let done = socket.completion.peek(wanted);
        if done.len() < wanted {
            return None;
        }
        let addresses = done.iter().collect();
        done.release();
        Some(addresses)
    })
}

/// Waits for `count` packets and takes them from the ring.
pub(crate) fn receive(socket: &mut Socket, count: u32) -> Vec<Desc> {
    eventually("packets", || {
        let seen = socket.rx.peek(count);
        if seen.len() < count {
            return None;
        }
        let descs = seen.iter().collect();
        seen.release();
        Some(descs)
    })
}
