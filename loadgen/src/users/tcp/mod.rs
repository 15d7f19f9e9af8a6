//! TCP as a state machine without addresses, data and clock (RFC 9293).
//!
//! ```text
//!   open, accept ──► Connection ◄── receive(now, segment)   what the peer sends
//!                        │      ◄── timer(now)              at or after due_ns()
//!                        │      ◄── say(bytes), finish()    what its user does
//!                        ▼
//!                    next(now): a segment to send, until there is none
//! ```
//!
//! What is said is a function of its place, so nothing is kept to be sent again, and nothing that arrives early is
//! stored: where it lies is enough. A connection is as long as its numbers, whatever it carries.
//!
//! What it does: the handshake from both sides, simultaneous open, data both ways, half-close, TIME-WAIT; options MSS,
//! window scale, SACK permitted and timestamps with PAWS (RFC 7323); retransmission by RFC 6298; congestion control by
//! RFC 5681 with `NewReno`'s recovery (RFC 6582) and limited transmit; delayed acknowledgments; zero window probes;
//! resets and challenge acknowledgments by RFC 5961; out-of-order data, told by SACK.
//!
//! What it does not: urgent data, ECN, fast open, keep-alive; its own recovery does not read SACK blocks; Nagle's
//! algorithm (its users write whole messages).

mod congestion;
mod receive;
mod round_trip;
mod segment;
mod send;
pub mod sequence;
mod settings;
#[cfg(test)]
mod tests;
mod timer;

pub use receive::Outcome;
pub use segment::{Options, SACK_BLOCKS, Segment};
pub use send::stray_reset;
pub use settings::TcpSettings;

use weir_dataplane::wire::TcpFlags;

use congestion::Congestion;
use round_trip::RoundTrip;

/// Where a connection stands (RFC 9293 section 3.3.2). LISTEN has no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// We have asked.
    SynSent,
    /// We have been asked, and have answered.
    SynReceived,
    /// Both ends have heard each other.
    Established,
    /// We have closed.
    FinWait1,
    /// And the peer knows it.
    FinWait2,
    /// The peer has closed.
    CloseWait,
    /// Both have, at once; the peer does not know yet.
    Closing,
    /// Both have, the peer first; it does not know yet.
    LastAck,
    /// Both have closed, and we wait until nothing of it can be on the way.
    TimeWait,
    /// It is over.
    Closed,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both ends have closed, and both know it. (In TIME-WAIT this is so already.)
    Closed,
    /// The peer has reset it.
    Reset,
    /// The peer no longer answers.
    TimedOut,
}

/// What the peer and we have agreed on, and what is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Flags(u16);

impl Flags {
    const TIMESTAMPS: Self = Self(1);
    const SACK: Self = Self(2);
    const SCALED: Self = Self(4);
    /// An acknowledgment is owed now.
    const ACK_NOW: Self = Self(8);
    /// The user says no more.
    const FINISHED: Self = Self(16);
    /// The segment at `una` is to be sent again.
    const AGAIN: Self = Self(32);
    /// A zero window probe is to be sent.
    const PROBE: Self = Self(64);
    /// The SYN or SYN-ACK was sent more than once.
    const SYN_LOST: Self = Self(128);
    /// A segment that is sent once only is being timed.
    const TIMING: Self = Self(256);
    /// An acknowledgment is owed for one segment, and may wait.
    const ACK_LATER: Self = Self(512);
    /// The peer's FIN has been seen, in order or not.
    const FIN_SEEN: Self = Self(1024);
    /// The acknowledgment that ends the handshake goes alone: a kernel sends it before its user hears of it.
    const ACK_ALONE: Self = Self(2048);

    fn has(self, flag: Self) -> bool {
        self.0 & flag.0 != 0
    }

    fn set(&mut self, flag: Self) {
        self.0 |= flag.0;
    }

    fn clear(&mut self, flag: Self) {
        self.0 &= !flag.0;
    }

    /// Whether it was set; it is not any more.
    fn take(&mut self, flag: Self) -> bool {
        let had = self.has(flag);
        self.clear(flag);
        had
    }
}

/// No time.
const NEVER: u64 = u64::MAX;

