//! `FlowRecord`: everything of a flow that outlives its process, as bytes.
//!
//! ```text
//!    0  family       1  4 or 6
//!    1  protocol     1  IP protocol number
//!    2  ports        4  source, destination (ICMP: identifier, type and code)
//!    6  state        1  of a TCP connection
//!    7  last class   1
//!    8  marks        1  bit 0 close_init, 1 seen_reply, 2 assured, 3 challenge, 4 simultaneous, 5 last direction
//!    9  scale        2  original, reply
//!   11  flags        2  likewise
//!   13  retrans      1
//!   14  last scale   1
//!   15  last flags   1
//!   16  last_win     2
//!   18  last_len     2
//!   20  lifetime     4  ms that are left
//!   24  last_end     4  of UDP: ms until the flow is a stream, 0 if it may be one
//!   28  last_ack     4
//!   32  sides       32  two times: end, max end, max window, max ack
//!   64  source      16  of IPv4 the first four bytes, then zeros
//!   80  destination 16
//!   96  mark         4
//!  100  counts      32  two times: packets, bytes; 0 of a flow that was not counted, and it is from then on
//! ```
//!
//! Numbers are little-endian, addresses in the order of the wire. Moments of the old process' clock stand there as
//! spans of time from the snapshot on. What no flow of the tracker can look like is refused: a record is checked for
//! what the tracker relies on, and more.

use super::super::clock::{TICK_NS, Ticks, Time};
use super::super::count::FlowCount;
use super::super::datagram::{STREAM_AGE, is_query};
use super::super::flow::{Aside, Bits, Field, Flow, Side, SideFlags};
use super::super::packet::SCTP;
use super::super::tcp::{Class, TcpState};
use super::super::tuple::{Key, Tuple};
use super::super::{Direction, Kind, TIMEOUT_S_MAX, view};

/// Bytes of a record.
pub const RECORD_BYTES: usize = 132;

/// Longest lifetime, in milliseconds.
const LEFT_MS_MAX: u32 = TIMEOUT_S_MAX * 1000;

/// Largest window scale (RFC 7323 2.3).
const SCALE_MAX: u8 = 14;

/// All bits that [`SideFlags`] has.
const FLAGS_MAX: u8 = SideFlags::WINDOW_SCALE
    | SideFlags::SACK_PERM
    | SideFlags::BE_LIBERAL
    | SideFlags::DATA_UNACKNOWLEDGED
    | SideFlags::MAXACK_SET;

/// Marks from bit 0 on; the last direction is the bit behind them.
const MARKS: [Field; 5] =
    [Bits::CLOSE_INIT, Bits::SEEN_REPLY, Bits::ASSURED, Bits::CHALLENGE, Bits::SIMULTANEOUS];

const DIRECTIONS: [Direction; 2] = [Direction::Original, Direction::Reply];

#[expect(clippy::cast_possible_truncation, reason = "4")]
const TICK_MS: u32 = (TICK_NS / 1_000_000) as u32;

/// A flow as of a moment, without the clock and the place that it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowRecord {
    /// Without deadline. `last_end` of UDP is a span in milliseconds: see the module.
    pub(super) flow: Flow,
    /// Source and destination of an IPv6 flow.
    pub(super) addresses6: Option<[u128; 2]>,
    pub(super) retrans: u8,
    pub(super) last_scale: u8,
    pub(super) last_flags: u8,
    pub(super) mark: u32,
    pub(super) counts: [FlowCount; 2],
    left_ms: u32,
}

impl FlowRecord {
    /// The record of a flow; `None` if its time is over.
    pub(super) fn of(
        flow: &Flow,
        aside: &Aside,
        addresses6: Option<&[u128; 2]>,
        (mark, counts): (u32, [FlowCount; 2]),
        now: Time,
    ) -> Option<Self> {
        let deadline = flow.bits.deadline();
        if deadline.is_over(now) {
            return None;
        }
        let left_ms = u32::try_from(deadline.left(now).as_ms()).unwrap_or(LEFT_MS_MAX);
        let retrans = if flow.bits.has(Bits::RETRANS) { aside.retrans } else { 0 };
        let mut flow = *flow;
        flow.bits.set_deadline(Time::default());
        if flow.bits.kind() == Kind::Udp {
            // It is a stream once that moment is over, not when it is reached.
            let ahead = Time::from_bits(flow.last_end).since(now);
            let ticks = u32::try_from(ahead).ok().filter(|ticks| *ticks <= STREAM_AGE.0);
            flow.last_end = ticks.map_or(0, |ticks| (ticks + 1) * TICK_MS);
        }
        let (last_scale, last_flags) = (aside.last_scale, aside.last_flags);
        let left_ms = left_ms.min(LEFT_MS_MAX);
        Some(Self {
            flow,
            addresses6: addresses6.copied(),
            retrans,
            last_scale,
            last_flags,
            mark,
            counts,
            left_ms,
        })
    }

