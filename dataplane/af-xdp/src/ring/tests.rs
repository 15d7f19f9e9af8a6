//! Tests of the index code on memory without a kernel. They make no system call, so Miri runs them
//! as they are.

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod unit;
