//! AF_XDP as a [`Port`](super::Port): opening devices, and their queues in a worker's hands.

mod addresses;
mod error;
mod open;
mod queue;

pub use addresses::HostAddresses;
pub use error::OpenError;
pub use open::{Bank, OpenPort, Opened, Site, is_served};
pub use queue::XdpQueue;
