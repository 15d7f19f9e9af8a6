//! What a segment does (RFC 9293 section 3.10.7, in its order; RFC 5961 for what may be forged).

use weir_dataplane::wire::TcpFlags;

use super::send::is_old;
use super::sequence::distance;
use super::{
    Connection, End, Flags, NEVER, SACK_BLOCKS, Segment, State, TcpSettings, milliseconds,
};

/// Challenge acknowledgments are at least so far apart, in milliseconds (Linux: `tcp_invalid_ratelimit`).
const CHALLENGE_MS: u32 = 500;

/// What a segment came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The handshake is done, by this segment.
    pub connected: bool,
    /// So many bytes more have arrived without a gap.
    pub bytes: u32,
    /// The connection has come to its end, which is told once: in TIME-WAIT ([`End::Closed`]) it still remembers, else
    /// it is closed.
    pub end: Option<End>,
    /// The segment is none that this connection takes: it is to be answered by a reset
    /// ([`stray_reset`](super::stray_reset)).
    pub refused: bool,
}

impl Connection {
    /// Takes a segment.
    pub fn receive(&mut self, settings: &TcpSettings, now_ns: u64, segment: &Segment) -> Outcome {
        let mut outcome = Outcome::default();
        match self.state {
            State::Closed => outcome.refused = true,
            State::SynSent => self.in_syn_sent(settings, now_ns, segment, &mut outcome),
            _ => self.in_order(settings, now_ns, segment, &mut outcome),
        }
        self.watch_window(settings, now_ns);
        outcome
    }

    /// A shut window is asked after (RFC 9293 section 3.8.6.1).
    pub(super) fn watch_window(&mut self, settings: &TcpSettings, now_ns: u64) {
        let left = self.said > self.nxt && self.is_synchronized() && self.state != State::Closed;
        if left && self.timer_ns == NEVER && self.flight() == 0 && self.window == 0 {
            self.start_timer(settings, now_ns);
        }
    }

    /// Section 3.10.7.3.
    fn in_syn_sent(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let acknowledges = distance(self.iss, segment.acknowledgment) == 1 && self.max == 1;
        if segment.has(TcpFlags::ACK) && !acknowledges {
            outcome.refused = true;
            return;
        }
        if segment.has(TcpFlags::RST) {
            if segment.has(TcpFlags::ACK) {
                self.close();
                outcome.end = Some(End::Reset);
            }
            return;
        }
        if !segment.has(TcpFlags::SYN) {
            return;
        }
        self.agree(settings, segment);
        if segment.has(TcpFlags::ACK) {
            self.synchronize(settings, now_ns, segment, outcome);
            self.flags.set(Flags::ACK_NOW);
            self.flags.set(Flags::ACK_ALONE);
        } else {
            // Both have asked at once: our SYN again, now as an answer.
            self.state = State::SynReceived;
            self.nxt = 0;
        }
    }

    /// The handshake is done: our SYN is acknowledged.
    fn synchronize(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        self.measure(now_ns, 1, segment);
        let syn_lost = self.flags.has(Flags::SYN_LOST);
        if syn_lost {
            self.round_trip.assume(settings);
        }
        self.round_trip.recovered();
        self.congestion.begin(u32::from(self.mss), settings.initial_window, syn_lost);
        (self.una, self.nxt) = (1, self.nxt.max(1));
        (self.retries, self.timer_ns) = (0, NEVER);
        self.state = State::Established;
        outcome.connected = true;
    }

    /// Section 3.10.7.4.
    fn in_order(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let at = distance(self.irs, segment.sequence);
        if self.state == State::SynReceived && segment.has(TcpFlags::SYN) && at == 0 {
            // The peer has not heard us: once more. In a simultaneous open this one may hold the acknowledgment.
            if !segment.has(TcpFlags::ACK) {
                self.nxt = 0;
                return;
            }
        } else if !self.is_acceptable(settings, now_ns, segment, at, outcome) {
            return;
        }
        if !segment.has(TcpFlags::ACK) || !self.acknowledged(settings, now_ns, segment, outcome) {
            return;
        }
        self.take_data(settings, now_ns, segment, outcome);
    }

