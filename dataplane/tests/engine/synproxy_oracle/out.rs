//! Packets that come out of a firewall, told so that two of them can be compared.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::CLIENT;
use crate::packet::{ACK, SYN};

/// What each firewall has chosen for a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chosen {
    pub(super) cookie: u32,
    pub(super) clock: u32,
}

/// A packet that came out.
#[derive(Debug, Clone)]
pub(super) struct Out {
    pub(super) port: usize,
    /// Its IP header.
    ip: Vec<u8>,
    /// Its segment.
    pub(super) tcp: Vec<u8>,
}

impl Out {
    pub(super) fn new(port: usize, packet: &[u8]) -> Self {
        let (ip, tcp) = packet.split_at(if packet[0] >> 4 == 6 { 40 } else { 20 });
        Self { port, ip: ip.to_vec(), tcp: tcp.to_vec() }
    }

    /// Source and destination, as the pseudo-header has them.
    pub(super) fn addresses(&self) -> [IpAddr; 2] {
        let four = |at: usize| <[u8; 4]>::try_from(&self.ip[at..at + 4]).expect("four").into();
        let sixteen =
            |at: usize| <[u8; 16]>::try_from(&self.ip[at..at + 16]).expect("sixteen").into();
        if self.ip.len() == 20 { [four(12), four(16)] } else { [sixteen(8), sixteen(24)] }
    }

    pub(super) fn word(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.tcp[at..at + 4].try_into().expect("four"))
    }

    pub(super) fn flags(&self) -> u8 {
        self.tcp[13]
    }

    fn options(&self) -> &[u8] {
        &self.tcp[20..usize::from(self.tcp[12] >> 4) * 4]
    }

    /// Whether it is an acknowledgment that a firewall has made itself: without identification, or flow label.
    fn is_bare(&self) -> bool {
        let unnamed = if self.ip.len() == 20 { &self.ip[4..6] } else { &self.ip[2..4] };
        self.flags() == ACK && unnamed == [0, 0] && self.word(4) != 0
    }

    /// Where the timestamps are, in the segment.
    pub(super) fn timestamps(&self) -> Option<usize> {
        let (mut at, options) = (0, self.options());
        while at < options.len() {
            match options[at] {
                0 => return None,
                1 => at += 1,
                8 => return Some(20 + at + 2),
                _ => at += usize::from(options[at + 1].max(1)),
            }
        }
        None
    }

    /// All of it in words, numbers that a firewall has chosen less what it chose.
    pub(super) fn told(&self, chosen: Chosen) -> String {
        let (to_client, syn) = (self.port == CLIENT, self.flags() & SYN != 0);
        let (mut seq, mut ack) = (self.word(4), self.word(8));
        if to_client {
            seq = seq.wrapping_sub(chosen.cookie);
        } else if syn {
            ack = ack.wrapping_sub(chosen.cookie);
        }
        let mut bytes = self.tcp.clone();
        if let Some(at) = self.timestamps() {
            let (place, value) = match to_client {
                // Of a clock only the bits that carry something are told.
                true if syn => (at, self.word(at) & 0x3f),
                true => (at, self.word(at).wrapping_sub(chosen.clock)),
                false if syn => (at + 4, self.word(at + 4).wrapping_sub(chosen.clock)),
                // The kernel translates the echo in its own acknowledgment once more, though it is the server's
                // already; what Weir sends is looked at where the server has answered.
                false if self.is_bare() => (at + 4, 0),
                false => (at, self.word(at)),
            };
            bytes[place..place + 4].copy_from_slice(&value.to_be_bytes());
        }
        // Of IPv4 all but the checksum.
        let ip: Vec<u8> = match self.ip.len() {
            20 => [&self.ip[..10], &self.ip[12..]].concat(),
            _ => self.ip.clone(),
        };
        let mut text = format!("{} {ip:02x?} {:?}", self.port, &bytes[..4]);
        let _ = write!(text, " flags {:02x} seq {seq} ack {ack}", self.flags());
        let _ = write!(text, " rest {:02x?} {:02x?}", &bytes[14..16], &bytes[18..]);
        text
    }
}
