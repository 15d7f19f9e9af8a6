//! An `AF_XDP` socket: one queue of one device, four rings, a share in a UMEM.
//!
//! ```text
//!   Socket::bind(area, None, ..)            XDP_UMEM_REG, four rings, bind with the rung's flags
//!   Socket::bind(area, Some(handle), ..)    four rings, bind with XDP_SHARED_UMEM
//! ```
//!
//! * The UMEM lives as long as any socket that shares it; the first one has no special part. A new
//!   socket may share through any of them *that is still bound*: when a device is deleted, its
//!   sockets stay open but are bound no more.
//! * A shared bind takes over the first socket's mode and need_wakeup, and its flags must say
//!   nothing about them. So a ladder of modes has to be walked with all sockets together, with a
//!   fresh UMEM a rung.
//! * Each queue has its own fill and completion ring, so each socket here has all four. Two sockets
//!   on one queue (which the kernel allows in one UMEM) are not supported: their chunks could not
//!   be told apart.
//! * Binding attaches no program. Until an XDP program redirects to the socket by an XSKMAP, it
//!   receives nothing; it can send.
//!
//! After `sendto`/`recvfrom` the kernel's answers are sorted in [`TxWake`] and [`RxWake`], since
//! only the loop that owns the socket knows when to try again.

mod bind;
mod wake;

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::area::Area;
use crate::config::SocketConfig;
use crate::error::SetupError;
use crate::mode::{Mode, Rung};
use crate::ring::{CompletionRing, FillRing, RxRing, TxRing};
use crate::statistics::Statistics;
use crate::sys;
pub use wake::{RxWake, TxWake};

/// A bound socket with its rings.
///
/// The rings are public fields, so that a loop can borrow several of them at once. Dropping the
/// socket unmaps them and closes the descriptor, unless a [`SocketHandle`] still holds that. Chunks
/// that the kernel had then are the caller's again as soon as the descriptor is really closed;
/// which ones those were, the caller must know.
pub struct Socket {
    /// Chunk addresses for the kernel to receive into.
    pub fill: FillRing,
    /// Chunk addresses that were sent.
    pub completion: CompletionRing,
    /// Received packets.
    pub rx: RxRing,
    /// Packets to send.
    pub tx: TxRing,
    handle: SocketHandle,
    mode: Mode,
    rung: Rung,
    tx_budget: u32,
}

impl Socket {
    /// Opens a socket and binds it to queue `queue` of the device with number `ifindex`, in the
    /// network namespace of the calling thread.
    ///
    /// Without `share` the area becomes a new UMEM; with it the new socket joins the UMEM of that
    /// socket. The mode that the kernel reports has to be the one of `config.rung`.
    ///
    /// Sleeps between attempts while the queue is busy, for `config.bind_retry` at most.
    ///
    /// # Errors
    /// Every [`SetupError`] but `OtherProgram` and `NotEthernet`. Nothing is left behind then.
    pub fn bind(
        area: &Arc<Area>,
        share: Option<&SocketHandle>,
        ifindex: u32,
        queue: u32,
        config: &SocketConfig,
    ) -> Result<Socket, SetupError> {
        bind::bind(area, share, bind::Place { ifindex, queue }, config)
    }

    /// A strong handle on the descriptor, to share the UMEM through and to read statistics with. As
    /// long as one is held, the socket stays open and keeps its queue, even when this `Socket` is
    /// dropped; see [`SocketHandle::downgrade`].
    #[must_use]
    pub fn handle(&self) -> SocketHandle {
        self.handle.clone()
    }

