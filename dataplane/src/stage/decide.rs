//! `decide`: the rules. Chain INPUT for what goes to the machine itself, OUTPUT for what comes from it, FORWARD for the
//! rest.
//!
//! Each family has rules of its own.

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::packet_log::PacketLog;
use crate::policy::{Candidate, Connection, Decision, Dice, Hook, Policies};
use crate::reassembly::Reassembly;
use crate::respond::Answer;
use crate::route::Forwarding;
use crate::verdict::{DropReason, Verdict};

/// The rules, and what they need besides packets.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The rules.
    pub policies: &'a Policies,
    /// The worker that counts.
    pub worker: usize,
    /// Random numbers.
    pub dice: &'a Dice,
    /// The time of day, UTC, in seconds since 1970.
    pub wall_s: u64,
}

/// Puts every packet that has a route before the rules.
pub fn decide(
    batch: &mut Batch,
    Rules { policies, worker, dice, wall_s }: Rules<'_>,
    forwarding: &Forwarding,
    conntrack: &Conntrack,
    reassembly: &mut Reassembly,
    log: &mut PacketLog,
) {
    for i in batch.turn() {
        let ingress = batch.ingress[i];
        let (hook, egress) = match (batch.verdict[i], forwarding.host()) {
            (Verdict::Forward(egress), Some(host)) if ingress == host => (Hook::Output, egress),
            (Verdict::Forward(egress), _) => (Hook::Forward, egress),
            (Verdict::ToHost, Some(host)) => (Hook::Input, host),
            _ => continue,
        };
        let (headers, bytes) = (&batch.headers[i], batch.bytes(i));
        let (link, packet) = bytes.split_at_checked(headers.l3.into()).unwrap_or_default();
        let candidate = Candidate {
            hook,
            headers,
            ingress,
            egress,
            packet: match batch.datagram(i) {
                None => packet.get(..headers.total_len.into()).unwrap_or_default(),
                Some(datagram) => reassembly.whole(datagram, bytes).packet(),
            },
            link,
            forwarding,
            connection: Connection { tracked: batch.tracked[i], conntrack: Some(conntrack) },
            dice,
            wall_s,
            mark: 0,
        };
        match policies.of(&headers.addresses).decide(worker, &candidate, log) {
            Decision::Accept => {}
            Decision::Drop(reason) => batch.verdict[i] = Verdict::Drop(reason),
            Decision::Reject(with) => {
                batch.verdict[i] = Verdict::Drop(DropReason::RuleReject);
                batch.answer[i] = Some(Answer::Reject(with));
            }
        }
    }
}
