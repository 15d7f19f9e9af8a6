//! `Batch`: at most 64 packets on their way through the stages, as parallel arrays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::conntrack::{Tracked, Untrackable, Wanted};
use crate::frame::Frame;
use crate::port::PortIndex;
use crate::respond::Answer;
use crate::verdict::{DropReason, Verdict};
use crate::wire::ipv6::extension;

/// Most packets in a batch: a multiple of the NAPI budget's usual share, and small enough that the
/// headers of a whole batch stay in the first-level cache.
pub const BATCH_MAX: usize = 64;

/// Which piece of a datagram a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Piece {
    /// All of it.
    #[default]
    Whole,
    /// All of it, behind a fragment header all the same (RFC 6946). Where fragments are put together it loses that, for
    /// the rules to see.
    Atomic,
    /// The first fragment: it has the transport header.
    First,
    /// A later fragment: transport fields cannot be read. With its offset in 8-byte units.
    Later(u16),
}

/// Where a packet comes from and goes to: addresses of one family, so what is for the other cannot be asked of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Of an IPv4 packet.
    V4 {
        /// Source.
        source: Ipv4Addr,
        /// Destination.
        destination: Ipv4Addr,
    },
    /// Of an IPv6 packet.
    V6 {
        /// Source.
        source: Ipv6Addr,
        /// Destination.
        destination: Ipv6Addr,
    },
}

impl Default for Addresses {
    fn default() -> Self {
        Self::V4 { source: Ipv4Addr::UNSPECIFIED, destination: Ipv4Addr::UNSPECIFIED }
    }
}

/// What `parse` read from a packet; later stages need not look at its bytes again.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers {
    /// Offset of the IP header in the frame.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// Length of the packet in bytes, IP header included: what iptables counts.
    pub total_len: u16,
    /// Source and destination.
    pub addresses: Addresses,
    /// Protocol number; of IPv6 that behind all extension headers, unless [`hides_protocol`](Self::hides_protocol).
    pub protocol: u8,
    /// Time to live, or hop limit, as received.
    pub ttl: u8,
    /// Source port; 0 where there is none.
    pub source_port: u16,
    /// Destination port; 0 where there is none.
    pub destination_port: u16,
    /// TCP flags; 0 for others.
    pub tcp_flags: u8,
    /// Whether the ports (and for TCP the whole fixed header) could be read.
    pub transport: bool,
    /// Whole datagram or fragment.
    pub piece: Piece,
    /// Don't fragment; always so of IPv6.
    pub dont_fragment: bool,
    /// Of a datagram that came in fragments, total length of the largest; else 0.
    pub largest_fragment: u16,
}

impl Headers {
    /// Whether the protocol is not to be known: of a later fragment whose header names an extension header, which is in
    /// another fragment (`ipv6_find_hdr`, net/ipv6/exthdrs_core.c).
    #[must_use]
    #[inline]
    pub fn hides_protocol(&self) -> bool {
        matches!(self.piece, Piece::Later(_)) && self.names_extension()
    }

    #[cold]
    fn names_extension(&self) -> bool {
        matches!(self.addresses, Addresses::V6 { .. }) && extension::is_one(self.protocol)
    }

    /// Source address.
    #[must_use]
    #[inline]
    pub fn source(&self) -> IpAddr {
        match self.addresses {
            Addresses::V4 { source, .. } => source.into(),
            Addresses::V6 { source, .. } => source.into(),
        }
    }

    /// Destination address.
    #[must_use]
    #[inline]
    pub fn destination(&self) -> IpAddr {
        match self.addresses {
            Addresses::V4 { destination, .. } => destination.into(),
            Addresses::V6 { destination, .. } => destination.into(),
        }
    }

    /// Source and destination of an IPv4 packet.
    #[must_use]
    #[inline]
    pub fn v4(&self) -> Option<(Ipv4Addr, Ipv4Addr)> {
        match self.addresses {
            Addresses::V4 { source, destination } => Some((source, destination)),
            Addresses::V6 { .. } => None,
        }
    }
}