    /// The flow at `now`, `elapsed_ms` after the snapshot, and how long it has left; `None` if its time is over.
    pub(super) fn settled(&self, elapsed_ms: u64, now: Time) -> Option<(Flow, Ticks)> {
        let elapsed_ms = u32::try_from(elapsed_ms).unwrap_or(u32::MAX);
        let left = self.left_ms.saturating_sub(elapsed_ms) / TICK_MS;
        let mut flow = self.flow;
        if flow.bits.kind() == Kind::Udp {
            let ahead = flow.last_end.saturating_sub(elapsed_ms).div_ceil(TICK_MS);
            flow.last_end = Time::from_bits(now.bits().wrapping_add(ahead).wrapping_sub(1)).bits();
        }
        (left > 0).then_some((flow, Ticks(left)))
    }

    /// The tuple of the flow's first packet.
    #[must_use]
    pub fn tuple(&self) -> Tuple {
        view::tuple(&self.flow, self.addresses6.as_ref())
    }

    /// How long it had to live when the snapshot was taken, in milliseconds.
    #[must_use]
    pub fn left_ms(&self) -> u64 {
        self.left_ms.into()
    }

    /// Makes all segments of a TCP connection valid wherever they lie, as `tcp_be_liberal` does for all connections:
    /// for one whose segments went another way meanwhile, so that its windows are of before.
    pub fn believe_anywhere(&mut self) {
        if self.flow.bits.kind() == Kind::Tcp {
            for direction in DIRECTIONS {
                self.flow.bits.add_flags(direction, SideFlags::BE_LIBERAL);
            }
        }
    }

    /// The record as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let Self { flow, addresses6, .. } = self;
        let (bits, tuple) = (flow.bits, self.tuple());
        let mut bytes = [0; RECORD_BYTES];
        let mut pen = Pen(&mut bytes);
        pen.put([if addresses6.is_some() { 6 } else { 4 }, flow.protocol()]);
        pen.put(tuple.source_port.to_le_bytes());
        pen.put(tuple.destination_port.to_le_bytes());
        let mut marks = (bits.last_direction() as u8) << MARKS.len();
        for (bit, mark) in MARKS.into_iter().enumerate() {
            marks |= u8::from(bits.has(mark)) << bit;
        }
        pen.put([bits.state() as u8, bits.last_class() as u8, marks]);
        #[expect(clippy::cast_possible_truncation, reason = "a field of 4 bits")]
        pen.put(DIRECTIONS.map(|direction| bits.scale(direction) as u8));
        pen.put(DIRECTIONS.map(|direction| bits.flags(direction).0));
        pen.put([self.retrans, self.last_scale, self.last_flags]);
        pen.put(flow.last_win.to_le_bytes());
        pen.put(flow.last_len.to_le_bytes());
        for number in [self.left_ms, flow.last_end, flow.last_ack] {
            pen.put(number.to_le_bytes());
        }
        for Side { end, max_end, max_win, max_ack } in flow.sides {
            for number in [end, max_end, max_win, max_ack] {
                pen.put(number.to_le_bytes());
            }
        }
        let addresses = addresses6.unwrap_or_else(|| {
            let word = u128::from(flow.addresses);
            [word >> 32 << 96, word << 96]
        });
        for address in addresses {
            pen.put(address.to_be_bytes());
        }
        pen.put(self.mark.to_le_bytes());
        for FlowCount { packets, bytes } in self.counts {
            pen.put(packets.to_le_bytes());
            pen.put(bytes.to_le_bytes());
        }
        bytes
    }

    /// Reads a record.
    ///
    /// # Errors
    /// The name of the field that is not as any flow's can be.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, &'static str> {
        let mut reading = Reading(bytes);
        let [family, protocol] = reading.take();
        let ports = [reading.take(), reading.take()].map(u16::from_le_bytes);
        let [state, class, marks] = reading.take::<3>();
        let scales = reading.take::<2>();
        let flags = reading.take::<2>();
        let [retrans, last_scale, last_flags] = reading.take::<3>();
        let [last_win, last_len] = [reading.take(), reading.take()].map(u16::from_le_bytes);
        let [left_ms, last_end, last_ack] =
            [reading.take(), reading.take(), reading.take()].map(u32::from_le_bytes);
        let mut side = || {
            let numbers = [reading.take(), reading.take(), reading.take(), reading.take()]
                .map(u32::from_le_bytes);
            let [end, max_end, max_win, max_ack] = numbers;
            Side { end, max_end, max_win, max_ack }
        };
        let sides = [side(), side()];
        let (tuple, addresses6) = who(family, protocol, ports, [reading.take(), reading.take()])?;
        let mark = u32::from_le_bytes(reading.take());
        let mut count = || {
            let [packets, bytes] = [reading.take(), reading.take()].map(u64::from_le_bytes);
            FlowCount { packets, bytes }
        };
        let counts = [count(), count()];
        let kind = Kind::of(protocol, family == 4);
        let mut flow = Flow::new(Key::new(&tuple), kind, protocol);
        (flow.sides, flow.last_end, flow.last_ack) = (sides, last_end, last_ack);
        (flow.last_win, flow.last_len) = (last_win, last_len);
        if !flow.is_of(kind, protocol) {
            return Err("protocol");
        }
        let bits = &mut flow.bits;
        bits.set_state(known(state, TcpState::COUNT, TcpState::from_index).ok_or("state")?);
        let last_class = known(class, Class::COUNT, Class::from_index).ok_or("last class")?;
        if marks >> (MARKS.len() + 1) != 0 {
            return Err("marks");
        }
        bits.set_last(last_class, DIRECTIONS[usize::from(marks >> MARKS.len())]);
        for (bit, mark) in MARKS.into_iter().enumerate() {
            bits.set(mark, marks >> bit & 1 == 1);
        }
        if scales.into_iter().chain([last_scale]).any(|scale| scale > SCALE_MAX) {
            return Err("window scale");
        }
        if flags.into_iter().chain([last_flags]).any(|flags| flags > FLAGS_MAX) {
            return Err("flags");
        }
        for (direction, (scale, flags)) in DIRECTIONS.into_iter().zip(scales.into_iter().zip(flags))
        {
            bits.set_scale(direction, scale);
            bits.set_flags(direction, flags);
        }
        bits.set(Bits::RETRANS, retrans != 0);
        let record =
            Self { flow, addresses6, retrans, last_scale, last_flags, mark, counts, left_ms };
        record.is_possible().map(|()| record)
    }

    /// What its fields must have in common.
    fn is_possible(&self) -> Result<(), &'static str> {
        let Self { flow, left_ms, .. } = self;
        let bits = flow.bits;
        if !(1..=LEFT_MS_MAX).contains(left_ms) {
            return Err("lifetime");
        }
        if bits.has(Bits::ASSURED) && !bits.has(Bits::SEEN_REPLY) {
            return Err("assured, but never answered");
        }
        if bits.kind() == Kind::Tcp {
            return if bits.state() == TcpState::None { Err("state") } else { Ok(()) };
        }
        if bits.kind() == Kind::Udp && flow.last_end > (STREAM_AGE.0 + 1) * TICK_MS {
            return Err("time until it is a stream");
        }
        let mut plain = Flow::new(flow.key(), bits.kind(), flow.protocol());
        for mark in [Bits::SEEN_REPLY, Bits::ASSURED] {
            plain.bits.set(mark, bits.has(mark));
        }
        if bits.kind() == Kind::Udp {
            plain.last_end = flow.last_end;
        }
        let aside = [self.retrans, self.last_scale, self.last_flags];
        if plain == *flow && aside == [0; 3] {
            Ok(())
        } else {
            Err("TCP state of another protocol")
        }
    }
}

