//! The real daemon between two hosts, treated as a careless or hostile operator would treat it.
//!
//! Every test makes its own namespaces, runs the real `weir` and `weirctl` in them, and ends by
//! asking the daemon whether it can account for every packet and every frame
//! ([`town::assert_conserved`]). Where the question is what a router should do, the judge is the
//! kernel: the same probe through the same topology with the kernel forwarding ([`router`]).
//!
//! Nothing here expects an event within a time, except that it comes at all within [`town::SOON`].

mod bypass;
mod config;
mod conntrack;
mod control;
mod early_drop;
mod exit;
mod flows;
mod garbage;
mod host;
mod host6;
mod host_judge;
mod interfaces;
mod link;
mod live;
mod probe;
mod push_down;
mod raw;
mod recent;
mod restart;
mod restore;
mod router;
mod rules;
mod sets;
mod six;
mod synproxy;
mod targets;
mod town;
mod traffic;
mod transfer;
mod workers;
