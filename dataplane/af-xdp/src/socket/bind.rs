//! From nothing to a bound socket, and from an errno to its cause.
//!
//! The kernel wants this order: memory, ring sizes, ring mappings, bind, and then the options that
//! look at what was bound.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Shared, Socket, SocketHandle};
use crate::area::Area;
use crate::config::{BusyPoll, SocketConfig};
use crate::error::SetupError;
use crate::mode::{Mode, Rung};
use crate::nic;
use crate::ring::{Consumer, KernelRing, Layout, Producer};
use crate::sys;

/// Pause between two attempts on a busy queue.
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// Where a socket is bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) ifindex: u32,
    pub(super) queue: u32,
}

impl Place {
    /// Name and number of the device, for messages.
    fn device(self) -> String {
        match nic::name(self.ifindex) {
            Ok(name) => format!("{name} (ifindex {})", self.ifindex),
            Err(_) => format!("ifindex {}", self.ifindex),
        }
    }

    /// What is being done, for messages.
    fn doing(self, what: &str) -> String {
        format!("{what} for queue {} of {}", self.queue, self.device())
    }
}

/// See [`Socket::bind`].
pub(super) fn bind(
    area: &Arc<Area>,
    share: Option<&SocketHandle>,
    place: Place,
    config: &SocketConfig,
) -> Result<Socket, SetupError> {
    config.validate()?;
    if let Some(share) = share {
        check_share(area, share, place)?;
    }
    let fd = sys::socket(sys::AF_XDP, libc::SOCK_RAW)
        .map_err(|source| setup_error(place.doing("open an AF_XDP socket"), source))?;
    if share.is_none() {
        register(area, fd.as_fd(), place)?;
    }
    let [fill, completion, rx, tx] = size_rings(fd.as_fd(), place, config)?;
    let fill = map(fd.as_fd(), place, &fill).map(Producer::new)?;
    let completion = map(fd.as_fd(), place, &completion).map(Consumer::new)?;
    let rx = map(fd.as_fd(), place, &rx).map(Consumer::new)?;
    let tx = map(fd.as_fd(), place, &tx).map(Producer::new)?;
    if let Some(busy_poll) = config.busy_poll {
        set_busy_poll(fd.as_fd(), place, busy_poll)?;
    }
    let tx_budget = set_tx_budget(fd.as_fd(), place, config)?;
    bind_retrying(fd.as_fd(), share, place, config)?;
    let mode = read_mode(fd.as_fd(), place)?;
    if mode != config.rung.mode() {
        let (device, queue, wanted) = (place.device(), place.queue, config.rung);
        return Err(SetupError::ModeMismatch { device, queue, wanted, got: mode });
    }
    let Place { ifindex, queue } = place;
    let handle = SocketHandle(Arc::new(Shared { fd, ifindex, queue, area: Arc::clone(area) }));
    Ok(Socket { fill, completion, rx, tx, handle, mode, rung: config.rung, tx_budget })
}

/// What can be said about sharing before asking the kernel, which answers some of it with a bare
/// `EINVAL`.
fn check_share(area: &Arc<Area>, share: &SocketHandle, place: Place) -> Result<(), SetupError> {
    let (device, queue) = (|| place.device(), place.queue);
    if !Arc::ptr_eq(area, &share.0.area) {
        return Err(SetupError::AreaMismatch { device: device(), queue });
    }
    if share.0.ifindex == place.ifindex && share.0.queue == queue {
        return Err(SetupError::QueueBusy { device: device(), queue, waited: Duration::ZERO });
    }
    Ok(())
}

/// `XDP_UMEM_REG`.
fn register(area: &Area, fd: BorrowedFd<'_>, place: Place) -> Result<(), SetupError> {
    let registration = libc::xdp_umem_reg {
        addr: area.base().as_ptr() as u64,
        len: area.bytes() as u64,
        chunk_size: area.chunk_bytes(),
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    };
    // SAFETY: the area's memory is reached by raw pointers only, and each socket keeps the area
    // until its descriptor is closed.
    unsafe { sys::register_umem(fd, &registration) }
        .map_err(|source| setup_error(place.doing("register packet memory"), source))
}

/// One ring before it is mapped.
struct RingPlan {
    layout: Layout,
    page_offset: u64,
    entries: u32,
}

