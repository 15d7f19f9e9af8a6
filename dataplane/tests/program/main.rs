//! The XDP program in the kernel: what it does with each kind of packet (`verdicts`), and how it
//! comes onto a device and leaves it, whatever becomes of its process (`lifecycle`).
//!
//! Needs root. Without it, or without a tool, a test prints `SKIPPED: <reason>` and ends.

mod child;
mod lifecycle;
mod verdicts;
mod world;
