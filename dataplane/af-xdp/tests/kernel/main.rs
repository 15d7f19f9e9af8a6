//! The crate against the running kernel, over veth pairs in network namespaces of the tests' own.
//!
//! Each test makes a namespace, works on a thread that has entered it, and deletes it. Where that
//! is not permitted the test prints `SKIPPED` with the reason.

mod binding;
mod devices;
mod refusals;
mod sharing;
mod support;
mod traffic;
