//! What a worker counts, and how others read it without disturbing the worker.

mod counters;
mod latency;

pub use counters::{Counter, Counters, PortTraffic, PublishedCounters};
pub use latency::{LATENCY_NS_MAX, Latency, LatencyRecorder};
