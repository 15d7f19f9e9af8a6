//! `decide`: chain FORWARD.

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::policy::{Candidate, Connection, Policy};
use crate::verdict::Verdict;

/// Puts every packet that has a route before the rules.
pub fn decide(batch: &mut Batch, policy: &Policy, worker: usize, conntrack: &Conntrack) {
    for i in batch.turn() {
        let Verdict::Forward(egress) = batch.verdict[i] else { continue };
        let candidate = Candidate {
            headers: &batch.headers[i],
            ingress: batch.ingress[i],
            egress,
            connection: Connection { tracked: batch.tracked[i], conntrack: Some(conntrack) },
        };
        if let Err(reason) = policy.decide(worker, &candidate) {
            batch.verdict[i] = Verdict::Drop(reason);
        }
    }
}
