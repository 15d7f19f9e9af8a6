//! Frames, complete or spoilt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];

/// A frame of what is in it.
pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    [&MAC[..], &[0x02, 0, 0, 0, 0, 7], &ether_type.to_be_bytes(), payload].concat()
}

/// A packet of either family with what follows its header; both addresses are of one family.
pub(crate) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => v4(source, destination, protocol, payload),
        (IpAddr::V6(source), IpAddr::V6(destination)) => v6(source, destination, protocol, payload),
        _ => panic!("{source} and {destination} are of two families"),
    }
}

fn v4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("a short packet");
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(source.octets());
    header.extend(destination.octets());
    ethernet(0x0800, &[header, payload.to_vec()].concat())
}

fn v6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short packet");
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(length.to_be_bytes());
    header.extend([protocol, 64]);
    header.extend(source.octets());
    header.extend(destination.octets());
    ethernet(0x86dd, &[header, payload.to_vec()].concat())
}

/// A TCP header.
pub(crate) fn tcp(source: u16, destination: u16, flags: u8) -> Vec<u8> {
    let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    header.extend([0; 8]);
    header.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    header
}

/// A UDP header with four bytes behind it.
pub(crate) fn udp(source: u16, destination: u16) -> Vec<u8> {
    let mut header = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    header.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    header
}

/// A UDP packet to somewhere else.
pub(crate) fn from(source: IpAddr) -> Vec<u8> {
    let destination = match source {
        IpAddr::V4(_) => Ipv4Addr::new(192, 168, 0, 2).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2).into(),
    };
    ip(source, destination, 17, &udp(1000, 53))
}
