//! Neighbours: which MAC address answers for an address on a port.
//!
//! The kernel keeps the table and does the ARP, of IPv6 the neighbour discovery; Weir mirrors it (RFC 826 and RFC 4861
//! say what an entry is, `net/core/neighbour.c` how long it lives). The kernel never sees the packets that Weir
//! forwards, so workers note which entries they use and the mirror speaks up for those.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ahash::RandomState;

use super::link::PortIndex;

/// What the kernel knows about a neighbour (`NUD_*` in `linux/neighbour.h`, drawn together).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// Asked for, no answer yet: hold packets for it.
    Incomplete,
    /// Confirmed of late, or configured by hand (`REACHABLE`, `PERMANENT`, `NOARP`).
    Reachable,
    /// Known, not confirmed for a while; to be used all the same (`STALE`).
    Stale,
    /// As `Stale`, and being asked again (`DELAY`, `PROBE`).
    Probing,
    /// Did not answer: packets for it get "host unreachable" until it is asked for again.
    Failed,
}

/// One neighbour as a snapshot of the table knows it.
#[derive(Debug, Clone)]
pub struct Neighbour {
    /// Its Ethernet address; zero as long as none is known.
    pub mac: [u8; 6],
    /// What the kernel knows about it.
    pub state: NeighbourState,
    /// Set by workers, cleared by the mirror. Shared by all snapshots that hold this neighbour.
    used: Arc<AtomicBool>,
}

impl Neighbour {
    /// A neighbour that nobody has used yet.
    pub fn new(mac: [u8; 6], state: NeighbourState) -> Self {
        Self { mac, state, used: Arc::new(AtomicBool::new(false)) }
    }

    /// Whether packets can be sent to `mac`.
    #[inline]
    pub fn is_usable(&self) -> bool {
        matches!(
            self.state,
            NeighbourState::Reachable | NeighbourState::Stale | NeighbourState::Probing
        )
    }

    /// Notes that traffic goes to this neighbour, so that it is kept alive. Writes only when it is not noted yet:
    /// otherwise every packet would pull the line over from the other workers.
    #[inline]
    pub fn mark_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    /// Whether traffic went to it since the mirror last looked.
    pub fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Clears the note of use; returns what it was.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }
}

/// The neighbours on all ports.
#[derive(Debug, Clone)]
pub(crate) struct NeighbourTable {
    v4: HashMap<u64, Neighbour, RandomState>,
    v6: HashMap<(PortIndex, Ipv6Addr), Neighbour, RandomState>,
}

/// Of IPv4. A `u64` is hashed at once, where a tuple takes two rounds.
fn key(port: PortIndex, address: Ipv4Addr) -> u64 {
    u64::from(port.0) << 32 | u64::from(u32::from(address))
}

/// The port and address of a key.
fn parts(key: u64) -> (PortIndex, Ipv4Addr) {
    let [.., port, a, b, c, d] = key.to_be_bytes();
    (PortIndex(port), Ipv4Addr::new(a, b, c, d))
}

impl NeighbourTable {
    /// An empty table. Hosts on a port's network choose the addresses in it, so a daemon passes a random `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = RandomState::with_seeds(seed, !seed, seed.rotate_left(17), seed ^ 0x5bd1_e995);
        Self { v4: HashMap::with_hasher(hasher.clone()), v6: HashMap::with_hasher(hasher) }
    }

    #[inline]
    pub(crate) fn get(&self, port: PortIndex, address: IpAddr) -> Option<&Neighbour> {
        match address {
            IpAddr::V4(address) => self.v4.get(&key(port, address)),
            IpAddr::V6(address) => self.v6.get(&(port, address)),
        }
    }

    pub(crate) fn insert(&mut self, port: PortIndex, address: IpAddr, neighbour: Neighbour) {
        match address {
            IpAddr::V4(address) => self.v4.insert(key(port, address), neighbour),
            IpAddr::V6(address) => self.v6.insert((port, address), neighbour),
        };
    }

    /// Removes and returns a neighbour.
    pub(crate) fn remove(&mut self, port: PortIndex, address: IpAddr) -> Option<Neighbour> {
        match address {
            IpAddr::V4(address) => self.v4.remove(&key(port, address)),
            IpAddr::V6(address) => self.v6.remove(&(port, address)),
        }
    }

    /// Removes all neighbours on a port.
    pub(crate) fn remove_port(&mut self, port: PortIndex) {
        self.v4.retain(|&key, _| parts(key).0 != port);
        self.v6.retain(|key, _| key.0 != port);
    }

    /// All neighbours, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PortIndex, IpAddr, &Neighbour)> {
        let v4 = self.v4.iter().map(|(&key, neighbour)| {
            let (port, address) = parts(key);
            (port, address.into(), neighbour)
        });
        let v6 =
            self.v6.iter().map(|(&(port, address), neighbour)| (port, address.into(), neighbour));
        v4.chain(v6)
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}
