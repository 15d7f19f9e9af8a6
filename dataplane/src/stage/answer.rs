//! `answer`: ICMP errors for packets that end here (RFC 792, RFC 1812 4.3).
//!
//! The error is built in a frame of its own from the packet as it was received. It leaves from the
//! address that the kernel would choose: the preferred source of the route back (`icmp_route_lookup`,
//! `net/ipv4/icmp.c`). One bucket a worker bounds how many are sent, as the kernel's
//! `icmp_msgs_per_sec` does for the machine; fragmentation needed is exempt there and here, because path
//! MTU discovery depends on it.

use std::net::Ipv4Addr;

use crate::batch::Batch;
use crate::respond::IcmpBudget;
use crate::respond::icmp_error::{self, IcmpError, Reply};
use crate::route::Route;
use crate::stage::Emitter;
use crate::telemetry::Counter;
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::ipv4::Ipv4;

/// The right to send ICMP errors: so many a second.
#[derive(Debug)]
pub struct Answers {
    budget: IcmpBudget,
    identification: u16,
}

impl Answers {
    /// One of `workers` equal parts of the kernel's budget.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let workers = u32::try_from(workers).unwrap_or(u32::MAX);
        Self { budget: IcmpBudget::new(workers, 0), identification: 0 }
    }

    /// Sends the ICMP error `kind` about the IPv4 packet `original`, or counts that it was not sent.
    pub fn send(&mut self, original: &[u8], kind: IcmpError, emitter: &mut Emitter<'_>) {
        if self.build(original, kind, emitter).is_none() {
            emitter.counters.add(Counter::AnswersSuppressed, 1);
        }
    }

    fn build(&mut self, original: &[u8], kind: IcmpError, emitter: &mut Emitter<'_>) -> Option<()> {
        // `parse` lets no packet through that came to a link-layer group, `route` none to a broadcast.
        let to_group = false;
        icmp_error::may_answer(original, to_group).ok()?;
        let to = Ipv4::new_quoted(original).ok()?.source();
        let port = match (emitter.forwarding.route(to), emitter.forwarding.host()) {
            (Route::Forward { port, .. }, _) => port,
            // About a packet of the machine itself.
            (Route::Local, Some(host)) => host,
            _ => return None,
        };
        let link = emitter.forwarding.port(port)?;
        // Without an address of its own a router answers from a dummy (RFC 7600 4.8).
        let source = emitter.forwarding.source_for(to).unwrap_or(Ipv4Addr::UNSPECIFIED);
        if !self.budget.admit(kind, emitter.now_ns) {
            return None;
        }
        self.identification = self.identification.wrapping_add(1);
        let reply = Reply {
            error: kind,
            source,
            identification: self.identification,
            mtu: u16::try_from(link.mtu).unwrap_or(u16::MAX),
            to_group,
        };
        let mut frame = emitter.pool.take()?;
        let room = frame.capacity();
        let built = frame.set_window(usize::from(crate::frame::HEADROOM_BYTES), room)
            && match icmp_error::build(original, &reply, &mut frame.bytes_mut()[HEADER_BYTES..]) {
                Ok(len) => {
                    frame.truncate(HEADER_BYTES + len);
                    true
                }
                Err(_) => false,
            };
        if !built {
            emitter.pool.put(frame);
            return None;
        }
        emitter.originate(frame, to);
        Some(())
    }
}

/// Answers every dropped packet of the batch that a stage wants answered.
pub fn answer(batch: &Batch, answers: &mut Answers, emitter: &mut Emitter<'_>) {
    for i in 0..batch.len() {
        if let Some(kind) = batch.answer[i] {
            let l3 = usize::from(batch.headers[i].l3);
            if let Some(original) = batch.bytes(i).get(l3..) {
                answers.send(original, kind, emitter);
            }
        }
    }
}
