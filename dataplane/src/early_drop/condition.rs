//! Conditions: which packets of a source a pushed entry is about.
//!
//! The program evaluates them; [`Condition::is_met`] is the same in Rust, for the limiter, which must not throw again
//! for a packet that was thrown for already, and for the test that compares both. What neither can say for certain is
//! not met, and the packet is Weir's to judge: fragments, IPv4 options, IPv6 extension headers, a TTL that ends here,
//! headers that are cut off, link-layer groups.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::net::Net;
use crate::wire::ethernet::{EtherType, HEADER_BYTES};

/// Whose packets a chain sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hook {
    /// Those for the machine itself, where they pass through Weir (chain INPUT).
    Input,
    /// Those that are forwarded (chain FORWARD).
    Forward,
}

/// What a packet must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Condition {
    /// Where it is bound for.
    pub hook: Hook,
    /// Its protocol; `None` for any.
    pub protocol: Option<u8>,
    /// Its destination.
    pub destination: Net,
    /// Its source port, both ends included; all of them is for packets without ports, too.
    pub source_ports: (u16, u16),
    /// Its destination port, likewise.
    pub destination_ports: (u16, u16),
    /// Of these TCP flags exactly those are set; with a mask of 0 other protocols meet it, too.
    pub tcp_mask: u8,
    /// See `tcp_mask`.
    pub tcp_flags: u8,
    /// The interface it came by; 0 for any.
    pub ifindex: u32,
}

/// All ports.
pub const ANY_PORT: (u16, u16) = (0, u16::MAX);

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

impl Condition {
    /// Every packet that is bound for `hook`, of the family of `destination`.
    #[must_use]
    pub fn any(hook: Hook, destination: Net) -> Self {
        Self {
            hook,
            protocol: None,
            destination,
            source_ports: ANY_PORT,
            destination_ports: ANY_PORT,
            tcp_mask: 0,
            tcp_flags: 0,
            ifindex: 0,
        }
    }

    /// Whether a frame, bound for a chain and come by an interface, meets it.
    #[must_use]
    pub fn is_met(&self, hook: Hook, ifindex: u32, frame: &[u8]) -> bool {
        let Some((ethernet, ip)) = frame.split_first_chunk::<HEADER_BYTES>() else { return false };
        if self.hook != hook || (self.ifindex != 0 && self.ifindex != ifindex) {
            return false;
        }
        self.is_met_by(ethernet, ip)
    }

    fn is_met_by(&self, ethernet: &[u8; HEADER_BYTES], ip: &[u8]) -> bool {
        if ethernet[0] & 1 == 1 {
            return false;
        }
        match EtherType(u16::from_be_bytes([ethernet[12], ethernet[13]])) {
            EtherType::IPV4 => self.is_met_v4(ip),
            EtherType::IPV6 => self.is_met_v6(ip),
            _ => false,
        }
    }

    /// Whether a packet is one that the program judges at all, whatever the condition: it meets that which asks for
    /// nothing.
    #[must_use]
    pub fn is_plain(ethernet: &[u8; HEADER_BYTES], ip: &[u8]) -> bool {
        [Net::host(Ipv4Addr::UNSPECIFIED.into()), Net::host(Ipv6Addr::UNSPECIFIED.into())]
            .iter()
            .any(|host| Self::any(Hook::Forward, host.shortened(0)).is_met_by(ethernet, ip))
    }

    fn is_met_v4(&self, ip: &[u8]) -> bool {
        let Some((header, rest)) = ip.split_first_chunk::<20>() else { return false };
        let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
        if header[0] != 0x45 || header[8] <= 1 || fragment != 0 {
            return false;
        }
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some(payload) = length.checked_sub(20).and_then(|length| rest.get(..length)) else {
            return false;
        };
        let destination = [header[16], header[17], header[18], header[19]];
        self.destination.covers(Net::host(destination.into()))
            && self.is_met_transport(header[9], payload)
    }

    fn is_met_v6(&self, ip: &[u8]) -> bool {
        let Some((header, rest)) = ip.split_first_chunk::<40>() else { return false };
        if header[0] >> 4 != 6 || header[7] <= 1 || ![TCP, UDP, ICMPV6].contains(&header[6]) {
            return false;
        }
        let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
        let (Some(payload), Some(destination)) = (rest.get(..length), header.last_chunk::<16>())
        else {
            return false;
        };
        self.destination.covers(Net::host((*destination).into()))
            && self.is_met_transport(header[6], payload)
    }

    fn is_met_transport(&self, protocol: u8, payload: &[u8]) -> bool {
        if self.protocol.is_some_and(|wanted| wanted != protocol) {
            return false;
        }
        if protocol != TCP && protocol != UDP {
            return (self.source_ports, self.destination_ports, self.tcp_mask)
                == (ANY_PORT, ANY_PORT, 0);
        }
        let Some(ports) = payload.first_chunk::<8>() else { return false };
        let within = |(min, max): (u16, u16), port| (min..=max).contains(&port);
        if !within(self.source_ports, u16::from_be_bytes([ports[0], ports[1]]))
            || !within(self.destination_ports, u16::from_be_bytes([ports[2], ports[3]]))
        {
            return false;
        }
        match (protocol, payload.first_chunk::<20>()) {
            (UDP, _) => self.tcp_mask == 0,
            (_, Some(header)) => header[13] & self.tcp_mask == self.tcp_flags,
            (_, None) => false,
        }
    }
}
