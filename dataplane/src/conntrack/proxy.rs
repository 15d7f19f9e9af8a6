//! Connections that SYNPROXY has made: what their two sides do not agree in, and how packets are put right
//! (`struct nf_conn_synproxy`, `nf_conntrack_seqadj.c`, `synproxy_tstamp_adjust`).
//!
//! The client has shaken hands with the firewall, the server with the firewall in the client's name. So they count the
//! server's bytes from different numbers, and their timestamps come from different clocks:
//!
//! ```text
//!   client                            firewall                            server
//!     seq, ack = server's + offset  ──►  ack - offset, echo + ts offset  ──►
//!     ◄──  seq + offset, value - ts offset                            ◄──  seq, ack
//! ```
//!
//! Where no connection is ever proxied nothing of this is kept: the array is allocated only if the configuration says
//! so.
//!
//! # A port that is taken again
//!
//! A client may begin anew on a port while its last connection is still remembered here, or by the server. Its SYN is
//! answered without a look at flows, so the first that connection tracking sees is what acknowledges the cookie. To the
//! old flow that is a segment of any numbers, of which a quarter look like old data. The cookie tells:
//! [`follow`]. What the server remembers it says itself, by a challenge that [`crate::stage`] answers.

use super::flow::Flow;
use super::packet::Packet;
use super::query::Place;
use super::tcp::{Segment, TcpState, is_closing};
use super::tracker::Conntrack;
use super::tuple::Tuple;
use super::wanted::Wanted;
use super::{Direction, Step, Tracked};
use crate::synproxy::{CookieKey, Ends};

/// What is kept of a proxied connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proxied {
    /// What the client believes the server began with: the cookie.
    pub cookie: u32,
    /// What the client believes the server's clock to have been.
    pub clock: u32,
    /// What is added to the server's numbers, for the client.
    pub offset: u32,
    /// What the server's clock is ahead of that which the client believes in; until it has answered, what the client's
    /// own clock said.
    pub clock_offset: u32,
    /// Whether the connection is proxied at all.
    pub is: bool,
    /// Whether the client has sent timestamps.
    pub stamped: bool,
    /// Whether the server has answered.
    pub connected: bool,
    /// Whether the server has challenged the SYN that it got last.
    pub challenged: bool,
}

/// Follows a segment of a flow by `step`; where connections may be proxied, with what is kept of this one.
#[inline]
pub(super) fn follow(
    flow: &mut Flow,
    packet: &Packet<'_>,
    direction: Direction,
    (proxied, now_ns): (Option<(CookieKey, &Proxied)>, u64),
    step: impl FnOnce(&mut Flow, &Segment<'_>) -> Step,
) -> Step {
    let Some(segment) = Segment::read(packet.l4) else { return Step::Invalid };
    match proxied {
        None => step(flow, &segment),
        Some((key, proxied)) => {
            ProxiedFlow { flow, proxied, key, now_ns }.follow(segment, packet, direction, step)
        }
    }
}

/// A flow of which it is known whether, and how, it is proxied.
struct ProxiedFlow<'a> {
    flow: &'a mut Flow,
    proxied: &'a Proxied,
    key: CookieKey,
    now_ns: u64,
}

impl ProxiedFlow<'_> {
    /// Follows a segment, by `step` if it is one of this connection's. A client's is read as the server will, who
    /// counts otherwise (`nf_ct_seq_offset`). Who acknowledges a cookie that is not this connection's has begun anew,
    /// and that is INVALID, as it is without a flow: a rule puts it before SYNPROXY.
    #[inline]
    fn follow(
        self,
        mut segment: Segment<'_>,
        packet: &Packet<'_>,
        direction: Direction,
        step: impl FnOnce(&mut Flow, &Segment<'_>) -> Step,
    ) -> Step {
        let Self { flow, proxied, key, now_ns } = self;
        let state = flow.bits.state();
        if proxied.is && state == TcpState::SynSent && is_keep_alive(flow, &segment, direction) {
            return Step::Pass;
        }
        let numbers = segment.numbers();
        let anew = || begins_anew(packet, numbers, proxied, (key, now_ns));
        if is_closing(state) && segment.acknowledges() && anew() {
            return Step::Invalid;
        }
        if direction == Direction::Original {
            segment.shift(proxied.offset);
        }
        let step = step(flow, &segment);
        // In the window is nothing that begins anew, but for one chance in 65,000.
        let odd = step == Step::Pass && !is_closing(state) && segment.acknowledges();
        if odd && anew() { Step::Invalid } else { step }
    }
}

