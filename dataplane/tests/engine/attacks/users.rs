//! Users of the web server: each begins when it is his time, whatever became of the others, sends again what is not
//! answered after one and three seconds, and gives up after seven.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::ops::Range;

use crate::attacks::segment::{End, Segment};
use crate::attacks::{SECOND_NS, STEP_NS, WEB};
use crate::chance::Chance;
use crate::packet::{ACK, FIN, PSH, Packet, RST, SYN};

const AGAIN_NS: [u64; 3] = [SECOND_NS, 3 * SECOND_NS, 7 * SECOND_NS];

const REQUEST: &[u8] = b"GET";

/// Where users are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Each behind an address that few use.
    Apart,
    /// All behind one.
    Shared,
    /// In the net that an attack may come from.
    Neighbours,
}

impl Group {
    pub(crate) const ALL: [Self; 3] = [Self::Apart, Self::Shared, Self::Neighbours];

    /// Users that come in a second.
    const fn rate(self) -> u64 {
        match self {
            Self::Apart => 12,
            Self::Shared => 8,
            Self::Neighbours => 4,
        }
    }

    /// One of its addresses.
    fn address(self, chance: &mut Chance) -> Ipv4Addr {
        let last = |n: usize| u8::try_from(n).expect("small");
        match self {
            Self::Apart => Ipv4Addr::new(192, 0, 2, last(1 + chance.below(40))),
            Self::Shared => SHARED,
            Self::Neighbours => Ipv4Addr::new(198, 51, 100, last(1 + chance.below(4))),
        }
    }
}

/// The address that many users share.
pub(crate) const SHARED: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begun,
    /// Connected, but the server's window is shut.
    Shut,
    Asked,
    Served,
    GaveUp,
}

/// One user's connection.
#[derive(Debug)]
struct User {
    group: Group,
    end: End,
    /// Its first number.
    first: u32,
    /// The number of the server's next byte.
    server: u32,
    begun_ns: u64,
    stage: Stage,
    stage_ns: u64,
    sent: usize,
}

impl User {
    fn say(&self, flags: u8, forward: u32, data: &[u8]) -> Packet {
        let numbers = (self.first + forward, self.server);
        Packet::segment(self.end, WEB, flags, numbers, data)
    }

    fn set(&mut self, stage: Stage, now_ns: u64) {
        (self.stage, self.stage_ns, self.sent) = (stage, now_ns, 1);
    }

    fn request(&self) -> Packet {
        self.say(PSH | ACK, 1, REQUEST)
    }

    fn hear(&mut self, heard: &Segment, now_ns: u64) -> Vec<Packet> {
        if heard.has(RST) {
            self.set(Stage::GaveUp, now_ns);
            return Vec::new();
        }
        match self.stage {
            Stage::Begun if heard.has(SYN | ACK) => {
                self.server = heard.sequence.wrapping_add(1);
                let opened = self.say(ACK, 1, b"");
                if heard.window == 0 {
                    self.set(Stage::Shut, now_ns);
                    return vec![opened];
                }
                self.set(Stage::Asked, now_ns);
                vec![opened, self.request()]
            }
            Stage::Shut if !heard.has(SYN) && heard.window > 0 => {
                self.set(Stage::Asked, now_ns);
                vec![self.request()]
            }
            Stage::Asked if heard.len > 0 => {
                self.server = heard.sequence.wrapping_add(heard.len);
                self.set(Stage::Served, now_ns);
                vec![self.say(FIN | ACK, 4, b"")]
            }
            Stage::Served if heard.has(FIN) => {
                self.server = heard.sequence.wrapping_add(1);
                vec![self.say(ACK, 5, b"")]
            }
            _ => Vec::new(),
        }
    }

    /// What it says unasked.
    fn wait(&mut self, now_ns: u64) -> Option<Packet> {
        let over = matches!(self.stage, Stage::Served | Stage::GaveUp);
        if over || now_ns - self.stage_ns < AGAIN_NS[self.sent - 1] {
            return None;
        }
        self.sent += 1;
        if self.sent > AGAIN_NS.len() {
            self.stage = Stage::GaveUp;
            return None;
        }
        Some(match self.stage {
            Stage::Begun => self.say(SYN, 0, b""),
            Stage::Shut => self.say(ACK, 1, b""),
            Stage::Asked | Stage::Served | Stage::GaveUp => self.request(),
        })
    }
}

