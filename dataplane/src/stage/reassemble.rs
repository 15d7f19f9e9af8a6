//! `reassemble`: fragments leave the batch until their datagram is complete, and come back as one packet.

use crate::batch::{Addresses, Batch, Headers, Piece};
use crate::conntrack::{Packet, Wanted};
use crate::handover::FlowHash;
use crate::policy::Tracks;
use crate::reassembly::{Added, Fragment};
use crate::route::Route;
use crate::stage::Emitter;
use crate::stage::name::packet;
use crate::stage::parse::transport;
use crate::verdict::{DropReason, Verdict};
use crate::wire::IpProtocol;
use crate::wire::ipv6::NO_NEXT_HEADER;

/// Takes in every fragment whose turn it is: those that are tracked, and those from and to the machine itself, whose
/// rules see datagrams whole also where nothing is tracked (`ip_local_deliver`, `net/ipv4/ip_input.c`; to the machine
/// only those of IPv4: `ip6_input` asks the rules before it looks for fragments). A datagram that is complete stands in
/// the place of the fragment that completed it, or goes to the worker of its flow.
pub fn reassemble(
    batch: &mut Batch,
    (hash, here): (&FlowHash, usize),
    tracks: Tracks,
    emitter: &mut Emitter<'_>,
) {
    let forwarding = emitter.forwarding;
    if !tracks.any() && forwarding.host().is_none() {
        return;
    }
    for i in batch.turn() {
        if !batch.is_open(i) || batch.headers[i].piece == Piece::Whole {
            continue;
        }
        let of_host = || {
            let local = |(_, to)| forwarding.route(to) == Route::Local;
            forwarding.host() == Some(batch.ingress[i]) || batch.headers[i].v4().is_some_and(local)
        };
        if !tracks.of(&batch.headers[i].addresses) && !of_host() {
            continue;
        }
        if is_cut_short(&batch.headers[i]) {
            batch.wanted[i] = Wanted::new(&packet(batch, i), hash);
            continue;
        }
        let Some(frame) = batch.take(i) else { continue };
        batch.withdraw(i);
        let (headers, ingress, mark) = (batch.headers[i], batch.ingress[i], batch.mark(i));
        let fragment = Fragment { frame, headers, ingress, mark };
        if let Some(oldest) = emitter.reassembly.crowded(&fragment) {
            drop_datagram(oldest, emitter);
        }
        match emitter.reassembly.add(fragment, emitter.now_ns) {
            Added::Held => {}
            Added::Useless(fragment) => emitter.drop_frame(fragment.frame, DropReason::Reassembly),
            Added::Overlaps(datagram, fragment) => {
                emitter.drop_frame(fragment.frame, DropReason::Reassembly);
                drop_datagram(datagram, emitter);
            }
            Added::Complete(datagram) => {
                let hash = Some(hash).filter(|_| tracks.of(&headers.addresses));
                come_back(batch, i, datagram, (hash, here), emitter);
            }
        }
    }
}

/// Whether it is the first fragment of an IPv6 datagram and ends before the transport header does. RFC 8200 4.5 has it
/// thrown away; the kernel does not wait for the others, and leaves it to the rules (`ipv6frag_thdr_truncated`,
/// net/ipv6/reassembly.c; `nf_ct_frag6_gather`).
fn is_cut_short(headers: &Headers) -> bool {
    let first = matches!(headers.piece, Piece::First | Piece::Atomic);
    let needed = match IpProtocol(headers.protocol) {
        IpProtocol::TCP => 20,
        IpProtocol::UDP | IpProtocol::ICMPV6 => 8,
        NO_NEXT_HEADER => 0,
        _ => 1,
    };
    let six = matches!(headers.addresses, Addresses::V6 { .. });
    first && six && headers.l3 + headers.total_len < headers.l4 + needed
}

/// Drops all that has arrived of a datagram.
pub fn drop_datagram(datagram: usize, emitter: &mut Emitter<'_>) {
    while let Some((frame, ..)) = emitter.reassembly.take(datagram) {
        if let Some(frame) = frame {
            emitter.drop_frame(frame, DropReason::Reassembly);
        }
    }
}

/// Without a hash it has no flow, and stays here: table raw has seen its fragments.
fn come_back(
    batch: &mut Batch,
    i: usize,
    datagram: usize,
    (hash, here): (Option<&FlowHash>, usize),
    emitter: &mut Emitter<'_>,
) {
    let Some(total_len) = emitter.reassembly.total_len(datagram) else {
        return drop_datagram(datagram, emitter);
    };
    if !emitter.reassembly.level(datagram) {
        return drop_datagram(datagram, emitter);
    }
    let reassembly = &mut *emitter.reassembly;
    let (largest, dont_fragment) = reassembly.largest(datagram);
    let Some((frame, mut headers, ingress)) = reassembly.take_first(datagram) else { return };
    let whole = reassembly.whole(datagram, frame.bytes());
    let (header_len, whole) = (whole.header_len(), whole.payload());
    // As `ip_frag_reasm`: what must not be cut is what came uncut, and it is compared with the next link.
    (headers.piece, headers.total_len) = (Piece::Whole, total_len);
    // From here on the datagram is looked at whole: without IPv6's fragment header.
    headers.l4 = headers.l3 + header_len;
    (headers.largest_fragment, headers.dont_fragment) = (largest, dont_fragment);
    transport(IpProtocol(headers.protocol), whole, &mut headers);
    let (source, destination) = (headers.source(), headers.destination());
    let tuple = Packet::new(source, destination, headers.protocol, whole).tuple();
    let home = tuple.zip(hash).map_or(here, |(tuple, hash)| hash.worker(&tuple));
    batch.bring_back(i, frame, datagram);
    batch.headers[i] = headers;
    batch.ingress[i] = ingress;
    if batch.mark(i) != emitter.reassembly.mark(datagram) {
        batch.set_mark(i, emitter.reassembly.mark(datagram));
    }
    if home != here {
        batch.verdict[i] = Verdict::HandOver(home);
    }
}
