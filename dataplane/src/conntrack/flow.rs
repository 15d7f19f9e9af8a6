//! `Flow`: one tracked flow, in one cache line.
//!
//! Everything that an ordinary packet reads or writes lies in these 64 bytes, so that a packet of an established
//! connection costs two lines: the bucket that leads here, and this one. What is rarely needed stands in
//! [`Aside`], 16 bytes in an array of their own, where also the timer wheel's links are.
//!
//! ```text
//!    0  bits        8  deadline 29 | TCP state 4 | last direction 1 | last class 3 | flags, see [`Bits`]
//!    8  addresses   8  of the first packet: source, destination (IPv6: fingerprint)
//!   16  sides      32  two times: end, max end, max window, max ack
//!   48  ports       4  of the first packet (ICMP: identifier, type, code)
//!   52  last_end    4  of the last segment that was annotated (UDP: when the flow becomes a stream)
//!   56  last_ack    4
//!   60  last_win    2
//!   62  last_len    2  what `last_end` is beyond its sequence number (other protocols: the number)
//! ```

use super::clock::{TIME_BITS, Time};
use super::tcp::{Class, TcpState};
use super::tuple::Key;
use super::{Direction, Kind};

/// One direction of a TCP connection, as seen by what its sender sent (`struct ip_ct_tcp_state`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Side {
    /// Highest sequence number sent, and one.
    pub(super) end: u32,
    /// Highest sequence number that may be sent: the receiver's last acknowledgment and window.
    pub(super) max_end: u32,
    /// Largest window announced, scaled.
    pub(super) max_win: u32,
    /// Highest acknowledgment sent.
    pub(super) max_ack: u32,
}

/// One flow; see the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub(super) struct Flow {
    pub(super) bits: Bits,
    pub(super) addresses: u64,
    pub(super) sides: [Side; 2],
    pub(super) ports: u32,
    pub(super) last_end: u32,
    pub(super) last_ack: u32,
    pub(super) last_win: u16,
    pub(super) last_len: u16,
}

/// What of a flow is rarely touched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Aside {
    /// The next in the list of a wheel's slot, or in the list of free flows.
    pub(super) next: u32,
    /// The one before; for the first the slot itself (see [`super::wheel`]).
    pub(super) previous: u32,
    /// How often this place has been used before: an old id names nothing.
    pub(super) generation: u32,
    /// Equal segments in a row; meaningful while [`Bits::RETRANS`] is set.
    pub(super) retrans: u8,
    /// Window scale of the last SYN that was let through without a change of state.
    pub(super) last_scale: u8,
    /// Its [`SideFlags`].
    pub(super) last_flags: u8,
    /// Whether it is linked into the wheel.
    pub(super) linked: bool,
}

/// A field of [`Bits`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    shift: u32,
    width: u32,
}

impl Field {
    const fn new(shift: u32, width: u32) -> Self {
        Self { shift, width }
    }

    const fn mask(self) -> u64 {
        ((1 << self.width) - 1) << self.shift
    }
}

/// The small fields of a flow in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bits(pub(super) u64);

/// Flags of one side of a connection (`IP_CT_TCP_FLAG_*` in `nf_conntrack_tcp.h`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SideFlags(pub(super) u8);

impl SideFlags {
    /// It offered window scaling.
    pub(super) const WINDOW_SCALE: u8 = 1;
    /// It permitted selective acknowledgments.
    pub(super) const SACK_PERM: u8 = 1 << 1;
    /// Its segments are valid wherever they lie.
    pub(super) const BE_LIBERAL: u8 = 1 << 2;
    /// Data that it sent is not acknowledged.
    pub(super) const DATA_UNACKNOWLEDGED: u8 = 1 << 3;
    /// Its `max_ack` has a value.
    pub(super) const MAXACK_SET: u8 = 1 << 4;

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }
}

