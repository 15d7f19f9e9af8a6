//! Reassembly: fragments wait for each other, so that a datagram is tracked and judged as a whole.
//!
//! Only the first fragment has ports, and a checksum covers all of them. Netfilter therefore puts datagrams together
//! before it tracks them (`nf_defrag_ipv4`, before everything else on the way in), lets the rules see the whole, and
//! cuts it up again on the way out along the old seams. Here the frames are kept as they came: the whole exists only
//! for as long as connection tracking and the rules look at it, and if these accept it the fragments leave as they
//! were, but with one time to live and one type of service, in the order of their offsets.
//!
//! ```text
//!   fragment ──► held by (source, destination, protocol, identification); of IPv6 without the protocol
//!                   ├─ complete ──► one packet of the batch, the first fragment's frame in front
//!                   ├─ overlap ───► all of it dropped (RFC 8200 4.5 says so of IPv6, and Linux of IPv4, too)
//!                   └─ 30 s (IPv6: 60 s), or no room ──► dropped
//! ```
//!
//! Bounds: [`DATAGRAMS_MAX`] datagrams of [`PIECES_MAX`] fragments each, [`FRAMES_MAX`] frames in all, for each worker;
//! where there is no room the oldest datagram gives way.

use crate::batch::{Addresses, Headers, Piece};
use crate::frame::Frame;
use crate::port::PortIndex;
use crate::wire::{Ipv4, Ipv6, ipv6};

/// Datagrams that a worker puts together at a time.
pub const DATAGRAMS_MAX: usize = 64;

/// Fragments of a datagram: 64 KiB over links of 1,500 bytes are 45.
pub const PIECES_MAX: usize = 64;

/// Frames that wait in a worker's reassembly.
pub const FRAMES_MAX: usize = 256;

/// How long a datagram may take to arrive (`net.ipv4.ipfrag_time`).
pub const PATIENCE_NS: u64 = 30_000_000_000;

/// The same of IPv6 (`net.netfilter.nf_conntrack_frag6_timeout`; RFC 8200 4.5).
pub const PATIENCE6_NS: u64 = 60_000_000_000;

/// The longest datagram that is put together; IPv6's header does not count in its own limit, but does here.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What the fragments of a datagram have in common (RFC 791 3.2; RFC 8200 4.5, where the protocol is not part of it,
/// and 0 here).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    addresses: Addresses,
    protocol: u8,
    identification: u32,
}

/// A fragment.
#[derive(Debug)]
pub struct Fragment {
    /// Its frame.
    pub frame: Frame,
    /// Its own headers.
    pub headers: Headers,
    /// Where it came in.
    pub ingress: PortIndex,
    /// The mark that rules gave it.
    pub mark: u32,
}

/// A fragment in its place. The frame of a complete datagram's first fragment is in the batch.
#[derive(Debug)]
struct Placed {
    frame: Option<Frame>,
    headers: Headers,
    ingress: PortIndex,
    mark: u32,
    place: Place,
}

/// Where a fragment belongs.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Bytes of the datagram's payload that it carries: from, to.
    from: usize,
    to: usize,
    last: bool,
    /// Where they begin in its packet.
    data: usize,
    /// Of IPv6, where its fragment header stands.
    header6: Option<ipv6::FragmentPlace>,
}

impl Placed {
    /// Its type of service, or traffic class.
    fn tos(&self) -> u8 {
        let packet =
            self.frame.as_ref().and_then(|frame| frame.bytes().get(usize::from(self.headers.l3)..));
        match packet {
            Some(&[a, b, ..]) if self.place.header6.is_some() => a << 4 | b >> 4,
            Some(&[_, tos, ..]) => tos,
            _ => 0,
        }
    }

    /// Bytes before the data in a packet that never was cut.
    fn header_len(&self) -> usize {
        self.place.data - self.place.header6.map_or(0, |_| FRAGMENT_HEADER_BYTES)
    }
}

impl Datagram {
    fn patience_ns(&self) -> u64 {
        match self.name.addresses {
            Addresses::V4 { .. } => PATIENCE_NS,
            Addresses::V6 { .. } => PATIENCE6_NS,
        }
    }
}

#[derive(Debug)]
struct Datagram {
    name: Name,
    since_ns: u64,
    /// By offset.
    pieces: Vec<Placed>,
    /// A complete one belongs to a packet of the batch.
    complete: bool,
}

/// What came of a fragment.
#[derive(Debug)]
pub enum Added {
    /// It waits.
    Held,
    /// It is a copy of one that waits, or longer than a datagram can be: drop it.
    Useless(Fragment),
    /// It completes this datagram.
    Complete(usize),
    /// It overlaps another fragment of this datagram: drop both.
    Overlaps(usize, Fragment),
}