/// The packets that go through the stages together.
#[derive(Debug)]
pub struct Batch {
    len: usize,
    /// A bit for each packet that the stages look at now.
    turn: u64,
    /// A bit for each packet that has to wait for what becomes of an earlier one.
    waiting: u64,
    /// A bit for each packet that table raw has been asked about.
    past_raw: u64,
    /// A bit for each packet that is not to be tracked.
    untracked: u64,
    frames: [Option<Frame>; BATCH_MAX],
    /// Where each came in.
    pub ingress: [PortIndex; BATCH_MAX],
    /// What `parse` read.
    pub headers: [Headers; BATCH_MAX],
    /// The flow that each is about, set by `name`.
    pub wanted: [Result<Wanted, Untrackable>; BATCH_MAX],
    /// What connection tracking found out, set by `track`.
    pub tracked: [Tracked; BATCH_MAX],
    /// The mark of each, if any has one.
    marks: [u32; BATCH_MAX],
    any_marked: bool,
    /// What becomes of each.
    pub verdict: [Verdict; BATCH_MAX],
    /// Next hop, set by `route` together with [`Verdict::Forward`].
    pub next_hop: [IpAddr; BATCH_MAX],
    /// Largest packet that this way takes, set by `route`.
    pub mtu: [u16; BATCH_MAX],
    /// The datagram in reassembly whose first fragment this is.
    datagram: [Option<u8>; BATCH_MAX],
    /// What answers a dropped packet, if anything.
    pub answer: [Option<Answer>; BATCH_MAX],
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// An empty batch.
    ///
    /// # Panics
    /// Never: port 0 exists.
    #[must_use]
    pub fn new() -> Self {
        let port = PortIndex::new(0).expect("port 0 exists");
        Self {
            len: 0,
            turn: 0,
            waiting: 0,
            past_raw: 0,
            untracked: 0,
            frames: [const { None }; BATCH_MAX],
            ingress: [port; BATCH_MAX],
            headers: [Headers::default(); BATCH_MAX],
            wanted: [Err(Untrackable::Malformed); BATCH_MAX],
            tracked: [Tracked::UNTRACKED; BATCH_MAX],
            marks: [0; BATCH_MAX],
            any_marked: false,
            verdict: [Verdict::Drop(DropReason::Unclassified); BATCH_MAX],
            next_hop: [IpAddr::V4(Ipv4Addr::UNSPECIFIED); BATCH_MAX],
            mtu: [0; BATCH_MAX],
            datagram: [None; BATCH_MAX],
            answer: [None; BATCH_MAX],
        }
    }

    /// Packets in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many more packets fit.
    #[must_use]
    pub fn room(&self) -> usize {
        BATCH_MAX - self.len
    }

    /// Appends a packet.
    ///
    /// # Panics
    /// When the batch is full: callers look at [`room`](Self::room) first.
    pub fn push(&mut self, frame: Frame, ingress: PortIndex) {
        self.push_decided(frame, ingress, Verdict::Drop(DropReason::Unclassified));
    }

    /// Appends a packet about which the port has decided already.
    ///
    /// # Panics
    /// When the batch is full.
    pub fn push_decided(&mut self, frame: Frame, ingress: PortIndex, verdict: Verdict) {
        let i = self.len;
        self.frames[i] = Some(frame);
        self.ingress[i] = ingress;
        self.verdict[i] = verdict;
        self.answer[i] = None;
        self.datagram[i] = None;
        self.tracked[i] = Tracked::UNTRACKED;
        self.turn |= 1 << i;
        self.len += 1;
    }

    /// The bytes of packet `i`, from its Ethernet header on; empty once the frame is taken.
    #[must_use]
    pub fn bytes(&self, i: usize) -> &[u8] {
        self.frames[i].as_ref().map_or(&[], Frame::bytes)
    }

    /// The bytes of packet `i`, to be rewritten.
    #[must_use]
    pub fn bytes_mut(&mut self, i: usize) -> &mut [u8] {
        self.frames[i].as_mut().map_or(&mut [], Frame::bytes_mut)
    }

    /// The frame of packet `i`, while it is still here.
    #[must_use]
    pub fn frame_mut(&mut self, i: usize) -> Option<&mut Frame> {
        self.frames[i].as_mut()
    }

    /// Takes the frame of packet `i` out: its way ends here or goes on elsewhere.
    #[must_use]
    pub fn take(&mut self, i: usize) -> Option<Frame> {
        self.frames[i].take()
    }

