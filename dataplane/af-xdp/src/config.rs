//! What a socket is asked to be.

use std::time::Duration;

use crate::error::SetupError;
use crate::mode::Rung;
use crate::ring::RING_ENTRIES_MAX;

/// Busy polling: the socket's system calls run the driver's poll loop on the calling core instead
/// of leaving it to interrupts (`SO_PREFER_BUSY_POLL`, Linux 5.11). It needs `CAP_NET_ADMIN`, and
/// only pays with the device's `napi_defer_hard_irqs` and `gro_flush_timeout` set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusyPoll {
    /// How long one call may poll, in microseconds (`SO_BUSY_POLL`); at least 1.
    pub busy_poll_us: u32,
    /// Packets that one call may take from the driver (`SO_BUSY_POLL_BUDGET`), 1 to 65,535.
    pub budget: u32,
}

/// What [`Socket::bind`](crate::Socket::bind) shall make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// Slots of the rx ring, a power of two.
    pub rx_entries: u32,
    /// Slots of the tx ring, a power of two.
    pub tx_entries: u32,
    /// Slots of the fill ring, a power of two.
    pub fill_entries: u32,
    /// Slots of the completion ring, a power of two. With fewer than `tx_entries` the kernel stops
    /// sending until completions are taken.
    pub completion_entries: u32,
    /// The rung to bind on. The program has to be attached accordingly ([`Rung::attach_mode`]).
    pub rung: Rung,
    /// Let the driver sleep and ask to be woken by ring flags (`XDP_USE_NEED_WAKEUP`). Without it a
    /// zero-copy driver looks at the rings all the time. A socket that shares a UMEM inherits this
    /// from the first one.
    pub need_wakeup: bool,
    /// Busy polling, if wanted.
    pub busy_poll: Option<BusyPoll>,
    /// Packets that one [`Socket::wake_tx`](crate::Socket::wake_tx) may send in copy mode.
    ///
    /// The kernel takes 32 to `tx_entries`; a value outside is moved to the nearer end. Kernels
    /// before 6.17 always send 32. [`Socket::tx_budget`](crate::Socket::tx_budget) is what came
    /// out.
    pub tx_budget: u32,
    /// How long to go on trying while the queue is busy (`EBUSY`). The kernel frees the queue of a
    /// socket that has been closed some milliseconds later.
    pub bind_retry: Duration,
}

impl Default for SocketConfig {
    /// 2,048 slots in each ring, driver copy, need_wakeup, no busy polling, 256 packets a wake-up,
    /// one second of retries.
    fn default() -> SocketConfig {
        SocketConfig {
            rx_entries: 2048,
            tx_entries: 2048,
            fill_entries: 2048,
            completion_entries: 2048,
            rung: Rung::DriverCopy,
            need_wakeup: true,
            busy_poll: None,
            tx_budget: 256,
            bind_retry: Duration::from_secs(1),
        }
    }
}

impl SocketConfig {
    /// Checks what can be checked without the kernel.
    ///
    /// # Errors
    /// [`SetupError::RingSize`] or [`SetupError::OutOfRange`], naming the first bad value.
    pub fn validate(&self) -> Result<(), SetupError> {
        let rings = [
            ("rx", self.rx_entries),
            ("tx", self.tx_entries),
            ("fill", self.fill_entries),
            ("completion", self.completion_entries),
        ];
        for (ring, entries) in rings {
            if !entries.is_power_of_two() || entries > RING_ENTRIES_MAX {
                return Err(SetupError::RingSize { ring, entries });
            }
        }
        let Some(BusyPoll { busy_poll_us, budget }) = self.busy_poll else { return Ok(()) };
        if i32::try_from(busy_poll_us).is_err() || busy_poll_us == 0 {
            let (key, value) = ("busy_poll_us", u64::from(busy_poll_us));
            return Err(SetupError::OutOfRange { key, value, allowed: "1 to 2147483647" });
        }
        if !(1..=u32::from(u16::MAX)).contains(&budget) {
            let (key, value) = ("busy_poll budget", u64::from(budget));
            return Err(SetupError::OutOfRange { key, value, allowed: "1 to 65535" });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{BusyPoll, SetupError, SocketConfig};

    /// The message for the default with one change.
    fn refused(change: impl FnOnce(&mut SocketConfig)) -> String {
        let mut config = SocketConfig::default();
        change(&mut config);
        config.validate().unwrap_err().to_string()
    }

    #[test]
    fn default_is_valid() {
        assert!(SocketConfig::default().validate().is_ok());
    }

    #[test]
    fn bad_ring_sizes_are_named() {
        assert_eq!(
            refused(|c| c.rx_entries = 0),
            "rx_entries = 0: must be a power of two from 1 to 1048576"
        );
        assert_eq!(
            refused(|c| c.tx_entries = 1000),
            "tx_entries = 1000: must be a power of two from 1 to 1048576"
        );
        assert_eq!(
            refused(|c| c.fill_entries = 1 << 21),
            "fill_entries = 2097152: must be a power of two from 1 to 1048576"
        );
        assert_eq!(
            refused(|c| c.completion_entries = u32::MAX),
            "completion_entries = 4294967295: must be a power of two from 1 to 1048576"
        );
    }

    #[test]
    fn bad_busy_poll_is_named() {
        let with = |busy_poll_us, budget| {
            move |c: &mut SocketConfig| c.busy_poll = Some(BusyPoll { busy_poll_us, budget })
        };
        assert_eq!(refused(with(0, 64)), "busy_poll_us = 0: must be 1 to 2147483647");
        assert_eq!(refused(with(20, 0)), "busy_poll budget = 0: must be 1 to 65535");
        assert_eq!(refused(with(20, 65536)), "busy_poll budget = 65536: must be 1 to 65535");
        let config = SocketConfig {
            busy_poll: Some(BusyPoll { busy_poll_us: 20, budget: 64 }),
            ..SocketConfig::default()
        };
        assert!(matches!(config.validate(), Ok::<(), SetupError>(())));
    }
}
