//! What has to be known about a network device before a socket is bound to it.
//!
//! All by `ioctl` on a socket made for the one question, in the network namespace of the calling
//! thread.

use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use crate::error::SetupError;
use crate::sys;

/// Hardware queues that are switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queues {
    /// Receive queues. Each one that has no socket lets its packets pass by.
    pub rx: u32,
    /// Transmit queues.
    pub tx: u32,
}

impl Queues {
    /// Queue numbers that a socket may be bound to: the kernel asks for a queue that is a receive
    /// or a transmit queue (`xsk_reg_pool_at_qid` in `net/xdp/xsk.c`).
    #[must_use]
    pub fn bindable(&self) -> u32 {
        self.rx.max(self.tx)
    }
}

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Number of the device called `name`.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn ifindex(name: &str) -> Result<u32, SetupError> {
    let answer = ask(name, libc::SIOCGIFINDEX as libc::c_ulong, "read the number of")?;
    // SAFETY: SIOCGIFINDEX has filled this member; any bits make an int.
    let index = unsafe { answer.ifr_ifru.ifru_ifindex };
    u32::try_from(index).map_err(|_| SetupError::NoSuchDevice { device: name.to_owned() })
}

/// Name of the device with number `ifindex`.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn name(ifindex: u32) -> Result<String, SetupError> {
    let what = || format!("read the name of ifindex {ifindex}");
    let gone = || SetupError::NoSuchDevice { device: format!("ifindex {ifindex}") };
    let mut request = empty_request();
    request.ifr_ifru.ifru_ifindex = i32::try_from(ifindex).map_err(|_| gone())?;
    let socket = asking_socket().map_err(|source| SetupError::Os { what: what(), source })?;
    let code = libc::SIOCGIFNAME as libc::c_ulong;
    // SAFETY: SIOCGIFNAME reads and writes a struct ifreq only.
    unsafe { sys::interface_ioctl(socket.as_fd(), code, &mut request) }.map_err(|source| {
        match source.raw_os_error() {
            Some(libc::ENODEV) => gone(),
            _ => SetupError::Os { what: what(), source },
        }
    })?;
    #[expect(clippy::cast_sign_loss, reason = "bytes of a name; c_char is signed on some targets")]
    let bytes = request.ifr_name.map(|byte| byte as u8);
    Ok(text(&bytes))
}

/// Queues of the device called `name`, now. Some drivers change their number when a program is
/// attached.
///
/// A driver that knows no channels (`EOPNOTSUPP`) has one of each.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn queues(name: &str) -> Result<Queues, SetupError> {
    let mut channels =
        sys::EthtoolChannels { cmd: sys::ETHTOOL_GCHANNELS, ..sys::EthtoolChannels::default() };
    match ethtool(name, &mut channels, "read the queues of") {
        // Combined channels have one queue of each kind; a driver reports either kind or a mix.
        Ok(()) => Ok(Queues {
            rx: (channels.rx_count.saturating_add(channels.combined_count)).max(1),
            tx: (channels.tx_count.saturating_add(channels.combined_count)).max(1),
        }),
        Err(SetupError::Os { source, .. }) if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            Ok(Queues { rx: 1, tx: 1 })
        }
        Err(error) => Err(error),
    }
}

/// Name of the driver of the device called `name`, such as `ice` or `veth`.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`] (`EOPNOTSUPP`: the device has no driver to
/// name).
pub fn driver(name: &str) -> Result<String, SetupError> {
    let mut info = sys::EthtoolDrvinfo {
        cmd: sys::ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved2: [0; 12],
        n_priv_flags: 0,
        n_stats: 0,
        testinfo_len: 0,
        eedump_len: 0,
        regdump_len: 0,
    };
    ethtool(name, &mut info, "read the driver of")?;
    Ok(text(&info.driver))
}

/// Largest layer 3 packet that the device called `name` sends, in bytes (Ethernet header not
/// counted).
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn mtu(name: &str) -> Result<u32, SetupError> {
    let answer = ask(name, libc::SIOCGIFMTU as libc::c_ulong, "read the MTU of")?;
    // SAFETY: SIOCGIFMTU has filled this member; any bits make an int.
    let mtu = unsafe { answer.ifr_ifru.ifru_mtu };
    Ok(u32::try_from(mtu).unwrap_or(0))
}

/// Ethernet address of the device called `name`.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], [`SetupError::NotEthernet`], or [`SetupError::Os`].
pub fn mac(name: &str) -> Result<Mac, SetupError> {
    let answer = ask(name, libc::SIOCGIFHWADDR as libc::c_ulong, "read the address of")?;
    // SAFETY: SIOCGIFHWADDR has filled this member; any bits make a sockaddr.
    let address = unsafe { answer.ifr_ifru.ifru_hwaddr };
    if address.sa_family != libc::ARPHRD_ETHER {
        return Err(SetupError::NotEthernet {
            device: name.to_owned(),
            hardware: address.sa_family,
        });
    }
    let mut mac = [0; 6];
    for (to, from) in mac.iter_mut().zip(address.sa_data) {
        #[expect(clippy::cast_sign_loss, reason = "a byte; c_char is signed on some targets")]
        let byte = from as u8;
        *to = byte;
    }
    Ok(mac)
}

