//! `track`: what each packet is to connection tracking.
//!
//! Three passes, for a flow may be far away in memory: ask for the bucket, ask for the flow, use it. What was asked for
//! is only a hint: each packet looks its flow up again, since an earlier one may have ended it. A packet whose flow is
//! begun by an earlier one of this batch is put off until that one's fate is known.
//!
//! Where rules count connections ([`crate::limit::connections`]) a packet may also have to wait because tracking it
//! would change what counts for those before it, about which nothing is decided yet: then all that come after it wait
//! as well, and the turn is a run of packets of which none does ([`Pace::InRuns`]).

use crate::batch::{Batch, Turn};
use crate::conntrack::{Conntrack, Packet};
use crate::policy::{Pace, Tracks};
use crate::reassembly::Reassembly;
use crate::stage::name::packet;

/// Tracks every packet whose turn it is, of the families that `tracks` names, but for those that table raw exempts.
/// Where `pace` is in runs, the turn ends before the first that has to wait.
pub fn track(
    batch: &mut Batch,
    (tracks, pace): (Tracks, Pace),
    conntrack: &mut Conntrack,
    reassembly: &mut Reassembly,
) {
    let in_runs = pace == Pace::InRuns;
    if in_runs && let Some(i) = batch.turn().next().filter(|i| batch.datagram(*i).is_some()) {
        batch.put_off_from(i + 1);
    }
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
            // In a run each has its place.
            Err(_) if in_runs => looked_for |= 1 << i,
            Err(why) => batch.tracked[i] = conntrack.untrackable(*why),
        }
    }
    for i in Turn::of(looked_for) {
        if let Ok(wanted) = &mut batch.wanted[i] {
            conntrack.prefetch_flow(wanted);
        }
    }
    if in_runs {
        return track_run(batch, looked_for, conntrack);
    }
    for i in Turn::of(looked_for) {
        let Ok(wanted) = &batch.wanted[i] else { continue };
        match conntrack.track_in_batch(&packet(batch, i), wanted) {
            Some(tracked) => batch.tracked[i] = tracked,
            None => batch.put_off(i),
        }
    }
}

/// Tracks packets as far as each can be decided about when all are tracked.
fn track_run(batch: &mut Batch, looked_for: u64, conntrack: &mut Conntrack) {
    let room = conntrack.room_for_a_run();
    let (mut first, mut begun) = (true, 0);
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let wanted = Some(batch.wanted[i]).filter(|_| looked_for & 1 << i != 0);
        let waits = match &wanted {
            _ if begun == room => true,
            Some(Ok(wanted)) => conntrack.may_change_counts(&packet(batch, i), wanted),
            // It has no flow, but may have the addresses of one that another has just begun.
            Some(Err(_)) | None => begun > 0,
        };
        if waits && !first {
            return batch.put_off_from(i);
        }
        first = false;
        let tracked = match &wanted {
            Some(Ok(wanted)) => conntrack.track_in_batch(&packet(batch, i), wanted),
            Some(Err(why)) => Some(conntrack.untrackable(*why)),
            None => continue,
        };
        let Some(tracked) = tracked else { return batch.put_off_from(i) };
        begun += usize::from(tracked.begins_flow());
        batch.tracked[i] = tracked;
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
