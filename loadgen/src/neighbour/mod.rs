//! Who has which address on the links: asking for next hops, and answering for the hosts that are played.
//!
//! The kernel has no part in it. None of its addresses is needed on the interfaces, and what it has there is answered
//! for all the same, since ARP and neighbour discovery go to our sockets while they are open.
//!
//! ```text
//!   before a run   resolve   who has the gateway, or what packets go to? ──► the next hop's MAC address
//!   during a run   answer    an Actor on either side: who has 198.19.0.2? ──► I (RFC 826, RFC 4861)
//!                  played    the addresses of a side: clients and servers, and what streams come from and go to
//!                  message   the frames of both families
//! ```
//!
//! Not answered for: what a stream says comes from "anywhere" (whose neighbours would find us in everybody's place), the
//! gateways, and whoever asks for his own address (RFC 5227, RFC 4862 5.4: that is no question but a claim).

mod answer;
mod message;
mod played;
mod resolve;

pub use answer::Answerer;
pub use played::{Played, Residents};
pub use resolve::{NextHopError, Question, TRIES, find_next_hops, resolve};