/// Whether the device called `name` is switched on (`IFF_UP`).
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn is_up(name: &str) -> Result<bool, SetupError> {
    let answer = ask(name, libc::SIOCGIFFLAGS as libc::c_ulong, "read the flags of")?;
    // SAFETY: SIOCGIFFLAGS has filled this member; any bits make a short.
    let flags = unsafe { answer.ifr_ifru.ifru_flags };
    Ok(libc::c_int::from(flags) & libc::IFF_UP != 0)
}

/// Whether the device called `name` is switched on and can reach its peer (`IFF_UP` and
/// `IFF_RUNNING`): a cable is plugged in, the other end is up.
///
/// # Errors
/// [`SetupError::NoSuchDevice`], or [`SetupError::Os`].
pub fn is_running(name: &str) -> Result<bool, SetupError> {
    let answer = ask(name, libc::SIOCGIFFLAGS as libc::c_ulong, "read the flags of")?;
    // SAFETY: SIOCGIFFLAGS has filled this member; any bits make a short.
    let flags = unsafe { answer.ifr_ifru.ifru_flags };
    let both = libc::IFF_UP | libc::IFF_RUNNING;
    Ok(libc::c_int::from(flags) & both == both)
}

/// A socket to ask interface questions on.
fn asking_socket() -> io::Result<std::os::fd::OwnedFd> {
    sys::socket(libc::AF_INET, libc::SOCK_DGRAM)
}

/// A request of all zeroes.
fn empty_request() -> libc::ifreq {
    // SAFETY: an ifreq is arrays, integers and a pointer; all of them may be zero.
    unsafe { MaybeUninit::<libc::ifreq>::zeroed().assume_init() }
}

/// A request that names a device.
pub(crate) fn request_for(name: &str) -> Result<libc::ifreq, SetupError> {
    // The kernel wants the name with its final zero in IFNAMSIZ bytes, so a longer one cannot
    // exist.
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        return Err(SetupError::NoSuchDevice { device: name.to_owned() });
    }
    let mut request = empty_request();
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// Asks one question whose argument and answer are an `ifreq`.
fn ask(name: &str, code: libc::c_ulong, what: &str) -> Result<libc::ifreq, SetupError> {
    let mut request = request_for(name)?;
    let socket = asking_socket().map_err(|source| os(name, what, source))?;
    // SAFETY: this module passes SIOCGIF* codes only, which read and write a struct ifreq.
    unsafe { sys::interface_ioctl(socket.as_fd(), code, &mut request) }
        .map_err(|source| os(name, what, source))?;
    Ok(request)
}

/// Asks an ethtool question; `command` begins with its number and is what the kernel fills.
fn ethtool<T>(name: &str, command: &mut T, what: &str) -> Result<(), SetupError> {
    let mut request = request_for(name)?;
    request.ifr_ifru.ifru_data = std::ptr::from_mut(command).cast();
    let socket = asking_socket().map_err(|source| os(name, what, source))?;
    let code = libc::SIOCETHTOOL as libc::c_ulong;
    // SAFETY: `ifru_data` points to the structure of the command it begins with (`sys`), which
    // lives through the call; both commands have a fixed size.
    unsafe { sys::interface_ioctl(socket.as_fd(), code, &mut request) }
        .map_err(|source| os(name, what, source))
}

/// The error of a question about `name`.
pub(crate) fn os(name: &str, what: &str, source: io::Error) -> SetupError {
    match source.raw_os_error() {
        Some(libc::ENODEV | libc::ENXIO) => SetupError::NoSuchDevice { device: name.to_owned() },
        _ => SetupError::Os { what: format!("{what} {name}"), source },
    }
}

/// Text up to the first zero byte.
fn text(bytes: &[u8]) -> String {
    match CStr::from_bytes_until_nul(bytes) {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Queues, driver, ifindex, is_up, mac, mtu, name, queues};
    use crate::error::SetupError;

    // The loopback device exists in every network namespace, whoever asks.

    #[test]
    fn loopback_answers() {
        let index = ifindex("lo").unwrap();
        assert_eq!(name(index).unwrap(), "lo");
        assert!(mtu("lo").unwrap() >= 1280);
        assert_eq!(queues("lo").unwrap(), Queues { rx: 1, tx: 1 });
        assert!(is_up("lo").is_ok());
    }

    #[test]
    fn loopback_is_not_ethernet_and_has_no_driver() {
        let Err(SetupError::NotEthernet { hardware, .. }) = mac("lo") else { panic!("an address") };
        assert_eq!(hardware, libc::ARPHRD_LOOPBACK);
        assert!(matches!(driver("lo"), Err(SetupError::Os { .. })));
    }

    #[test]
    fn names_that_cannot_exist_are_no_such_device() {
        for bad in ["", "no-such-dev", "sixteen-bytes-xx", "lo\0", "a-name-much-longer-than-any"] {
            let error = ifindex(bad).unwrap_err();
            assert!(matches!(&error, SetupError::NoSuchDevice { device } if device == bad));
        }
        assert!(matches!(name(u32::MAX), Err(SetupError::NoSuchDevice { .. })));
        assert!(matches!(name(0), Err(SetupError::NoSuchDevice { .. })));
    }

    #[test]
    fn bindable_queues_are_the_larger_kind() {
        assert_eq!(Queues { rx: 2, tx: 4 }.bindable(), 4);
        assert_eq!(Queues { rx: 4, tx: 1 }.bindable(), 4);
    }
}
