//! `emit`: every packet leaves the batch, one way or another, and is counted.

use std::net::IpAddr;

use crate::batch::{Addresses, Batch, Headers};
use crate::frame::{Frame, FramePool};
use crate::handover::{HandedOver, Inboxes};
use crate::hold::{Held, Hold};
use crate::port::{PortIndex, PortSet};
use crate::reassembly::Reassembly;
use crate::respond;
use crate::route::{Forwarding, Resolver, Route};
use crate::telemetry::{Counter, Counters};
use crate::verdict::{DropReason, Verdict};
use crate::wire::checksum;
use crate::wire::ethernet::{EtherType, EthernetHeader, HEADER_BYTES, MacAddr};
use crate::wire::{Ipv4, Ipv6};

/// What a packet needs to leave: everything of the worker that is not the batch.
#[derive(Debug)]
pub struct Emitter<'a> {
    /// Where packets go.
    pub forwarding: &'a Forwarding,
    /// Which forwarding snapshot that is.
    pub forwarding_epoch: u64,
    /// Who resolves next hops.
    pub resolver: &'a Resolver,
    /// The worker's ports.
    pub ports: &'a mut PortSet,
    /// Packets that wait for next hops.
    pub hold: &'a mut Hold,
    /// Fragments that wait for each other.
    pub reassembly: &'a mut Reassembly,
    /// Unused frames.
    pub pool: &'a mut FramePool,
    /// The worker's counters.
    pub counters: &'a mut Counters,
    /// The time of this poll.
    pub now_ns: u64,
    /// Whether a next hop was asked for, so that the resolver is to be woken.
    pub asked: bool,
}

/// Empties the batch. `inboxes` are where packets of other workers' flows go.
pub fn emit(batch: &mut Batch, emitter: &mut Emitter<'_>, inboxes: &Inboxes) {
    for i in 0..batch.len() {
        let Some(mut frame) = batch.take(i) else { continue };
        if let Some(datagram) = batch.datagram(i) {
            emit_datagram(batch, i, (frame, datagram), emitter, inboxes);
            continue;
        }
        let ingress = batch.ingress[i];
        match batch.verdict[i] {
            Verdict::Drop(reason) => emitter.drop_frame(frame, reason),
            Verdict::HandOver(worker) => emitter.hand_over(frame, ingress, worker, inboxes),
            Verdict::ToHost => emitter.deliver(frame, &batch.headers[i]),
            Verdict::Forward(port) => {
                let headers = &batch.headers[i];
                finish_l3(&mut frame, headers, emitter.passes(ingress));
                let way = Way { port, next_hop: batch.next_hop[i], ingress: Some(ingress) };
                if headers.total_len > batch.mtu[i] {
                    emitter.fragment(frame, headers, batch.mtu[i], way);
                } else {
                    emitter.send(frame, way);
                }
            }
        }
    }
    // Nothing is left to yield; this only resets the length.
    batch.drain().for_each(|frame| emitter.pool.put(frame));
}

/// All fragments of a datagram, in order, each as it came; what was decided of the whole holds for each.
fn emit_datagram(
    batch: &Batch,
    i: usize,
    (first, datagram): (Frame, usize),
    emitter: &mut Emitter<'_>,
    inboxes: &Inboxes,
) {
    let mut first = Some(first);
    while let Some((frame, headers, ingress)) = emitter.reassembly.take(datagram) {
        let Some(mut frame) = frame.or_else(|| first.take()) else { continue };
        match batch.verdict[i] {
            Verdict::Drop(reason) => emitter.drop_frame(frame, reason),
            Verdict::HandOver(worker) => emitter.hand_over(frame, ingress, worker, inboxes),
            Verdict::ToHost => emitter.deliver(frame, &headers),
            Verdict::Forward(port) => {
                finish_l3(&mut frame, &headers, emitter.passes(ingress));
                let mtu = batch.mtu[i];
                let way = Way { port, next_hop: batch.next_hop[i], ingress: Some(ingress) };
                if headers.total_len <= mtu {
                    emitter.send(frame, way);
                } else if headers.dont_fragment {
                    emitter.drop_frame(frame, DropReason::MtuExceeded);
                } else {
                    emitter.fragment(frame, &headers, mtu, way);
                }
            }
        }
    }
}

/// What a router changes in a packet that passes through (RFC 1812 5.2.1): the TTL. And what the sender's
/// stack left to hardware that a virtual link does not have: the transport checksum.
fn finish_l3(frame: &mut Frame, headers: &Headers, passes: bool) {
    let Some(l3) = frame.bytes_mut().get_mut(usize::from(headers.l3)..) else { return };
    match headers.addresses {
        Addresses::V4 { .. } => {
            checksum::complete_partial(l3);
            if passes && let Ok(mut packet) = Ipv4::new_checked(l3) {
                packet.decrement_ttl();
            }
        }
        Addresses::V6 { .. } => {
            checksum::complete_partial_v6(l3);
            if passes && let Ok(mut packet) = Ipv6::new_checked(l3) {
                packet.decrement_hop_limit();
            }
        }
    }
}

/// Where a packet leaves.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// The port.
    pub port: PortIndex,
    /// Whose hardware address it gets.
    pub next_hop: IpAddr,
    /// Where it came in, if it came in.
    pub ingress: Option<PortIndex>,
}

