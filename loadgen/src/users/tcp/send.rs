//! Which segment is next (RFC 9293 section 3.10.2, 3.8).

use weir_dataplane::wire::TcpFlags;

use super::sequence::is_after;
use super::{Connection, Flags, NEVER, Options, Segment, State, TcpSettings};

impl Connection {
    /// The next segment that is to be sent now, taken as sent; `None` when there is none. Whether any of it was sent
    /// before stands beside it.
    pub fn next(&mut self, settings: &TcpSettings, now_ns: u64) -> Option<(Segment, bool)> {
        match self.state {
            State::Closed => None,
            State::SynSent | State::SynReceived => self.next_syn(settings, now_ns),
            _ => self.next_data(settings, now_ns),
        }
    }

    /// Whether [`next`](Self::next) has a segment.
    #[must_use]
    pub fn has_next(&self) -> bool {
        match self.state {
            State::Closed => false,
            State::SynSent => self.nxt == 0,
            State::SynReceived => self.nxt == 0 || self.flags.has(Flags::ACK_NOW),
            _ => {
                let owed =
                    Flags(Flags::ACK_NOW.0 | Flags::ACK_ALONE.0 | Flags::PROBE.0 | Flags::AGAIN.0);
                self.flags.has(owed) || self.new_data().is_some()
            }
        }
    }

    /// A reset that tells the peer that this connection is given up.
    #[must_use]
    pub fn reset(&self) -> Segment {
        Segment {
            sequence: self.iss.wrapping_add(self.max),
            acknowledgment: self.irs.wrapping_add(self.rcv),
            flags: TcpFlags::RST | TcpFlags::ACK,
            ..Segment::default()
        }
    }

    fn next_syn(&mut self, settings: &TcpSettings, now_ns: u64) -> Option<(Segment, bool)> {
        if self.nxt != 0 {
            let ack = self.state == State::SynReceived && self.flags.take(Flags::ACK_NOW);
            return ack.then(|| (self.bare(settings, now_ns), false));
        }
        let again = self.max > 0;
        if again {
            self.flags.clear(Flags::TIMING);
        } else {
            self.time(1, now_ns);
        }
        (self.nxt, self.max) = (1, 1);
        self.start_timer(settings, now_ns);
        self.flags.clear(Flags::ACK_NOW);
        let is_answer = self.state == State::SynReceived;
        let shift = settings.window_shift();
        let options = Options {
            mss: Some(settings.mss),
            window_shift: (settings.window_scale && (!is_answer || self.flags.has(Flags::SCALED)))
                .then_some(shift),
            sack_permitted: settings.sack && (!is_answer || self.flags.has(Flags::SACK)),
            timestamps: (settings.timestamps && (!is_answer || self.flags.has(Flags::TIMESTAMPS)))
                .then(|| (self.clock(now_ns), self.peer_clock)),
            ..Options::default()
        };
        let segment = Segment {
            sequence: self.iss,
            acknowledgment: if is_answer { self.irs.wrapping_add(self.rcv) } else { 0 },
            flags: if is_answer { TcpFlags::SYN | TcpFlags::ACK } else { TcpFlags::SYN },
            // The window of a SYN is never scaled (RFC 7323 section 2.2).
            window: settings.window_field(0),
            options,
            ..Segment::default()
        };
        Some((segment, again))
    }

    fn next_data(&mut self, settings: &TcpSettings, now_ns: u64) -> Option<(Segment, bool)> {
        if self.flags.take(Flags::ACK_ALONE) {
            return Some((self.bare(settings, now_ns), false));
        }
        if self.flags.take(Flags::AGAIN) && self.una < self.max {
            let bytes = self.said.saturating_sub(self.una).min(u32::from(self.mss));
            self.flags.clear(Flags::TIMING);
            self.start_timer(settings, now_ns);
            return Some((self.data(settings, now_ns, self.una, bytes), true));
        }
        if let Some(bytes) = self.new_data() {
            return Some(self.send_new(settings, now_ns, bytes));
        }
        if self.flags.take(Flags::PROBE) {
            // As Linux does it: a number that is acknowledged already is answered with the window.
            let mut probe = self.bare(settings, now_ns);
            probe.sequence = self.iss.wrapping_add(self.una).wrapping_sub(1);
            return Some((probe, true));
        }
        self.flags.has(Flags::ACK_NOW).then(|| (self.bare(settings, now_ns), false))
    }

