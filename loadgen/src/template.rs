//! The frame that is sent, and how a frame of one packet becomes that of the next.
//!
//! Every chunk is written whole once, before the run. From then on only what changes is written,
//! and checksums follow by RFC 1624: a frame carries its own last addresses, so no state is kept
//! beside it.

use weir_dataplane::wire::checksum::{replace_u32, replace_udp};
use weir_dataplane::wire::ethernet::{
    EtherType, EthernetHeader, HEADER_BYTES as ETHERNET_BYTES, MacAddr,
};
use weir_dataplane::wire::ipv4::{HEADER_BYTES_MIN as IPV4_BYTES, Ipv4, Ipv4Header};
use weir_dataplane::wire::tcp::{HEADER_BYTES_MIN as TCP_BYTES, Tcp, TcpFlags, TcpHeader};
use weir_dataplane::wire::udp::{HEADER_BYTES as UDP_BYTES, Udp, UdpHeader};
use weir_dataplane::wire::{IpProtocol, Malformed, NoRoom};

use crate::flow::Fields;

pub(crate) use weir_dataplane::wire::ethernet::FRAME_BYTES_MIN;

/// The window that a SYN offers: what Linux offers at an MTU of 1,500.
const TCP_WINDOW: u16 = 64_240;

/// What kind of packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// UDP datagrams.
    Udp,
    /// TCP segments with SYN, as a client opens a connection.
    TcpSyn,
    /// TCP segments with SYN and ACK, as a server answers.
    TcpSynack,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Udp => "UDP",
            Self::TcpSyn => "TCP SYN",
            Self::TcpSynack => "TCP SYN-ACK",
        })
    }
}

impl Kind {
    fn protocol(self) -> IpProtocol {
        match self {
            Self::Udp => IpProtocol::UDP,
            Self::TcpSyn | Self::TcpSynack => IpProtocol::TCP,
        }
    }
}

/// All that stays the same from packet to packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Template {
    pub(crate) source_mac: MacAddr,
    pub(crate) destination_mac: MacAddr,
    pub(crate) kind: Kind,
}