    /// Old repetitions, numbers outside the window, resets, SYNs.
    fn is_acceptable(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        at: i32,
        outcome: &mut Outcome,
    ) -> bool {
        let is_reset = segment.has(TcpFlags::RST);
        if let (true, Some((value, _))) =
            (self.flags.has(Flags::TIMESTAMPS), segment.options.timestamps)
            && !is_reset
            && is_old(value, self.peer_clock)
        {
            self.owe_for_old(settings, now_ns, segment);
            return false;
        }
        let (at, rcv) = (i64::from(at), i64::from(self.rcv));
        let end = at + i64::from(segment.length());
        let behind = rcv + i64::from(self.own_window(settings));
        let in_window = if segment.length() == 0 {
            at >= rcv && at <= behind
        } else {
            end > rcv && at < behind
        };
        if !in_window {
            if !is_reset {
                self.owe_for_old(settings, now_ns, segment);
            }
            return false;
        }
        if is_reset {
            if at == rcv {
                // The end of what is in TIME-WAIT has been told.
                outcome.end = (self.state != State::TimeWait).then_some(End::Reset);
                self.close();
            } else {
                self.challenge(now_ns);
            }
            return false;
        }
        if segment.has(TcpFlags::SYN) {
            self.challenge(now_ns);
            return false;
        }
        true
    }

    /// A segment that is not acceptable is answered by an acknowledgment: data, SYN and FIN at once, for the peer has
    /// missed one; what is empty is so at most twice a second, lest two ends answer each other for ever.
    fn owe_for_old(&mut self, settings: &TcpSettings, now_ns: u64, segment: &Segment) {
        if segment.data_bytes > 0
            || segment.has(TcpFlags::FIN)
            || segment.has(TcpFlags::SYN)
            || self.is_probe(segment)
        {
            self.flags.set(Flags::ACK_NOW);
            if self.state == State::TimeWait && segment.has(TcpFlags::FIN) {
                self.wait(settings, now_ns);
            }
        } else if distance(self.irs.wrapping_add(self.rcv), segment.sequence) > 0 {
            self.challenge(now_ns);
        }
    }

    /// An empty segment with the number before the next: a keep-alive or a zero window probe.
    fn is_probe(&self, segment: &Segment) -> bool {
        segment.length() == 0 && segment.sequence == self.irs.wrapping_add(self.rcv).wrapping_sub(1)
    }

    fn challenge(&mut self, now_ns: u64) {
        let now_ms = milliseconds(now_ns);
        if self.challenged_ms == 0 || now_ms.wrapping_sub(self.challenged_ms) >= CHALLENGE_MS {
            self.challenged_ms = now_ms.max(1);
            self.flags.set(Flags::ACK_NOW);
        }
    }

    /// What the acknowledgment does; whether the segment is looked at further.
    fn acknowledged(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        outcome: &mut Outcome,
    ) -> bool {
        let ack = i64::from(distance(self.iss, segment.acknowledgment));
        let (una, max) = (i64::from(self.una), i64::from(self.max));
        if self.state == State::SynReceived {
            if ack < 1 || ack > max {
                outcome.refused = true;
                return false;
            }
            self.synchronize(settings, now_ns, segment, outcome);
            self.set_window(segment);
        } else if ack > max {
            self.challenge(now_ns);
            return false;
        }
        if ack >= una {
            let ack = u32::try_from(ack).unwrap_or(self.una);
            if ack > self.una {
                self.advance(settings, now_ns, segment, ack, outcome);
            } else {
                self.maybe_duplicate(segment);
            }
            self.update_window(segment, ack);
        }
        self.remember_clock(segment);
        self.state != State::Closed
    }