impl Bits {
    const DEADLINE: Field = Field::new(0, TIME_BITS);
    const STATE: Field = Field::new(29, 4);
    const LAST_DIRECTION: Field = Field::new(33, 1);
    const LAST_CLASS: Field = Field::new(34, 3);
    const SCALE: [Field; 2] = [Field::new(37, 4), Field::new(41, 4)];
    const FLAGS: [Field; 2] = [Field::new(45, 5), Field::new(50, 5)];
    /// Either side has begun to close the connection.
    pub(super) const CLOSE_INIT: Field = Field::new(55, 1);
    /// A packet in reply direction was seen.
    pub(super) const SEEN_REPLY: Field = Field::new(56, 1);
    /// Worth keeping when the table is full.
    pub(super) const ASSURED: Field = Field::new(57, 1);
    const KIND: Field = Field::new(58, 3);
    /// A SYN was let through in LAST_ACK: the next ACK may be a challenge (RFC 5961 4).
    pub(super) const CHALLENGE: Field = Field::new(61, 1);
    /// Both sides have sent a SYN.
    pub(super) const SIMULTANEOUS: Field = Field::new(62, 1);
    /// [`Aside::retrans`] is not zero.
    pub(super) const RETRANS: Field = Field::new(63, 1);

    #[inline]
    fn get(self, field: Field) -> u64 {
        (self.0 & field.mask()) >> field.shift
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "fields that number something have 4 bits")]
    fn index(self, field: Field) -> usize {
        self.get(field) as usize
    }

    #[inline]
    fn put(&mut self, field: Field, value: u64) {
        debug_assert!(value < 1 << field.width);
        self.0 = self.0 & !field.mask() | value << field.shift & field.mask();
    }

    #[inline]
    pub(super) fn has(self, field: Field) -> bool {
        self.0 & field.mask() != 0
    }

    #[inline]
    pub(super) fn set(&mut self, field: Field, value: bool) {
        self.put(field, u64::from(value));
    }

    #[inline]
    pub(super) fn deadline(self) -> Time {
        #[expect(clippy::cast_possible_truncation, reason = "a field of 29 bits")]
        Time::from_bits(self.get(Self::DEADLINE) as u32)
    }

    #[inline]
    pub(super) fn set_deadline(&mut self, deadline: Time) {
        self.put(Self::DEADLINE, u64::from(deadline.bits()));
    }

    #[inline]
    pub(super) fn state(self) -> TcpState {
        TcpState::from_index(self.index(Self::STATE))
    }

    #[inline]
    pub(super) fn set_state(&mut self, state: TcpState) {
        self.put(Self::STATE, state as u64);
    }

    #[inline]
    pub(super) fn last_direction(self) -> Direction {
        if self.has(Self::LAST_DIRECTION) { Direction::Reply } else { Direction::Original }
    }

    #[inline]
    pub(super) fn last_class(self) -> Class {
        Class::from_index(self.index(Self::LAST_CLASS))
    }

    #[inline]
    pub(super) fn set_last(&mut self, class: Class, direction: Direction) {
        self.put(Self::LAST_CLASS, class as u64);
        self.put(Self::LAST_DIRECTION, direction as u64);
    }

    #[inline]
    pub(super) fn set_last_direction(&mut self, direction: Direction) {
        self.put(Self::LAST_DIRECTION, direction as u64);
    }

    #[inline]
    pub(super) fn scale(self, direction: Direction) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "a field of 4 bits")]
        let scale = self.get(Self::SCALE[direction as usize]) as u32;
        scale
    }

    #[inline]
    pub(super) fn set_scale(&mut self, direction: Direction, scale: u8) {
        self.put(Self::SCALE[direction as usize], u64::from(scale));
    }

    #[inline]
    pub(super) fn flags(self, direction: Direction) -> SideFlags {
        #[expect(clippy::cast_possible_truncation, reason = "a field of 5 bits")]
        SideFlags(self.get(Self::FLAGS[direction as usize]) as u8)
    }

    #[inline]
    pub(super) fn set_flags(&mut self, direction: Direction, flags: u8) {
        self.put(Self::FLAGS[direction as usize], u64::from(flags));
    }

    #[inline]
    pub(super) fn add_flags(&mut self, direction: Direction, flags: u8) {
        self.0 |= u64::from(flags) << Self::FLAGS[direction as usize].shift;
    }

    #[inline]
    pub(super) fn remove_flags(&mut self, direction: Direction, flags: u8) {
        self.0 &= !(u64::from(flags) << Self::FLAGS[direction as usize].shift);
    }

    #[inline]
    pub(super) fn kind(self) -> Kind {
        Kind::from_index(self.index(Self::KIND))
    }

    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.put(Self::KIND, kind as u64);
    }

    /// Whether anything has changed that the table or a listener should know of: state, assurance, first answer.
    #[inline]
    pub(super) fn has_changed_standing(self, before: Self) -> bool {
        const TOLD: u64 = Bits::STATE.mask() | Bits::ASSURED.mask() | Bits::SEEN_REPLY.mask();
        (self.0 ^ before.0) & TOLD != 0
    }

    /// Whether both sides' segments have been seen and the handshake is over (`nf_conntrack_tcp_established`).
    #[inline]
    pub(super) fn is_established(self) -> bool {
        self.state() == TcpState::Established && self.has(Self::ASSURED)
    }
}

