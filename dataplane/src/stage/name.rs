//! `name`: which flow each packet is about.

use crate::batch::{Batch, Piece};
use crate::conntrack::{Packet, Untrackable, Wanted};
use crate::handover::FlowHash;

/// Packet `i` as connection tracking sees it.
#[inline]
pub(super) fn packet(batch: &Batch, i: usize) -> Packet<'_> {
    let headers = &batch.headers[i];
    let l4 = batch.bytes(i).get(usize::from(headers.l4)..).unwrap_or_default();
    let packet = Packet::new(headers.source(), headers.destination(), headers.protocol, l4);
    packet.of_len(headers.total_len.into())
}

/// Names the flows of all packets that await their verdict. A fragment cannot tell.
pub fn name(batch: &mut Batch, hash: &FlowHash) {
    for i in batch.turn() {
        if batch.is_open(i) {
            batch.wanted[i] = match batch.headers[i].piece {
                Piece::Whole | Piece::Atomic => Wanted::new(&packet(batch, i), hash),
                Piece::First | Piece::Later(_) => Err(Untrackable::Malformed),
            };
        }
    }
}
