//! TCP conversations as they might happen: two ends that know what they sent and what they received, a network
//! that loses, repeats and reorders behind the firewall, and ends that now and then do something unusual.

use crate::chance::Chance;
use crate::shot::{ACK, Body, Event, FIN, PSH, RST, SYN, Sequence, Shot, Side, Tcp, URG};

/// One end.
#[derive(Debug, Clone, Default)]
struct End {
    first: u32,
    next: u32,
    /// What it expects from the other.
    expected: u32,
    window: u16,
    scale: Option<u8>,
    sack: bool,
    timestamps: bool,
}

struct Session<'a> {
    chance: &'a mut Chance,
    ports: [u16; 2],
    ends: [End; 2],
    events: Vec<Event>,
}

/// A conversation.
pub(crate) fn session(name: String, chance: &mut Chance) -> Sequence {
    let port = |chance: &mut Chance| if chance.percent(2) { 0 } else { chance.word() };
    let ports = [port(chance), port(chance)];
    let ends = [0, 1].map(|_| End::draw(chance));
    let mut session = Session { chance, ports, ends, events: Vec::new() };
    session.open();
    for _ in 0..session.chance.below(14) {
        session.go_on();
    }
    if session.chance.percent(60) {
        session.close();
        for _ in 0..session.chance.below(4) {
            session.go_on();
        }
    }
    if session.chance.percent(25) {
        session.renew();
        session.open();
        for _ in 0..session.chance.below(4) {
            session.go_on();
        }
    }
    Sequence { name, events: session.events }
}

impl End {
    fn draw(chance: &mut Chance) -> Self {
        let near = chance.one_of(&[0xffff_fff0_u32, 0x7fff_fff0, 0, 1, 0x1234_5678]);
        let first = if chance.percent(30) {
            u32::from(chance.word()) << 16 | u32::from(chance.word())
        } else {
            near.wrapping_add(u32::from(chance.byte()) % 20)
        };
        let scale = match chance.below(10) {
            0..3 => None,
            3 => Some(chance.byte()),
            _ => Some(chance.byte() % 15),
        };
        Self {
            first,
            next: first,
            expected: 0,
            window: chance.one_of(&[1, 100, 1000, 5840, 29_200, 64_240, 65_535]),
            scale,
            sack: chance.percent(60),
            timestamps: chance.percent(40),
        }
    }

    fn syn_options(&self, chance: &mut Chance) -> Vec<u8> {
        let mut options = Vec::new();
        if chance.percent(70) {
            options.extend([2, 4, 5, 180]);
        }
        if self.sack {
            options.extend([4, 2]);
        }
        if self.timestamps {
            options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);
        }
        if let Some(scale) = self.scale {
            options.extend([1, 3, 3, scale]);
        }
        options
    }
}

