//! Whether a segment lies where it may, and what it then moves (`tcp_in_window`).
//!
//! Each side is known by what it sent ([`Side`]). A segment from the sender fits if
//!
//! ```text
//!   I    seq  <= sender.max_end                       it begins inside the receiver's window
//!   II   end  >= sender.end - receiver.max_win        it ends not before what the receiver can still want
//!   III  sack <= receiver.end                         it acknowledges nothing that was not sent
//!   IV   sack >= receiver.end - max(sender.max_win, 66,000)   nor what was acknowledged long ago
//! ```
//!
//! where `sack` is the highest edge that it acknowledges. Everything is compared modulo 2^32. Old data and old
//! acknowledgments (II, IV) do no harm and are ignored; the rest is invalid, except a segment that overshoots the
//! window a little: it is ignored, and remembered, for its receiver may acknowledge it all the same.

use super::super::Direction;
use super::super::flow::{Bits, Flow, Side, SideFlags};
use super::TcpState;
use super::segment::{ACK, RST, SYN, Segment};
use super::state::Class;

/// How far behind an acknowledgment may be, at least (`MAXACKWINCONST`).
const ACK_WINDOW_MIN: u32 = 66_000;

/// What becomes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// It lies in the window, or need not.
    Fits,
    /// It passes and moves nothing.
    Ignored,
    /// It is a little beyond the window: it passes, and is remembered.
    Overshoots,
    /// It is part of no connection.
    Invalid,
}

/// Whether sequence number `a` comes after `b`.
#[inline]
pub(super) fn is_after(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).cast_signed() < 0
}

#[inline]
fn is_before(a: u32, b: u32) -> bool {
    is_after(b, a)
}

/// Takes a SYN, or SYN and ACK, for the beginning of what its side sends (`tcp_init_sender`).
fn begin_side(flow: &mut Flow, segment: &Segment<'_>, direction: Direction) {
    let max_win = u32::from(segment.window.max(1));
    let side = &mut flow.sides[direction as usize];
    (side.end, side.max_end, side.max_win) = (segment.end, segment.end, max_win);
    take_options(flow, segment, direction);
    // RFC 7323 1.3: scaling holds if both sides offer it.
    let scales = |direction| flow.bits.flags(direction).has(SideFlags::WINDOW_SCALE);
    let both = scales(Direction::Original) && scales(Direction::Reply);
    if direction == Direction::Reply && !both {
        flow.bits.set_scale(Direction::Original, 0);
        flow.bits.set_scale(Direction::Reply, 0);
    }
}

/// Puts a SYN's options in place of what was known of its side; a header without options changes nothing.
pub(super) fn take_options(flow: &mut Flow, segment: &Segment<'_>, direction: Direction) {
    let Some(options) = segment.syn_options() else { return };
    let kept = flow.bits.flags(direction).0 & SideFlags::BE_LIBERAL;
    flow.bits.set_flags(direction, kept | options.flags);
    flow.bits.set_scale(direction, options.scale);
}

/// The first segment of a side whose beginning was missed.
fn pick_up_side(flow: &mut Flow, segment: &Segment<'_>, direction: Direction, sack: u32) {
    let window = u32::from(segment.window) << flow.bits.scale(direction);
    let max_win = window.max(1);
    let (sender, receiver) = sides(&mut flow.sides, direction);
    sender.end = segment.end;
    sender.max_win = max_win;
    sender.max_end = segment.end.wrapping_add(max_win);
    if receiver.max_win == 0 {
        // Nothing is known of the other side either: it must have sent what is acknowledged here.
        (receiver.end, receiver.max_end) = (sack, sack);
    } else if sack == receiver.end.wrapping_add(1) {
        // An answer to a keep-alive, which carries one byte too little.
        receiver.end = sack;
    }
}

#[inline]
fn sides(sides: &mut [Side; 2], direction: Direction) -> (&mut Side, &mut Side) {
    let [original, reply] = sides;
    match direction {
        Direction::Original => (original, reply),
        Direction::Reply => (reply, original),
    }
}

