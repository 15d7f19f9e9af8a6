//! `hand_over`: packets whose flow lives on another worker are handed to it.
//!
//! An ICMP error belongs where the packet that it quotes belongs, else connection tracking could not relate the two.
//! What has no flow, a fragment say, goes by its addresses.

use crate::batch::{Addresses, Batch, Piece};
use crate::conntrack::Tuple;
use crate::handover::FlowHash;
use crate::verdict::Verdict;

/// Marks the packets that belong to a worker other than `here`.
pub fn hand_over(batch: &mut Batch, hash: &FlowHash, here: usize) {
    for i in batch.turn() {
        if !batch.is_open(i) {
            continue;
        }
        let home = match &batch.wanted[i] {
            Ok(wanted) => hash.worker_of(wanted.hash()),
            Err(_) => {
                let headers = &batch.headers[i];
                hash.worker(&Tuple {
                    source: headers.source(),
                    destination: headers.destination(),
                    source_port: 0,
                    destination_port: 0,
                    protocol: match (headers.addresses, headers.piece) {
                        // A fragment of IPv6 names what follows its header, which need not be the protocol.
                        (Addresses::V6 { .. }, Piece::First | Piece::Later(_)) => 0,
                        _ => headers.protocol,
                    },
                })
            }
        };
        if home != here {
            batch.verdict[i] = Verdict::HandOver(home);
        }
    }
}
