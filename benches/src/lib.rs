//! What the benchmarks share: traffic without devices, and honest statistics.
//!
//! ```text
//!   cargo bench -p weir-benches                   nanoseconds a packet, in memory
//!   cargo run --release -p weir-benches --bin ...
//!     pipeline_instructions                       instructions a packet (callgrind)
//!     veth -- all                                 beside l2fwd and the kernel, on veth
//!     transmit -- compare                         weirgen beside a bare loop, trafgen, hping3
//! ```
//!
//! * **Time** on a shared machine moves by 10 to 20 %: in-memory figures are to be read as best
//!   and median of several runs. **Instructions** repeat to the last digit, and are what a change
//!   is judged by. **Ratios** on veth come from interleaved runs, with an interval; a difference
//!   that the interval contains is no difference.
//! * Traffic in memory goes through [`LoopPort`], which behaves as an AF_XDP queue does but
//!   neither allocates nor locks, so that the engine is what is measured.

pub mod classbench;
pub mod floods;
pub mod flows;
pub mod loop_port;
pub use weir_loadgen::statistics;
pub mod traffic;
mod urgency;
pub mod world;

pub use loop_port::LoopPort;
pub use urgency::Urgency;
