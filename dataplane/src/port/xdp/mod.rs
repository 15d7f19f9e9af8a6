//! AF_XDP as a [`Port`](super::Port): opening devices, and their queues in a worker's hands.

mod error;
mod open;
mod queue;

pub use error::OpenError;
pub use open::{Bank, HostAddresses, OpenPort, Opened, Site, is_served};
pub use queue::XdpQueue;