/// What a number stands for, if it is below `count`.
fn known<T>(number: u8, count: usize, from_index: fn(usize) -> T) -> Option<T> {
    Some(usize::from(number)).filter(|index| *index < count).map(from_index)
}

/// The tuple, and the addresses of IPv6.
fn who(
    family: u8,
    protocol: u8,
    [source_port, destination_port]: [u16; 2],
    addresses: [[u8; 16]; 2],
) -> Result<(Tuple, Option<[u128; 2]>), &'static str> {
    let ([source, destination], addresses6) = match family {
        4 => {
            if addresses.iter().any(|address| address[4..] != [0; 12]) {
                return Err("IPv4 address");
            }
            (addresses.map(|[a, b, c, d, ..]| [a, b, c, d].into()), None)
        }
        6 => (addresses.map(Into::into), Some(addresses.map(u128::from_be_bytes))),
        _ => return Err("address family"),
    };
    let tuple = Tuple { source, destination, source_port, destination_port, protocol };
    let can_begin = match Kind::of(protocol, family == 4) {
        Kind::Tcp | Kind::Udp => true,
        kind @ (Kind::Icmp | Kind::Icmpv6) => is_query(kind, destination_port.to_be_bytes()[0]),
        Kind::Gre => source_port == 0,
        Kind::Free => false,
        Kind::Other => protocol == SCTP || (source_port, destination_port) == (0, 0),
    };
    if !can_begin || tuple.inverted().is_none() {
        return Err("tuple");
    }
    Ok((tuple, addresses6))
}

/// Writes from the front on. A record has room for all of its fields.
struct Pen<'a>(&'a mut [u8]);

impl Pen<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some((front, rest)) = std::mem::take(&mut self.0).split_first_chunk_mut() {
            *front = bytes;
            self.0 = rest;
        }
    }
}

/// Reads from the front on.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let Some((front, rest)) = self.0.split_first_chunk() else { return [0; N] };
        self.0 = rest;
        *front
    }
}