/// Sets the sizes of the fill, completion, rx and tx ring, and asks how they are laid out.
fn size_rings(
    fd: BorrowedFd<'_>,
    place: Place,
    config: &SocketConfig,
) -> Result<[RingPlan; 4], SetupError> {
    let sizes = [
        (libc::XDP_UMEM_FILL_RING, "fill", config.fill_entries),
        (libc::XDP_UMEM_COMPLETION_RING, "completion", config.completion_entries),
        (libc::XDP_RX_RING, "rx", config.rx_entries),
        (libc::XDP_TX_RING, "tx", config.tx_entries),
    ];
    for (option, ring, entries) in sizes {
        sys::set_option(fd, libc::SOL_XDP, option, &entries).map_err(|source| {
            setup_error(place.doing(&format!("make a {ring} ring of {entries} entries")), source)
        })?;
    }
    let nowhere = || libc::xdp_ring_offset { producer: 0, consumer: 0, desc: 0, flags: 0 };
    let offsets =
        libc::xdp_mmap_offsets { rx: nowhere(), tx: nowhere(), fr: nowhere(), cr: nowhere() };
    let expected = size_of::<libc::xdp_mmap_offsets>();
    let what = || place.doing("read the ring layout");
    let (offsets, bytes) = sys::option(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, offsets)
        .map_err(|source| setup_error(what(), source))?;
    if bytes != expected {
        let source =
            io::Error::other(format!("{bytes} bytes instead of {expected}: no ring flags"));
        return Err(SetupError::KernelWithout { what: what(), source });
    }
    let plan = |offset: libc::xdp_ring_offset, page_offset, entries| {
        let at = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (producer, consumer) = (at(offset.producer), at(offset.consumer));
        let (flags, desc) = (at(offset.flags), at(offset.desc));
        RingPlan { layout: Layout { producer, consumer, flags, desc }, page_offset, entries }
    };
    Ok([
        plan(offsets.fr, libc::XDP_UMEM_PGOFF_FILL_RING, config.fill_entries),
        plan(offsets.cr, libc::XDP_UMEM_PGOFF_COMPLETION_RING, config.completion_entries),
        plan(offsets.rx, libc::XDP_PGOFF_RX_RING as u64, config.rx_entries),
        plan(offsets.tx, libc::XDP_PGOFF_TX_RING as u64, config.tx_entries),
    ])
}

/// Maps one ring.
fn map<T: Copy>(
    fd: BorrowedFd<'_>,
    place: Place,
    plan: &RingPlan,
) -> Result<KernelRing<T>, SetupError> {
    KernelRing::map(fd, plan.page_offset, plan.layout, plan.entries)
        .map_err(|source| setup_error(place.doing("map a ring"), source))
}

