//! `decide`: the rules. Chain INPUT for what goes to the machine itself, OUTPUT for what comes from it, FORWARD for the
//! rest.

use crate::batch::Batch;
use crate::conntrack::Conntrack;
use crate::policy::{Candidate, Connection, Hook, Policy};
use crate::port::PortIndex;
use crate::reassembly::Reassembly;
use crate::verdict::Verdict;

/// Puts every packet that has a route before the rules. `host` is the port of the machine itself.
pub fn decide(
    batch: &mut Batch,
    policy: &Policy,
    (worker, host): (usize, Option<PortIndex>),
    conntrack: &Conntrack,
    reassembly: &mut Reassembly,
) {
    for i in batch.turn() {
        let ingress = batch.ingress[i];
        let (hook, egress) = match (batch.verdict[i], host) {
            (Verdict::Forward(egress), Some(host)) if ingress == host => (Hook::Output, egress),
            (Verdict::Forward(egress), _) => (Hook::Forward, egress),
            (Verdict::ToHost, Some(host)) => (Hook::Input, host),
            _ => continue,
        };
        let (headers, bytes) = (&batch.headers[i], batch.bytes(i));
        let (link, packet) = bytes.split_at_checked(headers.l3.into()).unwrap_or_default();
        let candidate = Candidate {
            headers,
            ingress,
            egress,
            packet: match batch.datagram(i) {
                None => packet.get(..headers.total_len.into()).unwrap_or_default(),
                Some(datagram) => reassembly.whole(datagram, bytes).packet(),
            },
            link,
            connection: Connection { tracked: batch.tracked[i], conntrack: Some(conntrack) },
        };
        if let Err(reason) = policy.decide(hook, worker, &candidate) {
            batch.verdict[i] = Verdict::Drop(reason);
        }
    }
}
