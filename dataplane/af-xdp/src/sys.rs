//! What `libc` lacks, and the few system calls wrapped so that the rest of the crate stays safe
//! code.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `AF_XDP` (`linux/socket.h`); `libc` defines it for glibc only.
pub(crate) const AF_XDP: libc::c_int = 44;
/// Socket option: packets that one `sendto` may take in copy mode (`linux/if_xdp.h`, Linux 6.17).
pub(crate) const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Fewest packets that `XDP_MAX_TX_SKB_BUDGET` accepts, and its default (`net/xdp/xsk.c`).
pub(crate) const TX_SKB_BUDGET_MIN: u32 = 32;

/// `BPF_LINK_CREATE` of `enum bpf_cmd` (`linux/bpf.h`).
pub(crate) const BPF_LINK_CREATE: libc::c_int = 28;
/// `BPF_XDP` of `enum bpf_attach_type` (`linux/bpf.h`).
pub(crate) const BPF_XDP: u32 = 37;
/// `BPF_TCX_EGRESS` (`enum bpf_attach_type` in `linux/bpf.h`).
pub(crate) const BPF_TCX_EGRESS: u32 = 47;
/// `XDP_FLAGS_SKB_MODE` (`linux/if_link.h`).
pub(crate) const XDP_FLAGS_SKB_MODE: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE` (`linux/if_link.h`).
pub(crate) const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `ETHTOOL_GDRVINFO` (`linux/ethtool.h`).
pub(crate) const ETHTOOL_GDRVINFO: u32 = 0x03;
/// `ETHTOOL_GCHANNELS` (`linux/ethtool.h`).
pub(crate) const ETHTOOL_GCHANNELS: u32 = 0x3c;

/// `struct ethtool_channels` (`linux/ethtool.h`).
#[repr(C)]
#[derive(Default)]
pub(crate) struct EthtoolChannels {
    pub(crate) cmd: u32,
    pub(crate) max_rx: u32,
    pub(crate) max_tx: u32,
    pub(crate) max_other: u32,
    pub(crate) max_combined: u32,
    pub(crate) rx_count: u32,
    pub(crate) tx_count: u32,
    pub(crate) other_count: u32,
    pub(crate) combined_count: u32,
}

/// `struct ethtool_drvinfo` (`linux/ethtool.h`).
#[repr(C)]
pub(crate) struct EthtoolDrvinfo {
    pub(crate) cmd: u32,
    pub(crate) driver: [u8; 32],
    pub(crate) version: [u8; 32],
    pub(crate) fw_version: [u8; 32],
    pub(crate) bus_info: [u8; 32],
    pub(crate) erom_version: [u8; 32],
    pub(crate) reserved2: [u8; 12],
    pub(crate) n_priv_flags: u32,
    pub(crate) n_stats: u32,
    pub(crate) testinfo_len: u32,
    pub(crate) eedump_len: u32,
    pub(crate) regdump_len: u32,
}

/// The part of `union bpf_attr` that `BPF_LINK_CREATE` reads for XDP and tcx; the kernel takes the rest as
/// 0.
#[repr(C)]
pub(crate) struct BpfLinkCreate {
    pub(crate) prog_fd: u32,
    pub(crate) target_ifindex: u32,
    pub(crate) attach_type: u32,
    pub(crate) flags: u32,
}

/// Marks structures that are plain kernel data.
///
/// # Safety
/// Every bit pattern is a value of the type, and it holds no reference or pointer to our memory
/// that a system call could write through.
pub(crate) unsafe trait Plain: Copy {}
// SAFETY: an integer.
unsafe impl Plain for u32 {}
// SAFETY: an integer.
unsafe impl Plain for libc::c_int {}
// SAFETY: integers only.
unsafe impl Plain for libc::xdp_mmap_offsets {}
// SAFETY: integers only.
unsafe impl Plain for libc::xdp_statistics {}
// SAFETY: an integer.
unsafe impl Plain for libc::xdp_options {}

/// Length of a structure as system calls want it. All of ours are below 200 bytes.
fn socklen_of<T>() -> libc::socklen_t {
    const { assert!(size_of::<T>() < 4096) };
    #[expect(clippy::cast_possible_truncation, reason = "below 4096, asserted above")]
    let len = size_of::<T>() as libc::socklen_t;
    len
}

/// Turns the -1 of a system call into the error it left in `errno`.
fn checked(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Opens a socket, closed on exec.
pub(crate) fn socket(family: libc::c_int, kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = checked(unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `setsockopt` with plain data.
pub(crate) fn set_option<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let (raw, value, len) = (fd.as_raw_fd(), std::ptr::from_ref(value).cast(), socklen_of::<T>());
    // SAFETY: `value` points to `len` initialised bytes that live through the call.
    checked(unsafe { libc::setsockopt(raw, level, name, value, len) }).map(drop)
}

/// `XDP_UMEM_REG`: hands the memory of `registration` to the kernel as packet memory.
///
/// # Safety
/// From now until the socket and all sockets that share its UMEM are closed, the kernel writes to
/// that memory: no Rust reference may cover any of it while the kernel owns the chunk.
pub(crate) unsafe fn register_umem(
    fd: BorrowedFd<'_>,
    registration: &libc::xdp_umem_reg,
) -> io::Result<()> {
    let value = std::ptr::from_ref(registration).cast();
    let (level, name, len) =
        (libc::SOL_XDP, libc::XDP_UMEM_REG, socklen_of::<libc::xdp_umem_reg>());
    // SAFETY: `value` points to `len` initialised bytes; the caller keeps the memory it describes.
    checked(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value, len) }).map(drop)
}

/// `getsockopt` into plain data that starts as `value`; returns it with the bytes the kernel wrote
/// (older kernels know shorter structures).
pub(crate) fn option<T: Plain>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    mut value: T,
) -> io::Result<(T, usize)> {
    let mut len = socklen_of::<T>();
    let into = std::ptr::from_mut(&mut value).cast();
    // SAFETY: `into` has room for `len` bytes, and any bytes make a `T` (Plain).
    checked(unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, into, &raw mut len) })?;
    Ok((value, len as usize))
}

/// Binds an `AF_XDP` socket.
pub(crate) fn bind_xdp(fd: BorrowedFd<'_>, address: &libc::sockaddr_xdp) -> io::Result<()> {
    let (address, len) = (std::ptr::from_ref(address).cast(), socklen_of::<libc::sockaddr_xdp>());
    // SAFETY: `address` points to `len` initialised bytes that live through the call.
    checked(unsafe { libc::bind(fd.as_raw_fd(), address, len) }).map(drop)
}

/// `sendto` without data: asks the kernel to look at the tx ring.
pub(crate) fn kick_tx(fd: BorrowedFd<'_>) -> io::Result<()> {
    let raw = fd.as_raw_fd();
    // SAFETY: no buffer and no address are passed.
    let sent =
        unsafe { libc::sendto(raw, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `recvfrom` without a buffer: asks the driver to look at the fill ring.
pub(crate) fn kick_rx(fd: BorrowedFd<'_>) -> io::Result<()> {
    let (raw, none) = (fd.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: no buffer and no address are passed.
    let received = unsafe {
        libc::recvfrom(raw, none, 0, libc::MSG_DONTWAIT, std::ptr::null_mut(), std::ptr::null_mut())
    };
    if received < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `poll` for input on one descriptor; false when the time is over.
pub(crate) fn poll_in(fd: BorrowedFd<'_>, timeout_ms: libc::c_int) -> io::Result<bool> {
    let mut one = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `one` is one initialised pollfd that lives through the call.
    checked(unsafe { libc::poll(&raw mut one, 1, timeout_ms) })?;
    Ok(one.revents & libc::POLLIN != 0)
}

/// `ioctl` on an interface request.
///
/// # Safety
/// `request` must be one that reads and writes a `struct ifreq` only, or `SIOCETHTOOL` with
/// `ifr_data` pointing to the writable structure of its command.
pub(crate) unsafe fn interface_ioctl(
    fd: BorrowedFd<'_>,
    request: libc::c_ulong,
    argument: &mut libc::ifreq,
) -> io::Result<()> {
    let argument = std::ptr::from_mut(argument);
    // SAFETY: the caller chose a request whose argument is this structure. The cast is for musl,
    // where requests are `c_int`.
    checked(unsafe { libc::ioctl(fd.as_raw_fd(), request as _, argument) }).map(drop)
}

/// `bpf(BPF_LINK_CREATE)`; the descriptor is the link.
pub(crate) fn bpf_link_create(attributes: &BpfLinkCreate) -> io::Result<OwnedFd> {
    let pointer = std::ptr::from_ref(attributes);
    let size = size_of::<BpfLinkCreate>();
    // SAFETY: `pointer` points to `size` initialised bytes that the kernel only reads.
    let returned = unsafe { libc::syscall(libc::SYS_bpf, BPF_LINK_CREATE, pointer, size) };
    let fd = i32::try_from(returned).map_err(io::Error::other)?;
    let fd = checked(fd)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
