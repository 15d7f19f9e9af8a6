//! `track`: what each packet is to connection tracking.
//!
//! Three passes, for a flow may be far away in memory: ask for the bucket, ask for the flow, use it. What was asked for
//! is only a hint: each packet looks its flow up again, since an earlier one may have ended it. A packet whose flow is
//! begun by an earlier one of this batch is put off until that one's fate is known.

use crate::batch::{Batch, Piece};
use crate::conntrack::{Conntrack, Packet, Untrackable};

/// Packet `i` as connection tracking sees it.
///
/// # Errors
/// [`Untrackable`]: no flow can be named, also because it is a fragment.
#[inline]
pub(super) fn packet(batch: &Batch, i: usize) -> Result<Packet<'_>, Untrackable> {
    let headers = &batch.headers[i];
    if headers.piece != Piece::Whole {
        return Err(Untrackable::Malformed);
    }
    let l4 = batch.bytes(i).get(usize::from(headers.l4)..).ok_or(Untrackable::Malformed)?;
    Packet::new(headers.source.into(), headers.destination.into(), headers.protocol, l4)
}

/// Tracks every packet whose turn it is.
pub fn track(batch: &mut Batch, conntrack: &mut Conntrack) {
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        if let Ok(packet) = packet(batch, i) {
            let hash = conntrack.hash(packet.tuple());
            conntrack.prefetch_bucket(&packet, hash);
            batch.flow_hash[i] = hash;
        }
    }
    for i in batch.turn() {
        if let Ok(packet) = packet(batch, i)
            && batch.is_open(i)
        {
            conntrack.prefetch_flow(&packet, batch.flow_hash[i]);
        }
    }
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let tracked = match packet(batch, i) {
            Ok(packet) => conntrack.track_in_batch(&packet, batch.flow_hash[i]),
            Err(why) => Some(conntrack.untrackable(why)),
        };
        match tracked {
            Some(tracked) => batch.tracked[i] = tracked,
            None => batch.put_off(i),
        }
    }
}
