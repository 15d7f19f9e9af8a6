//! AF_XDP as a [`Port`](super::Port): opening devices, and their queues in a worker's hands.

mod open;
mod queue;

pub use open::{Bank, HostAddresses, OpenError, OpenPort, Opened, is_served};
pub use queue::XdpQueue;
