//! What the XDP program counts: one pair of numbers for each way out of it.

use std::ops::AddAssign;

/// Packets and their bytes (Ethernet header included, frame check sequence not).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketCount {
    /// Packets.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
}

impl AddAssign for PacketCount {
    fn add_assign(&mut self, other: Self) {
        self.packets = self.packets.wrapping_add(other.packets);
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

/// The counters of one device's program, summed over all CPUs, since the program was loaded.
///
/// Every packet that reached the program is in exactly one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramCounters {
    /// ARP, passed up.
    pub arp_passed: PacketCount,
    /// IP for the machine itself, passed up: local and broadcast addresses, multicast, IPv6
    /// link-local.
    pub host_passed: PacketCount,
    /// LLDP, slow protocols (LACP) and EAPOL to their group addresses, passed up.
    pub control_passed: PacketCount,
    /// Handed to the socket of their queue. What the socket then had no room for is in its own
    /// statistics.
    pub redirected: PacketCount,
    /// The queue had no socket and `on_exit` is `drop`.
    pub no_socket_dropped: PacketCount,
    /// The queue had no socket and `on_exit` is `pass`.
    pub no_socket_passed: PacketCount,
    /// Dropped for their source ([`crate::early_drop`]).
    pub early_dropped: PacketCount,
}

/// Number of counters, `WAYS_OUT` in `bpf/weir_xdp.bpf.c`.
pub(super) const WAYS_OUT: u32 = 7;

impl ProgramCounters {
    /// The counter at index `way` of the program's map, in the order of `enum way_out` in
    /// `bpf/weir_xdp.bpf.c`.
    pub(super) fn at(&mut self, way: u32) -> Option<&mut PacketCount> {
        Some(match way {
            0 => &mut self.arp_passed,
            1 => &mut self.host_passed,
            2 => &mut self.control_passed,
            3 => &mut self.redirected,
            4 => &mut self.no_socket_dropped,
            5 => &mut self.no_socket_passed,
            6 => &mut self.early_dropped,
            _ => return None,
        })
    }
}

impl PacketCount {
    /// What has been counted since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(before.packets),
            bytes: self.bytes.wrapping_sub(before.bytes),
        }
    }

    /// Reads `struct count` of the program: two numbers in host byte order. `None` when there are
    /// fewer bytes.
    pub(super) fn from_map(value: &[u8]) -> Option<Self> {
        let (packets, rest) = value.split_first_chunk()?;
        let bytes = rest.first_chunk()?;
        Some(Self { packets: u64::from_ne_bytes(*packets), bytes: u64::from_ne_bytes(*bytes) })
    }
}

#[cfg(test)]
mod tests {
    use super::{PacketCount, ProgramCounters, WAYS_OUT};

    #[test]
    fn every_index_below_the_limit_has_a_counter_of_its_own() {
        let mut counters = ProgramCounters::default();
        for way in 0..WAYS_OUT {
            let counter = counters.at(way).unwrap();
            assert_eq!(*counter, PacketCount::default(), "index {way} is shared");
            counter.packets = 1;
        }
        assert_eq!(counters.at(WAYS_OUT), None);
    }

    #[test]
    fn map_values_are_read_in_order_and_short_ones_refused() {
        let mut value = 3_u64.to_ne_bytes().to_vec();
        value.extend(180_u64.to_ne_bytes());
        assert_eq!(PacketCount::from_map(&value), Some(PacketCount { packets: 3, bytes: 180 }));
        assert_eq!(PacketCount::from_map(&value[..15]), None);
    }

    #[test]
    fn sums_wrap_rather_than_panic() {
        let mut sum = PacketCount { packets: u64::MAX, bytes: 1 };
        let before = sum;
        sum += PacketCount { packets: 2, bytes: 2 };
        assert_eq!(sum, PacketCount { packets: 1, bytes: 3 });
        assert_eq!(sum.since(before), PacketCount { packets: 2, bytes: 2 });
    }
}
