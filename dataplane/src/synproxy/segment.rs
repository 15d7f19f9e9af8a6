//! Segments that SYNPROXY sends, and those that it puts right.

use std::net::IpAddr;

use super::HandshakeOptions;
use super::options::OPTIONS_BYTES_MAX;
use crate::conntrack::{Direction, Proxied};
use crate::wire::tcp::{HEADER_BYTES_MIN as TCP_BYTES, TcpFlags, TcpHeader};
use crate::wire::{IpProtocol, Ipv4Header, Ipv6Header, Tcp, checksum, ipv4, ipv6};

/// Most bytes of a segment, from its IP header on.
pub const SEGMENT_BYTES_MAX: usize = ipv6::HEADER_BYTES + TCP_BYTES + OPTIONS_BYTES_MAX;

/// Hop limit of IPv6 (`devconf_all->hop_limit`, in `synproxy_build_ip_ipv6`).
const HOP_LIMIT: u8 = 64;

/// A segment without data that Weir sends in somebody's name (`synproxy_build_ip`, `synproxy_send_tcp`
/// and their siblings of IPv6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// In whose name.
    pub source: IpAddr,
    /// To whom; of the same family.
    pub destination: IpAddr,
    /// Its header.
    pub header: TcpHeader,
    /// Its options.
    pub options: HandshakeOptions,
}

impl Handshake {
    /// Writes it from its IP header on, and returns how long it is.
    #[must_use]
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let len = self.write_tcp(out.get_mut(ipv4::HEADER_BYTES_MIN..)?, |len| {
                    checksum::pseudo_v4(source, destination, IpProtocol::TCP, len)
                })?;
                let header = Ipv4Header::new(source, destination, IpProtocol::TCP);
                header.emit(len, out).ok()?;
                Some(ipv4::HEADER_BYTES_MIN + len)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let len = self.write_tcp(out.get_mut(ipv6::HEADER_BYTES..)?, |len| {
                    checksum::pseudo_v6(source, destination, IpProtocol::TCP, len.into())
                })?;
                let (protocol, hop_limit) = (IpProtocol::TCP, HOP_LIMIT);
                let header = Ipv6Header { protocol, hop_limit, source, destination };
                header.emit(len, out).ok()?;
                Some(ipv6::HEADER_BYTES + len)
            }
            _ => None,
        }
    }

    /// Writes its header and options, with the checksum that `pseudo` of their length begins.
    fn write_tcp(&self, out: &mut [u8], pseudo: impl FnOnce(u16) -> u16) -> Option<usize> {
        let mut options = [0; OPTIONS_BYTES_MAX];
        let options_len = self.options.write(&mut options);
        let len = self.header.emit(&options[..options_len], out).ok()?;
        let segment = &mut out[..len];
        let sum = !checksum::add(pseudo(u16::try_from(len).ok()?), checksum::sum(segment));
        // The other zero, as the kernel completes checksums (`skb_checksum_help`).
        Tcp::new_checked(segment).ok()?.set_checksum(if sum == 0 { 0xffff } else { sum });
        Some(len)
    }
}

/// Puts a segment of a proxied connection right for its receiver (`nf_ct_seq_adjust`, `nf_ct_sack_adjust`,
/// net/netfilter/nf_conntrack_seqadj.c; `synproxy_tstamp_adjust`). Its checksum must be one, not half of one. What is
/// no segment stays as it is.
pub fn translate(segment: &mut [u8], direction: Direction, proxied: &Proxied) {
    let Some(header) = segment.first_chunk::<TCP_BYTES>() else { return };
    let header_len = usize::from(header[12] >> 4) * 4;
    let acknowledges = TcpFlags(header[13]).contains(TcpFlags::ACK);
    if header_len < TCP_BYTES || header_len > segment.len() {
        return;
    }
    let Proxied { offset, connected, .. } = *proxied;
    let clock_offset = if connected { proxied.clock_offset } else { 0 };
    let to_server = direction == Direction::Original;
    if to_server && acknowledges {
        add(segment, 8, offset.wrapping_neg());
    }
    if !to_server {
        add(segment, 4, offset);
    }
    let mut at = TCP_BYTES;
    while at + 1 < header_len {
        let len = usize::from(segment[at + 1]);
        match segment[at] {
            0 => return,
            1 => {
                at += 1;
                continue;
            }
            _ if len < 2 || at + len > header_len => return,
            5 if to_server => {
                for edge in (at + 2..at + len).step_by(4).take_while(|edge| edge + 4 <= at + len) {
                    add(segment, edge, offset.wrapping_neg());
                }
            }
            8 if len == 10 && to_server => add(segment, at + 6, clock_offset),
            8 if len == 10 => add(segment, at + 2, clock_offset.wrapping_neg()),
            _ => {}
        }
        at += len;
    }
}

/// Adds to a number in a segment, and mends the checksum (RFC 1624).
fn add(segment: &mut [u8], at: usize, by: u32) {
    let Some(bytes) = segment.get_mut(at..at + 4) else { return };
    let old = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let new = old.wrapping_add(by);
    bytes.copy_from_slice(&new.to_be_bytes());
    // At an odd place the sum has the bytes of each half the other way round.
    let halves = |number: u32| match at % 2 {
        0 => number,
        _ => (number & 0x00ff_00ff) << 8 | number >> 8 & 0x00ff_00ff,
    };
    let sum = u16::from_be_bytes([segment[16], segment[17]]);
    let sum = checksum::replace_u32(sum, halves(old), halves(new));
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
}
