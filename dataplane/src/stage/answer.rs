//! `answer`: what the senders of packets that end here hear (RFC 792, RFC 1812 4.3).
//!
//! An ICMP error is built in a frame of its own from the packet as it was received. It leaves from the
//! address that the kernel would choose: the preferred source of the route back (`icmp_route_lookup`,
//! `net/ipv4/icmp.c`). One bucket a worker bounds how many are sent, as the kernel's
//! `icmp_msgs_per_sec` does for the machine; fragmentation needed is exempt there and here, because path
//! MTU discovery depends on it. TCP resets are not limited. Of IPv6 it is the same (`icmp6_send`,
//! `net/ipv6/icmp.c`); the source is the address asked, if that is one of the machine's own, or chosen as RFC 6724
//! says, and who has an address of the link is answered by the port that he is on.
//!
//! A packet that a rule of chain FORWARD rejects is one hop further; one to or from the machine itself is not. Whole
//! it is, if it came in fragments. The kernel sends its answers through chain OUTPUT, as RELATED to the flow of the
//! packet; here they are Weir's own: they meet no rules, and begin or move no flow.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::batch::{Addresses, Batch};
use crate::frame::Frame;
use crate::port::PortIndex;
use crate::respond::icmp_error::{self, IcmpError, Reply};
use crate::respond::icmpv6_error::{self, Icmpv6Error, Reply6};
use crate::respond::reject::{self, RESET_BYTES, Reject, reset_of};
use crate::respond::reject6;
use crate::respond::{Answer, IcmpBudget};
use crate::route::{Forwarding, Route};
use crate::stage::Emitter;
use crate::stage::route::is_for_host;
use crate::telemetry::Counter;
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::{Ipv4, Ipv6};

/// The right to send answers: ICMP errors so many a second.
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

    /// The same about the IPv6 packet `original`, which came in by `ingress`.
    pub fn send6(
        &mut self,
        original: &[u8],
        kind: Icmpv6Error,
        ingress: PortIndex,
        emitter: &mut Emitter<'_>,
    ) {
        if self.build6(original, kind, ingress, emitter).is_none() {
            emitter.counters.add(Counter::AnswersSuppressed, 1);
        }
    }

    fn build6(
        &mut self,
        original: &[u8],
        kind: Icmpv6Error,
        ingress: PortIndex,
        emitter: &mut Emitter<'_>,
    ) -> Option<()> {
        icmpv6_error::may_answer(original).ok()?;
        let packet = Ipv6::new_checked(original).ok()?;
        let (to, asked) = (packet.source(), packet.destination());
        let forwarding = emitter.forwarding;
        let (port, next_hop) = way_back6(forwarding, to, ingress)?;
        let source =
            if forwarding.is_own6(asked) { asked } else { forwarding.source6_for(to, port)? };
        if !self.budget.admit6(kind, emitter.now_ns) {
            return None;
        }
        let reply = Reply6 { error: kind, source };
        let frame = written(emitter, |out| icmpv6_error::build(original, &reply, out).ok())?;
        emitter.originate_by(frame, port, next_hop.into());
        Some(())
    }

    fn build(&mut self, original: &[u8], kind: IcmpError, emitter: &mut Emitter<'_>) -> Option<()> {
        // `parse` lets no packet through that came to a link-layer group, `route` none to a broadcast.
        let to_group = false;
        icmp_error::may_answer(original, to_group).ok()?;
        let (to, asked) = {
            let packet = Ipv4::new_quoted(original).ok()?;
            (packet.source(), packet.destination())
        };
        let link = emitter.forwarding.port(way_back(emitter.forwarding, to)?)?;
        let source = match emitter.forwarding.route(asked) {
            // The machine itself was asked.
            Route::Local => asked,
            // Without an address of its own a router answers from a dummy (RFC 7600 4.8).
            _ => emitter.forwarding.source_for(to).unwrap_or(Ipv4Addr::UNSPECIFIED),
        };
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
        originate(emitter, to, |out| icmp_error::build(original, &reply, out).ok())
    }

    /// Answers the packet `original`, which came in by `ingress` and a rule has rejected, or counts that it was not
    /// answered.
    pub fn reject(
        &mut self,
        original: &[u8],
        with: Reject,
        ingress: PortIndex,
        emitter: &mut Emitter<'_>,
    ) {
        let six = original.first().is_some_and(|first| first >> 4 == 6);
        let sent = match with {
            Reject::Unreachable(why) if reject::may_answer(original).is_ok() => {
                self.build(original, IcmpError::DestinationUnreachable(why), emitter)
            }
            Reject::Unreachable6(why) if reject6::may_answer(original).is_ok() => {
                self.build6(original, Icmpv6Error::DestinationUnreachable(why), ingress, emitter)
            }
            Reject::Unreachable(_) | Reject::Unreachable6(_) => None,
            Reject::Reset if six => reset6(original, ingress, emitter),
            Reject::Reset => reset(original, emitter),
        };
        if sent.is_none() {
            emitter.counters.add(Counter::AnswersSuppressed, 1);
        }
    }
}

