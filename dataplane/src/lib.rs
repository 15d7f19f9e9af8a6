//! Weir's dataplane: a stateful firewall in pinned poll loops over AF_XDP.
#![deny(unsafe_code)]

pub mod batch;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod frame;
pub mod handover;
pub mod hold;
pub mod idle;
pub mod pipeline;
pub mod policy;
pub mod port;
pub mod program;
pub mod publish;
pub mod respond;
pub mod route;
pub mod stage;
pub mod telemetry;
pub mod verdict;
pub mod wake;
pub mod wire;
pub mod worker;
