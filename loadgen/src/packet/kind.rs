//! The kinds of packet that a profile can name.

use std::fmt;

use serde::Deserialize;
use weir_dataplane::wire::{IpProtocol, TcpFlags};

/// What a packet is. The kinds from `BadIpVersion` on break a rule each, and a box should let none of them through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A UDP datagram.
    Udp,
    /// How a client opens a connection.
    TcpSyn,
    /// How a server answers.
    TcpSynAck,
    /// An acknowledgment that no connection wants.
    TcpAck,
    /// A segment with data (ACK and PSH).
    TcpData,
    /// A reset.
    TcpRst,
    /// An end (FIN and ACK).
    TcpFin,
    /// FIN, PSH and URG, "lit like a Christmas tree".
    TcpXmas,
    /// No flag at all.
    TcpNull,
    /// An ICMP echo request; of IPv6 ICMPv6's.
    IcmpEcho,
    /// An ICMP echo reply.
    IcmpReply,
    /// The first fragment of a UDP datagram whose others never come.
    FragmentFirst,
    /// A later fragment of a UDP datagram whose first never comes.
    FragmentLater,
    /// A first fragment of 8 bytes, which hides the flags of TCP (RFC 1858 section 3).
    FragmentTiny,
    /// Whole UDP datagrams in two fragments each; every second packet is the second half.
    FragmentPair,
    /// IP version 5.
    BadIpVersion,
    /// A header length field of 16 bytes.
    BadIpHeader,
    /// A total length beyond the end of the frame.
    BadIpLength,
    /// A wrong checksum of the IP header.
    BadIpChecksum,
    /// A TTL of 0, or a hop limit.
    BadIpTtl,
    /// A loose source route (RFC 7126 section 4.3).
    BadIpOption,
    /// A TCP data offset of 16 bytes.
    BadTcpOffset,
    /// A wrong TCP checksum.
    BadTcpChecksum,
    /// SYN and FIN together.
    BadTcpFlags,
    /// A UDP length beyond the end of the packet.
    BadUdpLength,
    /// A wrong UDP checksum.
    BadUdpChecksum,
    /// A SYN from its own destination: address and port.
    Land,
}

/// What follows the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp(TcpFlags),
    Udp,
    /// With its message type.
    Icmp(u8),
    /// Bytes in the middle of a datagram.
    Nothing,
}

/// Which part of a datagram a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    /// From this offset on, in units of 8 bytes, and whether more follow.
    Later(u16, bool),
}

