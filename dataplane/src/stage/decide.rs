//! `decide`: the rules. Chain INPUT for what goes to the machine itself, OUTPUT for what comes from it, FORWARD for the
//! rest.
//!
//! Each family has rules of its own.

use crate::batch::{Addresses, BATCH_MAX, Batch};
use crate::conntrack::{Conntrack, CtState};
use crate::packet_log::PacketLog;
use crate::policy::{
    CacheKey, Candidate, Connection, Decision, Dice, FlowCache, Hook, Policies, cache_key,
};
use crate::port::PortIndex;
use crate::reassembly::Reassembly;
use crate::respond::Answer;
use crate::route::Forwarding;
use crate::verdict::{DropReason, Verdict};

/// The rules, and what they need besides packets.
#[derive(Debug)]
pub struct Rules<'a> {
    /// The rules.
    pub policies: &'a Policies,
    /// What is known of flows.
    pub cache: &'a mut FlowCache,
    /// The worker that counts.
    pub worker: usize,
    /// Random numbers.
    pub dice: &'a Dice,
    /// Now, in nanoseconds of a clock that only goes forward.
    pub now_ns: u64,
    /// The time of day, UTC, in seconds since 1970.
    pub wall_s: u64,
}

/// Puts every packet that has a route before the rules.
pub fn decide(
    batch: &mut Batch,
    Rules { policies, cache, worker, dice, now_ns, wall_s }: Rules<'_>,
    forwarding: &Forwarding,
    conntrack: &Conntrack,
    reassembly: &mut Reassembly,
    log: &mut PacketLog,
) {
    let keys = known(batch, policies, cache, forwarding);
    approach(batch, policies);
    for i in batch.turn() {
        let Some((hook, egress)) = place(batch, i, forwarding) else { continue };
        let headers = &batch.headers[i];
        let (link, packet) = contents(batch, i, reassembly);
        let candidate = Candidate {
            hook,
            headers,
            ingress: batch.ingress[i],
            egress,
            packet,
            link,
            forwarding,
            connection: Connection { tracked: batch.tracked[i], conntrack: Some(conntrack) },
            dice,
            now_ns,
            wall_s,
            mark: batch.mark(i),
        };
        let policy = policies.of(&headers.addresses);
        let decision = match &keys[i] {
            None => policy.decide(worker, &candidate, log),
            Some(key) => policy.decide_cached(worker, &candidate, log, (cache, key)),
        };
        match decision {
            Decision::Accept => {}
            Decision::Drop(reason) => batch.verdict[i] = Verdict::Drop(reason),
            Decision::Proxy(target) => {
                batch.verdict[i] = Verdict::Drop(DropReason::Synproxy);
                batch.answer[i] = Some(Answer::Proxy(target));
            }
            Decision::Reject(with) => {
                batch.verdict[i] = Verdict::Drop(DropReason::RuleReject);
                batch.answer[i] = Some(Answer::Reject(with));
            }
        }
        if decision != Decision::Accept {
            // The next packet is not to be counted beside it.
            conntrack.give_up_begun(&batch.tracked[i]);
        }
    }
}

/// What rules see of a packet: its Ethernet header, and its bytes from the IP header on, of a fragment those of the
/// whole datagram.
#[inline]
pub(super) fn contents<'a>(
    batch: &'a Batch,
    i: usize,
    reassembly: &'a mut Reassembly,
) -> (&'a [u8], &'a [u8]) {
    let (headers, bytes) = (&batch.headers[i], batch.bytes(i));
    let (link, packet) = bytes.split_at_checked(headers.l3.into()).unwrap_or_default();
    match batch.datagram(i) {
        None => (link, packet.get(..headers.total_len.into()).unwrap_or_default()),
        Some(datagram) => (link, reassembly.whole(datagram, bytes).packet()),
    }
}

/// Brings near what limits have kept of packets, but for those of connections that stand: rules mostly accept these
/// before they come to a limit.
fn approach(batch: &Batch, policies: &Policies) {
    if !policies.v4.limits_by_key() && !policies.v6.limits_by_key() {
        return;
    }
    for i in batch.turn() {
        let meets_rules = matches!(batch.verdict[i], Verdict::Forward(_) | Verdict::ToHost);
        if meets_rules && batch.tracked[i].state != CtState::Established {
            let headers = &batch.headers[i];
            policies.of(&headers.addresses).prefetch_limits(headers);
        }
    }
}

/// Where a packet meets the rules, and where it would leave; `None` if it does not.
fn place(batch: &Batch, i: usize, forwarding: &Forwarding) -> Option<(Hook, PortIndex)> {
    match (batch.verdict[i], forwarding.host()) {
        (Verdict::Forward(egress), Some(host)) if batch.ingress[i] == host => {
            Some((Hook::Output, egress))
        }
        (Verdict::Forward(egress), _) => Some((Hook::Forward, egress)),
        (Verdict::ToHost, Some(host)) => Some((Hook::Input, host)),
        _ => None,
    }
}

/// By what the cache may know the packets. What it knows is brought near: for a batch at once, since it may be far
/// away in memory.
fn known(
    batch: &Batch,
    policies: &Policies,
    cache: &FlowCache,
    forwarding: &Forwarding,
) -> [Option<CacheKey>; BATCH_MAX] {
    let mut keys = [None; BATCH_MAX];
    let asked = [policies.v4.asks(cache, false), policies.v6.asks(cache, true)];
    if asked == [false; 2] {
        return keys;
    }
    for i in batch.turn() {
        let Some((hook, egress)) = place(batch, i, forwarding) else { continue };
        let (ingress, state) = (batch.ingress[i], batch.tracked[i].state);
        let six = matches!(batch.headers[i].addresses, Addresses::V6 { .. });
        if !cache.wants(state) || !asked[usize::from(six)] {
            continue;
        }
        keys[i] = cache_key(hook, &batch.headers[i], (ingress, egress), state);
        keys[i].iter().for_each(|key| cache.prefetch_tags(key));
    }
    keys.iter().flatten().for_each(|key| cache.prefetch_entry(key));
    keys
}
