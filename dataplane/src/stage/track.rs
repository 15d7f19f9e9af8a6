//! `track`: what each packet is to connection tracking.
//!
//! Three passes, for a flow may be far away in memory: ask for the bucket, ask for the flow, use it. What was asked for
//! is only a hint: each packet looks its flow up again, since an earlier one may have ended it. A packet whose flow is
//! begun by an earlier one of this batch is put off until that one's fate is known.

use crate::batch::{Batch, Turn};
use crate::conntrack::{Conntrack, Packet};
use crate::policy::Tracks;
use crate::reassembly::Reassembly;
use crate::stage::name::packet;

/// Tracks every packet whose turn it is, of the families that `tracks` names, but for those that table raw exempts.
pub fn track(
    batch: &mut Batch,
    tracks: Tracks,
    conntrack: &mut Conntrack,
    reassembly: &mut Reassembly,
) {
    if batch.turn().any(|i| batch.datagram(i).is_some()) {
        track_datagrams(batch, tracks, conntrack, reassembly);
    }
    let mut looked_for = 0_u64;
    for i in batch.trackable() {
        let tracked = tracks.of(&batch.headers[i].addresses);
        if !tracked || !batch.is_open(i) || batch.datagram(i).is_some() {
            continue;
        }
        match &batch.wanted[i] {
            Ok(wanted) => {
                conntrack.prefetch_bucket(wanted);
                looked_for |= 1 << i;
            }
            Err(why) => batch.tracked[i] = conntrack.untrackable(*why),
        }
    }
    for i in Turn::of(looked_for) {
        if let Ok(wanted) = &mut batch.wanted[i] {
            conntrack.prefetch_flow(wanted);
        }
    }
    for i in Turn::of(looked_for) {
        let Ok(wanted) = &batch.wanted[i] else { continue };
        match conntrack.track_in_batch(&packet(batch, i), wanted) {
            Some(tracked) => batch.tracked[i] = tracked,
            None => batch.put_off(i),
        }
    }
}

/// A datagram that came in fragments is put together for as long as it is looked at, in a turn of its own. What
/// arrived after it waits, so that the packets of its flow are tracked in their order.
#[cold]
fn track_datagrams(
    batch: &mut Batch,
    tracks: Tracks,
    conntrack: &mut Conntrack,
    reassembly: &mut Reassembly,
) {
    let alone = batch.turn().count() == 1;
    let mut waits = false;
    for i in batch.turn() {
        waits |= batch.datagram(i).is_some() && !alone;
        if waits {
            batch.put_off(i);
        }
    }
    for i in batch.trackable() {
        let Some(datagram) = batch.datagram(i).filter(|_| batch.is_open(i)) else { continue };
        let headers = batch.headers[i];
        if !tracks.of(&headers.addresses) {
            continue;
        }
        let whole = reassembly.whole(datagram, batch.bytes(i)).payload();
        let (source, destination) = (headers.source(), headers.destination());
        let packet = Packet::new(source, destination, headers.protocol, whole);
        batch.tracked[i] = conntrack.track(&packet.of_len(headers.total_len.into()));
    }
}
