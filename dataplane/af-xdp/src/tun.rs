//! TUN devices: the way for packets between a program and the stack of its own machine, where
//! `AF_XDP` has none.
//!
//! A TUN device is a point-to-point link of layer 3. What the stack sends out of it a program reads
//! from a descriptor, one IP packet a read; what the program writes, the stack receives. The device
//! exists as long as a descriptor of it is open, and no longer: SIGKILL removes it, too.
//! (Documentation/networking/tuntap.rst of the kernel.)

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::error::SetupError;
use crate::nic::{os, request_for};
use crate::sys;

/// Most queues that the kernel gives a TUN device (`MAX_TAP_QUEUES` in `drivers/net/tun.c`).
pub const QUEUES_MAX: usize = 256;

/// Makes a TUN device called `name` in the network namespace of the calling thread, and opens it
/// once for each of `queues` queues. Reads and writes do not wait (`O_NONBLOCK`), and carry IP
/// packets alone, without the four bytes of packet information. No offload is switched on: packets
/// that are read have their checksums and fit the MTU.
///
/// The stack chooses the queue by the flow of a packet; any queue may be written to.
///
/// # Errors
/// [`SetupError::NoCapability`] without CAP_NET_ADMIN; [`SetupError::Os`]: `EBUSY` for a device of
/// that name that exists already, `ENOENT` where the kernel has no TUN driver or `/dev/net/tun` is
/// missing.
pub fn open(name: &str, queues: usize) -> Result<Vec<OwnedFd>, SetupError> {
    let what = "make TUN device";
    let mut descriptors = Vec::with_capacity(queues);
    for queue in 0..queues.max(1) {
        let file = device().map_err(|source| os("/dev/net/tun", "open", source))?;
        let mut request = request_for(name)?;
        // The first queue makes the device, and must not find another's; the others join it.
        let exclusive = if queue == 0 { libc::IFF_TUN_EXCL } else { 0 };
        let flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_MULTI_QUEUE | exclusive;
        // The flags are 16 bits wide, of which IFF_TUN_EXCL is the highest.
        let [low, high, ..] = flags.to_le_bytes();
        request.ifr_ifru.ifru_flags = libc::c_short::from_le_bytes([low, high]);
        // SAFETY: TUNSETIFF reads and writes a struct ifreq only (`__tun_chr_ioctl`).
        let set = unsafe { sys::interface_ioctl(file.as_fd(), libc::TUNSETIFF as _, &mut request) };
        set.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => SetupError::NoCapability { what: format!("{what} {name}") },
            _ => os(name, what, source),
        })?;
        descriptors.push(file.into());
    }
    Ok(descriptors)
}

fn device() -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open("/dev/net/tun")
}
