//! `-j SYNPROXY`: the firewall shakes hands with clients in a server's name, keeps nothing of those who only send SYNs,
//! and connects who acknowledges (net/ipv4/netfilter/ipt_SYNPROXY.c, net/ipv6/netfilter/ip6t_SYNPROXY.c,
//! net/netfilter/nf_synproxy_core.c).
//!
//! ```text
//!   client                     firewall                              server
//!     SYN                 ──►  nothing is kept
//!     ◄── SYN ACK, window 0    the number it begins with is a cookie
//!     ACK                 ──►  is it a cookie of ours? then a flow     ──► SYN, with what the client had offered
//!                              the client's SYN could not have made    ◄── SYN ACK
//!     ◄── ACK, window open     from here on numbers are translated     ──► ACK
//!     data ◄──────────────────────────────────────────────────────────────► data
//! ```
//!
//! | file | what |
//! |---|---|
//! | `cookie` | a segment size in a sequence number that nobody can guess |
//! | `options` | the options of a handshake, some of them in a timestamp |
//! | `segment` | what is sent, and how packets of such connections are put right |
//!
//! The rules put what comes from clients here (`policy::target`), [`crate::stage`] does it, and connection tracking
//! keeps what belongs to a connection ([`crate::conntrack::Proxied`]). Nothing here reads a clock or a random number.
//!
//! # Differences from the kernel, on purpose
//!
//! * What is sent here passes no rules: the kernel's is the machine's own, and meets chain OUTPUT.
//! * A server that resets an established connection is believed: the kernel gives the reset the number with which the
//!   connection began, and the client ignores it.
//! * Segments in fragments are not taken over, and those of proxied connections end here.

pub mod cookie;
pub mod options;
pub mod segment;

pub use cookie::{CookieKey, Ends};
pub use options::HandshakeOptions;
