//! `hand_over`: packets whose flow lives on another worker are named for it.

use crate::batch::Batch;
use crate::handover::FlowHash;
use crate::verdict::Verdict;

/// Marks the packets that belong to a worker other than `here`.
pub fn hand_over(batch: &mut Batch, hash: &FlowHash, here: usize) {
    for i in 0..batch.len() {
        if !batch.is_open(i) {
            continue;
        }
        let home = hash.worker(&batch.headers[i]);
        if home != here {
            batch.verdict[i] = Verdict::HandOver(home);
        }
    }
}
