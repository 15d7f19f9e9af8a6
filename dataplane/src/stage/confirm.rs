//! `confirm`: flows whose first packets were accepted are put into the table.

use crate::batch::Batch;
use crate::conntrack::{Conntrack, Refused};
use crate::verdict::{DropReason, Verdict};

/// Confirms what the packets whose turn it is have begun; where there is no room, the packet is dropped.
pub fn confirm(batch: &mut Batch, conntrack: &mut Conntrack) {
    for i in batch.turn() {
        if !matches!(batch.verdict[i], Verdict::Forward(_) | Verdict::ToHost) {
            continue;
        }
        if !batch.tracked[i].begins_flow() {
            continue;
        }
        if let Err(refused) = conntrack.confirm(&batch.tracked[i]) {
            batch.verdict[i] = Verdict::Drop(match refused {
                Refused::TableFull => DropReason::FlowTableFull,
                Refused::HalfOpenFull => DropReason::HalfOpenFull,
            });
        }
    }
}
