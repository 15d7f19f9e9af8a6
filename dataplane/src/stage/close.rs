//! `close`: a connection that a rule answers by a reset is over (`nf_conntrack_tcp_set_closing`,
//! net/netfilter/nf_conntrack_proto_tcp.c): its sender will not go on, whatever the other end does.
//!
//! A reset that answers an INVALID or UNTRACKED packet is not known to belong to any connection, so the kernel tracks
//! it as a packet of its own (chain OUTPUT): it ends the connection that it fits. A SYN that is rejected began nothing.
//!
//! The kernel does this when it sends the reset, before it looks at the next packet. Here packets of the same
//! connection that are in the same turn have been tracked by then; and a reset that finds no way back has closed its
//! connection all the same.

use crate::batch::{Addresses, Batch};
use crate::conntrack::{Conntrack, CtState, Packet};
use crate::policy::Tracks;
use crate::reassembly::Reassembly;
use crate::respond::reject::{RESET_BYTES, reset_of};
use crate::respond::reject6::{self, RESET6_BYTES};
use crate::respond::{Answer, Reject};
use crate::wire::{Ipv4, Ipv6};

/// Closes the connections of packets that are answered by a reset. To be called when all flows of the turn are
/// confirmed.
pub fn close(
    batch: &Batch,
    tracks: Tracks,
    conntrack: &mut Conntrack,
    reassembly: &mut Reassembly,
) {
    for i in batch.turn() {
        // Few are rejected so: the headers of the others are not looked at.
        if batch.answer[i] != Some(Answer::Reject(Reject::Reset))
            || !tracks.of(&batch.headers[i].addresses)
        {
            continue;
        }
        let bytes = batch.bytes(i);
        let rejected = match batch.datagram(i) {
            None => bytes.get(batch.headers[i].l3.into()..).unwrap_or_default(),
            Some(datagram) => reassembly.whole(datagram, bytes).packet(),
        };
        let mut bytes = [0; RESET6_BYTES];
        let reset = match batch.headers[i].addresses {
            Addresses::V4 { .. } => {
                reset_of(rejected).and_then(|reset| reset.write(&mut bytes[..RESET_BYTES]))
            }
            Addresses::V6 { .. } => {
                reject6::reset_of(rejected).and_then(|reset| reset.write(&mut bytes))
            }
        };
        let Ok(len) = reset else { continue };
        let tracked = batch.tracked[i];
        if tracked.is_of_known_flow() {
            let _ =
                with_packet(rejected, |packet| packet.tuple().map(|tuple| conntrack.close(&tuple)));
        } else if matches!(tracked.state, CtState::Invalid | CtState::Untracked) {
            let _ = with_packet(&bytes[..len], |packet| conntrack.track(packet));
        }
    }
}

fn with_packet<R>(bytes: &[u8], use_it: impl FnOnce(&Packet<'_>) -> R) -> Option<R> {
    if let Ok(ip) = Ipv6::new_checked(bytes) {
        let upper = ip.upper_layer().ok()?;
        let (source, destination) = (ip.source().into(), ip.destination().into());
        let payload = ip.payload().get(upper.offset..)?;
        return Some(use_it(&Packet::new(source, destination, upper.protocol.0, payload)));
    }
    let ip = Ipv4::new_checked(bytes).ok()?;
    let (source, destination) = (ip.source().into(), ip.destination().into());
    Some(use_it(&Packet::new(source, destination, ip.protocol().0, ip.payload())))
}