/// Switches busy polling on.
fn set_busy_poll(fd: BorrowedFd<'_>, place: Place, wanted: BusyPoll) -> Result<(), SetupError> {
    let BusyPoll { busy_poll_us, budget } = wanted;
    let options = [
        (libc::SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL", 1),
        (libc::SO_BUSY_POLL, "SO_BUSY_POLL", busy_poll_us),
        (libc::SO_BUSY_POLL_BUDGET, "SO_BUSY_POLL_BUDGET", budget),
    ];
    for (option, name, value) in options {
        sys::set_option(fd, libc::SOL_SOCKET, option, &value).map_err(|source| {
            setup_error(place.doing(&format!("set {name} to {value}")), source)
        })?;
    }
    Ok(())
}

/// Sets how many packets one `sendto` may send; returns what is in force.
fn set_tx_budget(
    fd: BorrowedFd<'_>,
    place: Place,
    config: &SocketConfig,
) -> Result<u32, SetupError> {
    let least = sys::TX_SKB_BUDGET_MIN;
    if config.tx_entries <= least {
        return Ok(least); // The default, and the kernel takes no other for such a ring.
    }
    let budget = config.tx_budget.clamp(least, config.tx_entries);
    match sys::set_option(fd, libc::SOL_XDP, sys::XDP_MAX_TX_SKB_BUDGET, &budget) {
        Ok(()) => Ok(budget),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(least),
        Err(source) => {
            Err(setup_error(place.doing(&format!("set the tx budget to {budget}")), source))
        }
    }
}

/// The mode that the kernel has put the socket in.
fn read_mode(fd: BorrowedFd<'_>, place: Place) -> Result<Mode, SetupError> {
    let none = libc::xdp_options { flags: 0 };
    let (options, _) = sys::option(fd, libc::SOL_XDP, libc::XDP_OPTIONS, none)
        .map_err(|source| setup_error(place.doing("read the mode"), source))?;
    let zero_copy = options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0;
    Ok(if zero_copy { Mode::ZeroCopy } else { Mode::Copy })
}

/// Binds, again and again while the queue is busy.
fn bind_retrying(
    fd: BorrowedFd<'_>,
    share: Option<&SocketHandle>,
    place: Place,
    config: &SocketConfig,
) -> Result<(), SetupError> {
    let (flags, shared_fd) = match share {
        Some(share) => {
            let shared_fd = share.as_fd().as_raw_fd();
            (libc::XDP_SHARED_UMEM, u32::try_from(shared_fd).unwrap_or(u32::MAX))
        }
        None => {
            let wakeup = if config.need_wakeup { libc::XDP_USE_NEED_WAKEUP } else { 0 };
            (config.rung.bind_flags() | wakeup, 0)
        }
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: sys::AF_XDP.try_into().unwrap_or(u16::MAX),
        sxdp_flags: flags,
        sxdp_ifindex: place.ifindex,
        sxdp_queue_id: place.queue,
        sxdp_shared_umem_fd: shared_fd,
    };
    let start = Instant::now();
    loop {
        let Err(error) = sys::bind_xdp(fd, &address) else { return Ok(()) };
        let left = config.bind_retry.saturating_sub(start.elapsed());
        if error.raw_os_error() != Some(libc::EBUSY) || left.is_zero() {
            return Err(bind_error(error, place, config.rung, start.elapsed()));
        }
        thread::sleep(left.min(RETRY_PAUSE));
    }
}

/// The cause behind what `bind` answered (`xsk_bind` in `net/xdp/xsk.c`, `xp_assign_dev` in
/// `net/xdp/xsk_buff_pool.c`).
fn bind_error(source: io::Error, place: Place, rung: Rung, waited: Duration) -> SetupError {
    let (device, queue) = (place.device(), place.queue);
    match source.raw_os_error() {
        Some(libc::EBUSY) => SetupError::QueueBusy { device, queue, waited },
        Some(libc::EBADF) => SetupError::SharedGone { device, queue },
        Some(libc::ENODEV | libc::ENXIO) => SetupError::NoSuchDevice { device },
        Some(libc::ENETDOWN) => SetupError::DeviceDown { device, queue },
        Some(libc::EOPNOTSUPP) => SetupError::DriverWithout { device, queue, rung, source },
        Some(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::ENOBUFS) => {
            setup_error(place.doing("bind"), source)
        }
        Some(libc::EINVAL | libc::ERANGE) => {
            // The kernel says so little about nothing but the queue number; our other arguments are
            // checked before.
            let queues = nic::name(place.ifindex).and_then(|name| nic::queues(&name));
            match queues.map(|queues| queues.bindable()) {
                Ok(queues) if queue >= queues => SetupError::NoSuchQueue { device, queue, queues },
                _ => refused(source, place, rung),
            }
        }
        _ => refused(source, place, rung),
    }
}

/// An errno that no rule of the kernel's own explains: for zero-copy, where the driver has its say,
/// a refusal of the rung.
fn refused(source: io::Error, place: Place, rung: Rung) -> SetupError {
    match rung {
        Rung::DriverZeroCopy => {
            let (device, queue) = (place.device(), place.queue);
            SetupError::DriverWithout { device, queue, rung, source }
        }
        Rung::DriverCopy | Rung::Skb => SetupError::Os { what: place.doing("bind"), source },
    }
}

/// The cause behind an errno that means the same in every call.
fn setup_error(what: String, source: io::Error) -> SetupError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => SetupError::NoCapability { what },
        Some(libc::EAFNOSUPPORT | libc::ENOPROTOOPT) => SetupError::KernelWithout { what, source },
        Some(libc::ENOMEM | libc::ENOBUFS) => SetupError::Memory { what, source },
        _ => SetupError::Os { what, source },
    }
}
