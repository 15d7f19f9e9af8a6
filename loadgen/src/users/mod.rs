//! Legitimate users: connections between two ends that are both ours, without a socket of the kernel.
//!
//! What a flood does is told by what those get who are no part of it. So the users are a whole TCP at both ends, which
//! waits, sends again and gives up as the real ones do. The engine knows them by one trait, [`Actor`]; time is an
//! argument, and nothing here sleeps, allocates after the start or draws a number that its seed does not give.
//!
//! ```text
//!   settings   what a profile says about users, checked
//!   arrivals   when connections are due: an open loop          ports      which port each gets
//!      │                                                       number     which first sequence number
//!      ▼                                                       address    and ranges of them
//!   client ──► stack ──► frame ──►    the box    ──► frame ──► stack ──► server
//!              │  index    who is it for?                          cookie: half-open without memory
//!              │  wheel    whose time is up?
//!              │  tcp      what does it say next? (a state machine without addresses, data and clock)
//!              └  content  the bytes, known by their place
//!   ends       what became of each; how long it took is in histograms, from the moment it was due
//! ```
//!
//! # What is promised
//!
//! * Every connection that was due is begun, or counted as [not begun](Ends::not_begun); every one that was begun ends
//!   in exactly one counted way, or is unfinished when the run is over. No slot of a table is left behind.
//! * Every byte is compared, on both ends; a segment whose data is not what was said is counted and not taken.
//! * Latencies count from the time at which a connection was due, also when we, or the box, were late.
//! * Memory is allocated when an end is made: [`CLIENT_CONNECTION_BYTES`] and [`SERVER_CONNECTION_BYTES`] for each
//!   connection that it may remember, and some 2 MB. A client's table that is full begins no connection; a server's is
//!   a full backlog.
//!
//! # What a real host has and these have not
//!
//! No path MTU discovery and no heed of ICMP (an unreachable server is found out by waiting); no keep-alive; a server
//! that accepts at once, so its accept queue is never full; and what [`tcp`] says of itself. One end lives on one
//! thread: several threads have several pairs of ends, with addresses of their own.

pub mod arrivals;
mod client;
mod content;
mod cookie;
mod ends;
mod frame;
mod index;
mod number;
#[cfg(test)]
mod pipe;
mod ports;
mod server;
pub mod settings;
mod stack;
pub mod tcp;
#[cfg(test)]
mod tests;
mod wheel;

pub use crate::address;
pub use client::{CLIENT_CONNECTION_BYTES, Clients};
pub use content::Content;
pub use ends::Ends;
pub use frame::Link;
pub use index::Pair;
pub use server::{SERVER_CONNECTION_BYTES, Server};
pub use settings::{Settings, UsersConfig};

use crate::result::UsersResult;

/// Things that one call of [`Actor::send`] does before it has found a frame to send.
const ERRANDS_MAX: u32 = 64;

/// One end of the users' connections: it gets the frames that are its own, and makes frames when they are due.
///
/// The engine's turn, for each actor:
///
/// ```text
///   for every frame received:   if actor.owns(frame) { actor.receive(now, frame) }
///   while the ring has room:    let Some(length) = actor.send(now, buffer) else { break }
///   sleep or spin until:        min(actor.due_ns(), what else is due)
/// ```
///
/// Times are nanoseconds of one monotonic clock, the same for all calls; they never fall. A turn that comes late loses
/// nothing: what was due is sent then, and its delay is the user's.
pub trait Actor {
    /// The run begins: the schedule counts from here. Called once, before any other method that takes a time.
    fn begin(&mut self, now_ns: u64);

    /// Whether a frame (from its Ethernet header on) is for this end: by version, protocol, addresses and ports alone.
    /// Cheap, and safe for any bytes.
    fn owns(&self, frame: &[u8]) -> bool;

    /// Takes a frame that it owns. What is broken is counted and thrown away.
    fn receive(&mut self, now_ns: u64, frame: &[u8]);

    /// When [`send`](Self::send) next has something to do; a time that has passed means now, `None` never, unless a
    /// frame comes.
    fn due_ns(&self) -> Option<u64>;

    /// Writes the next frame that is due into `out` and returns its length; `None` when nothing is due now. A buffer
    /// that is too short for the frame (see [`frame_bytes_max`](Self::frame_bytes_max)) is left alone, the frame
    /// counted as lost on the way.
    fn send(&mut self, now_ns: u64, out: &mut [u8]) -> Option<usize>;

    /// The longest frame that [`send`](Self::send) writes, in bytes.
    fn frame_bytes_max(&self) -> usize;

    /// No connection begins from now on; those that are open go on to their end.
    fn wind_down(&mut self, now_ns: u64);

    /// Whether no connection is open that still could complete or fail.
    fn is_idle(&self) -> bool;

    /// What has happened so far, for the live view.
    fn progress(&self) -> Progress;

    /// Writes what this end knows into the result of a run: clients what users got, a server what it saw.
    fn tell(&self, result: &mut UsersResult);
}

/// Both ends of a profile's users. `left` is the first hop of the clients, `right` that of the server.
#[must_use]
pub fn both_ends(settings: &Settings, left: Link, right: Link, seed: u64) -> (Clients, Server) {
    (Clients::new(settings, left, seed), Server::new(settings, right, seed))
}

/// What has become of an actor's connections so far; every figure only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Begun (a client's), or accepted (a server's).
    pub begun: u64,
    /// Ended well.
    pub completed: u64,
    /// Given up or reset.
    pub failed: u64,
}
