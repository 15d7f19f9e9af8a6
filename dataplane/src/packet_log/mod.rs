//! What rules with `-j LOG` say about packets: from a worker to a line of text.
//!
//! ```text
//!   worker     Policy::decide ──► PacketLog::note ──► queue, bounded     no line, no clock, no call
//!   log thread                                          └──► Record ──► line() ──► file or journal
//! ```
//!
//! A worker copies what a line can tell (the Ethernet header, and of the packet the [`PACKET_BYTES_MAX`] bytes that
//! the longest line is about) and what the rule asks for into a record. The line itself, as the kernel's
//! `nf_log_syslog` writes it, is made elsewhere ([`line()`]).
//!
//! Each worker notes at most [`LINES_PER_SECOND`] packets, [`LINES_BURST`] of them at once. The rest is not written
//! but counted, and so is what finds the queue of [`QUEUE_RECORDS`] full, because the writer does not keep up. The
//! rule has counted the packet in any case, and the packet goes on to the next rule.

mod line;
mod line6;

pub use line::line;

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;
use weir_control::rule::{LOG_PREFIX_BYTES_MAX, LogFlags, LogLevel, LogTarget};

use crate::batch::Addresses;
use crate::policy::{Candidate, Hook};
use crate::port::PortIndex;
use crate::respond::TokenBucket;
use crate::telemetry::{Counter, Counters};
use crate::wire::ethernet::HEADER_BYTES;

/// Lines that a worker asks for in a second, at most.
pub const LINES_PER_SECOND: u32 = 1_000;

/// Lines that it may ask for at once.
pub const LINES_BURST: u32 = 500;

/// Records of a worker that wait for the writer.
pub const QUEUE_RECORDS: usize = 1_024;

/// What of a packet can stand in a line: of IPv4 an ICMP error with the header of the packet it quotes, both with all
/// options (188 bytes); of IPv6 there is no limit, but this is enough for some extension headers.
pub const PACKET_BYTES_MAX: usize = 256;

/// What a rule writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSpec {
    /// How urgent it is.
    pub level: LogLevel,
    /// What is told beyond the usual.
    pub flags: LogFlags,
    prefix: [u8; LOG_PREFIX_BYTES_MAX],
    prefix_len: u8,
}

impl LogSpec {
    /// Of a rule's target.
    #[must_use]
    pub fn new(target: &LogTarget) -> Self {
        let text = target.prefix.as_str().as_bytes();
        let mut prefix = [0; LOG_PREFIX_BYTES_MAX];
        let len = text.len().min(LOG_PREFIX_BYTES_MAX);
        prefix[..len].copy_from_slice(&text[..len]);
        let prefix_len = u8::try_from(len).unwrap_or(0);
        Self { level: target.level, flags: target.flags, prefix, prefix_len }
    }

    /// What begins its lines.
    #[must_use]
    pub fn prefix(&self) -> &str {
        let text = self.prefix.get(..usize::from(self.prefix_len)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or_default()
    }
}

/// A packet that is to be written about.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    /// What its rule asks for.
    pub spec: LogSpec,
    /// Where it came in.
    pub ingress: PortIndex,
    /// Where it would leave.
    pub egress: PortIndex,
    link: Option<[u8; HEADER_BYTES]>,
    packet: [u8; PACKET_BYTES_MAX],
    /// Bytes of the whole packet, of which the first are in `packet`.
    packet_len: u16,
    /// What rules before this one marked it with.
    mark: u32,
}

impl Record {
    /// Of a packet at the rules; in chain FORWARD the hop is already off its time to live (`ip_forward`).
    #[must_use]
    pub fn new(spec: &LogSpec, candidate: &Candidate<'_>) -> Self {
        let Candidate { ingress, mut egress, packet: bytes, mark, .. } = *candidate;
        if candidate.hook == Hook::Prerouting {
            // It has no way yet: no port has this number.
            egress = PortIndex(u8::MAX);
        }
        let mut packet = [0; PACKET_BYTES_MAX];
        let len = bytes.len().min(PACKET_BYTES_MAX);
        packet[..len].copy_from_slice(&bytes[..len]);
        if candidate.hook == Hook::Forward {
            let hops = match candidate.headers.addresses {
                Addresses::V4 { .. } => 8,
                Addresses::V6 { .. } => 7,
            };
            packet[hops] = packet[hops].saturating_sub(1);
        }
        let packet_len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        // What the machine itself sends has no link-layer header yet (`nf_log_ip_packet`).
        let link = candidate.link.first_chunk().copied().filter(|_| candidate.hook != Hook::Output);
        Self { spec: *spec, ingress, egress, link, packet, packet_len, mark }
    }