/// Checks a segment against the windows, and moves them if it fits. `retrans` counts equal acknowledgments.
#[inline]
pub(super) fn fit(
    flow: &mut Flow,
    retrans: &mut u8,
    segment: &Segment<'_>,
    direction: Direction,
    class: Class,
    liberal: bool,
) -> Fit {
    let state = flow.bits.state();
    let mut ack = segment.ack;
    let mut sack = ack;
    if flow.bits.flags(direction.opposite()).has(SideFlags::SACK_PERM) {
        sack = segment.highest_sack(ack);
    }
    let sender = &flow.sides[direction as usize];
    let is_syn = segment.has(SYN);
    if sender.max_win == 0 {
        if is_syn {
            begin_side(flow, segment, direction);
            if !segment.has(ACK) {
                return Fit::Fits; // A simultaneous open.
            }
        } else {
            pick_up_side(flow, segment, direction, sack);
        }
    } else if is_syn
        && is_after(segment.end, sender.end)
        && matches!(state, TcpState::SynSent | TcpState::SynRecv)
    {
        // A connection may be begun anew with larger sequence numbers (RFC 9293 3.4.3).
        begin_side(flow, segment, direction);
        if direction == Direction::Reply && !segment.has(ACK) {
            return Fit::Fits;
        }
    }
    let (sender, receiver) = sides(&mut flow.sides, direction);
    // Without ACK there is nothing to acknowledge; some set it in a reset and leave the number zero.
    if !segment.has(ACK) || segment.has(RST) && ack == 0 {
        (ack, sack) = (receiver.end, receiver.end);
    }
    let (mut seq, mut end) = (segment.seq, segment.end);
    if segment.has(RST) && seq == 0 && state == TcpState::SynSent {
        (seq, end) = (sender.end, sender.end); // It answers a SYN (RFC 9293 3.10.7.1).
    }
    let moved = Moved { seq, end, ack, sack, class, direction };
    let fit = judge(sender, receiver, &moved);
    if fit == Fit::Fits {
        advance(flow, retrans, segment, &moved);
        return fit;
    }
    if fit == Fit::Overshoots {
        flow.sides[direction as usize].end = end;
        flow.bits.add_flags(direction, SideFlags::DATA_UNACKNOWLEDGED);
    }
    let tolerant = liberal || flow.bits.flags(direction).has(SideFlags::BE_LIBERAL);
    if tolerant { Fit::Fits } else { fit }
}

/// The four conditions.
#[inline]
fn judge(sender: &Side, receiver: &Side, moved: &Moved) -> Fit {
    let Moved { seq, end, sack, .. } = *moved;
    let ack_floor = receiver.end.wrapping_sub(sender.max_win.max(ACK_WINDOW_MIN)).wrapping_sub(1);
    let seq_floor = sender.end.wrapping_sub(receiver.max_win).wrapping_sub(1);
    if !is_before(seq, sender.max_end.wrapping_add(1)) {
        let overshoot = end.wrapping_sub(sender.max_end).wrapping_add(1);
        let acceptable = receiver.max_win != 0
            && is_after(end, seq_floor)
            && is_after(sack, ack_floor)
            && overshoot <= receiver.max_win
            && is_before(sack, receiver.end.wrapping_add(1));
        return if acceptable { Fit::Overshoots } else { Fit::Invalid };
    }
    if !is_before(sack, receiver.end.wrapping_add(1)) {
        return Fit::Invalid;
    }
    let old_data = receiver.max_win != 0 && !is_after(end, seq_floor);
    if old_data || !is_after(sack, ack_floor) { Fit::Ignored } else { Fit::Fits }
}

/// A segment's numbers as they are to be taken.
struct Moved {
    seq: u32,
    end: u32,
    ack: u32,
    sack: u32,
    class: Class,
    direction: Direction,
}

/// Moves the windows by a segment that fits.
#[inline]
fn advance(flow: &mut Flow, retrans: &mut u8, segment: &Segment<'_>, moved: &Moved) {
    let Moved { end, ack, sack, class, direction, .. } = *moved;
    let bits = &mut flow.bits;
    let scale = if segment.has(SYN) { 0 } else { bits.scale(direction) };
    let window = u32::from(segment.window) << scale;
    let (sender, receiver) = sides(&mut flow.sides, direction);
    sender.max_win = sender.max_win.max(window.wrapping_add(sack.wrapping_sub(ack)));
    if is_after(end, sender.end) {
        sender.end = end;
        bits.add_flags(direction, SideFlags::DATA_UNACKNOWLEDGED);
    }
    if segment.has(ACK) {
        let known = bits.flags(direction).has(SideFlags::MAXACK_SET);
        if !known || is_after(ack, sender.max_ack) {
            sender.max_ack = ack;
            bits.add_flags(direction, SideFlags::MAXACK_SET);
        }
    }
    if receiver.max_win != 0 && is_after(end, sender.max_end) {
        let beyond = end.wrapping_sub(sender.max_end);
        receiver.max_win = receiver.max_win.wrapping_add(beyond);
    }
    let allowed = sack.wrapping_add(window);
    if is_after(allowed, receiver.max_end.wrapping_sub(1)) {
        receiver.max_end = allowed.wrapping_add(u32::from(window == 0));
    }
    if ack == receiver.end {
        bits.remove_flags(direction.opposite(), SideFlags::DATA_UNACKNOWLEDGED);
    }
    if class == Class::Ack {
        count_repetition(flow, retrans, segment.window, moved);
    }
}

/// Counts how often the same acknowledgment came in a row.
#[inline]
fn count_repetition(flow: &mut Flow, retrans: &mut u8, window: u16, moved: &Moved) {
    let Moved { seq, end, ack, direction, .. } = *moved;
    let last_seq = flow.last_end.wrapping_sub(u32::from(flow.last_len));
    let same = flow.bits.last_direction() == direction
        && (last_seq, flow.last_end, flow.last_ack, flow.last_win) == (seq, end, ack, window);
    if same {
        let before = if flow.bits.has(Bits::RETRANS) { *retrans } else { 0 };
        *retrans = before.wrapping_add(1);
        flow.bits.set(Bits::RETRANS, *retrans != 0);
        return;
    }
    flow.bits.set_last_direction(direction);
    flow.set_last_range(seq, end, window);
    flow.last_ack = ack;
    flow.bits.set(Bits::RETRANS, false);
}