    /// New data, or our FIN, is acknowledged.
    fn advance(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        ack: u32,
        outcome: &mut Outcome,
    ) {
        let flight = self.max - self.una;
        let bytes = ack - self.una;
        self.measure(now_ns, ack, segment);
        self.round_trip.recovered();
        self.retries = 0;
        self.una = ack;
        self.nxt = self.nxt.max(ack);
        let mss = u32::from(self.mss);
        if self.congestion.advanced(ack, bytes, flight.saturating_sub(bytes), mss) && ack < self.max
        {
            self.flags.set(Flags::AGAIN);
        }
        self.timer_ns = NEVER;
        if self.flight() > 0 {
            self.start_timer(settings, now_ns);
        }
        if ack == self.max {
            self.flags.clear(Flags::AGAIN);
        }
        let fin_acknowledged = self.is_finished() && self.una > self.said;
        if !fin_acknowledged {
            return;
        }
        match self.state {
            State::FinWait1 => {
                self.state = State::FinWait2;
                self.wait(settings, now_ns);
            }
            State::Closing => self.enter_time_wait(settings, now_ns, outcome),
            State::LastAck => {
                self.close();
                outcome.end = Some(End::Closed);
            }
            _ => {}
        }
    }

    /// RFC 5681 section 2: nothing new, no data, no new window, and something of ours is on its way.
    fn maybe_duplicate(&mut self, segment: &Segment) {
        let same_window = self.scaled(segment) == self.window;
        if self.flight() == 0 {
            // An answer to a probe: the peer is there.
            self.retries = 0;
        } else if segment.length() == 0 && same_window {
            let (flight, mss) = (self.flight(), u32::from(self.mss));
            if self.congestion.duplicate(self.una, flight, mss) {
                self.flags.set(Flags::AGAIN);
            }
        }
    }

    /// A measurement of the round trip: of a segment sent once, or of a timestamp.
    fn measure(&mut self, now_ns: u64, ack: u32, segment: &Segment) {
        if self.flags.has(Flags::TIMING) && ack >= self.timed {
            self.flags.clear(Flags::TIMING);
            self.round_trip.measured(now_ns.saturating_sub(self.timed_ns));
        } else if let (true, Some((_, echo))) =
            (self.flags.has(Flags::TIMESTAMPS), segment.options.timestamps)
            && echo != 0
            && !self.flags.has(Flags::TIMING)
        {
            let ms = self.clock(now_ns).wrapping_sub(echo);
            // A peer that echoes nonsense does not stop the clock.
            if ms < 1 << 20 {
                self.round_trip.measured(u64::from(ms) * 1_000_000);
            }
        }
    }

    fn scaled(&self, segment: &Segment) -> u32 {
        let scaled = self.flags.has(Flags::SCALED) && !segment.has(TcpFlags::SYN);
        u32::from(segment.window) << if scaled { self.peer_shift } else { 0 }
    }

    /// Takes the window unless the segment is older than the last that said one.
    fn update_window(&mut self, segment: &Segment, ack: u32) {
        let at = u32::try_from(distance(self.irs, segment.sequence)).unwrap_or(0);
        let newer = at > self.window_sequence
            || at == self.window_sequence && ack >= self.window_acknowledgment;
        if !newer {
            return;
        }
        let was_shut = self.window == 0;
        self.set_window(segment);
        (self.window_sequence, self.window_acknowledgment) = (at, ack);
        if was_shut && self.window > 0 && self.flight() == 0 {
            self.timer_ns = if self.state == State::FinWait2 { self.timer_ns } else { NEVER };
            self.round_trip.recovered();
            self.flags.clear(Flags::PROBE);
        }
    }

    fn set_window(&mut self, segment: &Segment) {
        self.window = self.scaled(segment);
    }

    /// RFC 7323 section 4.3: the clock of a segment that begins at or before what we have acknowledged.
    fn remember_clock(&mut self, segment: &Segment) {
        let Some((value, _)) = segment.options.timestamps else { return };
        if self.flags.has(Flags::TIMESTAMPS)
            && distance(self.irs.wrapping_add(self.rcv), segment.sequence) <= 0
            && !is_old(value, self.peer_clock)
        {
            self.peer_clock = value;
        }
    }

