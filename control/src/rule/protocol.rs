//! IP protocol numbers.

use serde::{Deserialize, Serialize};

/// The number in an IPv4 header's protocol field, or that of an IPv6 packet's last header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Protocol(pub u8);

impl Protocol {
    /// Every protocol: how iptables and the kernel write "no condition". Never inside a
    /// parsed [`super::Rule`], which says `None` instead.
    pub const ALL: Self = Self(0);
    /// Internet Control Message Protocol.
    pub const ICMP: Self = Self(1);
    /// Transmission Control Protocol.
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol.
    pub const UDP: Self = Self(17);
    /// Internet Control Message Protocol for IPv6.
    pub const ICMPV6: Self = Self(58);
}
