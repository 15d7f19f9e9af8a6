//! Attaching a program so that it goes when its owner goes.
//!
//! A `bpf_link` is a descriptor. When the last copy of it is closed, by `drop`, by exit or because
//! the process was killed, the kernel detaches the program. Nobody else can replace the program
//! meanwhile, and a device that already has one answers `EBUSY`. To keep a program attached beyond
//! the process one needs netlink or a pinned link instead; that is policy and lives elsewhere.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys;

/// Where in the receive path the XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachMode {
    /// In the driver, before an skb exists (native XDP).
    Driver,
    /// In the network stack, on an skb (generic XDP).
    Skb,
}

impl AttachMode {
    /// The `XDP_FLAGS_*` bit (`linux/if_link.h`).
    #[must_use]
    pub const fn flags(self) -> u32 {
        match self {
            AttachMode::Driver => sys::XDP_FLAGS_DRV_MODE,
            AttachMode::Skb => sys::XDP_FLAGS_SKB_MODE,
        }
    }
}

/// An attached program; dropping it detaches the program.
///
/// Drop it before the sockets it feeds, so that no packet is redirected to a socket that is going.
#[derive(Debug)]
pub struct Link(OwnedFd);

impl Link {
    /// Attaches the loaded program `program` to the device `ifindex`.
    ///
    /// # Errors
    /// What `bpf(BPF_LINK_CREATE)` says: `EBUSY` a program is attached already, `EOPNOTSUPP` the
    /// driver has no XDP, `EINVAL` no such device, or the driver refuses (too few queues, MTU too
    /// large), `EPERM` neither `CAP_BPF` and `CAP_NET_ADMIN` nor root.
    pub fn attach(program: BorrowedFd<'_>, ifindex: u32, mode: AttachMode) -> io::Result<Link> {
        let prog_fd = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
        let attributes = sys::BpfLinkCreate {
            prog_fd,
            target_ifindex: ifindex,
            attach_type: sys::BPF_XDP,
            flags: mode.flags(),
        };
        sys::bpf_link_create(&attributes).map(Link)
    }

    /// Attaches the loaded program `program`, one for traffic control (`BPF_PROG_TYPE_SCHED_CLS`), to what the
    /// network stack sends out of the device `ifindex` (tcx, Linux 6.6). What `AF_XDP` sockets send in copy or
    /// zero-copy mode goes past it: `__dev_direct_xmit` in `net/core/dev.c`.
    ///
    /// # Errors
    /// What `bpf(BPF_LINK_CREATE)` says: `EINVAL` a kernel without tcx, `ENODEV` no such device, `EPERM` neither
    /// `CAP_BPF` and `CAP_NET_ADMIN` nor root.
    pub fn attach_egress(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<Link> {
        let prog_fd = u32::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
        let attributes = sys::BpfLinkCreate {
            prog_fd,
            target_ifindex: ifindex,
            attach_type: sys::BPF_TCX_EGRESS,
            flags: 0,
        };
        sys::bpf_link_create(&attributes).map(Link)
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Link> for OwnedFd {
    /// The descriptor itself, which keeps the program attached as long as it is open.
    fn from(link: Link) -> OwnedFd {
        link.0
    }
}
