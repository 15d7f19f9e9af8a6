//! What the matches that limit keep from packet to packet.
//!
//! | module | what it is |
//! |---|---|
//! | [`fuzzy`] | the controller of `-m fuzzy`: one word |
//! | [`tokens`] | the bucket of `-m limit`: one word |
//! | [`table`] | one state for each key, in bounded memory |
//! | [`table4`] | the same of IPv4, less of it where sources are the keys |
//! | [`hashlimit`] | the accounts of `-m hashlimit` |
//! | [`cells`] | controllers of very many keys, in a sketch |
//! | [`verified`] | sources that have completed a handshake |
//! | [`unverified`] | what holds the others back, net by net |
//! | [`key`] | by what keyed limits tell packets apart |
//! | [`recent`] | the tables of `-m recent` |
//! | [`connections`] | what `-m connlimit` counts |
//! | [`kept`] | whose state it is: how it outlives the policy in which its rule stands |
//!
//! # What holds for all of them
//!
//! * **One state, however many workers.** A rule's limit is the rule's, not the worker's: what is kept is shared by all
//!   workers and changed by compare-and-swap. Two that meet repeat a few instructions; nobody waits for another's turn.
//! * **Bounded.** Memory is allocated when the rule is made, by the control thread. A table that is full says what
//!   happens then.
//! * **Time is an argument**, in nanoseconds of a clock that only goes forward; so are random bytes.
//!
//! # Jiffies
//!
//! The kernel's limiters count time in ticks of its clock, and their decisions show it: a window of `-m fuzzy` ends
//! with the first packet more than a tenth of a second *in ticks* after it began, and a bucket fills by whole ticks.
//! How long a tick is the kernel's builder chooses; most distributions have chosen 250 a second ([`HZ`]), and so did
//! the firewalls on which the rules that people copy were tried. Weir counts the same ticks.

pub mod cells;
pub mod connections;
pub mod fuzzy;
mod groups;
pub mod hashlimit;
pub mod kept;
pub mod key;
pub mod recent;
mod spin;
pub mod table;
pub mod table4;
pub mod tokens;
pub mod unverified;
pub mod verified;

/// Ticks a second.
pub const HZ: u64 = weir_control::rule::HZ as u64;

/// Nanoseconds of a tick.
pub const JIFFY_NS: u64 = 1_000_000_000 / HZ;

/// Keys that the tables of all rules of a table of rules may be made for, `filter` or `raw`, of one family: some 200 MB
/// of IPv4, 150 where sources are the keys, 350 of IPv6.
pub const KEYS_MAX: usize = 1 << 21;

/// The tick that a time lies in.
#[must_use]
pub const fn jiffies(now_ns: u64) -> u64 {
    now_ns / JIFFY_NS
}

/// What a rule would keep needs more memory than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no memory")]
pub struct NoMemory;
