//! Packets that Weir makes itself.
//!
//! Pure functions from the packet at hand into the caller's buffer: no clock, no randomness, no
//! allocation. Addresses, identification and time are arguments. What is not sent says why.
//!
//! * [`icmp_error`]: time exceeded, destination unreachable, fragmentation needed.
//! * [`icmpv6_error`]: the same of IPv6.
//! * [`reject`]: what `-j REJECT` sends: destination unreachable, TCP reset.
//! * [`reject6`]: the same of IPv6.
//! * [`fragment`]: an IPv4 packet without "don't fragment" in pieces that fit the next link.
//! * [`rate`]: how many errors a second.

use weir_control::rule::SynproxyTarget;

pub mod fragment;
pub mod icmp_error;
pub mod icmpv6_error;
pub mod rate;
pub mod reject;
pub mod reject6;

pub use fragment::{NotFragmented, fragments, write_fragment};
pub use icmp_error::{IcmpError, NotSent, Reply, Unreachable};
pub use icmpv6_error::{Icmpv6Error, Reply6, Unreachable6};
pub use rate::{IcmpBudget, TokenBucket};
pub use reject::{Reject, Reset};
pub use reject6::Reset6;

/// What the sender of a packet that ends here is to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It could not go on: an ICMP error about the packet as it came.
    Error(IcmpError),
    /// The same of an IPv6 packet.
    Error6(Icmpv6Error),
    /// A rule rejected it.
    Reject(Reject),
    /// A rule has it taken over; the stage `proxy` does that.
    Proxy(SynproxyTarget),
}