impl Kind {
    /// All of them, with the name that a profile uses.
    pub const ALL: [(Self, &'static str); 27] = [
        (Self::Udp, "udp"),
        (Self::TcpSyn, "tcp-syn"),
        (Self::TcpSynAck, "tcp-syn-ack"),
        (Self::TcpAck, "tcp-ack"),
        (Self::TcpData, "tcp-data"),
        (Self::TcpRst, "tcp-rst"),
        (Self::TcpFin, "tcp-fin"),
        (Self::TcpXmas, "tcp-xmas"),
        (Self::TcpNull, "tcp-null"),
        (Self::IcmpEcho, "icmp-echo"),
        (Self::IcmpReply, "icmp-reply"),
        (Self::FragmentFirst, "fragment-first"),
        (Self::FragmentLater, "fragment-later"),
        (Self::FragmentTiny, "fragment-tiny"),
        (Self::FragmentPair, "fragment-pair"),
        (Self::BadIpVersion, "bad-ip-version"),
        (Self::BadIpHeader, "bad-ip-header"),
        (Self::BadIpLength, "bad-ip-length"),
        (Self::BadIpChecksum, "bad-ip-checksum"),
        (Self::BadIpTtl, "bad-ip-ttl"),
        (Self::BadIpOption, "bad-ip-option"),
        (Self::BadTcpOffset, "bad-tcp-offset"),
        (Self::BadTcpChecksum, "bad-tcp-checksum"),
        (Self::BadTcpFlags, "bad-tcp-flags"),
        (Self::BadUdpLength, "bad-udp-length"),
        (Self::BadUdpChecksum, "bad-udp-checksum"),
        (Self::Land, "land"),
    ];

    pub(crate) fn transport(self, part: Part) -> Transport {
        if matches!(part, Part::Later(..)) {
            return Transport::Nothing;
        }
        match self {
            Self::Udp
            | Self::FragmentFirst
            | Self::FragmentLater
            | Self::FragmentPair
            | Self::BadIpVersion
            | Self::BadIpHeader
            | Self::BadIpLength
            | Self::BadIpChecksum
            | Self::BadIpTtl
            | Self::BadIpOption
            | Self::BadUdpLength
            | Self::BadUdpChecksum => Transport::Udp,
            Self::IcmpEcho => Transport::Icmp(8),
            Self::IcmpReply => Transport::Icmp(0),
            Self::TcpSyn | Self::FragmentTiny | Self::Land => Transport::Tcp(TcpFlags::SYN),
            Self::BadTcpOffset | Self::BadTcpChecksum => Transport::Tcp(TcpFlags::SYN),
            Self::TcpSynAck => Transport::Tcp(TcpFlags::SYN | TcpFlags::ACK),
            Self::TcpAck => Transport::Tcp(TcpFlags::ACK),
            Self::TcpData => Transport::Tcp(TcpFlags::ACK | TcpFlags::PSH),
            Self::TcpRst => Transport::Tcp(TcpFlags::RST),
            Self::TcpFin => Transport::Tcp(TcpFlags::FIN | TcpFlags::ACK),
            Self::TcpXmas => Transport::Tcp(TcpFlags::FIN | TcpFlags::PSH | TcpFlags::URG),
            Self::TcpNull => Transport::Tcp(TcpFlags::NONE),
            Self::BadTcpFlags => Transport::Tcp(TcpFlags::SYN | TcpFlags::FIN),
        }
    }

    /// The parts of its datagrams, each a frame.
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            Self::FragmentFirst | Self::FragmentTiny => &[Part::First],
            // In the middle of a datagram of which nothing else is ever sent.
            Self::FragmentLater => &[Part::Later(181, true)],
            Self::FragmentPair => &[Part::First, Part::Later(0, false)],
            _ => &[Part::Whole],
        }
    }

    /// Whether its checksums are right and can be seen in one frame, so that damage shows.
    pub(crate) fn is_checkable(self) -> bool {
        !self.is_malformed() && self.parts() == [Part::Whole]
    }

    /// Whether it breaks a rule, so that no box should let it through.
    #[must_use]
    pub fn is_malformed(self) -> bool {
        use Kind::*;
        matches!(
            self,
            BadIpVersion | BadIpHeader | BadIpLength | BadIpChecksum | BadIpTtl | BadIpOption
        ) || matches!(
            self,
            BadTcpOffset | BadTcpChecksum | BadTcpFlags | BadUdpLength | BadUdpChecksum | Land
        )
    }

    /// Whether IPv6 has it, too: it has no header checksum, no header length and no options in the header, and its
    /// fragments need a header of their own, which is not made here.
    #[must_use]
    pub fn is_of_ipv6(self) -> bool {
        use Kind::*;
        self.parts() == [Part::Whole] && !matches!(self, BadIpHeader | BadIpChecksum | BadIpOption)
    }

    /// Whether its packets bear ports.
    #[must_use]
    pub fn has_ports(self) -> bool {
        matches!(self.transport(self.parts()[0]), Transport::Tcp(_) | Transport::Udp)
    }

    /// Whether a TCP header follows the IP header.
    pub(crate) fn transport_is_tcp(self) -> bool {
        matches!(self.transport(self.parts()[0]), Transport::Tcp(_))
    }

    /// The protocol number in its IP header.
    pub(crate) fn protocol(self, is_ipv4: bool) -> IpProtocol {
        match self.transport(Part::Whole) {
            Transport::Tcp(_) => IpProtocol::TCP,
            Transport::Udp | Transport::Nothing => IpProtocol::UDP,
            Transport::Icmp(_) if is_ipv4 => IpProtocol::ICMP,
            Transport::Icmp(_) => IpProtocol::ICMPV6,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(kind, _)| kind == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_name_that_a_profile_uses() {
        for (kind, name) in Kind::ALL {
            let value = toml::Value::String(name.to_owned());
            assert_eq!(value.try_into::<Kind>(), Ok(kind));
            assert_eq!(kind.to_string(), name);
        }
    }
}
