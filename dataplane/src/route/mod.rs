//! Where packets go: the kernel's addresses, routes and neighbours, mirrored for workers.
//!
//! | file | what it holds |
//! |---|---|
//! | `address.rs` | what addresses of both families have in common |
//! | `link.rs`, `neighbour.rs` | ports and their addresses; MAC addresses of neighbours |
//! | `table.rs` | longest prefix match |
//! | `forwarding.rs`, `builder.rs` | the snapshot that workers use; one made by hand |
//! | `address_type.rs` | what kind of address one is |
//! | `resolve.rs` | how workers ask for neighbours |
//! | `message.rs` | from netlink messages to changes |
//! | `fib.rs`, `rule.rs`, `source.rs`, `source6.rs` | the kernel's way to choose a route and a source address |
//! | `family.rs` | the routes and rules of one family |
//! | `state.rs`, `stale.rs` | what changes do to what is known; what has to be read again |
//! | `netlink.rs`, `mirror.rs`, `event.rs` | sockets, thread, what the supervisor hears |
//!
//! A worker's part, once per batch: `refresh()` its reader of [`Mirror::forwarding`], then for each packet
//! [`Forwarding::route`], [`Forwarding::neighbour`], [`Neighbour::mark_used`]; where there is no usable neighbour, hold
//! the packet and [`Resolver::request`] it (a `Failed` one too: that opens it again), at the end [`Resolver::wake`].

mod address;
mod address_type;
mod builder;
mod event;
mod family;
mod fib;
mod forwarding;
mod link;
mod message;
mod mirror;
mod neighbour;
pub(crate) mod netlink;
mod resolve;
mod rule;
mod source;
mod source6;
mod stale;
mod state;
mod table;

pub use address_type::{AddressAt, AddressType};
pub use builder::ForwardingBuilder;
pub use event::{MirrorEvent, RouteError};
pub(crate) use forwarding::MadeOf;
pub use forwarding::{Forwarding, Route, Target, Unreachable};
pub use link::{InterfaceAddress, PORTS_MAX, PortIndex, PortLink};
pub use mirror::{Mirror, MirrorConfig, MirrorStats};
pub use neighbour::{Neighbour, NeighbourState};
pub use resolve::{ResolveRequest, Resolver};
pub use source6::{Source6, Sources6};
pub use table::{Bits, Prefix, PrefixTable};

/// Routes of each family that are mirrored. Further ones are refused and reported; those held before stay.
/// When a sixteenth of the room is free again, the kernel's are read again.
pub const ROUTES_MAX: usize = 1 << 20;

/// Neighbours that are mirrored. Further ones are refused and reported; those held before stay.
/// When a sixteenth of the room is free again, the kernel's are read again.
pub const NEIGHBOURS_MAX: usize = 1 << 16;
