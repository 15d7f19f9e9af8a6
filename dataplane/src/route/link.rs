//! Ports and their addresses as the kernel describes them.

use std::net::Ipv4Addr;

pub use crate::port::{PORTS_MAX, PortIndex};

/// A port's network interface as the kernel describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortLink {
    /// Interface name from the configuration.
    pub name: String,
    /// The kernel's number for it; `None` while no such interface exists.
    pub ifindex: Option<u32>,
    /// Its Ethernet address; zero while the interface does not exist.
    pub mac: [u8; 6],
    /// Largest IPv4 packet it carries, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// Switched on and with a carrier (`IFF_UP` and `IFF_LOWER_UP`).
    pub up: bool,
    /// Its IPv4 addresses in the kernel's order, primary ones first.
    pub addresses: Vec<InterfaceAddress>,
}

/// An IPv4 address of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of its subnet's prefix, 0 to 32.
    pub prefix_len: u8,
    /// The far end of a point-to-point link, or else the address itself: it is what the subnet is counted from.
    pub peer: Ipv4Addr,
    /// Its broadcast address; subnets of 31 and 32 bits have none unless configured.
    pub broadcast: Option<Ipv4Addr>,
    /// Scope as in `rtnetlink.h`: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// A secondary address of its subnet: never chosen as source.
    pub secondary: bool,
}

impl InterfaceAddress {
    /// A primary address of global scope, with the usual broadcast address of its subnet.
    pub fn new(address: Ipv4Addr, prefix_len: u8) -> Self {
        let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
        let broadcast = Ipv4Addr::from(u32::from(address) | host_bits);
        Self {
            address,
            prefix_len,
            peer: address,
            broadcast: (prefix_len < 31).then_some(broadcast),
            scope: 0,
            secondary: false,
        }
    }

    /// Whether `other` lies in this address's subnet.
    pub fn subnet_contains(&self, other: Ipv4Addr) -> bool {
        let differing = u32::from(self.peer) ^ u32::from(other);
        differing.leading_zeros() >= u32::from(self.prefix_len)
    }
}
