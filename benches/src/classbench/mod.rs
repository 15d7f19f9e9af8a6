//! Rule sets as ClassBench makes them, and packets for them.

pub mod family;
pub mod file;
pub mod generate;
pub mod peer;
pub mod structure;
pub mod trace;
