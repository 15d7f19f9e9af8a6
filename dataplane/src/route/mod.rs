//! Where packets go: the kernel's addresses, routes and neighbours, mirrored for workers.
//!
//! | file | what it holds |
//! |---|---|
//! | `table.rs` | longest prefix match |
//! | `link.rs` | ports and their addresses |
//! | `neighbour.rs` | MAC addresses of neighbours |
//! | `forwarding.rs` | the snapshot that workers use |

mod event;
mod fib;
mod forwarding;
mod link;
mod message;
mod mirror;
mod neighbour;
mod netlink;
mod resolve;
mod source;
mod state;
mod table;

pub use event::{MirrorEvent, RouteError};
pub use forwarding::{Forwarding, ForwardingBuilder, Route, Target, Unreachable};
pub use link::{InterfaceAddress, PORTS_MAX, PortIndex, PortLink};
pub use mirror::{Mirror, MirrorConfig, MirrorStats};
pub use neighbour::{Neighbour, NeighbourState};
pub use resolve::{ResolveRequest, Resolver};
pub use table::{Prefix, PrefixTable};

/// IPv4 routes that are mirrored. Further ones are refused and reported; those held before stay.
pub const ROUTES_MAX: usize = 1 << 20;

/// Neighbours that are mirrored. Further ones are refused and reported; those held before stay.
pub const NEIGHBOURS_MAX: usize = 1 << 16;