impl Emitter<'_> {
    /// Ends a packet.
    pub fn drop_frame(&mut self, frame: Frame, reason: DropReason) {
        self.counters.drop_one(reason);
        self.pool.put(frame);
    }

    /// Whether what came in there passes through, rather than being sent by the machine itself.
    fn passes(&self, ingress: PortIndex) -> bool {
        self.forwarding.host() != Some(ingress)
    }

    /// Gives a packet to the machine itself.
    fn deliver(&mut self, mut frame: Frame, headers: &Headers) {
        let Some(host) = self.forwarding.host() else {
            return self.drop_frame(frame, DropReason::LocalAddress);
        };
        finish_l3(&mut frame, headers, false);
        self.ports.send(frame, host, self.pool, self.counters);
    }

    /// Gives a packet to the worker of its flow, as it came.
    fn hand_over(&mut self, frame: Frame, ingress: PortIndex, worker: usize, inboxes: &Inboxes) {
        match inboxes.send(worker, HandedOver { frame, ingress }) {
            Ok(()) => self.counters.add(Counter::HandedOut, 1),
            Err(back) => self.drop_frame(back.frame, DropReason::HandOverFull),
        }
    }

    /// Sends a packet that is complete but for its Ethernet header, or holds it until its next hop is
    /// known.
    pub fn send(&mut self, mut frame: Frame, way: Way) {
        let neighbour = self.forwarding.neighbour(way.port, way.next_hop);
        if let Some(neighbour) = neighbour.filter(|neighbour| neighbour.is_usable()) {
            neighbour.mark_used();
            self.address(&mut frame, way, MacAddr(neighbour.mac));
            self.ports.send(frame, way.port, self.pool, self.counters);
            return;
        }
        let held = Held {
            frame,
            port: way.port,
            next_hop: way.next_hop,
            ingress: way.ingress,
            since_ns: self.now_ns,
            asked_ns: self.now_ns,
            since_epoch: self.forwarding_epoch,
        };
        match self.hold.push(held) {
            // The first asks; whoever still waits after a while asks again (`Engine::review_hold`).
            Ok(0) => self.asked |= self.resolver.request(way.port, way.next_hop),
            Ok(_) => {}
            Err(held) => self.drop_frame(held.frame, DropReason::HoldFull),
        }
    }

    /// Sends a packet of Weir's own making: counts it and finds its way. `frame` has room for an Ethernet header in
    /// front of it.
    pub fn originate(&mut self, frame: Frame, destination: IpAddr) {
        self.counters.add(Counter::Originated, 1);
        let route = match destination {
            IpAddr::V4(destination) => self.forwarding.route(destination).map(IpAddr::V4),
            IpAddr::V6(destination) => self.forwarding.route6(destination).map(IpAddr::V6),
        };
        match route {
            Route::Forward { port, next_hop, .. } => {
                self.send(frame, Way { port, next_hop, ingress: None });
            }
            Route::NotOurs => self.drop_frame(frame, DropReason::NotAPort),
            Route::Local if let Some(host) = self.forwarding.host() => {
                self.ports.send(frame, host, self.pool, self.counters);
            }
            Route::Local | Route::Broadcast | Route::Multicast => {
                self.drop_frame(frame, DropReason::LocalAddress);
            }
            Route::Unreachable(_) => self.drop_frame(frame, DropReason::RouteUnreachable),
            Route::None => self.drop_frame(frame, DropReason::NoRoute),
        }
    }

    /// Sends a packet of Weir's own making by a way that is known; by the machine's own port it needs no next hop.
    pub fn originate_by(&mut self, frame: Frame, port: PortIndex, next_hop: IpAddr) {
        self.counters.add(Counter::Originated, 1);
        if self.forwarding.host() == Some(port) {
            return self.ports.send(frame, port, self.pool, self.counters);
        }
        self.send(frame, Way { port, next_hop, ingress: None });
    }

    fn address(&self, frame: &mut Frame, way: Way, destination: MacAddr) {
        let Some(link) = self.forwarding.port(way.port) else { return };
        // Next hops are of the packet's family: a route through a gateway of the other one is not followed.
        let ether_type = match way.next_hop {
            IpAddr::V4(_) => EtherType::IPV4,
            IpAddr::V6(_) => EtherType::IPV6,
        };
        let header = EthernetHeader { destination, source: MacAddr(link.mac), ether_type };
        // Every frame that comes here was parsed or built with an Ethernet header in front.
        let _ = header.emit(frame.bytes_mut());
    }

    /// Cuts a packet that may be fragmented into pieces of at most `mtu` bytes (RFC 791 3.2). It is
    /// absorbed, its pieces are originated; without frames for all of them none is sent. (Nor are more
    /// than an outbox takes: 128, which only an MTU near the minimum of 68 bytes can ask for.)
    fn fragment(&mut self, frame: Frame, headers: &Headers, mtu: u16, way: Way) {
        let l3 = usize::from(headers.l3);
        let Ok(plan) = respond::fragments(&frame.bytes()[l3..], mtu) else {
            self.drop_frame(frame, DropReason::MtuExceeded);
            return;
        };
        let (pieces, port) = (plan.len(), way.port);
        let room = self.ports.reserve(pieces, port, self.pool, self.counters);
        if !room || self.pool.available() < pieces {
            self.drop_frame(frame, DropReason::NoFrame);
            return;
        }
        for fragment in plan {
            let Some(mut piece) = self.pool.take() else { break };
            let room = piece.capacity();
            let window = piece.set_window(usize::from(crate::frame::HEADROOM_BYTES), room);
            debug_assert!(window, "the capacity fits behind the headroom");
            let out = &mut piece.bytes_mut()[HEADER_BYTES..];
            let written = respond::write_fragment(&frame.bytes()[l3..], &fragment, out);
            self.counters.add(Counter::Originated, 1);
            match written {
                Ok(len) => {
                    piece.truncate(HEADER_BYTES + len);
                    self.send(piece, way);
                }
                Err(_) => self.drop_frame(piece, DropReason::MtuExceeded),
            }
        }
        self.counters.add(Counter::Absorbed, 1);
        self.pool.put(frame);
    }
}
