//! A connection tracker full of established connections, and segments of them.
//!
//! Segments are made in place from the number of their flow, a batch at a time: in life a packet has just come from
//! the NIC and is near, however many flows there are.

use std::net::{IpAddr, Ipv4Addr};

use weir_dataplane::batch::BATCH_MAX;
use weir_dataplane::conntrack::{Conntrack, ConntrackConfig, Packet, Settings, Untrackable};
use weir_dataplane::handover::FlowHash;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const TCP: u8 = 6;
const HEADER_BYTES: usize = 20;

/// Flags of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment {
    /// The client's SYN.
    Syn,
    /// The server's answer.
    SynAck,
    /// The client's acknowledgment, with another window each time so that it is no repetition.
    Ack,
}

/// A batch of TCP segments.
#[derive(Debug)]
pub struct Segments {
    clients: [Ipv4Addr; BATCH_MAX],
    headers: [[u8; HEADER_BYTES]; BATCH_MAX],
    replies: bool,
}

impl Default for Segments {
    fn default() -> Self {
        Self {
            clients: [Ipv4Addr::UNSPECIFIED; BATCH_MAX],
            headers: [[0; HEADER_BYTES]; BATCH_MAX],
            replies: false,
        }
    }
}

impl Segments {
    /// Makes segment `i` one of flow `flow`.
    #[inline]
    pub fn write(&mut self, i: usize, flow: u32, kind: Segment, window: u16) {
        let (flags, seq, ack) = match kind {
            Segment::Syn => (0x02, 0_u32, 0_u32),
            Segment::SynAck => (0x12, 0, 1),
            Segment::Ack => (0x10, 1, 1),
        };
        self.replies = kind == Segment::SynAck;
        self.clients[i] = Ipv4Addr::from_bits(0x0a00_0000 | flow >> 4);
        let client_port = 40_000 + u16::try_from(flow & 15).unwrap_or(0);
        let (from, to) = if self.replies { (80, client_port) } else { (client_port, 80) };
        let header = &mut self.headers[i];
        header[0..2].copy_from_slice(&from.to_be_bytes());
        header[2..4].copy_from_slice(&to.to_be_bytes());
        header[4..8].copy_from_slice(&seq.to_be_bytes());
        header[8..12].copy_from_slice(&ack.to_be_bytes());
        (header[12], header[13]) = (0x50, flags);
        header[14..16].copy_from_slice(&(window | 1).to_be_bytes());
    }

    /// Segment `i` as connection tracking sees it.
    #[must_use]
    #[inline]
    pub fn packet(&self, i: usize) -> Packet<'_> {
        let (client, server): (IpAddr, IpAddr) = (self.clients[i].into(), SERVER.into());
        let (from, to) = if self.replies { (server, client) } else { (client, server) };
        Packet::new(from, to, TCP, &self.headers[i])
    }

    /// Tracks the batch as the pipeline does; returns how many of it began a flow.
    pub fn track(&self, conntrack: &mut Conntrack, confirm: bool) -> usize {
        let mut all = [Err(Untrackable::Malformed); BATCH_MAX];
        for (i, wanted) in all.iter_mut().enumerate() {
            *wanted = conntrack.wanted(&self.packet(i));
            if let Ok(wanted) = wanted {
                conntrack.prefetch_bucket(wanted);
            }
        }
        for wanted in all.iter_mut().flatten() {
            conntrack.prefetch_flow(wanted);
        }
        let mut begun = 0;
        for (i, wanted) in all.iter().enumerate() {
            let Ok(wanted) = wanted else { continue };
            let Some(tracked) = conntrack.track_in_batch(&self.packet(i), wanted) else { continue };
            if tracked.begins_flow() {
                begun += 1;
                if confirm {
                    // Where there is no room the packet is dropped; that is measured, too.
                    let _ = conntrack.confirm(&tracked);
                }
            }
        }
        conntrack.end_batch();
        begun
    }
}

/// A tracker for `flows_max` flows, without checksums: they are the pipeline's to measure.
#[must_use]
pub fn tracker(flows_max: u32) -> Conntrack {
    let settings = Settings { checksum: false, ..Settings::default() };
    let flow_hash = FlowHash::new([1, 2, 3, 4], 1);
    let half_open_max = flows_max;
    let config = ConntrackConfig {
        flows_max,
        half_open_max,
        settings,
        flow_hash,
        ..ConntrackConfig::default()
    };
    let mut conntrack = Conntrack::new(&config);
    conntrack.set_time(1_000_000_000);
    conntrack
}

/// Establishes flows 0 to `flows`, which must be a multiple of a batch.
///
/// # Panics
/// When one of them is not established.
pub fn establish(conntrack: &mut Conntrack, flows: u32) {
    let mut segments = Segments::default();
    for first in (0..flows).step_by(BATCH_MAX) {
        for kind in [Segment::Syn, Segment::SynAck, Segment::Ack] {
            for (i, flow) in (first..).enumerate().take(BATCH_MAX) {
                segments.write(i, flow, kind, 1000);
            }
            segments.track(conntrack, true);
        }
    }
    assert_eq!(conntrack.len(), flows as usize, "every flow has room");
    assert_eq!(conntrack.half_open(), 0, "every handshake is over");
}

/// Numbers that look random: a linear congruential generator, cheap enough not to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Draw(u64);

impl Default for Draw {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Draw {
    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let product = (self.0 >> 32) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }
}