    /// The packets that the stages look at now, in the order of their arrival.
    #[must_use]
    pub fn turn(&self) -> Turn {
        Turn(self.turn)
    }

    /// The packets among [`turn`](Self::turn) that table raw was not asked about yet; from now on it was.
    pub fn pass_raw(&mut self) -> Turn {
        let rest = self.turn & !self.past_raw;
        self.past_raw |= rest;
        Turn(rest)
    }

    /// Puts packet `i` among those that table raw was not asked about.
    pub fn keep_before_raw(&mut self, i: usize) {
        self.past_raw &= !(1 << i);
    }

    /// Packet `i` is not to be tracked.
    pub fn leave_untracked(&mut self, i: usize) {
        self.untracked |= 1 << i;
    }

    /// The packets among [`turn`](Self::turn) that may be tracked.
    #[must_use]
    pub fn trackable(&self) -> Turn {
        Turn(self.turn & !self.untracked)
    }

    /// The mark that rules gave packet `i`.
    #[must_use]
    pub fn mark(&self, i: usize) -> u32 {
        self.marks[i]
    }

    /// Gives packet `i` a mark.
    pub fn set_mark(&mut self, i: usize, mark: u32) {
        self.marks[i] = mark;
        self.any_marked = true;
    }

    /// Puts packet `i` off until [`next_turn`](Self::next_turn): what it is depends on what becomes of an earlier
    /// one.
    pub fn put_off(&mut self, i: usize) {
        self.turn &= !(1 << i);
        self.waiting |= 1 << i;
    }

    /// Takes packet `i` away from the stages: its frame is elsewhere.
    pub fn withdraw(&mut self, i: usize) {
        self.turn &= !(1 << i);
    }

    /// Puts a whole datagram in the place of the fragment that completed it: the frame of its first fragment, and
    /// where the others are.
    pub fn bring_back(&mut self, i: usize, first: Frame, datagram: usize) {
        self.frames[i] = Some(first);
        self.datagram[i] = u8::try_from(datagram).ok();
        self.turn |= 1 << i;
    }

    /// The datagram in reassembly whose first fragment packet `i` is.
    #[must_use]
    pub fn datagram(&self, i: usize) -> Option<usize> {
        self.datagram[i].map(usize::from)
    }

    /// Puts all packets off but the first: they are decided about one after the other.
    pub fn one_by_one(&mut self) {
        self.waiting |= self.turn;
        self.next_turn();
    }

    /// Makes the first packet that was put off the only one that the stages look at; false if there is none.
    pub fn next_turn(&mut self) -> bool {
        self.turn = self.waiting & self.waiting.wrapping_neg();
        self.waiting &= !self.turn;
        self.turn != 0
    }

    /// Makes all packets that were put off those that the stages look at; false if there is none.
    pub fn next_run(&mut self) -> bool {
        self.turn = std::mem::take(&mut self.waiting);
        self.turn != 0
    }

    /// Puts packet `i` off, and all of its turn that come after it.
    pub fn put_off_from(&mut self, i: usize) {
        let rest = self.turn & (u64::MAX << i);
        self.turn &= !rest;
        self.waiting |= rest;
    }

    /// Whether packet `i` still awaits its verdict.
    #[must_use]
    pub fn is_open(&self, i: usize) -> bool {
        self.verdict[i].is_open()
    }

    /// Empties the batch and yields the frames that nobody has taken.
    pub fn drain(&mut self) -> impl Iterator<Item = Frame> + '_ {
        let len = std::mem::take(&mut self.len);
        (self.turn, self.waiting) = (0, 0);
        (self.past_raw, self.untracked) = (0, 0);
        if std::mem::take(&mut self.any_marked) {
            self.marks = [0; BATCH_MAX];
        }
        self.frames[..len].iter_mut().filter_map(Option::take)
    }
}

/// Packets of a batch, by their places; see [`Batch::turn`].
#[derive(Debug, Clone, Copy)]
pub struct Turn(u64);

impl Turn {
    /// The packets whose bits are set.
    #[must_use]
    pub fn of(packets: u64) -> Self {
        Self(packets)
    }
}

impl Iterator for Turn {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let first = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        Some(first as usize)
    }
}
