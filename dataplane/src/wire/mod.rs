//! Typed views over packet bytes: what the RFCs say, and nothing about policy.
//!
//! A view wraps any `T: AsRef<[u8]>` (a slice of a UMEM chunk, an array, a `Vec`). Its
//! `new_checked` looks once at everything that later getters rely on, and keeps the lengths it found,
//! so that **no getter or setter can panic afterwards**, whatever is later written into the packet.
//! What cannot be read is refused with a [`Malformed`] that says why: a firewall must be able to
//! say what was wrong with the packet it dropped.
//!
//! Every file has the same parts in the same order:
//!
//! 1. an essay with the RFC, and the header drawn where it helps;
//! 2. the numbers of the protocol (types, codes, flags);
//! 3. `mod field`: the named byte ranges;
//! 4. the view: `new_checked`, getters (`T: AsRef<[u8]>`), setters (`T: AsMut<[u8]>` too);
//! 5. the header that Weir itself writes: a plain struct with `emit`;
//! 6. tests.
//!
//! ```text
//!   Ethernet ──┬── Vlan (0..=2) ──┬── Arp
//!              │                  ├── Ipv4 ──┬── Tcp
//!              └──────────────────┘          ├── Udp        checksum: sums for all of them
//!                                 └── Ipv6 ──┴── Icmp (v4)
//! ```
//!
//! Views never verify checksums on their own; [`checksum`] and the `checksum_ok` getters do when asked.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod tcp;
pub mod udp;
pub mod vlan;

pub use arp::{Arp, ArpHeader};
pub use ethernet::{EtherType, Ethernet, EthernetHeader, MacAddr};
pub use icmp::{Icmp, IcmpHeader, IcmpType};
pub use ipv4::{Ipv4, Ipv4Header};
pub use ipv6::{Ipv6, Ipv6Header};
pub use tcp::{Tcp, TcpFlags, TcpHeader};
pub use udp::{Udp, UdpHeader};
pub use vlan::Vlan;

use std::fmt;
use std::ops::Range;

/// Why bytes are not the packet they claim to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The slice ends before the part that has to be there.
    #[error("truncated: needs {need} bytes, has {have}")]
    Truncated {
        /// Bytes that the part needs, counted from the start of the view.
        need: usize,
        /// Bytes there are.
        have: usize,
    },
    /// The version nibble is not the one of this protocol.
    #[error("IP version {found} where another was announced")]
    Version {
        /// The nibble found.
        found: u8,
    },
    /// The header length field is smaller than the fixed part of the header.
    #[error("header length {declared} bytes is less than the minimum of {min}")]
    HeaderLength {
        /// Bytes that the field declares.
        declared: usize,
        /// The least that is valid.
        min: usize,
    },
    /// The length field of an IP packet or UDP datagram is smaller than its header or larger than
    /// the bytes received.
    #[error("length field says {declared} bytes, valid are {min} to {have}")]
    TotalLength {
        /// Bytes that the field declares.
        declared: usize,
        /// Bytes of the header.
        min: usize,
        /// Bytes there are.
        have: usize,
    },
    /// An option's length byte is below 2 or leads out of the header.
    #[error("option {kind} declares {declared} bytes, {left} are left")]
    OptionLength {
        /// The option's kind byte.
        kind: u8,
        /// Bytes that it declares.
        declared: usize,
        /// Bytes left in the header from the kind byte on.
        left: usize,
    },
    /// An ARP packet that is not about Ethernet and IPv4 (RFC 826 leaves these open).
    #[error("ARP for hardware {hardware:#06x} and protocol {protocol:#06x}, not Ethernet and IPv4")]
    AddressFamily {
        /// Hardware type.
        hardware: u16,
        /// Protocol type.
        protocol: u16,
    },
    /// More headers stacked on each other than Weir follows.
    #[error("more than {max} stacked headers")]
    TooManyHeaders {
        /// The limit.
        max: usize,
    },
}

/// The buffer to write into is too small. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("no room: needs {need} bytes, buffer has {have}")]
pub struct NoRoom {
    /// Bytes that would be written.
    pub need: usize,
    /// Bytes that the buffer has.
    pub have: usize,
}

/// The protocol number of an IPv4 header, or the next-header value of an IPv6 one.
///
/// Numbers: IANA "Assigned Internet Protocol Numbers".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpProtocol(pub u8);

impl IpProtocol {
    /// ICMP for IPv4 (RFC 792).
    pub const ICMP: Self = Self(1);
    /// TCP (RFC 9293).
    pub const TCP: Self = Self(6);
    /// UDP (RFC 768).
    pub const UDP: Self = Self(17);
    /// ICMP for IPv6 (RFC 4443).
    pub const ICMPV6: Self = Self(58);
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("ipv6-icmp"),
            Self(other) => write!(f, "{other}"),
        }
    }
}

/// Source and destination port: the first four bytes of TCP, UDP, UDP-Lite, DCCP and SCTP alike.
///
/// For first fragments and for the packets quoted in ICMP errors, which may hold no more than eight
/// bytes of the transport header (RFC 792). Full packets go through [`Tcp`] or [`Udp`].
///
/// # Errors
/// [`Malformed::Truncated`] below four bytes.
pub fn transport_ports(bytes: &[u8]) -> Result<(u16, u16), Malformed> {
    need(bytes, 4)?;
    Ok((read_u16(bytes, 0..2), read_u16(bytes, 2..4)))
}

/// Checks that at least `need` bytes are there.
fn need(bytes: &[u8], need: usize) -> Result<(), Malformed> {
    let have = bytes.len();
    if have < need { Err(Malformed::Truncated { need, have }) } else { Ok(()) }
}

/// The first `need` bytes of a buffer to write into.
fn room(out: &mut [u8], need: usize) -> Result<&mut [u8], NoRoom> {
    let have = out.len();
    out.get_mut(..need).ok_or(NoRoom { need, have })
}

/// The `N` bytes of a field. `at` is a constant of some `mod field` and lies inside what
/// `new_checked` has checked.
#[inline]
fn read<const N: usize>(bytes: &[u8], at: Range<usize>) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at]);
    out
}

#[inline]
fn read_u16(bytes: &[u8], at: Range<usize>) -> u16 {
    u16::from_be_bytes(read(bytes, at))
}

#[inline]
fn read_u32(bytes: &[u8], at: Range<usize>) -> u32 {
    u32::from_be_bytes(read(bytes, at))
}

#[inline]
fn write_u16(bytes: &mut [u8], at: Range<usize>, value: u16) {
    bytes[at].copy_from_slice(&value.to_be_bytes());
}

#[inline]
fn write_u32(bytes: &mut [u8], at: Range<usize>, value: u32) {
    bytes[at].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_need_four_bytes() {
        assert_eq!(transport_ports(&[0, 80, 0x1f, 0x90]), Ok((80, 8080)));
        assert_eq!(transport_ports(&[0, 80, 1]), Err(Malformed::Truncated { need: 4, have: 3 }));
    }

    #[test]
    fn protocols_print_as_in_etc_protocols() {
        let names: Vec<String> = [1, 6, 17, 58, 132].map(|n| IpProtocol(n).to_string()).to_vec();
        assert_eq!(names, ["icmp", "tcp", "udp", "ipv6-icmp", "132"]);
    }
}