/// Bytes of IPv6's fragment header.
const FRAGMENT_HEADER_BYTES: usize = 8;

/// A datagram that came in fragments, as one packet.
#[derive(Debug, Clone, Copy)]
pub struct Whole<'a> {
    bytes: &'a [u8],
    header_len: usize,
}

impl<'a> Whole<'a> {
    /// From the IP header on.
    #[must_use]
    pub fn packet(self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the IP header, extension headers counted.
    #[must_use]
    pub fn header_len(self) -> u16 {
        // Inside the first fragment's frame.
        u16::try_from(self.header_len).unwrap_or(u16::MAX)
    }

    /// What the IP header, extension headers counted, is about.
    #[must_use]
    pub fn payload(self) -> &'a [u8] {
        self.bytes.get(self.header_len..).unwrap_or_default()
    }
}

/// A worker's incomplete datagrams. All memory is allocated at its start.
#[derive(Debug)]
pub struct Reassembly {
    datagrams: Vec<Datagram>,
    frames: usize,
    /// The datagram that was put together last.
    whole: Vec<u8>,
}

impl Default for Reassembly {
    fn default() -> Self {
        Self::new()
    }
}

impl Reassembly {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let name = Name { addresses: Addresses::default(), protocol: 0, identification: 0 };
        let datagram = |_| Datagram {
            name,
            since_ns: 0,
            pieces: Vec::with_capacity(PIECES_MAX),
            complete: false,
        };
        Self {
            datagrams: (0..DATAGRAMS_MAX).map(datagram).collect(),
            frames: 0,
            whole: Vec::with_capacity(DATAGRAM_BYTES_MAX),
        }
    }

    /// Frames that wait here.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// A datagram that has to give way before this fragment finds room: the oldest, but not its own.
    #[must_use]
    pub fn crowded(&self, fragment: &Fragment) -> Option<usize> {
        let own = place(fragment).and_then(|(name, _)| self.waiting(name));
        let free =
            own.is_some() || self.datagrams.iter().any(|datagram| datagram.pieces.is_empty());
        if free && self.frames < FRAMES_MAX { None } else { self.oldest(own) }
    }

    /// The incomplete datagram of this name.
    fn waiting(&self, name: Name) -> Option<usize> {
        self.datagrams.iter().position(|datagram| {
            datagram.name == name && !datagram.pieces.is_empty() && !datagram.complete
        })
    }

    /// A datagram that has waited too long.
    #[must_use]
    pub fn expired(&self, now_ns: u64) -> Option<usize> {
        if self.frames == 0 {
            return None;
        }
        let waiting = |datagram: &Datagram| !datagram.pieces.is_empty() && !datagram.complete;
        self.datagrams.iter().position(|datagram| {
            let waited_ns = now_ns.saturating_sub(datagram.since_ns);
            waiting(datagram) && waited_ns >= datagram.patience_ns()
        })
    }

    fn oldest(&self, but: Option<usize>) -> Option<usize> {
        let waiting = self.datagrams.iter().enumerate().filter(|(at, datagram)| {
            !datagram.pieces.is_empty() && !datagram.complete && Some(*at) != but
        });
        waiting.min_by_key(|(_, datagram)| datagram.since_ns).map(|(at, _)| at)
    }

    /// Takes a fragment in. There is room for it: [`Reassembly::crowded`] was asked before.
    pub fn add(&mut self, fragment: Fragment, now_ns: u64) -> Added {
        let Some((name, place)) = place(&fragment) else { return Added::Useless(fragment) };
        let Place { from, to, last, .. } = place;
        let found = self.waiting(name);
        let free = || self.datagrams.iter().position(|datagram| datagram.pieces.is_empty());
        let Some(at) = found.or_else(free) else { return Added::Useless(fragment) };
        let datagram = &mut self.datagrams[at];
        if datagram.pieces.is_empty() {
            (datagram.name, datagram.since_ns) = (name, now_ns);
        }
        let at_piece = datagram.pieces.partition_point(|piece| piece.place.from < from);
        let before = at_piece.checked_sub(1).and_then(|before| datagram.pieces.get(before));
        let (before, after) = (before.map(|piece| piece.place), datagram.pieces.get(at_piece));
        let after = after.map(|piece| piece.place);
        let covered = |piece: Place| piece.from <= from && to <= piece.to;
        if before.is_some_and(covered) || after.is_some_and(covered) {
            return Added::Useless(fragment);
        }
        let overlaps = before.is_some_and(|piece| piece.to > from || piece.last)
            || after.is_some_and(|piece| to > piece.from || last);
        if overlaps || datagram.pieces.len() == PIECES_MAX {
            return Added::Overlaps(at, fragment);
        }
        let Fragment { frame, headers, ingress, mark } = fragment;
        let piece = Placed { frame: Some(frame), headers, ingress, mark, place };
        datagram.pieces.insert(at_piece, piece);
        self.frames += 1;
        let mut end = 0;
        for piece in &datagram.pieces {
            if piece.place.from != end {
                return Added::Held;
            }
            end = piece.place.to;
        }
        if !datagram.pieces.last().is_some_and(|piece| piece.place.last) {
            return Added::Held;
        }
        datagram.complete = true;
        Added::Complete(at)
    }

    /// A datagram as one packet; of a complete one whose first frame is `first`. Its header is that of the first
    /// fragment, of a packet that never was cut.
    pub fn whole(&mut self, at: usize, first: &[u8]) -> Whole<'_> {
        self.whole.clear();
        let pieces = &self.datagrams[at].pieces;
        let header_len = pieces.first().map_or(0, Placed::header_len);
        for (n, piece) in pieces.iter().enumerate() {
            let bytes = piece.frame.as_ref().map_or(first, Frame::bytes);
            let packet = bytes.get(piece.headers.l3.into()..).unwrap_or_default();
            if n == 0 {
                self.whole.extend_from_slice(packet.get(..header_len).unwrap_or_default());
                if let Some(place) = piece.place.header6 {
                    name_next(&mut self.whole, packet, place);
                }
            }
            let payload = packet.get(piece.place.data..).unwrap_or_default();
            // A frame is cut to its packet, but be sure.
            let len = piece.place.to - piece.place.from;
            self.whole.extend_from_slice(&payload[..payload.len().min(len)]);
        }
        // What rules and connection tracking look at stands behind all extension headers.
        let upper = pieces.first().map_or(0, |first| {
            let fragment_header = first.place.data - first.header_len();
            usize::from(first.headers.l4 - first.headers.l3) - fragment_header
        });
        let total_len = self.whole.len();
        // As `ip_frag_reasm`: "don't fragment" if the largest piece had it.
        let (_, dont_fragment) = self.largest(at);
        if let Ok(mut packet) = Ipv4::new_quoted(&mut self.whole[..]) {
            let _ = packet.set_total_len(u16::try_from(total_len).unwrap_or(u16::MAX));
            packet.set_fragment(0, false);
            packet.set_dont_fragment(dont_fragment);
            packet.fill_checksum();
        } else if let Some(len) = self.whole.get_mut(4..6) {
            let payload = total_len.saturating_sub(ipv6::HEADER_BYTES);
            len.copy_from_slice(&u16::try_from(payload).unwrap_or(u16::MAX).to_be_bytes());
        }
        Whole { bytes: &self.whole, header_len: upper }
    }

    /// A datagram as one packet, for a caller who needs the rest of the reassembly meanwhile; to be given back.
    pub fn lend_whole(&mut self, at: usize, first: &[u8]) -> Vec<u8> {
        let _ = self.whole(at, first);
        std::mem::take(&mut self.whole)
    }

    /// Takes back what [`Reassembly::lend_whole`] gave: room for the next datagram.
    pub fn give_back(&mut self, whole: Vec<u8>) {
        self.whole = whole;
    }

    /// Takes the first fragment's frame of a complete datagram, with its headers.
    pub fn take_first(&mut self, at: usize) -> Option<(Frame, Headers, PortIndex)> {
        let piece = self.datagrams[at].pieces.first_mut()?;
        let frame = piece.frame.take()?;
        self.frames -= 1;
        Some((frame, piece.headers, piece.ingress))
    }

    /// The mark of a datagram: that of its first fragment (`inet_frag_reasm_prepare`, net/ipv4/inet_fragment.c).
    #[must_use]
    pub fn mark(&self, at: usize) -> u32 {
        self.datagrams[at].pieces.first().map_or(0, |first| first.mark)
    }

    /// Bytes of a complete datagram, IP header counted; `None` if they are more than a datagram can have.
    #[must_use]
    pub fn total_len(&self, at: usize) -> Option<u16> {
        let pieces = &self.datagrams[at].pieces;
        let header = pieces.first().map_or(0, Placed::header_len);
        let payload = pieces.last().map_or(0, |last| last.place.to);
        u16::try_from(header + payload).ok()
    }

    /// The largest fragment of a datagram: its total length, and whether it must not be cut further.
    #[must_use]
    pub fn largest(&self, at: usize) -> (u16, bool) {
        let sizes = self.datagrams[at].pieces.iter().map(|piece| &piece.headers);
        sizes.map(|headers| (headers.total_len, headers.dont_fragment)).max().unwrap_or_default()
    }

    /// Gives all fragments of a complete datagram the time to live and the type of service (IPv6: hop limit and traffic
    /// class) of the first, for it is the
    /// whole that is forwarded; if one of them met congestion, the whole did (RFC 3168 5.3). False if one was sent as
    /// unable to bear that mark and another was not: such a datagram must be dropped (`ip_frag_ecn_table`,
    /// `net/ipv4/ip_fragment.c`).
    #[must_use]
    pub fn level(&mut self, at: usize) -> bool {
        const UNABLE: u8 = 1 << 0b00;
        const CONGESTED: u8 = 1 << 0b11;
        let pieces = &mut self.datagrams[at].pieces;
        let marks = pieces.iter().fold(0, |marks, piece| marks | 1 << (piece.tos() & 0b11));
        if marks & UNABLE != 0 && marks != UNABLE {
            return false;
        }
        let Some(first) = pieces.first() else { return false };
        let congestion = if marks & CONGESTED == 0 { 0 } else { 0b11 };
        let (ttl, tos) = (first.headers.ttl, first.tos() | congestion);
        for Placed { frame, headers, .. } in pieces {
            let bytes = frame.as_mut().map_or(&mut [][..], Frame::bytes_mut);
            let packet = bytes.get_mut(usize::from(headers.l3)..).unwrap_or_default();
            if let Ok(mut packet) = Ipv4::new_checked(&mut *packet) {
                packet.set_ttl(ttl);
                packet.set_tos(tos);
                packet.fill_checksum();
            } else if let Ok(mut packet) = Ipv6::new_checked(packet) {
                packet.set_hop_limit(ttl);
                packet.set_traffic_class(tos);
            }
        }
        true
    }

    /// Takes the next fragment of a datagram out, in order; its frame unless that was taken before. With the last one
    /// the datagram is gone.
    pub fn take(&mut self, at: usize) -> Option<(Option<Frame>, Headers, PortIndex)> {
        let datagram = &mut self.datagrams[at];
        if datagram.pieces.is_empty() {
            datagram.complete = false;
            return None;
        }
        let piece = datagram.pieces.remove(0);
        self.frames -= usize::from(piece.frame.is_some());
        Some((piece.frame, piece.headers, piece.ingress))
    }

    /// Takes out any frame: for the end.
    pub fn pop(&mut self) -> Option<Frame> {
        let at = self.datagrams.iter().position(|datagram| !datagram.pieces.is_empty())?;
        loop {
            let (frame, ..) = self.take(at)?;
            if frame.is_some() {
                return frame;
            }
        }
    }
}