/// One end of a connection. Positions are offsets ([`sequence`]): 0 is the SYN, 1 the first byte of data.
#[derive(Clone, Debug)]
pub struct Connection {
    /// When retransmission, a probe or the end of a wait is due.
    timer_ns: u64,
    /// When a delayed acknowledgment is due.
    ack_ns: u64,
    /// When the timed segment was sent.
    timed_ns: u64,
    /// Our first number.
    iss: u32,
    /// The first that is not acknowledged.
    una: u32,
    /// The next to send.
    nxt: u32,
    /// Behind the last ever sent.
    max: u32,
    /// Behind the last byte that our user has said.
    said: u32,
    /// The timed segment is acknowledged by this.
    timed: u32,
    /// The peer's first number.
    irs: u32,
    /// The next that we expect.
    rcv: u32,
    /// What arrived early: first and behind the last, in order; unused ones are (0, 0).
    early: [(u32, u32); SACK_BLOCKS],
    /// Where the peer's FIN stands, if it has been seen.
    fin: u32,
    /// The peer's window in bytes, and by which of its segments: number and acknowledgment.
    window: u32,
    window_sequence: u32,
    window_acknowledgment: u32,
    /// The peer's clock.
    peer_clock: u32,
    /// What our clock is ahead by, so that it tells nobody how long we have been up.
    clock_offset: u32,
    /// When the last challenge acknowledgment was sent, in milliseconds, with wrap-around.
    challenged_ms: u32,
    congestion: Congestion,
    round_trip: RoundTrip,
    /// The most data that we put into a segment.
    mss: u16,
    flags: Flags,
    state: State,
    /// The shift of the peer's windows.
    peer_shift: u8,
    /// Repetitions in a row.
    retries: u8,
}

/// What begins a connection besides its settings.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Our first sequence number (RFC 6528).
    pub sequence: u32,
    /// What the clock of our timestamps is ahead by.
    pub clock_offset: u32,
}

/// The segment size of a peer that says none (RFC 9293 section 3.7.1). For IPv6 it is 1,220; the lesser serves both.
const MSS_DEFAULT: u16 = 536;

/// The least segment size that is believed. Linux: `TCP_MIN_SND_MSS`.
const MSS_MIN: u16 = 48;

impl Connection {
    /// A connection that is to be opened: the SYN is the next segment.
    #[must_use]
    pub fn open(start: Start) -> Self {
        Self {
            timer_ns: NEVER,
            ack_ns: NEVER,
            timed_ns: 0,
            iss: start.sequence,
            una: 0,
            nxt: 0,
            max: 0,
            said: 1,
            timed: 0,
            irs: 0,
            rcv: 0,
            early: [(0, 0); SACK_BLOCKS],
            fin: 0,
            window: 0,
            window_sequence: 0,
            window_acknowledgment: 0,
            peer_clock: 0,
            clock_offset: start.clock_offset,
            challenged_ms: 0,
            congestion: Congestion::new(),
            round_trip: RoundTrip::default(),
            mss: MSS_DEFAULT,
            flags: Flags::default(),
            state: State::SynSent,
            peer_shift: 0,
            retries: 0,
        }
    }

    /// A connection that a SYN asks for: the SYN-ACK is the next segment.
    #[must_use]
    pub fn accept(settings: &TcpSettings, start: Start, syn: &Segment) -> Self {
        let mut connection = Self::open(start);
        connection.state = State::SynReceived;
        connection.agree(settings, syn);
        connection
    }

    /// A connection whose handshake kept no memory here: the SYN as it was, rebuilt from the cookie, and the
    /// acknowledgment that brought the cookie back. `start` is the one of the cookie.
    #[must_use]
    pub fn from_cookie(settings: &TcpSettings, start: Start, syn: &Segment, ack: &Segment) -> Self {
        let mut connection = Self::accept(settings, start, syn);
        (connection.una, connection.nxt, connection.max) = (0, 1, 1);
        if let Some((value, _)) = ack.options.timestamps {
            connection.peer_clock = value;
        }
        connection
    }

    /// Where it stands.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Bytes of data received without a gap.
    #[must_use]
    pub fn received(&self) -> u32 {
        self.rcv.saturating_sub(1) - u32::from(self.peer_has_closed())
    }

    /// Whether the peer has closed and all it said has arrived.
    #[must_use]
    pub fn peer_has_closed(&self) -> bool {
        self.flags.has(Flags::FIN_SEEN) && self.rcv > self.fin
    }

