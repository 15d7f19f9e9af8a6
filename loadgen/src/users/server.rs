//! The servers: a listening stack, and behind it a program that answers.
//!
//! A SYN takes a place in the queue of half-open connections until its third segment comes, or its SYN-ACK has been
//! repeated in vain. What a full queue does is the setting [`CookieUse`](super::settings::CookieUse). Connections are
//! accepted at once: the program is never the bottleneck, except by the time it is told to think.

use super::cookie::Cookies;
use super::frame::{self, Link};
use super::index::Pair;
use super::number::Numbers;
use super::settings::{Closer, CookieUse, RequestEnd, Settings};
use super::stack::{self, Stack, StackCounts, Visit};
use super::tcp::{Connection, End, Outcome, Segment, Start, State};
use super::{Actor, ERRANDS_MAX, Progress};
use crate::result::{ServerResult, UsersResult};
use weir_dataplane::wire::TcpFlags;
use weir_dataplane::wire::vlan::TAG_BYTES;

/// No time.
const NEVER: u64 = u64::MAX;

/// What a server keeps of a connection besides TCP.
#[derive(Debug)]
struct Service {
    /// When the answer is ready.
    answer_ns: u64,
    /// When a peer that says nothing is given up.
    idle_ns: u64,
    heard: u32,
    /// Bytes of the blank line that have been heard.
    blank: u8,
    accepted: bool,
    asked: bool,
    answered: bool,
    ended: bool,
}

impl Visit for Service {
    fn due_ns(&self) -> Option<u64> {
        let due_ns = self.answer_ns.min(self.idle_ns);
        (due_ns != NEVER).then_some(due_ns)
    }
}

/// Bytes of a connection at this end, all tables together.
pub const SERVER_CONNECTION_BYTES: usize = stack::connection_bytes::<Service>();

/// See the module.
#[derive(Debug)]
pub struct Server {
    stack: Stack<Service>,
    settings: Settings,
    numbers: Numbers,
    cookies: Cookies,
    half_open: u32,
    counts: ServerResult,
    closed: u64,
    failed: u64,
}

impl Server {
    /// A server that listens; its memory is allocated here.
    #[must_use]
    pub fn new(settings: &Settings, link: Link, seed: u64) -> Self {
        let connections = settings.connections_max.saturating_add(settings.backlog);
        Self {
            stack: Stack::new(
                settings.tcp.clone(),
                link,
                settings.response.clone(),
                connections,
                !seed,
            ),
            numbers: Numbers::new(seed ^ 0x51),
            cookies: Cookies::new(seed ^ 0xc0),
            half_open: 0,
            counts: ServerResult::default(),
            closed: 0,
            failed: 0,
            settings: settings.clone(),
        }
    }