impl Session<'_> {
    fn segment(&mut self, side: Side, flags: u8, len: u16) -> Tcp {
        let end = &self.ends[side as usize];
        let ack = if flags & ACK == 0 { 0 } else { end.expected };
        let stamped = self.ends.iter().all(|end| end.timestamps) && flags & (SYN | RST) == 0;
        let options = if flags & SYN != 0 {
            end.syn_options(self.chance)
        } else if stamped {
            vec![1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8]
        } else {
            Vec::new()
        };
        Tcp {
            ports: self.ports,
            seq: end.next,
            ack,
            flags,
            window: end.window,
            options,
            len,
            ..Tcp::default()
        }
    }

    /// Sends what is new; it may be lost behind the firewall.
    fn send(&mut self, side: Side, flags: u8, len: u16) {
        let segment = self.segment(side, flags, len);
        self.ends[side as usize].next = segment.end();
        self.emit(side, segment, 12);
    }

    /// Sends anything. Whoever gets what it expects expects more.
    fn emit(&mut self, side: Side, segment: Tcp, lost_percent: usize) {
        let other = &mut self.ends[side.other() as usize];
        let wanted = segment.seq == other.expected || segment.flags & SYN != 0;
        if !self.chance.percent(lost_percent) && wanted {
            other.expected = segment.end();
        }
        self.events.push(Event::Shot(Shot::tcp(side, segment)));
        if self.chance.percent(3) {
            self.repeat();
        }
        if self.chance.percent(4) {
            self.swap();
        }
    }

    fn repeat(&mut self) {
        let back = 1 + self.chance.below(self.events.len().min(4));
        self.events.push(self.events[self.events.len() - back].clone());
    }

    fn swap(&mut self) {
        if let [.., before, last] = &mut self.events[..] {
            std::mem::swap(before, last);
        }
    }

    fn open(&mut self) {
        match self.chance.below(20) {
            0..11 => self.shake_hands(),
            11 => {
                self.send(Side::East, SYN, 0);
                self.repeat();
                self.shake_hands();
            }
            12 => {
                // Another initial sequence number.
                self.send(Side::East, SYN, 0);
                self.renew();
                self.shake_hands();
            }
            13 => {
                self.send(Side::East, SYN, 0);
                self.send(Side::West, SYN, 0);
                self.again(Side::East, SYN | ACK);
                self.again(Side::West, SYN | ACK);
                self.send(Side::East, ACK, 0);
                self.send(Side::West, ACK, 0);
            }
            14..18 => {
                // Its beginning was not seen.
                let expected = [1, 0].map(|other: usize| self.ends[other].next);
                for (end, expected) in self.ends.iter_mut().zip(expected) {
                    end.expected = expected;
                }
                let side = self.side();
                self.send(side, ACK, 0);
            }
            18 => {
                self.send(Side::East, SYN, 0);
                self.reset(Side::West);
            }
            _ => {
                // Fast open: data on the SYN.
                self.send(Side::East, SYN, 100);
                self.send(Side::West, SYN | ACK, 0);
                self.send(Side::East, ACK, 0);
            }
        }
    }

    fn shake_hands(&mut self) {
        self.send(Side::East, SYN, 0);
        self.send(Side::West, SYN | ACK, 0);
        self.send(Side::East, ACK, 0);
    }

    /// A segment with the first sequence number.
    fn again(&mut self, side: Side, flags: u8) {
        let mut segment = self.segment(side, flags, 0);
        segment.seq = self.ends[side as usize].first;
        self.emit(side, segment, 0);
    }

    /// The ends begin anew: same ports, other numbers.
    fn renew(&mut self) {
        let step = self.chance.one_of(&[1_u32, 50, 70_000, 1_000_000, 0x4000_0000, 0x9000_0000]);
        for end in &mut self.ends {
            end.first = end.next.wrapping_add(step);
            end.next = end.first;
        }
    }

    fn side(&mut self) -> Side {
        self.chance.one_of(&Side::BOTH)
    }

    fn go_on(&mut self) {
        let side = self.side();
        let len = self.chance.one_of(&[1, 10, 100, 536, 1000]);
        match self.chance.below(28) {
            0..8 => self.send(side, ACK | PSH, len),
            8..14 => self.send(side, ACK, 0),
            14..16 => self.retransmit(side),
            16 => self.keep_alive(side),
            17 => self.window(side, 0),
            18 => {
                let window = self.chance.word();
                self.window(side, window);
            }
            19 => self.send(side, ACK | URG, len),
            20..22 => self.selective(side),
            22 => self.reset(side),
            23 => self.syn_again(side),
            24 => self.repeat(),
            25 => self.train(side),
            26 => self.send(side, FIN | ACK, 0),
            _ => {
                // What it sent before was lost on its way to the firewall.
                let gap = self.chance.one_of(&[1, 536, 5000]);
                let end = &mut self.ends[side as usize];
                end.next = end.next.wrapping_add(gap);
                self.send(side, ACK, len);
            }
        }
    }

    fn retransmit(&mut self, side: Side) {
        let end = &self.ends[side as usize];
        let sent = end.next.wrapping_sub(end.first).min(3000);
        let back = u32::try_from(self.chance.below(1 + sent as usize)).expect("small");
        let mut segment = self.segment(side, ACK, 0);
        segment.seq = segment.seq.wrapping_sub(back);
        segment.len = u16::try_from(back.min(1000)).expect("small");
        self.emit(side, segment, 12);
    }

    fn keep_alive(&mut self, side: Side) {
        let mut segment = self.segment(side, ACK, 0);
        segment.seq = segment.seq.wrapping_sub(1);
        segment.len = u16::from(self.chance.percent(30));
        self.emit(side, segment, 0);
        let answer = self.segment(side.other(), ACK, 0);
        self.emit(side.other(), answer, 0);
    }

    fn window(&mut self, side: Side, window: u16) {
        self.ends[side as usize].window = window;
        self.send(side, ACK, 0);
    }

    /// Acknowledges what lies behind a gap.
    fn selective(&mut self, side: Side) {
        let expected = self.ends[side as usize].expected;
        let mut segment = self.segment(side, ACK, 0);
        let blocks = 1 + self.chance.below(3);
        let mut option = vec![1, 1, 5, u8::try_from(2 + 8 * blocks).expect("small")];
        let sent = self.ends[side.other() as usize].next;
        for _ in 0..blocks {
            let mut left = expected.wrapping_add(u32::from(self.chance.word() % 3000));
            let mut right = left.wrapping_add(u32::from(self.chance.word() % 2000));
            if self.chance.percent(60) {
                // Of what the other side has sent.
                (left, right) = (sent.wrapping_sub(u32::from(self.chance.byte())), sent);
            }
            option.extend([left, right].map(u32::to_be_bytes).concat());
        }
        let room = 40 - segment.options.len();
        option.truncate(room);
        segment.options.extend(option);
        self.emit(side, segment, 0);
    }

    fn reset(&mut self, side: Side) {
        let flags = if self.chance.percent(50) { RST } else { RST | ACK };
        let mut segment = self.segment(side, flags, 0);
        segment.window = 0;
        let wanted = self.ends[side.other() as usize].expected;
        let far = self.chance.one_of(&[1_u32, 2, 500, 5000, 70_000]);
        segment.seq = match self.chance.below(8) {
            0..2 => wanted,
            2 => wanted.wrapping_add(far),
            3 => wanted.wrapping_sub(far),
            4 => 0,
            _ => segment.seq,
        };
        if self.chance.percent(25) {
            segment.ack = 0;
        }
        self.emit(side, segment, 50);
    }

    /// A SYN in the middle: of a host that has forgotten, or of a stranger.
    fn syn_again(&mut self, side: Side) {
        let mut segment = self.segment(side, SYN, 0);
        let far = self.chance.one_of(&[0_u32, 1, 1000, 100_000, 0x8000_0000]);
        segment.seq = segment.seq.wrapping_add(far);
        let mut answer = self.segment(side.other(), ACK, 0);
        if self.chance.percent(30) {
            answer.flags = SYN | ACK;
            answer.ack = segment.end();
        }
        let reset = Tcp { seq: answer.ack, flags: RST, window: 0, ..segment.clone() };
        self.emit(side, segment, 100);
        if self.chance.percent(80) {
            self.emit(side.other(), answer, 100);
        }
        if self.chance.percent(50) {
            self.emit(side, Tcp { options: Vec::new(), ..reset }, 100);
        }
    }

    /// The same again and again, or resets one after the other.
    fn train(&mut self, side: Side) {
        let flags = self.chance.one_of(&[ACK, ACK, RST, RST | ACK]);
        let mut segment = self.segment(side, flags, 0);
        let step = self.chance.one_of(&[0_u32, 0, 1, 500]);
        for _ in 0..2 + self.chance.below(4) {
            self.emit(side, segment.clone(), 100);
            segment.seq = segment.seq.wrapping_add(step);
        }
    }

    fn close(&mut self) {
        let first = self.side();
        let second = first.other();
        match self.chance.below(4) {
            0 => {
                for side in [first, second] {
                    self.send(side, FIN | ACK, 0);
                }
                for side in [second, first] {
                    self.send(side, ACK, 0);
                }
            }
            1 => {
                self.send(first, FIN | ACK, 100);
                self.send(second, ACK, 0);
                self.send(second, ACK | PSH, 500);
                self.send(first, ACK, 0);
                self.send(second, FIN | ACK, 0);
                self.send(first, ACK, 0);
            }
            2 => {
                self.send(first, FIN | ACK, 0);
                self.send(second, FIN | ACK, 0);
                self.send(first, ACK, 0);
            }
            _ => self.reset(first),
        }
    }
}

/// The segments of a sequence.
pub(crate) fn segments(events: &[Event]) -> impl Iterator<Item = (Side, &Tcp)> {
    events.iter().filter_map(|event| match event {
        Event::Shot(Shot { from, body: Body::Tcp(tcp), .. }) => Some((*from, tcp)),
        _ => None,
    })
}