    fn take_data(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        segment: &Segment,
        outcome: &mut Outcome,
    ) {
        let at = distance(self.irs, segment.sequence);
        let syn = i32::from(segment.has(TcpFlags::SYN));
        let first = u32::try_from(at + syn).unwrap_or(0);
        let skipped = u32::try_from(-(at + syn)).unwrap_or(0);
        let data_end = first + segment.data_bytes.saturating_sub(skipped);
        let takes = matches!(self.state, State::Established | State::FinWait1 | State::FinWait2);
        if !takes {
            if segment.has(TcpFlags::FIN) {
                self.flags.set(Flags::ACK_NOW);
            }
            return;
        }
        let end = data_end.min(self.rcv + self.own_window(settings));
        if segment.has(TcpFlags::FIN) && end == data_end && !self.flags.has(Flags::FIN_SEEN) {
            self.flags.set(Flags::FIN_SEEN);
            self.fin = data_end;
        }
        if end > self.rcv {
            self.take_block(settings, now_ns, first, end, outcome);
        } else if segment.data_bytes > 0 {
            self.flags.set(Flags::ACK_NOW);
        }
        if self.flags.has(Flags::FIN_SEEN) && self.rcv == self.fin {
            self.rcv += 1;
            self.flags.set(Flags::ACK_NOW);
            self.peer_closed(settings, now_ns, outcome);
        } else if segment.has(TcpFlags::FIN) {
            self.flags.set(Flags::ACK_NOW);
        }
    }

    /// Bytes `first..end` have arrived, `end` being new.
    fn take_block(
        &mut self,
        settings: &TcpSettings,
        now_ns: u64,
        first: u32,
        end: u32,
        outcome: &mut Outcome,
    ) {
        if first > self.rcv {
            self.keep_early(first, end);
            self.flags.set(Flags::ACK_NOW);
            return;
        }
        let had_gap = self.early[0] != (0, 0);
        let before = self.rcv;
        self.rcv = end;
        while self.early[0] != (0, 0) && self.early[0].0 <= self.rcv {
            self.rcv = self.rcv.max(self.early[0].1);
            self.early.rotate_left(1);
            self.early[SACK_BLOCKS - 1] = (0, 0);
        }
        outcome.bytes = self.rcv - before;
        // Every second segment at once, and what fills a gap (RFC 5681 section 4.2).
        if had_gap || self.flags.has(Flags::ACK_LATER) || settings.delayed_ack_ns == 0 {
            self.flags.set(Flags::ACK_NOW);
        } else {
            self.flags.set(Flags::ACK_LATER);
            self.ack_ns = now_ns.saturating_add(settings.delayed_ack_ns);
        }
    }

    /// Remembers what arrived early. A block that finds no room is forgotten: the peer sends it again.
    fn keep_early(&mut self, first: u32, end: u32) {
        let (mut first, mut end) = (first, end);
        let mut kept = [(0, 0); SACK_BLOCKS + 1];
        let mut count = 0;
        for block in self.early.into_iter().filter(|block| *block != (0, 0)) {
            if block.1 < first || block.0 > end {
                kept[count] = block;
                count += 1;
            } else {
                (first, end) = (first.min(block.0), end.max(block.1));
            }
        }
        kept[count] = (first, end);
        kept[..=count].sort_unstable();
        self.early.copy_from_slice(&kept[..SACK_BLOCKS]);
    }

    fn peer_closed(&mut self, settings: &TcpSettings, now_ns: u64, outcome: &mut Outcome) {
        match self.state {
            State::Established => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(settings, now_ns, outcome),
            _ => {}
        }
    }

    fn enter_time_wait(&mut self, settings: &TcpSettings, now_ns: u64, outcome: &mut Outcome) {
        self.state = State::TimeWait;
        self.wait(settings, now_ns);
        outcome.end = Some(End::Closed);
    }
}
