//! Attacks on the web server: what they send, when, and in whose name.

use std::net::Ipv4Addr;
use std::ops::Range;

use crate::attacks::segment::Segment;
use crate::attacks::users::SHARED;
use crate::attacks::{SECOND_NS, STEP_NS, WEB};
use crate::chance::Chance;
use crate::packet::{ACK, Packet, SYN};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attack {
    /// SYNs of one source that is not there.
    OneSource,
    /// SYNs in the name of all addresses of a /24 but for the users' in it.
    Subnet,
    /// SYNs in the name of addresses drawn at random.
    Spoofed,
    /// Machines that are there: few connections of each, opened and never used.
    Slow,
    /// SYNs in the name of the address that many users share, for a second, again and again.
    Pulse,
}

/// The flood begins here,
pub(crate) const BEGINS_NS: u64 = 5 * SECOND_NS;
/// and ends here.
pub(crate) const ENDS_NS: u64 = 15 * SECOND_NS;
/// From the beginning of one pulse to that of the next; a pulse lasts a second.
const PULSE_NS: u64 = 5 * SECOND_NS;

impl Attack {
    pub(crate) const ALL: [Self; 5] =
        [Self::OneSource, Self::Subnet, Self::Spoofed, Self::Slow, Self::Pulse];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OneSource => "one source",
            Self::Subnet => "a /24",
            Self::Spoofed => "random sources",
            Self::Slow => "slow and low",
            Self::Pulse => "pulses",
        }
    }

    /// When it is under way.
    pub(crate) fn times_ns(self) -> Vec<Range<u64>> {
        match self {
            Self::Pulse => {
                (0..2).map(|n| BEGINS_NS + n * PULSE_NS).map(|at| at..at + SECOND_NS).collect()
            }
            _ => std::iter::once(BEGINS_NS..ENDS_NS).collect(),
        }
    }

    /// Packets a second.
    fn rate(self) -> u64 {
        match self {
            Self::Slow => 200,
            _ => 1000,
        }
    }

    fn source(self, chance: &mut Chance) -> Ipv4Addr {
        let last = |n: usize| u8::try_from(n).expect("small");
        match self {
            Self::OneSource => Ipv4Addr::new(198, 51, 100, 77),
            Self::Subnet => Ipv4Addr::new(198, 51, 100, last(10 + chance.below(240))),
            // Of 16 million, none of them a user's.
            Self::Spoofed => Ipv4Addr::new(80, chance.byte(), chance.byte(), chance.byte()),
            Self::Slow => Ipv4Addr::new(100, 64, 0, last(1 + chance.below(16))),
            Self::Pulse => SHARED,
        }
    }
}

/// An attack under way.
#[derive(Debug)]
pub(crate) struct Flood {
    attack: Attack,
    chance: Chance,
    sent: u64,
}

impl Flood {
    pub(crate) fn new(attack: Attack, seed: u64) -> Self {
        Self { attack, chance: Chance::new(seed ^ 0x0066_6c6f_6f64), sent: 0 }
    }

    /// SYNs that were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// What it sends now.
    pub(crate) fn wait(&mut self, now_ns: u64) -> Vec<Packet> {
        if !self.attack.times_ns().iter().any(|times| times.contains(&now_ns)) {
            return Vec::new();
        }
        let (rate, steps) = (self.attack.rate(), SECOND_NS / STEP_NS);
        let more = self.chance.draw() % steps < rate % steps;
        let packets = rate / steps + u64::from(more);
        self.sent += packets;
        (0..packets).map(|_| self.syn()).collect()
    }

    fn syn(&mut self) -> Packet {
        let source = self.attack.source(&mut self.chance);
        // Above the ports of users.
        let port = 30_000 + self.chance.word() % 30_000;
        let first = u32::from(self.chance.word()) << 8;
        Packet::segment((source, port), WEB, SYN, (first, 0), b"")
    }

    /// Whether a packet is a SYN of it.
    pub(crate) fn is_syn_of(segment: &Segment) -> bool {
        segment.from.1 >= 30_000 && segment.has(SYN)
    }

    /// What it says to an answer: forged sources never hear it.
    pub(crate) fn hear(&self, heard: &Segment) -> Option<Packet> {
        let there = self.attack == Attack::Slow && heard.to.1 >= 30_000 && heard.has(SYN | ACK);
        let numbers = (heard.acknowledgment, heard.sequence.wrapping_add(1));
        there.then(|| heard.answer(ACK, numbers, b""))
    }
}
