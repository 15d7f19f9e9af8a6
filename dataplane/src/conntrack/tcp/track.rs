//! A segment of a flow, in order (`nf_conntrack_tcp_packet`).

use super::super::flow::{Aside, Bits, Flow, SideFlags};
use super::super::settings::{Settings, Timeouts};
use super::super::{Direction, Step as Outcome};
use super::TcpState;
use super::segment::Segment;
use super::state::{self, Class, Step};
use super::window::{self, Fit, is_after, take_options};
use crate::conntrack::clock::{Ticks, Time};

/// Prepares a new flow for its first segment; false if that segment cannot begin one (`tcp_new`).
pub(in super::super) fn begin(flow: &mut Flow, segment: &Segment<'_>, settings: &Settings) -> bool {
    let max_win = u32::from(segment.window.max(1));
    match state::step(Direction::Original, segment.class(), TcpState::None) {
        Step::To(TcpState::SynSent) => {
            let side = &mut flow.sides[Direction::Original as usize];
            (side.end, side.max_end, side.max_win) = (segment.end, segment.end, max_win);
            take_options(flow, segment, Direction::Original);
            true
        }
        Step::To(_) if settings.tcp_loose => {
            // Its beginning was missed: believe what it says, and expect any window scale.
            let side = &mut flow.sides[Direction::Original as usize];
            (side.end, side.max_win) = (segment.end, max_win);
            side.max_end = segment.end.wrapping_add(max_win);
            for direction in [Direction::Original, Direction::Reply] {
                flow.bits.set_flags(direction, SideFlags::SACK_PERM | SideFlags::BE_LIBERAL);
            }
            true
        }
        Step::To(_) | Step::Ignore | Step::Invalid => false,
    }
}

/// What the special cases make of a step of the table.
enum Decision {
    /// Look at the window, then go to this state.
    Check(TcpState),
    /// Go to this state without a look at the window.
    Skip(TcpState),
    /// It ends here.
    End(Outcome),
}

/// Takes a segment of the flow in. `now` is only looked at to shorten a life.
#[inline]
pub(in super::super) fn follow(
    flow: &mut Flow,
    aside: &mut Aside,
    segment: &Segment<'_>,
    direction: Direction,
    (settings, timeouts): (&Settings, &Timeouts),
    now: Time,
) -> Outcome {
    let class = segment.class();
    let mut before = flow.bits.state();
    let decision = match state::step(direction, class, before) {
        Step::To(TcpState::Established) => Decision::Check(TcpState::Established),
        Step::Invalid => return Outcome::Invalid,
        Step::Ignore => ignore(flow, aside, segment, direction, &mut before),
        Step::To(next) => special(flow, aside, segment, direction, settings, (&mut before, next)),
    };
    let next = match decision {
        Decision::End(outcome) => return outcome,
        Decision::Skip(next) => next,
        Decision::Check(next) => {
            let liberal = settings.tcp_be_liberal;
            match window::fit(flow, &mut aside.retrans, segment, direction, class, liberal) {
                Fit::Fits => next,
                Fit::Ignored | Fit::Overshoots => return Outcome::Pass,
                Fit::Invalid => {
                    return refuse(flow, direction, class, timeouts, now);
                }
            }
        }
    };
    flow.bits.set_last(class, direction);
    flow.bits.set_state(next);
    if before != next && next == TcpState::FinWait {
        flow.bits.set(Bits::CLOSE_INIT, true);
    }
    let timeout = timeout(flow, aside, class, next, settings, timeouts);
    conclude(flow, class, (before, next), timeout, timeouts)
}

/// The lifetime that a segment gives its flow.
#[inline]
fn timeout(
    flow: &Flow,
    aside: &Aside,
    class: Class,
    next: TcpState,
    settings: &Settings,
    timeouts: &Timeouts,
) -> Ticks {
    let table = timeouts.tcp[next as usize];
    let retrans = if flow.bits.has(Bits::RETRANS) { aside.retrans } else { 0 };
    let unacknowledged =
        |direction: Direction| flow.bits.flags(direction).has(SideFlags::DATA_UNACKNOWLEDGED);
    if retrans >= settings.tcp_max_retrans && table > timeouts.tcp_max_retrans {
        timeouts.tcp_max_retrans
    } else if class == Class::Rst {
        timeouts.tcp[TcpState::Close as usize]
    } else if table > timeouts.tcp_unacknowledged
        && (unacknowledged(Direction::Original) || unacknowledged(Direction::Reply))
    {
        timeouts.tcp_unacknowledged
    } else if flow.last_win == 0 && table > timeouts.tcp_max_retrans {
        timeouts.tcp_max_retrans
    } else {
        table
    }
}

