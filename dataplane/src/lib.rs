//! x
#![deny(unsafe_code)]
pub mod respond;
pub mod wire;