    /// Connections that are remembered, half-open ones and those in TIME-WAIT included.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.stack.len()
    }

    /// Connections that are half-open now.
    #[must_use]
    pub fn half_open(&self) -> u32 {
        self.half_open
    }

    /// What reached it, and what it did.
    #[must_use]
    pub fn result(&self) -> ServerResult {
        let StackCounts { damaged, resets, .. } = self.stack.counts;
        ServerResult { damaged, resets_sent: resets, ..self.counts.clone() }
    }

    /// A SYN for a pair that has no connection.
    fn listen(&mut self, now_ns: u64, pair: Pair, syn: &Segment) {
        let full = self.half_open >= self.settings.backlog || self.stack.is_full();
        match (self.settings.cookies, full) {
            (CookieUse::Always, _) | (CookieUse::WhenFull, true) => {
                return self.send_cookie(now_ns, pair, syn);
            }
            (CookieUse::Off, true) => {
                self.counts.backlog_dropped += 1;
                return;
            }
            _ => {}
        }
        let start = Start {
            sequence: self.numbers.first(now_ns, &pair),
            clock_offset: self.numbers.clock_offset(&pair),
        };
        let connection = Connection::accept(&self.settings.tcp, start, syn);
        if let Some(at) = self.stack.insert(pair, connection, self.service(NEVER)) {
            self.half_open += 1;
            self.counts.half_open_max = self.counts.half_open_max.max(u64::from(self.half_open));
            self.stack.settle(at);
        }
    }

    fn service(&self, idle_ns: u64) -> Service {
        Service {
            answer_ns: NEVER,
            idle_ns,
            heard: 0,
            blank: 0,
            accepted: false,
            asked: false,
            answered: false,
            ended: false,
        }
    }

    /// Answers without memory: the answer of a connection that is forgotten at once, its number a cookie.
    fn send_cookie(&mut self, now_ns: u64, pair: Pair, syn: &Segment) {
        let sequence = self.cookies.bake(now_ns, &pair, syn);
        let start = Start { sequence, clock_offset: self.numbers.clock_offset(&pair) };
        let mut connection = Connection::accept(&self.settings.tcp, start, syn);
        let Some((mut answer, _)) = connection.next(&self.settings.tcp, now_ns) else { return };
        if let Some((clock, _)) = &mut answer.options.timestamps {
            *clock = Cookies::clock(*clock, &syn.options);
        } else {
            (answer.options.window_shift, answer.options.sack_permitted) = (None, false);
        }
        self.counts.cookies_sent += 1;
        self.stack.stray(pair, answer);
    }

    /// The SYN of an acknowledgment without a connection, if it brings a cookie back.
    fn syn_of(&self, now_ns: u64, pair: &Pair, ack: &Segment) -> Option<Segment> {
        let may =
            self.settings.cookies != CookieUse::Off && !ack.has(TcpFlags::RST | TcpFlags::SYN);
        if may && ack.has(TcpFlags::ACK) { self.cookies.check(now_ns, pair, ack) } else { None }
    }

    /// A connection that only its client has remembered. Without room for it the acknowledgment is as if lost.
    fn redeem(&mut self, pair: Pair, syn: &Segment, ack: &Segment) -> Option<u32> {
        let start = Start {
            sequence: ack.acknowledgment.wrapping_sub(1),
            clock_offset: self.numbers.clock_offset(&pair),
        };
        let connection = Connection::from_cookie(&self.settings.tcp, start, syn, ack);
        let at = self.stack.insert(pair, connection, self.service(NEVER));
        self.counts.backlog_dropped += u64::from(at.is_none());
        self.half_open += u32::from(at.is_some());
        at
    }

    /// What a segment, or time, has done to a connection.
    fn follow(&mut self, now_ns: u64, at: u32, outcome: Outcome) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let (connection, service) = (&mut entry.connection, &mut entry.visit);
        if outcome.connected {
            service.accepted = true;
            self.half_open -= 1;
            self.counts.accepted += 1;
        }
        service.heard += outcome.bytes;
        let whole = match self.settings.request_end {
            RequestEnd::Bytes => service.heard == self.settings.request.bytes(),
            RequestEnd::BlankLine => service.blank == 4,
        };
        if service.accepted && whole && !service.asked {
            service.asked = true;
            service.answer_ns = now_ns.saturating_add(self.settings.service_ns);
        }
        if service.answer_ns <= now_ns {
            service.answer_ns = NEVER;
            service.answered = true;
            connection.say(self.settings.response.bytes());
        }
        let closes = service.answered && self.settings.closes_first == Closer::Server;
        let left = connection.peer_has_closed() && (service.answered || !service.asked);
        if closes || left {
            connection.finish();
        }
        if service.accepted && !service.ended {
            service.idle_ns = now_ns.saturating_add(self.settings.idle_ns);
        }
        if let Some(end) = outcome.end {
            self.end(at, end);
        }
        self.stack.settle(at);
        if self.stack.entry(at).is_some_and(|entry| entry.connection.state() == State::Closed) {
            self.stack.remove(at);
        }
    }

    fn end(&mut self, at: u32, end: End) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let service = &mut entry.visit;
        if std::mem::replace(&mut service.ended, true) {
            return;
        }
        (service.idle_ns, service.answer_ns) = (NEVER, NEVER);
        match (service.accepted, end) {
            (false, _) => {
                self.half_open -= 1;
                self.counts.half_open_expired += u64::from(end == End::TimedOut);
            }
            (true, End::Closed) if service.answered => self.closed += 1,
            (true, _) => self.failed += 1,
        }
    }

    /// What has become due for one connection.
    fn timer(&mut self, now_ns: u64, at: u32) {
        let Some(entry) = self.stack.entry_mut(at) else { return };
        if now_ns >= entry.visit.idle_ns {
            self.end(at, End::TimedOut);
            self.stack.abort(at);
            return;
        }
        let end = entry.connection.timer(&self.settings.tcp, now_ns);
        let idle_ns = entry.visit.idle_ns;
        self.follow(now_ns, at, Outcome { end, ..Outcome::default() });
        // A timer of ours is no word of the peer's.
        if let Some(entry) = self.stack.entry_mut(at).filter(|entry| !entry.visit.ended) {
            entry.visit.idle_ns = idle_ns;
            self.stack.settle(at);
        }
    }

    /// The connection that a segment is for, or is to be made for it.
    fn connection_of(&mut self, now_ns: u64, pair: Pair, segment: &Segment) -> Option<u32> {
        let is_syn = segment.has(TcpFlags::SYN) && !segment.has(TcpFlags::ACK | TcpFlags::RST);
        self.counts.syns += u64::from(is_syn);
        let mut found = self.stack.find(&pair);
        if let Some(at) = found.filter(|_| is_syn)
            && self
                .stack
                .entry(at)
                .is_some_and(|entry| entry.connection.may_be_reopened_by(segment))
        {
            self.stack.remove(at);
            found = None;
        }
        if found.is_some() {
            return found;
        }
        if is_syn {
            self.listen(now_ns, pair, segment);
            return None;
        }
        if let Some(syn) = self.syn_of(now_ns, &pair, segment) {
            return self.redeem(pair, &syn, segment);
        }
        self.stack.refuse(pair, segment);
        None
    }
}

