//! A web server without SYN cookies: a backlog of half-open connections and room for open ones, both bounded, as small
//! as they are in devices. Its page is one segment.

use std::collections::BTreeMap;

use crate::attacks::segment::{End, Segment};
use crate::attacks::{SECOND_NS, WEB};
use crate::packet::{ACK, FIN, PSH, Packet, RST, SYN};

/// Half-open connections that it remembers.
const BACKLOG: usize = 256;
/// Connections that are open at once.
const OPEN_MAX: usize = 256;
/// When an unanswered SYN ACK is sent again, and then when it is given up.
const AGAIN_NS: [u64; 3] = [SECOND_NS, 3 * SECOND_NS, 7 * SECOND_NS];
/// How long it waits for a request.
const IDLE_NS: u64 = 10 * SECOND_NS;

const PAGE: &[u8] = b"a page";

#[derive(Debug, Clone, Copy)]
struct Connection {
    syn: Segment,
    /// Its own first number.
    first: u32,
    open: bool,
    /// When it came to be what it is.
    since_ns: u64,
    /// SYN ACKs that were sent.
    sent: usize,
}

impl Connection {
    fn syn_ack(&self) -> Packet {
        self.syn.answer(SYN | ACK, (self.first, self.syn.sequence + 1), b"")
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Server {
    connections: BTreeMap<End, Connection>,
}

impl Server {
    fn count(&self, open: bool) -> usize {
        self.connections.values().filter(|connection| connection.open == open).count()
    }

    /// What it says to a segment.
    pub(crate) fn hear(&mut self, heard: &Segment, now_ns: u64) -> Vec<Packet> {
        if heard.to != WEB {
            return Vec::new();
        }
        if heard.has(RST) {
            self.connections.remove(&heard.from);
            return Vec::new();
        }
        if heard.has(SYN) {
            return self.begin(heard, now_ns);
        }
        let may_open = self.count(true) < OPEN_MAX;
        let Some(connection) = self.connections.get_mut(&heard.from) else { return Vec::new() };
        if heard.acknowledgment.wrapping_sub(connection.first) == 0 {
            return Vec::new();
        }
        if !connection.open {
            if !may_open {
                return Vec::new();
            }
            (connection.open, connection.since_ns) = (true, now_ns);
        }
        if heard.has(FIN) {
            self.connections.remove(&heard.from);
            let numbers = (heard.acknowledgment, heard.sequence + 1);
            return vec![heard.answer(FIN | ACK, numbers, b"")];
        }
        if heard.len == 0 {
            return Vec::new();
        }
        let numbers = (connection.first + 1, heard.sequence + heard.len);
        vec![heard.answer(PSH | ACK, numbers, PAGE)]
    }

    fn begin(&mut self, syn: &Segment, now_ns: u64) -> Vec<Packet> {
        let full = self.count(false) >= BACKLOG;
        if let Some(known) = self.connections.get(&syn.from) {
            return if known.open { Vec::new() } else { vec![known.syn_ack()] };
        }
        if full {
            return Vec::new();
        }
        let first = 0x0100_0000 + u32::from(syn.from.1) * 7919;
        let new = Connection { syn: *syn, first, open: false, since_ns: now_ns, sent: 1 };
        self.connections.insert(syn.from, new);
        vec![new.syn_ack()]
    }

    /// What it says unasked, now that time has passed.
    pub(crate) fn wait(&mut self, now_ns: u64) -> Vec<Packet> {
        let mut said = Vec::new();
        self.connections.retain(|_, connection| {
            let waited = now_ns - connection.since_ns;
            if connection.open {
                return waited < IDLE_NS;
            }
            if waited < AGAIN_NS[connection.sent - 1] {
                return true;
            }
            connection.sent += 1;
            if connection.sent <= AGAIN_NS.len() {
                said.push(connection.syn_ack());
            }
            connection.sent <= AGAIN_NS.len()
        });
        said
    }
}
