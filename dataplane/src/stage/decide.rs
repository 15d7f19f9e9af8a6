//! `decide`: chain FORWARD.

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::policy::{Candidate, Connection, Dice, Policy};
use crate::reassembly::Reassembly;
use crate::verdict::Verdict;

/// Puts every packet that has a route before the rules.
pub fn decide(
    batch: &mut Batch,
    policy: &Policy,
    worker: usize,
    conntrack: &Conntrack,
    (dice, wall_s): (&Dice, u64),
    reassembly: &mut Reassembly,
) {
    for i in batch.turn() {
        let Verdict::Forward(egress) = batch.verdict[i] else { continue };
        let (headers, bytes) = (&batch.headers[i], batch.bytes(i));
        let (link, packet) = bytes.split_at_checked(headers.l3.into()).unwrap_or_default();
        let candidate = Candidate {
            headers,
            ingress: batch.ingress[i],
            egress,
            packet: match batch.datagram(i) {
                None => packet.get(..headers.total_len.into()).unwrap_or_default(),
                Some(datagram) => reassembly.whole(datagram, bytes).packet(),
            },
            link,
            connection: Connection { tracked: batch.tracked[i], conntrack: Some(conntrack) },
            dice,
            wall_s,
        };
        if let Err(reason) = policy.decide(worker, &candidate) {
            batch.verdict[i] = Verdict::Drop(reason);
        }
    }
}