/// In the header of a whole datagram, of which `first` is the first fragment: what the fragment header named follows.
fn name_next(header: &mut [u8], first: &[u8], place: ipv6::FragmentPlace) {
    let next = first.get(ipv6::HEADER_BYTES + place.at).copied();
    if let (Some(named), Some(next)) = (header.get_mut(place.named_at), next) {
        *named = next;
    }
}

/// Name and place of a fragment; `None` if it would reach beyond the longest datagram, or is empty, or not the last and
/// not a multiple of eight bytes (RFC 791 3.2, RFC 8200 4.5).
fn place(fragment: &Fragment) -> Option<(Name, Place)> {
    let headers = &fragment.headers;
    let ip = fragment.frame.bytes().get(usize::from(headers.l3)..)?;
    let from = match headers.piece {
        Piece::Whole => return None,
        Piece::First | Piece::Atomic => 0,
        Piece::Later(offset) => usize::from(offset) * 8,
    };
    let addresses = headers.addresses;
    let (name, more, data, header6) = match addresses {
        Addresses::V4 { .. } => {
            let identification = u16::from_be_bytes([*ip.get(4)?, *ip.get(5)?]).into();
            let name = Name { addresses, protocol: headers.protocol, identification };
            let data = usize::from(headers.l4 - headers.l3);
            (name, ip.get(6)? & 0x20 != 0, data, None)
        }
        Addresses::V6 { .. } => {
            let fragment = Ipv6::new_checked(ip).ok()?.upper_layer().ok()?.fragment?;
            let name = Name { addresses, protocol: 0, identification: fragment.identification };
            let data = ipv6::HEADER_BYTES + fragment.place.at + FRAGMENT_HEADER_BYTES;
            (name, fragment.more, data, Some(fragment.place))
        }
    };
    let len = usize::from(headers.total_len).checked_sub(data)?;
    let to = from + len;
    if len == 0 || to > DATAGRAM_BYTES_MAX - 20 || more && !len.is_multiple_of(8) {
        return None;
    }
    Some((name, Place { from, to, last: !more, data, header6 }))
}
