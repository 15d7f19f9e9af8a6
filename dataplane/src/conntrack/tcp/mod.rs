//! TCP: ten states, a window for each direction, and what netfilter makes of segments that fit neither.
//!
//! Netfilter does not terminate connections: it watches segments that may be lost, repeated or reordered before
//! they reach the end they are meant for, and guesses what both ends will think. So a segment has one of three
//! fates: it *fits*, and moves state and windows; it is *ignored*, passes as part of its connection, and moves
//! nothing, since the ends may know better; or it is INVALID, part of no connection. The rules are those of
//! `net/netfilter/nf_conntrack_proto_tcp.c`; their root is van Rooij, "Real Stateful TCP Packet Filtering in IP
//! Filter".
//!
//! | file | what |
//! |---|---|
//! | [`state`] | classes of segments, and from which state they lead where |
//! | [`segment`] | what is read from a TCP header, and which headers cannot be |
//! | [`window`] | whether a segment lies where it may, and what it then moves |
//! | [`track`] | the whole: a segment of a flow, in order |

mod segment;
mod state;
mod track;
mod window;

pub use weir_control::protocol::TcpState;

pub(super) use segment::Segment;
pub(super) use state::{Class, is_closing};
pub(super) use track::{begin, follow};