    /// Whether the handshake is done.
    #[must_use]
    pub fn is_synchronized(&self) -> bool {
        !matches!(self.state, State::SynSent | State::SynReceived)
    }

    /// Whether both ends have closed and we only remember it.
    #[must_use]
    pub fn is_time_wait(&self) -> bool {
        self.state == State::TimeWait
    }

    /// Where the data of a segment stands in what the peer says, from 0. Negative: before its beginning.
    #[must_use]
    pub fn place(&self, segment: &Segment) -> i64 {
        let syn = i64::from(segment.flags.contains(TcpFlags::SYN));
        i64::from(sequence::distance(self.irs, segment.sequence)) + syn - 1
    }

    /// Its user says `bytes` more. More than [`sequence::BYTES_MAX`] in all are cut off there.
    pub fn say(&mut self, bytes: u32) {
        self.said = self.said.saturating_add(bytes).min(sequence::BYTES_MAX);
    }

    /// Its user says nothing more: once all is sent, the connection closes.
    pub fn finish(&mut self) {
        self.flags.set(Flags::FINISHED);
    }

    /// Whether its user has said that.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.flags.has(Flags::FINISHED)
    }

    /// Whether a new SYN may take the place of this connection in TIME-WAIT: it is later by its number or by its
    /// clock (RFC 9293 section 3.10.7.4, RFC 6191).
    #[must_use]
    pub fn may_be_reopened_by(&self, syn: &Segment) -> bool {
        let newer = match syn.options.timestamps {
            Some((value, _)) if self.flags.has(Flags::TIMESTAMPS) => {
                sequence::is_after(value, self.peer_clock)
            }
            _ => false,
        };
        let expected = self.irs.wrapping_add(self.rcv);
        self.state == State::TimeWait && (newer || sequence::is_after(syn.sequence, expected))
    }

    /// When [`timer`](Self::timer) is to be called.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        let due = self.timer_ns.min(self.ack_ns);
        (due != NEVER).then_some(due)
    }

    /// Bytes on their way, SYN and FIN counted.
    fn flight(&self) -> u32 {
        self.nxt - self.una
    }

    /// Our clock for timestamps: milliseconds (RFC 7323 section 5.4).
    fn clock(&self, now_ns: u64) -> u32 {
        milliseconds(now_ns).wrapping_add(self.clock_offset)
    }

    /// The shift of our own windows, if both ends scale.
    fn own_shift(&self, settings: &TcpSettings) -> u8 {
        if self.flags.has(Flags::SCALED) { settings.window_shift() } else { 0 }
    }

    /// Bytes of our own window.
    fn own_window(&self, settings: &TcpSettings) -> u32 {
        let shift = self.own_shift(settings);
        u32::from(settings.window_field(shift)) << shift
    }

    /// Takes over what a SYN says.
    fn agree(&mut self, settings: &TcpSettings, syn: &Segment) {
        let options = &syn.options;
        self.irs = syn.sequence;
        self.rcv = 1;
        self.window = u32::from(syn.window);
        self.window_sequence = 0;
        if let (true, Some(shift)) = (settings.window_scale, options.window_shift) {
            self.flags.set(Flags::SCALED);
            self.peer_shift = shift;
        }
        if settings.sack && options.sack_permitted {
            self.flags.set(Flags::SACK);
        }
        let mut mss =
            options.mss.unwrap_or(MSS_DEFAULT).max(MSS_MIN).min(settings.mss.max(MSS_MIN));
        if let (true, Some((value, _))) = (settings.timestamps, options.timestamps) {
            self.flags.set(Flags::TIMESTAMPS);
            self.peer_clock = value;
            mss -= TIMESTAMP_BYTES;
        }
        self.mss = mss;
    }

    fn close(&mut self) {
        self.state = State::Closed;
        (self.timer_ns, self.ack_ns) = (NEVER, NEVER);
        self.flags.clear(Flags::ACK_NOW);
        self.flags.clear(Flags::AGAIN);
        self.flags.clear(Flags::PROBE);
    }
}

/// Bytes of the timestamp option with its padding, in every segment.
const TIMESTAMP_BYTES: u16 = 12;

/// A time in milliseconds, with wrap-around.
fn milliseconds(now_ns: u64) -> u32 {
    #[expect(clippy::cast_possible_truncation, reason = "the clock of timestamps goes round")]
    let ms = (now_ns / 1_000_000) as u32;
    ms
}
