//! Weir's dataplane: a firewall in pinned poll loops over AF_XDP.
//!
//! # From the outside in
//!
//! | module | what it is |
//! |---|---|
//! | [`daemon`] | the process: set-up, supervision of interfaces, the control socket, an orderly end |
//! | [`config`] | what an operator writes, checked |
//! | [`worker`] | one pinned thread: clock, orders, spin or sleep ([`idle`], [`wake`]) |
//! | [`engine`] | one worker's share of the firewall without thread, clock and devices; deterministic |
//! | [`pipeline`], [`stage`] | the stages in order, one function each over a [`batch`] |
//! | [`conntrack`] | which packets belong together, decided as netfilter does |
//! | [`errand`] | what control threads see and delete of a worker's flows, one bounded piece at a time |
//! | [`policy`] | rules, compiled; their counters |
//! | [`packet_log`] | what rules say about packets, on its way to a line of text |
//! | [`limit`] | what the matches that limit keep from packet to packet |
//! | [`route`] | the kernel's addresses, routes and neighbours, mirrored by netlink |
//! | [`reassembly`] | fragments that wait for each other |
//! | [`hold`] | packets that wait for the hardware address of their next hop |
//! | [`handover`] | packets on their way to the worker of their flow |
//! | [`respond`] | packets that Weir makes itself |
//! | [`port`] | where frames come from and go to: AF_XDP, the machine itself, memory, capture files |
//! | [`program`] | the XDP program: what goes up to the kernel, what comes to the sockets |
//! | [`early_drop`] | sources whose packets that program drops: the operator's lists, what the limiter pushes down |
//! | [`host`] | the machine's own traffic, led through Weir: its device, its routes |
//! | [`frame`] | the right to one UMEM chunk; the only unsafe code of this crate |
//! | [`wire`] | packet formats |
//! | [`verdict`] | the one list of the ways in which a packet can end |
//! | [`telemetry`], [`publish`] | how numbers leave a worker and new rules enter it, without a wait |
//!
//! # What holds at all times
//!
//! * **Conservation.** At the end of every poll, on every worker, all packets are accounted for
//!   ([`verdict`]), and all frames ([`frame`]).
//! * **One writer.** A worker shares nothing that two of them write: frames, flows, counters and ports have
//!   one owner; the few queues between workers are bounded.
//! * **Time is an argument.** Below [`worker`] nobody reads a clock or draws a random number.
//! * **Nothing waits.** A worker allocates only when a port is opened or closed, takes no lock that another
//!   thread may hold, and makes at most one system call a port and poll; but for the machine's own traffic, where
//!   each packet is one.
//! * **What changes is published whole.** Rules ([`policy::Policy`]) and routes ([`route::Forwarding`]) are
//!   immutable; a worker adopts new ones between two batches.
#![deny(unsafe_code)]

pub mod batch;
pub mod config;
pub mod conntrack;
pub mod daemon;
pub mod early_drop;
pub mod engine;
pub mod errand;
pub mod frame;
pub mod handover;
pub mod hold;
pub mod host;
pub mod idle;
pub mod limit;
pub mod packet_log;
pub mod pipeline;
pub mod policy;
pub mod port;
pub mod program;
pub mod publish;
pub mod reassembly;
pub mod respond;
pub mod route;
pub mod set;
pub mod stage;
pub mod synproxy;
pub mod telemetry;
pub mod verdict;
pub mod wake;
pub mod wire;
pub mod worker;
