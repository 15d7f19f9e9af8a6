//! `weirgen run` with a box between that is the kernel's: a router, a bridge, or a host that looks at every checksum.

mod next_hops;
mod streams;
mod street;