/// Whether it is what a client repeats that waits for its window to open, while the server has not answered yet
/// (`nf_conntrack_tcp_packet`, "SYN proxy client keep alive").
fn is_keep_alive(flow: &Flow, segment: &Segment<'_>, direction: Direction) -> bool {
    let (seq, _) = segment.numbers();
    direction == Direction::Original
        && segment.acknowledges()
        && flow.sides[direction as usize].end.wrapping_sub(1) == seq
}

/// Whether a segment acknowledges a cookie with which its flow did not begin.
#[cold]
fn begins_anew(
    packet: &Packet<'_>,
    numbers: (u32, u32),
    proxied: &Proxied,
    (key, now_ns): (CookieKey, u64),
) -> bool {
    if proxied.is && proxied.cookie == numbers.1.wrapping_sub(1) {
        return false;
    }
    let Some(&[a, b, c, d]) = packet.l4.first_chunk() else { return false };
    let ports = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
    let ends = Ends { addresses: [packet.source, packet.destination], ports };
    key.redeem(&ends, numbers, now_ns).is_some()
}

impl Conntrack {
    /// What cookies are made with; `None` where no connection is proxied.
    #[must_use]
    pub fn cookie_key(&self) -> Option<CookieKey> {
        self.cookie_key
    }

    /// What is kept of the packet's connection if it is proxied; the packet must be the one that was tracked last.
    #[must_use]
    pub fn proxied(&self, tracked: &Tracked) -> Option<Proxied> {
        self.cookie_key?;
        let proxied = match self.place_of(tracked)? {
            Place::Table(family, place) => {
                *self.families[family].table.proxied.get(place as usize)?
            }
            Place::Entry(entry) => entry.proxied.get(),
        };
        Some(proxied).filter(|proxied| proxied.is)
    }

    /// Keeps that of the packet's connection. Without one nothing happens.
    pub fn set_proxied(&mut self, tracked: &Tracked, to: Proxied) {
        let (family, place) = match self.place_of(tracked) {
            None => return,
            Some(Place::Entry(entry)) => {
                entry.proxied.set(to);
                return;
            }
            Some(Place::Table(family, place)) => (family, place),
        };
        if let Some(own) = self.families[family].table.proxied.get_mut(place as usize) {
            *own = to;
        }
    }

    /// How far the packet's TCP connection is.
    #[must_use]
    pub fn handshake(&self, tracked: &Tracked) -> Option<Shaken> {
        let flow = match self.place_of(tracked)? {
            Place::Table(family, place) => &self.families[family].table.flows[place as usize],
            Place::Entry(entry) => &entry.flow,
        };
        let client = &flow.sides[Direction::Original as usize];
        Some(Shaken { state: flow.bits.state(), window: client.max_win, end: client.end })
    }

    /// Forgets the connection that stands where one of this tuple is to begin, with a SYN of this number: its client
    /// has shown that it knows of it no longer. If it is just that one, which has not been answered, it stays.
    pub fn begin_anew(&mut self, tuple: &Tuple, sequence: u32) {
        let Some(wanted) = Wanted::of(tuple, false, &self.hash) else { return };
        let Some((found, direction)) = self.find_wanted(&wanted, || Some(*tuple)) else { return };
        let family = wanted.family();
        let flow = &self.families[family].table.flows[found as usize];
        let repeated = direction == Direction::Original
            && flow.bits.state() == TcpState::SynSent
            && flow.sides[direction as usize].end == sequence.wrapping_add(1);
        if !repeated {
            self.remove_found(family, wanted.hash, found);
        }
    }
}

/// How far a TCP connection is.
#[derive(Debug, Clone, Copy)]
pub struct Shaken {
    /// Its state.
    pub state: TcpState,
    /// The largest window that its client has offered.
    pub window: u32,
    /// The number behind the last that its client has sent.
    pub end: u32,
}