/// How much of the blank line that ends a request's head has been heard, after `data`. Four is all of it.
fn blank_line(heard: u8, data: &[u8]) -> u8 {
    data.iter().fold(heard, |heard, byte| match (heard, byte) {
        (4, _) => 4,
        (0 | 2, b'\r') | (1 | 3, b'\n') => heard + 1,
        (_, b'\r') => 1,
        _ => 0,
    })
}

impl Actor for Server {
    fn begin(&mut self, _now_ns: u64) {}

    fn owns(&self, frame: &[u8]) -> bool {
        frame::peek(frame).is_some_and(|pair| {
            pair.local_port == self.settings.server_port
                && self.settings.servers.index(pair.local).is_some()
        })
    }

    fn receive(&mut self, now_ns: u64, frame: &[u8]) {
        let Some((pair, segment, data)) = self.stack.read(frame) else { return };
        let Some(at) = self.connection_of(now_ns, pair, &segment) else { return };
        let Some(entry) = self.stack.entry_mut(at) else { return };
        let place = entry.connection.place(&segment);
        if !data.is_empty() {
            match self.settings.request_end {
                RequestEnd::Bytes if !self.settings.request.is_at(place, data) => {
                    self.stack.counts.damaged += 1;
                    return;
                }
                // Of what comes early only the place is kept, so here it is as if it had been lost.
                RequestEnd::BlankLine if place > i64::from(entry.connection.received()) => return,
                _ => {}
            }
        }
        let known = i64::from(entry.connection.received());
        let outcome = entry.connection.receive(&self.settings.tcp, now_ns, &segment);
        let new = usize::try_from(known - place).ok().and_then(|from| data.get(from..));
        if let (true, Some(new)) = (outcome.bytes > 0, new) {
            entry.visit.blank = blank_line(entry.visit.blank, new);
        }
        if outcome.refused {
            self.stack.refuse(pair, &segment);
        }
        self.follow(now_ns, at, outcome);
    }

    fn due_ns(&self) -> Option<u64> {
        self.stack.due_ns()
    }

    fn send(&mut self, now_ns: u64, out: &mut [u8]) -> Option<usize> {
        for _ in 0..ERRANDS_MAX {
            let timer = self.stack.due(now_ns);
            if let Some(at) = timer {
                self.timer(now_ns, at);
            }
            let written = self.stack.write(now_ns, out);
            if written.is_some() || timer.is_none() {
                return written;
            }
        }
        None
    }

    fn frame_bytes_max(&self) -> usize {
        self.settings.frame_bytes_max() + TAG_BYTES
    }

    fn wind_down(&mut self, _now_ns: u64) {}

    fn is_idle(&self) -> bool {
        self.counts.accepted == self.closed + self.failed
    }

    fn progress(&self) -> Progress {
        Progress { begun: self.counts.accepted, completed: self.closed, failed: self.failed }
    }

    fn tell(&self, result: &mut UsersResult) {
        result.server_retransmissions = self.stack.counts.repeated;
        result.dropped_by_us += self.stack.counts.dropped();
        result.server = self.result();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_line_is_found_wherever_it_is_cut() {
        let heard = |parts: &[&[u8]]| parts.iter().fold(0, |heard, part| blank_line(heard, part));
        assert_eq!(heard(&[b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]), 4);
        assert_eq!(heard(&[b"a\r", b"\n", b"\r", b"\nbody"]), 4);
        assert_eq!(heard(&[b"a\r\n\rb\r\n"]), 2);
        assert_eq!(heard(&[b"\r\r\n\r\r\n"]), 2);
    }
}
