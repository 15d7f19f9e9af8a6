//! The stages: one function each over a whole batch, in the order of [`crate::pipeline`].
//!
//! A stage looks only at packets that are still open, and either leaves them so or gives them their
//! verdict. None of them allocates or waits; the kernel is
//! called at most when a transmit ring is full.

mod answer;
mod close;
mod confirm;
mod decide;
mod emit;
mod hand_over;
mod name;
mod parse;
mod parse6;
mod proxy;
mod raw;
mod reassemble;
mod route;
mod track;

pub use answer::{Answers, answer};
pub use close::close;
pub use confirm::confirm;
pub use decide::{Rules, decide};
pub use emit::{Emitter, Way, emit};
pub use hand_over::hand_over;
pub use name::name;
pub use parse::parse;
pub use proxy::proxy;
pub use raw::{Phase, raw};
pub use reassemble::{drop_datagram, reassemble};
pub use route::route;
pub use track::track;
