//! Early drop: what the lists say, what the XDP program makes of them, and what the limiter hears back.
//!
//! The lists are judged by a specification that is a linear search ([`spec`]), twice: with a model of the program in
//! Rust ([`model`]), and with the program itself in the kernel (`BPF_PROG_TEST_RUN`). The latter needs root; without it
//! a test prints `SKIPPED: <reason>` and ends.

#[path = "../engine/chance.rs"]
#[expect(dead_code, reason = "other tests draw more")]
mod chance;
mod condition;
mod frame;
mod kernel;
mod lists;
mod model;
mod push_down;
mod pushed;
mod spec;
mod verdicts;

/// The seed of all draws, printed where a test fails.
fn seed() -> u64 {
    let given = std::env::var("WEIR_SEED").ok();
    given.map_or(0x5eed, |text| text.parse().expect("WEIR_SEED is a number"))
}