    /// Bytes of data that the next new segment may carry; 0 is a FIN alone. `None`: nothing may be sent.
    fn new_data(&self) -> Option<u32> {
        let left = self.said.saturating_sub(self.nxt);
        let fin = self.flags.has(Flags::FINISHED) && self.nxt <= self.said;
        if left == 0 {
            // A FIN needs no window. (A shut one would hold back the end of a connection that says nothing more.)
            return fin.then_some(0);
        }
        let mss = u32::from(self.mss);
        let may = self.window.min(self.congestion.window(mss)).saturating_sub(self.flight());
        let bytes = left.min(mss).min(may);
        // No silly windows (RFC 9293 section 3.8.6.2.1): less than a segment only if it is the last, or nothing is on
        // its way.
        let whole = bytes == mss || bytes == left || self.flight() == 0;
        (bytes > 0 && whole).then_some(bytes)
    }

    fn send_new(&mut self, settings: &TcpSettings, now_ns: u64, bytes: u32) -> (Segment, bool) {
        let at = self.nxt;
        let segment = self.data(settings, now_ns, at, bytes);
        self.nxt += segment.length();
        let again = at < self.max;
        if !again && !self.flags.has(Flags::TIMING) {
            self.time(self.nxt, now_ns);
        }
        self.max = self.max.max(self.nxt);
        self.flags.clear(Flags::PROBE);
        if segment.has(TcpFlags::FIN) {
            self.state = match self.state {
                State::Established => State::FinWait1,
                State::CloseWait => State::LastAck,
                other => other,
            };
        }
        if self.timer_ns == NEVER || self.flight() == segment.length() {
            self.start_timer(settings, now_ns);
        }
        (segment, again)
    }

    /// The segment of `bytes` at `at`, with a FIN if the last byte is its own, or all are sent.
    fn data(&mut self, settings: &TcpSettings, now_ns: u64, at: u32, bytes: u32) -> Segment {
        let mut segment = self.bare(settings, now_ns);
        let end = at + bytes;
        segment.sequence = self.iss.wrapping_add(at);
        segment.data_at = at - 1;
        segment.data_bytes = bytes;
        segment.options.sack = [(0, 0); super::SACK_BLOCKS];
        if end == self.said {
            if bytes > 0 {
                segment.flags = segment.flags | TcpFlags::PSH;
            }
            if self.flags.has(Flags::FINISHED) {
                segment.flags = segment.flags | TcpFlags::FIN;
            }
        }
        segment
    }

    /// An acknowledgment. Every segment is one, and none is owed after it.
    fn bare(&mut self, settings: &TcpSettings, now_ns: u64) -> Segment {
        self.flags.clear(Flags::ACK_NOW);
        self.flags.clear(Flags::ACK_LATER);
        self.ack_ns = NEVER;
        let mut options = Options::default();
        if self.flags.has(Flags::TIMESTAMPS) {
            options.timestamps = Some((self.clock(now_ns), self.peer_clock));
        }
        if self.flags.has(Flags::SACK) {
            let known = self.early.iter().filter(|block| **block != (0, 0));
            for (to, (first, behind)) in options.sack.iter_mut().zip(known) {
                *to = (self.irs.wrapping_add(*first), self.irs.wrapping_add(*behind));
            }
        }
        Segment {
            // Not `nxt`, which goes back when all is sent again: an old number is not acceptable to the peer.
            sequence: self.iss.wrapping_add(self.max),
            acknowledgment: self.irs.wrapping_add(self.rcv),
            flags: TcpFlags::ACK,
            window: settings.window_field(self.own_shift(settings)),
            options,
            ..Segment::default()
        }
    }

    fn time(&mut self, acknowledged_by: u32, now_ns: u64) {
        self.flags.set(Flags::TIMING);
        (self.timed, self.timed_ns) = (acknowledged_by, now_ns);
    }
}

/// The reset that answers a segment of no connection (RFC 9293 section 3.10.7.1); `None` to a reset.
#[must_use]
pub fn stray_reset(segment: &Segment) -> Option<Segment> {
    if segment.has(TcpFlags::RST) {
        return None;
    }
    let mut reset = Segment { flags: TcpFlags::RST, ..Segment::default() };
    if segment.has(TcpFlags::ACK) {
        reset.sequence = segment.acknowledgment;
    } else {
        reset.acknowledgment = segment.sequence.wrapping_add(segment.length());
        reset.flags = TcpFlags::RST | TcpFlags::ACK;
    }
    Some(reset)
}

/// Whether a segment repeats one of a time before `echo` was seen (PAWS, RFC 7323 section 5.3).
pub(super) fn is_old(value: u32, seen: u32) -> bool {
    is_after(seen, value)
}
