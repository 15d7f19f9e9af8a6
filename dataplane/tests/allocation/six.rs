//! The same of IPv6.

use std::net::Ipv6Addr;

use weir_dataplane::telemetry::Counter;
use weir_dataplane::verdict::DropReason;
use weir_dataplane::wire::{EtherType, EthernetHeader, IpProtocol, Ipv6Header, MacAddr, checksum};

use super::{MAC, allocations, allocations_under, counted, dropped};

pub(super) const ALICE: Ipv6Addr = address(1, 2);
pub(super) const BOB: Ipv6Addr = address(2, 2);

/// An address in the network of a port.
pub(super) const fn address(network: u16, host: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, host)
}

/// A packet from Alice in an Ethernet frame for Weir. Where a checksum belongs there is a right one.
fn packet(
    to: Ipv6Addr,
    (next, hop_limit): (u8, u8),
    mut payload: Vec<u8>,
    sum_at: Option<usize>,
) -> Vec<u8> {
    if let Some(at) = sum_at {
        let len = u32::try_from(payload.len()).expect("short");
        let pseudo = checksum::pseudo_v6(ALICE, to, IpProtocol(next), len);
        let sum = !checksum::add(pseudo, checksum::sum(&payload));
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let mut bytes = [&[0; 54], &payload[..]].concat();
    let ethernet = EthernetHeader {
        destination: MacAddr(MAC),
        source: MacAddr([2; 6]),
        ether_type: EtherType::IPV6,
    };
    ethernet.emit(&mut bytes).expect("room");
    let header =
        Ipv6Header { protocol: IpProtocol(next), hop_limit, source: ALICE, destination: to };
    header.emit(payload.len(), &mut bytes[14..]).expect("room");
    bytes
}

fn datagram(to: Ipv6Addr, source_port: u16, hop_limit: u8, data: usize) -> Vec<u8> {
    let len = u16::try_from(8 + data).expect("short");
    let mut payload = [source_port, 53, len, 0].map(u16::to_be_bytes).concat();
    payload.resize(8 + data, 7);
    packet(to, (17, hop_limit), payload, Some(6))
}

fn segment(source_port: u16) -> Vec<u8> {
    let mut payload = vec![0; 20];
    payload[..2].copy_from_slice(&source_port.to_be_bytes());
    payload[3] = 80;
    (payload[12], payload[13]) = (5 << 4, 2);
    packet(BOB, (6, 64), payload, Some(16))
}

/// A datagram in two pieces.
fn pieces(identification: u8) -> [Vec<u8>; 2] {
    [(0, 1), (1, 0x30)].map(|(high, low)| {
        let mut payload = vec![17, 0, high, low, 0, 0, 0, identification];
        payload.resize(8 + 304, 7);
        packet(BOB, (44, 64), payload, None)
    })
}

#[test]
fn packets_that_pass() {
    let mut packets = vec![datagram(BOB, 1, 64, 100), segment(9)];
    packets.extend(pieces(7));
    let rules = ["-6 -A FORWARD -m state --state INVALID", "-6 -A FORWARD -p tcp -j ACCEPT"];
    let passed = |engine: &super::Engine| counted(Counter::Transmitted)(engine);
    assert_eq!(allocations_under(&rules, 1, packets, passed), 0);
}

#[test]
fn packets_that_are_answered() {
    let far = Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 1);
    let packets = vec![datagram(BOB, 1, 1, 100), datagram(far, 1, 64, 1300)];
    assert_eq!(allocations(1, packets, |engine| counted(Counter::Originated)(engine)), 0);
}

#[test]
fn packets_that_are_rejected_and_written_about() {
    let rules = [
        "-6 -A FORWARD -j LOG --log-prefix x",
        "-6 -A FORWARD -p tcp -j REJECT --reject-with tcp-reset",
        "-6 -A FORWARD -j REJECT",
    ];
    let mut packets = vec![datagram(BOB, 1, 64, 100), segment(1)];
    packets.extend(pieces(8));
    let reached = |engine: &super::Engine| dropped(engine, DropReason::RuleReject);
    assert_eq!(allocations_under(&rules, 1, packets, reached), 0);
}

#[test]
fn packets_that_are_handed_over() {
    let packets = (0..100).map(|port| datagram(BOB, port, 64, 9)).collect();
    assert_eq!(allocations(2, packets, |engine| counted(Counter::HandedIn)(engine)), 0);
}
