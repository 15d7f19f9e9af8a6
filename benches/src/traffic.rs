//! Packets for the benchmarks: UDP from many ports, whole or with a partial checksum.

use std::net::Ipv4Addr;
use std::sync::Arc;

use weir_dataplane::wire::checksum::pseudo_v4;
use weir_dataplane::wire::ethernet::{
    EtherType, EthernetHeader, HEADER_BYTES as ETHERNET_BYTES, MacAddr,
};
use weir_dataplane::wire::ipv4::{HEADER_BYTES_MIN as IPV4_BYTES, Ipv4Header};
use weir_dataplane::wire::udp::{HEADER_BYTES as UDP_BYTES, Udp, UdpHeader};
use weir_dataplane::wire::{IpProtocol, NoRoom};

/// The sender of all packets (RFC 2544's range for benchmarks).
pub const SOURCE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
/// The receiver of all packets.
pub const DESTINATION: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 2);
/// The MAC address of the firewall's first port.
pub const FIREWALL_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

/// A frame of `frame_bytes` from this port, its checksum complete.
///
/// # Errors
/// [`NoRoom`] below 42 bytes.
pub fn udp_frame(source_port: u16, frame_bytes: usize) -> Result<Vec<u8>, NoRoom> {
    let mut frame = vec![0; frame_bytes];
    let source = MacAddr([2, 0, 0, 0, 0, 9]);
    let (destination, ether_type) = (FIREWALL_MAC, EtherType::IPV4);
    EthernetHeader { source, destination, ether_type }.emit(&mut frame)?;
    let headers = ETHERNET_BYTES + IPV4_BYTES + UDP_BYTES;
    let no_room = NoRoom { need: headers, have: frame_bytes };
    let payload_len = frame_bytes.checked_sub(headers).ok_or(no_room)?;
    let packet = &mut frame[ETHERNET_BYTES..];
    let header = Ipv4Header::new(SOURCE, DESTINATION, IpProtocol::UDP);
    header.emit(UDP_BYTES + payload_len, packet)?;
    let datagram = &mut packet[IPV4_BYTES..];
    UdpHeader { source_port, destination_port: 9 }.emit(payload_len, datagram)?;
    let mut datagram = Udp::new_checked(datagram).map_err(|_| no_room)?;
    datagram.fill_checksum(SOURCE, DESTINATION);
    Ok(frame)
}

/// Frames of as many flows, a source port each.
///
/// # Panics
/// Below 42 bytes a frame, above 64,000 flows.
#[must_use]
pub fn udp_flows(flows: u16, frame_bytes: usize) -> Arc<[Vec<u8>]> {
    let frame = |flow| udp_frame(1024 + flow, frame_bytes).expect("room for the headers");
    (0..flows).map(frame).collect()
}

/// An IPv4 packet of `packet_bytes` whose UDP checksum is partial, and that checksum.
///
/// # Panics
/// Below 28 bytes.
#[must_use]
pub fn partial_packet(packet_bytes: usize) -> (Vec<u8>, u16) {
    let frame = udp_frame(1024, ETHERNET_BYTES + packet_bytes).expect("room for the headers");
    let mut packet = frame[ETHERNET_BYTES..].to_vec();
    let datagram_bytes = u16::try_from(packet_bytes - IPV4_BYTES).expect("an IPv4 packet");
    let partial = pseudo_v4(SOURCE, DESTINATION, IpProtocol::UDP, datagram_bytes);
    let mut datagram = Udp::new_checked(&mut packet[IPV4_BYTES..]).expect("a datagram");
    datagram.set_checksum(partial);
    (packet, partial)
}