    /// What there is of the packet.
    fn bytes(&self) -> &[u8] {
        &self.packet[..usize::from(self.packet_len).min(PACKET_BYTES_MAX)]
    }
}

/// Records on their way to the writer.
pub type Records = Arc<ArrayQueue<Record>>;

/// A worker's end of its queue.
#[derive(Debug)]
pub struct PacketLog {
    records: Option<Records>,
    bucket: TokenBucket,
    now_ns: u64,
    noted: u64,
    suppressed: u64,
}

impl PacketLog {
    /// An end, and the other. All memory is allocated here.
    #[must_use]
    pub fn new() -> (Self, Records) {
        let records = Arc::new(ArrayQueue::new(QUEUE_RECORDS));
        let log = Self { records: Some(Arc::clone(&records)), ..Self::silent() };
        (log, records)
    }

    /// One that nobody listens to: nothing is written, all of it counted as suppressed.
    #[must_use]
    pub fn silent() -> Self {
        let bucket = TokenBucket::new(LINES_PER_SECOND, LINES_BURST, 0);
        Self { records: None, bucket, now_ns: 0, noted: 0, suppressed: 0 }
    }

    /// Sets the time for all that follows.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Has a line written about a packet, unless there are too many.
    pub fn note(&mut self, spec: &LogSpec, candidate: &Candidate<'_>) {
        let wanted = self.records.as_ref().filter(|_| self.bucket.take(self.now_ns));
        if wanted.is_some_and(|records| records.push(Record::new(spec, candidate)).is_ok()) {
            self.noted += 1;
        } else {
            self.suppressed += 1;
        }
    }

    /// Adds what was noted and what was not since the last call to a worker's counters.
    pub fn settle(&mut self, counters: &mut Counters) {
        counters.add(Counter::Logged, std::mem::take(&mut self.noted));
        counters.add(Counter::LogSuppressed, std::mem::take(&mut self.suppressed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Headers;
    use crate::policy::Connection;

    #[test]
    fn what_is_too_much_is_counted_and_nothing_waits() {
        let (mut log, records) = PacketLog::new();
        let headers = Headers::default();
        let forwarding = crate::route::Forwarding::builder().build();
        let candidate = Candidate {
            hook: crate::policy::Hook::Forward,
            headers: &headers,
            ingress: PortIndex(0),
            egress: PortIndex(1),
            packet: &[0x45; 28],
            link: &[1; HEADER_BYTES],
            forwarding: &forwarding,
            connection: Connection::UNTRACKED,
            dice: &crate::policy::Dice::new(0),
            now_ns: 0,
            wall_s: 0,
            mark: 0,
        };
        let spec = LogSpec::new(&LogTarget::default());
        let mut counters = Counters::default();
        let mut counted = |log: &mut PacketLog| {
            log.settle(&mut counters);
            (counters.get(Counter::Logged), counters.get(Counter::LogSuppressed))
        };
        (0..600).for_each(|_| log.note(&spec, &candidate));
        assert_eq!(counted(&mut log), (500, 100), "a burst");
        log.set_time(100_000_000);
        (0..600).for_each(|_| log.note(&spec, &candidate));
        assert_eq!(counted(&mut log), (600, 600), "and a thousand a second");
        for second in 1..10 {
            log.set_time(second * 1_000_000_000);
            (0..500).for_each(|_| log.note(&spec, &candidate));
        }
        assert_eq!(records.len(), QUEUE_RECORDS, "nobody has read");
        assert_eq!(counted(&mut log), (1_024, 4_676));
        assert_eq!(records.pop().map(|record| record.bytes().len()), Some(28));
        let mut silent = PacketLog::silent();
        silent.note(&spec, &candidate);
        assert_eq!(counted(&mut silent), (1_024, 4_677));
    }
}
