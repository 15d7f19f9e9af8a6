//! `AF_XDP` sockets: packet memory, the four rings and the set-up around them, over `libc`.
//!
//! With `AF_XDP` a program and a NIC driver pass each other packets through memory that both see.
//! The crate covers what every such program needs and nothing that one may want to do in its own
//! way: it loads no BPF program, keeps no pool of free chunks, starts no thread and has no opinion
//! about packets.
//!
//! ```text
//!                       Area: chunks of packet memory, shared by all sockets
//!                +-------------------------------------------------------------+
//!                |   chunk 0   |   chunk 1   |   chunk 2   |   ...             |
//!                +-------------------------------------------------------------+
//!                      ^ addresses into it travel on the rings v
//!   Socket A (device 1, queue 0)                    Socket B (device 2, queue 0), shares the UMEM
//!     fill        --> kernel                          fill        --> kernel
//!     rx          <-- kernel   --- forward --->       tx          --> kernel
//!     completion  <-- kernel                          completion  <-- kernel
//! ```
//!
//! # The life of a chunk
//!
//! A chunk belongs to the program until its address is submitted on a fill or tx ring, and to the
//! kernel from then until it comes back on the rx ring, the completion ring of the same socket, or
//! because that socket was closed. Rings carry addresses, not ownership: this crate does not stop
//! anybody from submitting a chunk twice. What it guarantees is that no reference into packet
//! memory comes from it, and that the kernel can only reach the area.
//!
//! # What the kernel imposes
//!
//! * One socket a queue; a receive queue without a socket lets its packets pass to the stack.
//! * The mode is chosen at bind and inherited by all sockets of a UMEM: see [`Rung`], [`Mode`].
//! * In copy mode nothing is sent without [`Socket::wake_tx`], and one call sends at most
//!   [`Socket::tx_budget`] packets.
//! * Completions have to be taken, also when there is no traffic to send, or the completion ring
//!   fills and sending stops.
//! * A queue stays busy for some milliseconds after its socket was closed:
//!   [`SocketConfig::bind_retry`].
//!
//! # Example
//!
//! Sends one frame and takes its chunk back. (To receive, lend chunks on [`Socket::fill`] and let
//! an XDP program redirect to the socket: [`Link::attach`] attaches one.)
//!
//! ```no_run
//! use af_xdp::{Area, AreaConfig, Desc, Rung, Socket, SocketConfig, TxWake, nic};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let area = Area::new(&AreaConfig { chunks: 64, ..AreaConfig::default() })?;
//! let config = SocketConfig { rung: Rung::DriverCopy, ..SocketConfig::default() };
//! let mut socket = Socket::bind(&area, None, nic::ifindex("eth1")?, 0, &config)?;
//!
//! let frame = [0xff_u8; 60];
//! let chunk = area.chunk_addr(0).ok_or("the area has no chunk")?;
//! // SAFETY: chunk 0 lies inside the area and the kernel does not have it.
//! unsafe { area.base().add(chunk as usize).cast::<[u8; 60]>().write(frame) };
//!
//! let mut slots = socket.tx.reserve(1);
//! if slots.push(Desc::new(chunk, 60)).is_ok() {
//!     slots.submit();
//! }
//! while socket.completion.available() == 0 {
//!     if socket.wake_tx()? == TxWake::DeviceGone {
//!         return Err("the device is gone".into());
//!     }
//! }
//! let sent = socket.completion.peek(64);
//! assert_eq!(sent.iter().collect::<Vec<_>>(), [chunk]);
//! sent.release();
//! # Ok(())
//! # }
//! ```
//!
//! # Testing
//!
//! The index code of the rings is generic over where the ring lives ([`Storage`]), so the code that
//! talks to the kernel is also what these run:
//!
//! ```text
//! cargo test -p af-xdp                                           units, properties, as root kernel
//! RUSTFLAGS="--cfg loom" cargo test -p af-xdp --release loom     every interleaving of two threads
//! cargo +nightly miri test -p af-xdp ring                        undefined behaviour, weak memory
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("AF_XDP exists on Linux only");

mod area;
mod config;
mod desc;
mod error;
mod link;
mod mapping;
mod mode;
pub mod nic;
pub mod ring;
mod socket;
mod statistics;
mod sync;
mod sys;
pub mod tun;

pub use area::{Area, AreaConfig, CHUNK_BYTES_ALLOWED, PACKET_HEADROOM_BYTES};
pub use config::{BusyPoll, SocketConfig};
pub use desc::Desc;
pub use error::SetupError;
pub use link::{AttachMode, Link};
pub use mode::{Mode, ModeChoice, ParseModeError, Rung};
pub use ring::{
    CompletionRing, Consumer, FillRing, HeapEnds, HeapRing, Peeked, Producer, Reservation, RxRing,
    Storage, TxRing,
};
pub use socket::{RxWake, Socket, SocketHandle, TxWake, WeakSocketHandle};
pub use statistics::Statistics;
