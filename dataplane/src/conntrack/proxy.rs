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

use super::query::Place;
use super::tcp::{Segment, TcpState};
use super::tracker::Conntrack;
use super::{Direction, Tracked};
use crate::synproxy::CookieKey;

/// What is kept of a proxied connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proxied {
    /// What the client believes the server began with: the cookie.
    pub cookie: u32,
    /// What the client believes the server's clock to have been.
    pub clock: u32,
    /// What is added to the server's numbers, for the client.
    pub offset: u32,
    /// What the server's clock is ahead of that which the client believes in.
    pub clock_offset: u32,
    /// Whether the connection is proxied at all.
    pub is: bool,
    /// Whether the server has answered.
    pub connected: bool,
}

/// Reads a client's segment as the server will, who counts otherwise (`nf_ct_seq_offset`).
#[inline]
pub(super) fn read_as_server(
    segment: &mut Segment<'_>,
    direction: Direction,
    proxied: &[Proxied],
    flow: u32,
) {
    if let Some(proxied) = proxied.get(flow as usize)
        && direction == Direction::Original
    {
        segment.shift(proxied.offset);
    }
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

    /// The state of the packet's TCP connection, and the largest window that its client has offered.
    #[must_use]
    pub fn handshake(&self, tracked: &Tracked) -> Option<(TcpState, u32)> {
        let flow = match self.place_of(tracked)? {
            Place::Table(family, place) => &self.families[family].table.flows[place as usize],
            Place::Entry(entry) => &entry.flow,
        };
        let client = &flow.sides[Direction::Original as usize];
        Some((flow.bits.state(), client.max_win))
    }
}
