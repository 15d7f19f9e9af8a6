//! `raw`: the rules of table raw, which are asked before connections are tracked: chain PREROUTING about what comes by
//! a port, OUTPUT about what the machine itself sends.
//!
//! Whether they see datagrams or fragments depends on connection tracking, as in the kernel: where it is on, datagrams
//! are put together first (`NF_IP_PRI_CONNTRACK_DEFRAG`, -400, before `NF_IP_PRI_RAW`, -300; linux/netfilter_ipv4.h).
//! Where it is off, they see each fragment, also of what is for the machine itself, which is put together later
//! (`ip_local_deliver`, net/ipv4/ip_input.c). Hence two phases.
//!
//! A packet before these rules has no flow: its state is INVALID, and UNTRACKED from `-j CT --notrack` on (`nf_ct_get`
//! finds nothing; net/netfilter/xt_conntrack.c). What `parse` drops they do not see.

use weir_control::rule::Family;

use crate::batch::{Addresses, Batch};
use crate::conntrack::{Conntrack, Tracked};
use crate::packet_log::PacketLog;
use crate::policy::{Candidate, Connection, Decision, Hook, Tracks};
use crate::port::PortIndex;
use crate::reassembly::Reassembly;
use crate::route::{Forwarding, Route};
use crate::stage::Rules;
use crate::stage::decide::contents;
use crate::verdict::{DropReason, Verdict};

/// Which packets it is the turn of.
#[derive(Debug, Clone, Copy)]
pub enum Phase {
    /// Before datagrams are put together: packets of families that are not tracked.
    Fragments(Tracks),
    /// Afterwards: all others.
    Datagrams,
}

/// Puts every open packet before the rules of table raw, once.
pub fn raw(
    batch: &mut Batch,
    phase: Phase,
    rules: &Rules<'_>,
    forwarding: &Forwarding,
    conntrack: &Conntrack,
    reassembly: &mut Reassembly,
    log: &mut PacketLog,
) {
    let Rules { policies, worker, dice, now_ns, wall_s, .. } = *rules;
    if policies.raw_merely_counts() {
        return count(batch, phase, rules, forwarding);
    }
    let turn = batch.pass_raw();
    let raw = [Family::V4, Family::V6].map(|family| policies.raw(family));
    if raw.into_iter().flatten().any(|policy| policy.limits_by_key()) {
        for i in turn {
            let headers = &batch.headers[i];
            if let Some(policy) = policies.raw_of(&headers.addresses) {
                policy.prefetch_limits(headers);
            }
        }
    }
    for i in turn {
        let headers = &batch.headers[i];
        let Some(policy) = policies.raw_of(&headers.addresses).filter(|_| batch.is_open(i)) else {
            continue;
        };
        if let Phase::Fragments(tracks) = phase
            && tracks.of(&headers.addresses)
        {
            batch.keep_before_raw(i);
            continue;
        }
        let Some((hook, egress)) = place(batch, i, forwarding) else { continue };
        let (link, packet) = contents(batch, i, reassembly);
        let candidate = Candidate {
            hook,
            headers,
            ingress: batch.ingress[i],
            egress,
            packet,
            link,
            forwarding,
            connection: Connection { tracked: Tracked::INVALID, conntrack: Some(conntrack) },
            dice,
            now_ns,
            wall_s,
            mark: 0,
        };
        let (decision, effects) = policy.decide_with_effects(worker, &candidate, log);
        match decision {
            Decision::Accept => {}
            // There is neither REJECT nor SYNPROXY in this table.
            Decision::Drop(_) | Decision::Reject(_) | Decision::Proxy(_) => {
                batch.verdict[i] = Verdict::Drop(DropReason::Raw);
                continue;
            }
        }
        if effects.mark != 0 {
            batch.set_mark(i, effects.mark);
        }
        if effects.untracked {
            batch.leave_untracked(i);
        }
    }
}

/// Counts every open packet, where that is all there is to do: for a batch at once.
fn count(batch: &mut Batch, phase: Phase, rules: &Rules<'_>, forwarding: &Forwarding) {
    // Of IPv4 and IPv6, by chain: packets and bytes.
    let mut counts = [[[0_u64; 2]; Hook::ALL.len()]; 2];
    for i in batch.pass_raw() {
        let headers = &batch.headers[i];
        if let Phase::Fragments(tracks) = phase
            && tracks.of(&headers.addresses)
        {
            batch.keep_before_raw(i);
            continue;
        }
        if !batch.is_open(i) {
            continue;
        }
        let Some((hook, _)) = place(batch, i, forwarding) else { continue };
        let six = matches!(headers.addresses, Addresses::V6 { .. });
        let [packets, bytes] = &mut counts[usize::from(six)][hook as usize];
        *packets += 1;
        *bytes += u64::from(headers.total_len);
    }
    for (family, counts) in [Family::V4, Family::V6].into_iter().zip(counts) {
        let Some(policy) = rules.policies.raw(family) else { continue };
        for (hook, [packets, bytes]) in Hook::ALL.into_iter().zip(counts) {
            policy.count(rules.worker, hook, packets, bytes);
        }
    }
}

/// Where a packet meets these rules, and where it would leave; `None` if it does not: it comes from the machine itself
/// and has no way (`ip_route_output_key` fails, and the kernel sends nothing).
fn place(batch: &Batch, i: usize, forwarding: &Forwarding) -> Option<(Hook, PortIndex)> {
    let host = forwarding.host();
    if host != Some(batch.ingress[i]) {
        // Without a port of the machine itself, rules ask for no particular one here: see `Compiler`.
        return Some((Hook::Prerouting, host.unwrap_or(PortIndex(0))));
    }
    let port = match batch.headers[i].addresses {
        Addresses::V4 { destination, .. } => match forwarding.route(destination) {
            Route::Forward { port, .. } => port,
            _ => return None,
        },
        Addresses::V6 { destination, .. } => match forwarding.route6(destination) {
            Route::Forward { port, .. } => port,
            _ => return None,
        },
    };
    (host != Some(port)).then_some((Hook::Output, port))
}