impl Flow {
    /// A place where no flow is: of a kind that no packet has.
    pub(super) const FREE: Self = Self {
        bits: Bits((Kind::Free as u64) << Bits::KIND.shift),
        addresses: 0,
        sides: [Side { end: 0, max_end: 0, max_win: 0, max_ack: 0 }; 2],
        ports: 0,
        last_end: 0,
        last_ack: 0,
        last_win: 0,
        last_len: 0,
    };

    /// A flow that nothing is known of but who.
    pub(super) fn new(key: Key, kind: Kind, protocol: u8) -> Self {
        let mut bits = Bits::default();
        bits.set_kind(kind);
        bits.set_last(Class::None, Direction::Original);
        let last_len = if kind == Kind::Other { u16::from(protocol) } else { 0 };
        Self { bits, addresses: key.addresses, ports: key.ports, last_len, ..Self::default() }
    }

    #[inline]
    pub(super) fn key(&self) -> Key {
        Key { addresses: self.addresses, ports: self.ports }
    }

    /// Whether it is of this protocol.
    #[inline]
    pub(super) fn is_of(&self, kind: Kind, protocol: u8) -> bool {
        self.bits.kind() == kind && (kind != Kind::Other || self.last_len == u16::from(protocol))
    }

    /// Its IP protocol number.
    pub(super) fn protocol(&self) -> u8 {
        #[expect(clippy::cast_possible_truncation, reason = "Flow::new put a byte there")]
        self.bits.kind().protocol().unwrap_or(self.last_len as u8)
    }

    /// Annotates a segment (`last_seq`, `last_end`, `last_win` of `struct ip_ct_tcp`).
    #[inline]
    pub(super) fn set_last_range(&mut self, seq: u32, end: u32, window: u16) {
        self.last_end = end;
        // A segment is shorter than a datagram.
        #[expect(clippy::cast_possible_truncation, reason = "at most 65,535 bytes, SYN and FIN")]
        let len = end.wrapping_sub(seq) as u16;
        self.last_len = len;
        self.last_win = window;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_a_cache_line_and_the_fields_of_its_word_do_not_overlap() {
        assert_eq!((size_of::<Flow>(), align_of::<Flow>()), (64, 64));
        assert_eq!(size_of::<Aside>(), 16);
        let fields = [
            Bits::DEADLINE,
            Bits::STATE,
            Bits::LAST_DIRECTION,
            Bits::LAST_CLASS,
            Bits::SCALE[0],
            Bits::SCALE[1],
            Bits::FLAGS[0],
            Bits::FLAGS[1],
            Bits::CLOSE_INIT,
            Bits::SEEN_REPLY,
            Bits::ASSURED,
            Bits::KIND,
            Bits::CHALLENGE,
            Bits::SIMULTANEOUS,
            Bits::RETRANS,
        ];
        let all = fields.iter().fold(0, |taken: u64, field| {
            assert_eq!(taken & field.mask(), 0, "{field:?}");
            taken | field.mask()
        });
        assert_eq!(all, u64::MAX);
    }

    #[test]
    fn each_side_has_its_own_scale_and_flags() {
        let mut bits = Bits::default();
        bits.set_scale(Direction::Reply, 14);
        bits.add_flags(Direction::Original, SideFlags::SACK_PERM | SideFlags::MAXACK_SET);
        bits.remove_flags(Direction::Original, SideFlags::SACK_PERM);
        assert_eq!((bits.scale(Direction::Original), bits.scale(Direction::Reply)), (0, 14));
        assert_eq!(bits.flags(Direction::Original), SideFlags(SideFlags::MAXACK_SET));
        assert_eq!(bits.flags(Direction::Reply), SideFlags(0));
    }
}