/// The port by which an answer leaves. One about a packet of the machine itself goes to the machine.
fn way_back(forwarding: &Forwarding, to: Ipv4Addr) -> Option<PortIndex> {
    match forwarding.route(to) {
        Route::Forward { port, .. } => Some(port),
        Route::Local => forwarding.host(),
        _ => None,
    }
}

/// The port by which an answer of IPv6 leaves, and its next hop. One about a packet of the machine itself goes to the
/// machine.
fn way_back6(
    forwarding: &Forwarding,
    to: Ipv6Addr,
    ingress: PortIndex,
) -> Option<(PortIndex, Ipv6Addr)> {
    if to.is_unicast_link_local() {
        return Some((ingress, to));
    }
    match forwarding.route6(to) {
        Route::Forward { port, next_hop, .. } => Some((port, next_hop)),
        Route::Local => forwarding.host().map(|host| (host, to)),
        _ => None,
    }
}

fn reset(original: &[u8], emitter: &mut Emitter<'_>) -> Option<()> {
    let reset = reset_of(original).ok()?;
    let link = emitter.forwarding.port(way_back(emitter.forwarding, reset.destination)?)?;
    if (link.mtu as usize) < RESET_BYTES {
        return None;
    }
    originate(emitter, reset.destination, |out| reset.write(out).ok())
}

/// The same of an IPv6 packet. (No MTU of IPv6 is too small for it.)
fn reset6(original: &[u8], ingress: PortIndex, emitter: &mut Emitter<'_>) -> Option<()> {
    let reset = reject6::reset_of(original).ok()?;
    let (port, next_hop) = way_back6(emitter.forwarding, reset.destination, ingress)?;
    let frame = written(emitter, |out| reset.write(out).ok())?;
    emitter.originate_by(frame, port, next_hop.into());
    Some(())
}

/// Sends a packet to `to` that `write` puts behind the room for an Ethernet header, returning its length.
fn originate(
    emitter: &mut Emitter<'_>,
    to: Ipv4Addr,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<()> {
    let frame = written(emitter, write)?;
    emitter.originate(frame, to.into());
    Some(())
}

/// A frame with a packet that `write` puts behind the room for an Ethernet header, returning its length.
fn written(
    emitter: &mut Emitter<'_>,
    write: impl FnOnce(&mut [u8]) -> Option<usize>,
) -> Option<Frame> {
    let mut frame = emitter.pool.take()?;
    let room = frame.capacity();
    let window = frame.set_window(usize::from(crate::frame::HEADROOM_BYTES), room);
    let written = if window { write(&mut frame.bytes_mut()[HEADER_BYTES..]) } else { None };
    let Some(len) = written else {
        emitter.pool.put(frame);
        return None;
    };
    frame.truncate(HEADER_BYTES + len);
    Some(frame)
}

/// Answers every dropped packet of the batch that a stage wants answered.
pub fn answer(batch: &mut Batch, answers: &mut Answers, emitter: &mut Emitter<'_>) {
    for i in 0..batch.len() {
        let Some(answer) = batch.answer[i] else { continue };
        if matches!(answer, Answer::Proxy(_)) {
            // It was not good enough to be taken over.
            continue;
        }
        let l3 = usize::from(batch.headers[i].l3);
        let host = emitter.forwarding.host();
        let ingress = batch.ingress[i];
        let addresses = batch.headers[i].addresses;
        let passes =
            host.is_none_or(|host| ingress != host && !is_for_host(&addresses, emitter.forwarding));
        if matches!(answer, Answer::Reject(_)) && passes {
            // As `ip_forward` and `ip6_forward` do before the rules. The packet itself goes nowhere.
            let packet = batch.bytes_mut(i).get_mut(l3..).unwrap_or_default();
            match addresses {
                Addresses::V4 { .. } => {
                    let _ = Ipv4::new_checked(packet).map(|mut packet| packet.decrement_ttl());
                }
                Addresses::V6 { .. } => {
                    let packet = Ipv6::new_checked(packet);
                    let _ = packet.map(|mut packet| packet.decrement_hop_limit());
                }
            }
        }
        let mut say = |original: &[u8], emitter: &mut Emitter<'_>| match answer {
            Answer::Error(kind) => answers.send(original, kind, emitter),
            Answer::Error6(kind) => answers.send6(original, kind, ingress, emitter),
            Answer::Reject(with) => answers.reject(original, with, ingress, emitter),
            Answer::Proxy(_) => {}
        };
        match batch.datagram(i) {
            None => say(batch.bytes(i).get(l3..).unwrap_or_default(), emitter),
            Some(datagram) => {
                let whole = emitter.reassembly.lend_whole(datagram, batch.bytes(i));
                say(&whole, emitter);
                emitter.reassembly.give_back(whole);
            }
        }
    }
}