/// What depends on whether the flow was ever answered.
#[inline]
fn conclude(
    flow: &mut Flow,
    class: Class,
    (before, next): (TcpState, TcpState),
    timeout: Ticks,
    timeouts: &Timeouts,
) -> Outcome {
    if !flow.bits.has(Bits::SEEN_REPLY) {
        return match class {
            // The only answer to a SYN is a refusal: nothing is to be tracked.
            Class::Rst => Outcome::Kill,
            // Else whoever repeats its SYN keeps an unanswered flow alive for ever.
            Class::Syn if before == TcpState::SynSent => Outcome::Pass,
            _ if next == TcpState::Established => {
                Outcome::Live(timeout.min(timeouts.tcp_unacknowledged))
            }
            _ => Outcome::Live(timeout),
        };
    }
    if !flow.bits.has(Bits::ASSURED)
        && matches!(before, TcpState::SynRecv | TcpState::Established)
        && next == TcpState::Established
    {
        flow.bits.set(Bits::ASSURED, true);
    }
    Outcome::Live(timeout)
}

/// States that the table cannot tell alone.
fn special(
    flow: &mut Flow,
    aside: &mut Aside,
    segment: &Segment<'_>,
    direction: Direction,
    settings: &Settings,
    (before, next): (&mut TcpState, TcpState),
) -> Decision {
    match next {
        TcpState::SynSent if matches!(*before, TcpState::TimeWait | TcpState::Close) => {
            // The ends may open the connection anew (RFC 9293 3.6.1), if we have seen it end.
            let aborted =
                flow.bits.last_direction() == direction && flow.bits.last_class() == Class::Rst;
            if flow.bits.has(Bits::CLOSE_INIT) || aborted {
                return Decision::End(Outcome::Reopen);
            }
            ignore(flow, aside, segment, direction, before)
        }
        TcpState::TimeWait => {
            let challenge = *before == TcpState::LastAck
                && segment.class() == Class::Ack
                && flow.bits.last_direction() != direction
                && flow.bits.last_class() == Class::Syn
                && flow.bits.has(Bits::CHALLENGE);
            if challenge {
                // It answers the SYN that was let through, and acknowledges no FIN (RFC 5961 4).
                flow.bits.set(Bits::CHALLENGE, false);
                return Decision::End(Outcome::Pass);
            }
            Decision::Check(next)
        }
        TcpState::SynSent2 => {
            flow.bits.set(Bits::SIMULTANEOUS, true);
            Decision::Check(next)
        }
        TcpState::SynRecv
            if direction == Direction::Reply
                && segment.class() == Class::Ack
                && flow.bits.has(Bits::SIMULTANEOUS) =>
        {
            Decision::Check(TcpState::Established)
        }
        TcpState::Close if segment.class() == Class::Rst => {
            reset(flow, segment, direction, settings, *before)
        }
        _ => Decision::Check(next),
    }
}

/// A segment that passes without moving the connection, but may belong to one that we do not know of.
fn ignore(
    flow: &mut Flow,
    aside: &mut Aside,
    segment: &Segment<'_>,
    direction: Direction,
    before: &mut TcpState,
) -> Decision {
    let class = segment.class();
    if class == Class::SynAck
        && flow.bits.last_class() == Class::Syn
        && flow.bits.last_direction() != direction
        && segment.ack == flow.last_end
    {
        // It answers the SYN that was ignored: the ends agree, and we go along.
        *before = TcpState::SynSent;
        resynchronise(flow, aside, direction);
        return Decision::Check(TcpState::SynRecv);
    }
    flow.bits.set_last(class, direction);
    flow.set_last_range(segment.seq, segment.end, segment.window);
    if class == Class::Syn && direction == Direction::Original {
        let options = segment.syn_options().unwrap_or_default();
        (aside.last_scale, aside.last_flags) = (options.scale, options.flags);
        // The flags of before belong to another SYN.
        flow.bits.set(Bits::SIMULTANEOUS, false);
        flow.bits.set(Bits::CHALLENGE, *before == TcpState::LastAck);
    }
    if *before == TcpState::SynSent && class == Class::Ack && direction == Direction::Reply {
        // Perhaps a challenge: a reset that answers it will have this number.
        flow.last_ack = segment.ack;
    }
    Decision::End(Outcome::Pass)
}

