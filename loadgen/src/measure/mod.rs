//! What arrived, of what was sent: lost, doubled, out of order, changed, and how late.
//!
//! Memory is bounded whatever a network does: a window of numbers for each stream and thread, and a histogram of
//! constant size.

mod latency;
mod sequence;

pub use latency::Histogram;
pub use sequence::{Arrival, Sequence, WINDOW};