/// A SYN of a user, and whether the firewall let it pass or answered it.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    at_ns: u64,
    end: End,
    served: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Users {
    chance: Chance,
    users: BTreeMap<End, User>,
    attempts: Vec<Attempt>,
    next_port: u16,
}

impl Users {
    pub(crate) fn new(seed: u64) -> Self {
        let chance = Chance::new(seed ^ 0x0075_7365_7273);
        Self { chance, users: BTreeMap::new(), attempts: Vec::new(), next_port: 1024 }
    }

    /// Who comes now, and who loses patience.
    pub(crate) fn wait(&mut self, now_ns: u64) -> Vec<Packet> {
        let mut said: Vec<Packet> =
            self.users.values_mut().filter_map(|user| user.wait(now_ns)).collect();
        for group in Group::ALL {
            if self.chance.draw() % (SECOND_NS / STEP_NS) < group.rate() {
                said.push(self.come(group, now_ns));
            }
        }
        let begins = |packet: &&Packet| packet.payload[13] == SYN;
        self.attempts.extend(said.iter().filter(begins).map(|syn| {
            let port = u16::from_be_bytes([syn.payload[0], syn.payload[1]]);
            Attempt { at_ns: now_ns, end: (syn.source, port), served: false }
        }));
        said
    }

    fn come(&mut self, group: Group, now_ns: u64) -> Packet {
        // Nobody else uses these ports: a forged packet that hits a connection is another attack than these.
        self.next_port = 1024 + (self.next_port - 1023) % 20_000;
        let end = (group.address(&mut self.chance), self.next_port);
        let first = u32::from(self.chance.word()) << 8;
        let (stage, begun_ns) = (Stage::Begun, now_ns);
        let user =
            User { group, end, first, server: 0, begun_ns, stage, stage_ns: now_ns, sent: 1 };
        let syn = user.say(SYN, 0, b"");
        self.users.insert(end, user);
        syn
    }

    /// Users who have come.
    pub(crate) fn came(&self) -> usize {
        self.users.len()
    }

    /// A SYN of this user's passed the firewall, or was answered.
    pub(crate) fn is_served(&mut self, end: End, now_ns: u64) {
        let last = self.attempts.iter_mut().rev().find(|attempt| attempt.end == end);
        if let Some(attempt) = last.filter(|attempt| attempt.at_ns == now_ns) {
            attempt.served = true;
        }
    }

    /// What a user says to a segment.
    pub(crate) fn hear(&mut self, heard: &Segment, now_ns: u64) -> Vec<Packet> {
        if heard.has(SYN | ACK) {
            self.is_served(heard.to, now_ns);
        }
        self.users.get_mut(&heard.to).map_or_else(Vec::new, |user| user.hear(heard, now_ns))
    }

    /// Of a hundred of those of a group that came in a time, how many were served in the end, and how many at once.
    pub(crate) fn served_percent(&self, group: Group, times: &Range<u64>) -> (usize, usize) {
        let came = self
            .users
            .values()
            .filter(|user| user.group == group && times.contains(&user.begun_ns));
        let (mut all, mut served, mut soon) = (0, 0, 0);
        for user in came {
            all += 1;
            served += usize::from(user.stage == Stage::Served);
            soon += usize::from(user.stage == Stage::Served && user.stage_ns == user.begun_ns);
        }
        assert!(all > 0, "nobody came");
        (served * 100 / all, soon * 100 / all)
    }

    /// How long after the beginning of a time a SYN of a user still was lost in the firewall.
    pub(crate) fn locked_out_ns(&self, times: &Range<u64>) -> u64 {
        let lost = self
            .attempts
            .iter()
            .filter(|attempt| !attempt.served && times.contains(&attempt.at_ns));
        lost.map(|attempt| attempt.at_ns - times.start).max().unwrap_or(0)
    }
}