/// Puts what the ignored SYN said in place of what was known; the other side begins with this segment.
fn resynchronise(flow: &mut Flow, aside: &Aside, direction: Direction) {
    let other = direction.opposite();
    let (end, max_win) = (flow.last_end, u32::from(flow.last_win.max(1)));
    let side = &mut flow.sides[other as usize];
    (side.end, side.max_end, side.max_win) = (end, end, max_win);
    flow.bits.set_scale(other, aside.last_scale);
    flow.bits.set(Bits::CHALLENGE, false);
    flow.bits.set_flags(other, aside.last_flags);
    let kept = flow.bits.flags(direction).0 & SideFlags::BE_LIBERAL;
    flow.sides[direction as usize] = super::super::flow::Side::default();
    flow.bits.set_flags(direction, kept);
    flow.bits.set_scale(direction, 0);
    // Of both sides: neither has begun to close what begins now.
    flow.bits.set(Bits::CLOSE_INIT, false);
}

/// A reset: whoever guesses addresses and ports must not end a connection (RFC 5961 3).
fn reset(
    flow: &mut Flow,
    segment: &Segment<'_>,
    direction: Direction,
    settings: &Settings,
    before: TcpState,
) -> Decision {
    let mut next = TcpState::Close;
    if state::is_closing(before) {
        // The ends may have begun anew with the same ports; what we know is of before.
        return Decision::Skip(next);
    }
    let other = direction.opposite();
    let last = flow.bits.last_class();
    if flow.bits.flags(other).has(SideFlags::MAXACK_SET) && last != Class::Syn {
        let expected = flow.sides[other as usize].max_ack;
        if segment.seq == 0 && !flow.bits.is_established() {
            return Decision::Check(next); // Most likely the answer to a SYN that was let through.
        }
        if is_after(expected, segment.seq) && !settings.tcp_ignore_invalid_rst {
            return Decision::End(Outcome::Invalid);
        }
        let follows_own_data = last == Class::Ack
            && flow.bits.last_direction() == direction
            && segment.seq == flow.last_end;
        if !flow.bits.is_established() || segment.seq == expected || follows_own_data {
            return Decision::Check(next);
        }
        // Not exactly where it should be: its receiver may challenge it, so the connection stays.
        next = before;
    }
    let by_other = flow.bits.last_direction() != direction;
    let answers_ignored = flow.bits.has(Bits::SEEN_REPLY) && last == Class::Syn && by_other
        || !flow.bits.has(Bits::ASSURED) && last == Class::Ack;
    if answers_ignored && segment.ack == flow.last_end {
        return Decision::Skip(next);
    }
    let answers_challenge = before == TcpState::SynSent
        && last == Class::Ack
        && flow.bits.last_direction() == Direction::Reply
        && segment.seq == flow.last_ack;
    if answers_challenge { Decision::Skip(next) } else { Decision::Check(next) }
}

/// A segment out of the window. If both ends try to close a connection by such, it will not live for days more
/// (`nf_tcp_handle_invalid`).
#[cold]
fn refuse(
    flow: &mut Flow,
    direction: Direction,
    class: Class,
    timeouts: &Timeouts,
    now: Time,
) -> Outcome {
    if !flow.bits.has(Bits::ASSURED) || !matches!(class, Class::Rst | Class::Fin) {
        return Outcome::Invalid;
    }
    let answers = flow.bits.last_direction() != direction
        && matches!(flow.bits.last_class(), Class::Fin | Class::Rst);
    if !answers {
        flow.bits.set_last(class, direction);
        return Outcome::Invalid;
    }
    let left = flow.bits.deadline().left(now);
    if left >= Ticks::from_seconds(120) && left > timeouts.tcp_unacknowledged {
        return Outcome::InvalidShortened(timeouts.tcp_unacknowledged);
    }
    Outcome::Invalid
}
