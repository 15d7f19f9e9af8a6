//! What the kernel answers to a wake-up.

use std::io;

/// What came of [`Socket::wake_tx`](crate::Socket::wake_tx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxWake {
    /// The kernel has looked at the ring, and knows no reason to look again. It may still have
    /// stopped behind an invalid descriptor: while [`Producer::pending`](crate::Producer::pending)
    /// is not 0, wake it again in a later round.
    Done,
    /// There may be descriptors left: the budget is used up, the device's queue or the socket's
    /// send buffer is full, memory is short, or the device dropped a packet (`EAGAIN`, `EBUSY`,
    /// `ENOBUFS`, `ENOMEM`, `EINTR`). Wake again in a later round.
    Again,
    /// The device is switched off (`ENETDOWN`). Descriptors stay on the ring until it is on.
    DeviceDown,
    /// The device is gone (`ENXIO`, `ENODEV`). The socket is good for nothing any more: close it.
    DeviceGone,
}

impl TxWake {
    /// Sorts the answer of `sendto` (`xsk_sendmsg` in `net/xdp/xsk.c`).
    pub(crate) fn of(answer: io::Result<()>) -> io::Result<TxWake> {
        let Err(error) = answer else { return Ok(TxWake::Done) };
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM | libc::EINTR) => {
                Ok(TxWake::Again)
            }
            Some(libc::ENETDOWN) => Ok(TxWake::DeviceDown),
            Some(libc::ENXIO | libc::ENODEV) => Ok(TxWake::DeviceGone),
            _ => Err(error),
        }
    }
}

/// What came of [`Socket::wake_rx`](crate::Socket::wake_rx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxWake {
    /// The driver has been told.
    Done,
    /// Try again in a later round (`EAGAIN`, `EBUSY`, `EINTR`).
    Again,
    /// The device is switched off (`ENETDOWN`).
    DeviceDown,
    /// The device is gone (`ENXIO`, `ENODEV`). The socket is good for nothing any more: close it.
    DeviceGone,
}

impl RxWake {
    /// Sorts the answer of `recvfrom` (`xsk_recvmsg` in `net/xdp/xsk.c`).
    pub(crate) fn of(answer: io::Result<()>) -> io::Result<RxWake> {
        let Err(error) = answer else { return Ok(RxWake::Done) };
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EBUSY | libc::EINTR) => Ok(RxWake::Again),
            Some(libc::ENETDOWN) => Ok(RxWake::DeviceDown),
            Some(libc::ENXIO | libc::ENODEV) => Ok(RxWake::DeviceGone),
            _ => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RxWake, TxWake};
    use std::io;

    #[test]
    fn every_expected_answer_has_its_class() {
        let tx = |code| TxWake::of(Err(io::Error::from_raw_os_error(code))).ok();
        let rx = |code| RxWake::of(Err(io::Error::from_raw_os_error(code))).ok();
        assert_eq!(TxWake::of(Ok(())).ok(), Some(TxWake::Done));
        assert_eq!(RxWake::of(Ok(())).ok(), Some(RxWake::Done));
        for (code, tx_class, rx_class) in [
            (libc::EAGAIN, Some(TxWake::Again), Some(RxWake::Again)),
            (libc::EBUSY, Some(TxWake::Again), Some(RxWake::Again)),
            (libc::EINTR, Some(TxWake::Again), Some(RxWake::Again)),
            (libc::ENOBUFS, Some(TxWake::Again), None),
            (libc::ENOMEM, Some(TxWake::Again), None),
            (libc::ENETDOWN, Some(TxWake::DeviceDown), Some(RxWake::DeviceDown)),
            (libc::ENXIO, Some(TxWake::DeviceGone), Some(RxWake::DeviceGone)),
            (libc::ENODEV, Some(TxWake::DeviceGone), Some(RxWake::DeviceGone)),
            (libc::EINVAL, None, None),
        ] {
            assert_eq!((tx(code), rx(code)), (tx_class, rx_class), "errno {code}");
        }
    }
}