    /// The mode that the kernel reported after bind.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The rung that was asked for, and that [`mode`](Socket::mode) agrees with.
    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// The device's number at the time of bind.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.handle.0.ifindex
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.handle.0.queue
    }

    /// The area that the rings' addresses count from.
    #[must_use]
    pub fn area(&self) -> &Arc<Area> {
        &self.handle.0.area
    }

    /// Packets that one [`wake_tx`](Socket::wake_tx) may send in copy mode, as in force.
    #[must_use]
    pub fn tx_budget(&self) -> u32 {
        self.tx_budget
    }

    /// The kernel's counters.
    ///
    /// # Errors
    /// What `getsockopt` says; not expected on a bound socket.
    pub fn statistics(&self) -> io::Result<Statistics> {
        self.handle.statistics()
    }

    /// Whether descriptors on the tx ring need a [`wake_tx`](Socket::wake_tx) to be sent: always in
    /// copy mode, where sending happens inside that call, else when the driver asks for it.
    #[must_use]
    pub fn tx_needs_wake(&self) -> bool {
        self.mode == Mode::Copy || self.tx.needs_wakeup()
    }

    /// Makes the kernel look at the tx ring. Never blocks.
    ///
    /// # Errors
    /// Only what [`TxWake`] does not know.
    pub fn wake_tx(&self) -> io::Result<TxWake> {
        TxWake::of(sys::kick_tx(self.as_fd()))
    }

    /// Makes a zero-copy driver look at the fill ring; does nothing in copy mode, unless busy
    /// polling is on. Never blocks.
    ///
    /// # Errors
    /// Only what [`RxWake`] does not know.
    pub fn wake_rx(&self) -> io::Result<RxWake> {
        RxWake::of(sys::kick_rx(self.as_fd()))
    }

    /// Sleeps until there is something on the rx ring, or for `timeout` (rounded up to
    /// milliseconds); says whether there is. A signal ends the wait early. Like every `poll` on the
    /// socket it also sends what is on the tx ring in copy mode.
    ///
    /// # Errors
    /// What `poll` says, `EINTR` excepted.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let timeout_ms = timeout.as_nanos().div_ceil(1_000_000);
        let timeout_ms = i32::try_from(timeout_ms).unwrap_or(i32::MAX);
        match sys::poll_in(self.as_fd(), timeout_ms) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            answer => answer,
        }
    }
}

impl AsFd for Socket {
    /// The descriptor, to be put into an XSKMAP at the key [`queue`](Socket::queue).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("ifindex", &self.ifindex())
            .field("queue", &self.queue())
            .field("rung", &self.rung)
            .finish_non_exhaustive()
    }
}

/// What all handles of one socket have in common.
struct Shared {
    fd: OwnedFd,
    ifindex: u32,
    queue: u32,
    /// Keeps the packet memory mapped as long as the kernel may write to it.
    area: Arc<Area>,
}

/// A strong reference to an open socket, without its rings.
///
/// The descriptor is closed, and the queue freed, when the `Socket` and all its strong handles are
/// gone. Whoever keeps a handle for longer than a call should keep it
/// [downgraded](SocketHandle::downgrade).
#[derive(Clone)]
pub struct SocketHandle(Arc<Shared>);

impl SocketHandle {
    /// A reference that does not keep the socket open.
    #[must_use]
    pub fn downgrade(&self) -> WeakSocketHandle {
        WeakSocketHandle(Arc::downgrade(&self.0))
    }

    /// The device's number at the time of bind.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.0.ifindex
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> u32 {
        self.0.queue
    }

    /// The kernel's counters, from any thread.
    ///
    /// # Errors
    /// What `getsockopt` says; not expected on a bound socket.
    pub fn statistics(&self) -> io::Result<Statistics> {
        Statistics::read(self.as_fd())
    }
}

impl AsFd for SocketHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl fmt::Debug for SocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketHandle")
            .field("ifindex", &self.0.ifindex)
            .field("queue", &self.0.queue)
            .finish_non_exhaustive()
    }
}

/// A reference to a socket that does not keep it open.
#[derive(Clone)]
pub struct WeakSocketHandle(Weak<Shared>);

impl WeakSocketHandle {
    /// The strong handle, if the socket is still open.
    #[must_use]
    pub fn upgrade(&self) -> Option<SocketHandle> {
        self.0.upgrade().map(SocketHandle)
    }
}

impl fmt::Debug for WeakSocketHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WeakSocketHandle").field(&self.upgrade()).finish()
    }
}

// Sockets are made by one thread and given to another.
const _: () = {
    const fn movable<T: Send>() {}
    const fn shared<T: Send + Sync>() {}
    movable::<Socket>();
    shared::<SocketHandle>();
    shared::<WeakSocketHandle>();
};
