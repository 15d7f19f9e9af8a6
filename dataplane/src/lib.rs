//! x
#![deny(unsafe_code)]
pub mod publish;
pub mod route;
