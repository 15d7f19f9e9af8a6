//! `decide`: chain FORWARD.

use crate::batch::Batch;
use crate::policy::Policy;
use crate::verdict::Verdict;

/// Puts every packet that has a route before the rules.
pub fn decide(batch: &mut Batch, policy: &Policy, worker: usize) {
    for i in 0..batch.len() {
        let Verdict::Forward(egress) = batch.verdict[i] else { continue };
        if let Err(reason) = policy.decide(worker, &batch.headers[i], batch.ingress[i], egress) {
            batch.verdict[i] = Verdict::Drop(reason);
        }
    }
}
