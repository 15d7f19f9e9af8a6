//! Packets for a rule set: each lies in the corner of some rule, as ClassBench's trace generator makes them.

use weir_dataplane::policy::classify::{AddressKey, PacketKey, RuleKey};
use weir_dataplane::port::PortIndex;

use crate::flows::Draw;

/// How much a trace repeats itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Locality {
    /// Every packet is drawn anew, from a rule drawn evenly: nothing is met twice but by chance.
    None,
    /// A packet is sent as often in a row as a Pareto distribution of shape 1 with this scale says (ClassBench's
    /// `trace_generator rules 1 b scale`): few packets are most of the trace.
    Pareto(f64),
}

/// A packet as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Source address and port.
    pub source: (u32, u16),
    /// Destination address and port.
    pub destination: (u32, u16),
    /// Protocol number.
    pub protocol: u8,
}

impl Packet {
    /// What the classifier is asked about; it came in by port 0 and leaves by port 1.
    #[must_use]
    pub fn key(&self) -> PacketKey {
        PacketKey::new(self.source, self.destination, self.protocol, PortIndex(0), PortIndex(1))
    }

    /// As a line of a trace file that `dpdk-test-acl` and ClassBench's tools read.
    #[must_use]
    pub fn line(&self) -> String {
        let ((source, source_port), (destination, port)) = (self.source, self.destination);
        format!("{source} {destination} {source_port} {port} {} 0", self.protocol)
    }
}

/// `length` packets, each from a rule.
#[must_use]
pub fn trace(rules: &[RuleKey], length: usize, locality: Locality, draw: &mut Draw) -> Vec<Packet> {
    let mut packets = Vec::with_capacity(length);
    let bound = u32::try_from(rules.len()).expect("rules have numbers of 32 bits");
    while packets.len() < length {
        let packet = within(&rules[draw.below(bound) as usize], draw);
        let times = match locality {
            Locality::None => 1,
            Locality::Pareto(scale) => {
                let uniform = f64::from(draw.below(1 << 30) + 1) / f64::from(1 << 30);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small and positive"
                )]
                let times = (scale / uniform).ceil().clamp(1.0, 1e4) as usize;
                times
            }
        };
        packets.extend(std::iter::repeat_n(packet, times.min(length - packets.len())));
    }
    packets
}

/// A packet somewhere in a rule.
fn within(rule: &RuleKey, draw: &mut Draw) -> Packet {
    let mut word = || draw.below(1 << 16) << 16 | draw.below(1 << 16);
    let mut address = |key: AddressKey| key.network & key.mask | word() & !key.mask;
    let (source, destination) = (address(rule.source), address(rule.destination));
    let mut port = |range: &std::ops::RangeInclusive<u16>| {
        let span = u32::from(range.end() - range.start());
        range.start() + u16::try_from(draw.below(span + 1)).unwrap_or(0)
    };
    let (source_port, port) = (port(&rule.source_ports), port(&rule.destination_ports));
    let any = [6, 17, 1];
    let protocol = rule.protocol.unwrap_or_else(|| any[draw.below(3) as usize]);
    Packet { source: (source, source_port), destination: (destination, port), protocol }
}
