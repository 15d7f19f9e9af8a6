//! What the daemon `weir` and the tool `weirctl` must agree on: the rule language, the control
//! protocol, and a client for it.
//!
//! ```text
//!  argv ──command::parse──► Command ──Request/JSON──► daemon: Ruleset::apply ──► compiled policy
//!                                                       │
//!  text ◄──list── Listing { ruleset, counters } ◄───────┘
//! ```
//!
//! Nothing here touches a packet or the network. Parsing and printing happen in the client, so
//! that mistakes are reported without a daemon; the daemon checks again what it receives
//! ([`rule::Rule::validate`]), since a client may be anything that can open the socket.
//!
//! The rules are those of iptables, word for word. What Weir does not enforce is refused with
//! its name and place, never accepted and ignored.

pub mod address_list;
pub mod client;
pub mod command;
pub mod lint;
pub mod list;
pub mod protocol;
pub mod restore;
pub mod rule;
pub mod ruleset;
pub mod set;
