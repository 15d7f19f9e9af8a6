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
//! * A client may take a port again while its last connection is still remembered. What acknowledges a cookie is then
//!   known by it ([`crate::conntrack`]), and the old connection is forgotten; to the kernel a quarter of such segments
//!   are old data of the old connection, and the server resets the new one.
//! * A server that remembers the last connection may answer the SYN by a challenge (RFC 5961 4.2): it is answered in
//!   the client's name, by a reset and the SYN once more, once for each time that the client asks. The kernel gives the
//!   challenge to the client, who can make nothing of it.
//! * A client may also ask whether its window is open where no flow of it is kept, and its cookie is read with the
//!   number that belongs to it. The kernel reads it with the one before, and so as one of another segment size or of
//!   none.
//! * What acknowledges a cookie does so with the numbers of the handshake alone ([`cookie`]).
//! * Segments in fragments are not taken over, and those of proxied connections end here.

pub mod cookie;
pub mod options;
pub mod segment;

pub use cookie::{CookieKey, Ends};
pub use options::HandshakeOptions;