/// The frame is too short for its headers, or is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unwritable {
    #[error("{0}")]
    NoRoom(#[from] NoRoom),
    #[error("{0}")]
    Malformed(#[from] Malformed),
}

impl Template {
    /// Writes the whole frame; its length is that of `out`. Data bytes are zero.
    pub(crate) fn write(&self, fields: &Fields, out: &mut [u8]) -> Result<(), Unwritable> {
        out.fill(0);
        let (source, destination) = (self.source_mac, self.destination_mac);
        let at = EthernetHeader { source, destination, ether_type: EtherType::IPV4 }.emit(out)?;
        let room = out.len();
        let Some(payload_len) = self.payload_len(room) else {
            return Err(NoRoom { need: header_bytes(self.kind), have: room }.into());
        };
        let header = Ipv4Header::new(fields.source, fields.destination, self.kind.protocol());
        let packet = &mut out[at..];
        let at = header.emit(payload_len, packet)?;
        let segment = &mut packet[at..at + payload_len];
        match self.kind {
            Kind::Udp => write_udp(fields, segment),
            Kind::TcpSyn => write_tcp(fields, TcpFlags::SYN, segment),
            Kind::TcpSynack => write_tcp(fields, TcpFlags::SYN | TcpFlags::ACK, segment),
        }
    }

    /// Bytes behind the IPv4 header of a frame of `frame_bytes`; `None` when not even the headers
    /// fit.
    ///
    /// The shortest frame has six bytes more than a bare TCP segment. A SYN may carry data (RFC
    /// 9293 3.4), but hardly any does, so there these six are Ethernet padding.
    fn payload_len(&self, frame_bytes: usize) -> Option<usize> {
        let spare = frame_bytes.checked_sub(header_bytes(self.kind))?;
        let is_padding = self.kind != Kind::Udp && frame_bytes <= FRAME_BYTES_MIN;
        let headers = header_bytes(self.kind) - ETHERNET_BYTES - IPV4_BYTES;
        Some(if is_padding { headers } else { headers + spare })
    }

    /// Makes a frame that [`write`](Self::write) has written the one of other fields.
    pub(crate) fn rewrite(&self, fields: &Fields, frame: &mut [u8]) -> Result<(), Unwritable> {
        let have = frame.len();
        let Some(packet) = frame.get_mut(ETHERNET_BYTES..) else {
            return Err(NoRoom { need: ETHERNET_BYTES, have }.into());
        };
        let mut ip = Ipv4::new_checked(packet)?;
        let (old_source, old_destination) = (ip.source().to_bits(), ip.destination().to_bits());
        let (new_source, new_destination) = (fields.source.to_bits(), fields.destination.to_bits());
        let sum = replace_u32(ip.checksum(), old_source, new_source);
        ip.set_source(fields.source);
        ip.set_destination(fields.destination);
        ip.set_checksum(replace_u32(sum, old_destination, new_destination));
        let new_ports = both(fields.source_port, fields.destination_port);
        match self.kind {
            Kind::Udp => {
                let mut udp = Udp::new_checked(ip.payload_mut())?;
                let old_ports = both(udp.source_port(), udp.destination_port());
                let sum = replace_udp(udp.checksum(), old_source, new_source);
                let sum = replace_udp(sum, old_destination, new_destination);
                udp.set_checksum(replace_udp(sum, old_ports, new_ports));
                udp.set_source_port(fields.source_port);
                udp.set_destination_port(fields.destination_port);
            }
            Kind::TcpSyn | Kind::TcpSynack => {
                let mut tcp = Tcp::new_checked(ip.payload_mut())?;
                let old_ports = both(tcp.source_port(), tcp.destination_port());
                let sum = replace_u32(tcp.checksum(), old_source, new_source);
                let sum = replace_u32(sum, old_destination, new_destination);
                tcp.set_checksum(replace_u32(sum, old_ports, new_ports));
                tcp.set_source_port(fields.source_port);
                tcp.set_destination_port(fields.destination_port);
            }
        }
        Ok(())
    }
}

fn both(source_port: u16, destination_port: u16) -> u32 {
    u32::from(source_port) << 16 | u32::from(destination_port)
}

fn write_udp(fields: &Fields, segment: &mut [u8]) -> Result<(), Unwritable> {
    let (source_port, destination_port) = (fields.source_port, fields.destination_port);
    let payload_len = segment.len().saturating_sub(UDP_BYTES);
    UdpHeader { source_port, destination_port }.emit(payload_len, segment)?;
    Udp::new_checked(segment)?.fill_checksum(fields.source, fields.destination);
    Ok(())
}

fn write_tcp(fields: &Fields, flags: TcpFlags, segment: &mut [u8]) -> Result<(), Unwritable> {
    let header = TcpHeader {
        source_port: fields.source_port,
        destination_port: fields.destination_port,
        sequence: 1,
        acknowledgment: u32::from(flags.contains(TcpFlags::ACK)),
        flags,
        window: TCP_WINDOW,
    };
    header.emit(&[], segment)?;
    Tcp::new_checked(segment)?.fill_checksum(fields.source, fields.destination);
    Ok(())
}

/// Bytes of all headers of a kind.
pub(crate) const fn header_bytes(kind: Kind) -> usize {
    let transport = match kind {
        Kind::Udp => UDP_BYTES,
        Kind::TcpSyn | Kind::TcpSynack => TCP_BYTES,
    };
    ETHERNET_BYTES + IPV4_BYTES + transport
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::flow::Flows;

    const KINDS: [Kind; 3] = [Kind::Udp, Kind::TcpSyn, Kind::TcpSynack];

    fn template(kind: Kind) -> Template {
        let (source_mac, destination_mac) =
            (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2]));
        Template { source_mac, destination_mac, kind }
    }

    fn flows() -> Flows {
        let (source, destination) =
            ("10.0.0.250-10.0.1.9".parse().unwrap(), "198.18.0.0/30".parse().unwrap());
        Flows::new(source, destination, "65530-65535".parse().unwrap(), "1-3".parse().unwrap())
    }

    /// The incremental way and the whole way make the same bytes, packet after packet.
    #[test]
    fn rewriting_is_writing() {
        for kind in KINDS {
            for length in [60, 61, 64, 1514] {
                let mut flows = flows();
                let mut frame = vec![0xaa; length];
                template(kind).write(&flows.next(), &mut frame).unwrap();
                for _ in 0..2_000 {
                    let fields = flows.next();
                    template(kind).rewrite(&fields, &mut frame).unwrap();
                    let mut whole = vec![0x55; length];
                    template(kind).write(&fields, &mut whole).unwrap();
                    assert_eq!(frame, whole, "{kind:?} {length} {fields:?}");
                }
            }
        }
    }

    #[test]
    fn every_checksum_is_right_and_every_field_in_place() {
        for kind in KINDS {
            let fields = Fields {
                source: Ipv4Addr::new(10, 0, 0, 1),
                destination: Ipv4Addr::new(10, 9, 8, 7),
                source_port: 1024,
                destination_port: 80,
            };
            let mut frame = vec![0; 100];
            template(kind).write(&fields, &mut frame).unwrap();
            let ip = Ipv4::new_checked(&frame[ETHERNET_BYTES..]).unwrap();
            assert!(ip.checksum_ok());
            assert_eq!((ip.total_len(), ip.protocol()), (86, kind.protocol()));
            let (source, destination) = (ip.source(), ip.destination());
            if kind == Kind::Udp {
                let udp = Udp::new_checked(ip.payload()).unwrap();
                assert!(udp.checksum() != 0 && udp.checksum_ok(source, destination));
                assert_eq!((udp.source_port(), udp.destination_port()), (1024, 80));
                assert_eq!(udp.payload().len(), 58);
            } else {
                let tcp = Tcp::new_checked(ip.payload()).unwrap();
                assert!(tcp.checksum_ok(source, destination));
                let ack = kind == Kind::TcpSynack;
                let flags = if ack { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN };
                assert_eq!((tcp.flags(), tcp.acknowledgment()), (flags, u32::from(ack)));
                assert_eq!(tcp.payload().len(), 46);
            }
        }
    }

    #[test]
    fn the_shortest_syn_has_no_data() {
        let mut frame = vec![0; FRAME_BYTES_MIN];
        template(Kind::TcpSyn).write(&flows().next(), &mut frame).unwrap();
        assert_eq!(Ipv4::new_checked(&frame[ETHERNET_BYTES..]).unwrap().total_len(), 40);
    }

    #[test]
    fn no_frame_is_too_short_to_be_refused() {
        for kind in KINDS {
            for length in 0..header_bytes(kind) {
                let mut frame = vec![0; length];
                template(kind).write(&flows().next(), &mut frame).unwrap_err();
                template(kind).rewrite(&flows().next(), &mut frame).unwrap_err();
            }
        }
    }
}
