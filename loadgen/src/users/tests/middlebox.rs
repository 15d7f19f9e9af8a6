//! Boxes on the way.

use std::collections::HashMap;

use weir_dataplane::wire::{MacAddr, TcpFlags};

use crate::users::address::Address;
use crate::users::content::Content;
use crate::users::frame::{self, Link};
use crate::users::index::Pair;
use crate::users::tcp::{Options, Segment};

/// Takes a frame and its direction, and gives what is to go on, in whichever direction.
pub(super) trait Middlebox {
    fn pass(&mut self, to_right: bool, frame: &[u8]) -> Vec<(bool, Vec<u8>)>;
}

/// Does nothing.
pub(super) struct Honest;

impl Middlebox for Honest {
    fn pass(&mut self, to_right: bool, frame: &[u8]) -> Vec<(bool, Vec<u8>)> {
        vec![(to_right, frame.to_vec())]
    }
}

/// Answers each `every`-th segment with a reset that is in place.
pub(super) struct Reset {
    pub(super) every: u64,
    pub(super) count: u64,
}

impl Middlebox for Reset {
    fn pass(&mut self, to_right: bool, frame: &[u8]) -> Vec<(bool, Vec<u8>)> {
        self.count += 1;
        let pair = frame::peek(frame).expect("a segment");
        let (segment, _) = frame::read(frame).expect("a whole one");
        if !self.count.is_multiple_of(self.every)
            || !segment.has(TcpFlags::ACK)
            || segment.has(TcpFlags::RST)
        {
            return vec![(to_right, frame.to_vec())];
        }
        let flags = TcpFlags::RST;
        let reset = Segment { sequence: segment.acknowledgment, flags, ..Segment::default() };
        vec![(!to_right, write(&pair, &reset, &[]))]
    }
}

/// As the kernel's SYNPROXY does it: a client has to bring a cookie back before the server hears of it, and waits with
/// a window of 0 meanwhile. From then on the server's numbers are moved to where the cookie said they would be. It is
/// set to the server's window scale, and takes no timestamps.
#[derive(Default)]
pub(super) struct SynProxy {
    /// Clients that have brought their cookie back.
    pub(super) proved: u64,
    known: HashMap<(u16, Address), Known>,
}

/// The server's window scale: what 256 KiB need.
const SERVER_SHIFT: u8 = 3;

/// What the box knows of a client: its cookie, its SYN, and how far the server's numbers are off, once known.
struct Known {
    cookie: u32,
    syn: Segment,
    proved: bool,
    shift: Option<u32>,
}

impl Middlebox for SynProxy {
    fn pass(&mut self, to_right: bool, frame: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let pair = frame::peek(frame).expect("a segment");
        let (segment, data) = frame::read(frame).expect("a whole one");
        // Moving SACK's blocks is another story.
        let options = Options { sack: Default::default(), timestamps: None, ..segment.options };
        let segment = Segment { options, ..segment };
        if to_right {
            self.client_said(&pair, &segment, data)
        } else {
            self.server_said(&pair, &segment, data)
        }
    }
}

impl SynProxy {
    fn client_said(&mut self, pair: &Pair, segment: &Segment, data: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let key = (pair.remote_port, pair.remote);
        if segment.flags == TcpFlags::SYN {
            let cookie = segment.sequence.wrapping_mul(0x9e37_79b9);
            self.known.insert(key, Known { cookie, syn: *segment, proved: false, shift: None });
            let answer = Segment {
                sequence: cookie,
                acknowledgment: segment.sequence.wrapping_add(1),
                flags: TcpFlags::SYN | TcpFlags::ACK,
                window: 0,
                options: Options { window_shift: Some(SERVER_SHIFT), ..segment.options },
                ..Segment::default()
            };
            return vec![(false, write(pair, &answer, &[]))];
        }
        let Some(known) = self.known.get_mut(&key) else { return Vec::new() };
        if let Some(shift) = known.shift {
            let acknowledgment = segment.acknowledgment.wrapping_sub(shift);
            return vec![(
                true,
                write(&reversed(pair), &Segment { acknowledgment, ..*segment }, data),
            )];
        }
        if !segment.has(TcpFlags::ACK) || segment.acknowledgment != known.cookie.wrapping_add(1) {
            return Vec::new();
        }
        self.proved += u64::from(!known.proved);
        known.proved = true;
        vec![(true, write(&reversed(pair), &known.syn, &[]))]
    }

    fn server_said(&mut self, pair: &Pair, segment: &Segment, data: &[u8]) -> Vec<(bool, Vec<u8>)> {
        let Some(known) = self.known.get_mut(&(pair.local_port, pair.local)) else {
            return Vec::new();
        };
        if segment.has(TcpFlags::SYN) {
            known.shift = Some(known.cookie.wrapping_sub(segment.sequence));
            let base = Segment { flags: TcpFlags::ACK, window: 500, ..Segment::default() };
            let acknowledgment = segment.sequence.wrapping_add(1);
            let third = Segment { sequence: segment.acknowledgment, acknowledgment, ..base };
            let sequence = known.cookie.wrapping_add(1);
            let opened = Segment { sequence, acknowledgment: segment.acknowledgment, ..base };
            return vec![
                (true, write(pair, &third, &[])),
                (false, write(&reversed(pair), &opened, &[])),
            ];
        }
        let Some(shift) = known.shift else { return Vec::new() };
        let sequence = segment.sequence.wrapping_add(shift);
        vec![(false, write(&reversed(pair), &Segment { sequence, ..*segment }, data))]
    }
}

/// The pair as the other end sees it.
fn reversed(pair: &Pair) -> Pair {
    let Pair { local, remote, local_port, remote_port } = *pair;
    Pair { local: remote, remote: local, local_port: remote_port, remote_port: local_port }
}

/// A frame from the pair's local end.
fn write(pair: &Pair, segment: &Segment, data: &[u8]) -> Vec<u8> {
    let link = Link {
        source: MacAddr([2, 0, 0, 0, 0, 3]),
        destination: MacAddr([2, 0, 0, 0, 0, 4]),
        tag: None,
    };
    let mut out = vec![0; 2_048];
    let length = frame::write(link, pair, segment, &Content::said(data), &mut out).expect("room");
    out.truncate(length);
    out
}
