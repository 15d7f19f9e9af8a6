//! What the daemon says about itself: the answers to `weirctl status` and `weirctl stats`.

use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::time::Instant;

use af_xdp::{AreaConfig, Rung};
use hdrhistogram::Histogram;
use weir_control::protocol::{
    DropCount, EventCount, FrameStatus, KernelPortStats, LatencyStats, PacketTotals, Percentiles,
    PortState, PortStats, PortStatus, Stats, Status, WorkerState, WorkerStats, WorkerStatus,
    XdpProgramStats,
};

use super::early_drop;
use super::shared::{Shared, Slot, SlotState};
use crate::host::HOST_DEVICE;
use crate::port::PortIndex;
use crate::port::xdp::OpenPort;
use crate::route::{Forwarding, PortLink};
use crate::telemetry::{Counter, Counters, Latency};
use crate::verdict::DropReason;
use crate::wire::ethernet::{HEADER_BYTES, MacAddr};
use crate::worker::{State, Worker};

/// How the daemon is.
pub(crate) fn status(shared: &Shared) -> Status {
    let (rules, policy_epoch, tracked, unconfirmed_until) = {
        let rules = shared.rules();
        let until = rules.unconfirmed_until();
        (rules.len() as u64, rules.policies().epoch(), rules.have_tracked(), until)
    };
    let unconfirmed = unconfirmed_until.map(|until| {
        let seconds = until.saturating_duration_since(Instant::now()).as_secs();
        format!(
            "the last change of rules is undone in {seconds} s unless `weirctl confirm` keeps it"
        )
    });
    let counters = shared.workers.iter().map(|worker| worker.counters().read());
    let level = |sum: &Counters, counter| sum.get(counter);
    let sum = sum(counters);
    let capacity = shared.frames as u64;
    let (pool, lent) = (level(&sum, Counter::FramesPool), level(&sum, Counter::FramesLent));
    let held = level(&sum, Counter::Held);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_s: shared.started.elapsed().as_secs(),
        mode: "route".to_owned(),
        host: shared.config.host.name().to_owned(),
        host_device: shared.host_port().map(|_| HOST_DEVICE.to_owned()),
        on_exit: shared.config.on_exit.to_string(),
        config_path: shared.config.path.display().to_string(),
        workers: shared.workers.iter().map(worker_status).collect(),
        ports: ports(shared),
        policy_epoch,
        rules,
        tracking: tracked || shared.config.conntrack.always_track,
        frames: FrameStatus {
            capacity,
            pool,
            lent,
            held,
            // Workers publish one after the other; what is on its way between two of them is the rest.
            in_flight: capacity.saturating_sub(pool + lent + held),
        },
        warnings: unconfirmed.into_iter().chain(shared.warnings().iter().cloned()).collect(),
    }
}

/// The ports.
pub(crate) fn ports(shared: &Shared) -> Vec<PortStatus> {
    shared.slots().iter().map(|slot| port_status(shared, slot)).collect()
}

/// What the daemon has counted.
pub(crate) fn stats(shared: &Shared) -> Stats {
    let each: Vec<Counters> =
        shared.workers.iter().map(|worker| worker.counters().read()).collect();
    let all = sum(each.iter().cloned());
    let latencies: Vec<Latency> =
        shared.workers.iter().map(|worker| worker.latency().read()).collect();
    Stats {
        uptime_ns: u64::try_from(shared.started.elapsed().as_nanos()).unwrap_or(u64::MAX),
        totals: totals(&all),
        drops: drops(&all),
        events: events(&all, &latencies, shared.log_unwritten.load(Ordering::Relaxed)),
        workers: (0..)
            .zip(each.iter().zip(&latencies))
            .map(|(id, (counters, latency))| WorkerStats {
                id,
                totals: totals(counters),
                drops: drops(counters),
                polls: counters.get(Counter::Polls),
                polls_idle: counters.get(Counter::PollsIdle),
                latency: latency_stats(std::slice::from_ref(latency)),
            })
            .collect(),
        ports: {
            let ports =
                shared.slots().iter().map(|slot| port_stats(slot, &all)).collect::<Vec<_>>();
            let host = shared.host_port().map(|host| traffic_stats(HOST_DEVICE, host, &all));
            ports.into_iter().chain(host).collect()
        },
        latency: latency_stats(&latencies),
        early_drop: early_drop::stats(shared),
    }
}

/// What an operator should know about an open port, each with the remedy.
pub(crate) fn link_troubles(
    name: &str,
    rung: Rung,
    link: &PortLink,
    area: &AreaConfig,
) -> Vec<String> {
    let mut troubles = Vec::new();
    if !link.up {
        troubles
            .push(format!("{name}: the link is down: `ip link set {name} up`, or see its cable"));
    }
    let header_bytes = u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX);
    let mtu_max = area.frame_bytes_max().saturating_sub(header_bytes);
    if link.mtu > mtu_max {
        troubles.push(format!(
            "{name}: MTU {} is more than a chunk of {} bytes holds; the kernel drops larger packets: \
             `ip link set {name} mtu {mtu_max}`",
            link.mtu, area.chunk_bytes
        ));
    }
    if rung == Rung::Skb {
        troubles.push(format!(
            "{name}: SKB copy is slow, and what a NIC or a peer merges (GRO, TSO) is too large for it and \
             dropped: `ethtool -K {name} gro off lro off`, on a veth's other end also `tso off gso off`"
        ));
    }
    troubles
}

fn sum(counters: impl Iterator<Item = Counters>) -> Counters {
    counters.fold(Counters::default(), |mut sum, one| {
        sum.merge(&one);
        sum
    })
}

fn worker_status(worker: &Worker) -> WorkerStatus {
    WorkerStatus {
        id: u32::try_from(worker.id()).unwrap_or(u32::MAX),
        core: worker.core().and_then(|core| u32::try_from(core).ok()),
        state: match worker.state() {
            State::Polling => WorkerState::Busy,
            State::Sleeping => WorkerState::Idle,
            State::Stopped => WorkerState::Stopped,
        },
        polls: worker.counters().read().get(Counter::Polls),
        policy_epoch: worker.policy_epoch(),
    }
}

fn port_status(shared: &Shared, slot: &Slot) -> PortStatus {
    let forwarding = shared.forwarding.current();
    let link = forwarding.port(slot.index);
    let open = open(slot);
    PortStatus {
        name: slot.interface.clone(),
        ifindex: open.map_or(0, OpenPort::ifindex),
        state: match &slot.state {
            SlotState::Closed(why) => PortState::Closed(why.clone()),
            SlotState::Open(_) if link.is_some_and(|link| !link.up) => {
                PortState::Closed("the link is down".to_owned())
            }
            SlotState::Open(_) => PortState::Up,
        },
        rung: open.map_or_else(String::new, |port| port.rung().to_string()),
        queues: open.map_or(0, |port| u32::try_from(port.queues()).unwrap_or(u32::MAX)),
        mac: link.map_or_else(String::new, |link| MacAddr(link.mac).to_string()),
        mtu: link.map_or(0, |link| link.mtu),
        addresses: link.map_or_else(Vec::new, |link| addresses(link, &forwarding)),
    }
}

fn addresses(link: &PortLink, forwarding: &Forwarding) -> Vec<String> {
    let with_len = |address: IpAddr, len: u8| format!("{address}/{len}");
    let own = link.addresses.iter().map(|own| with_len(own.address.into(), own.prefix_len));
    let sources6 = forwarding.sources6().into_iter().flat_map(|sources| &sources.0);
    let own6 = sources6.filter(|own| Some(own.ifindex) == link.ifindex);
    own.chain(own6.map(|own| with_len(own.address.into(), own.prefix_len))).collect()
}

fn open(slot: &Slot) -> Option<&OpenPort> {
    match &slot.state {
        SlotState::Open(port) => Some(port),
        SlotState::Closed(_) => None,
    }
}

/// What a port's counters say.
fn traffic_stats(name: &str, port: PortIndex, all: &Counters) -> PortStats {
    let traffic = all.port(port);
    PortStats {
        name: name.to_owned(),
        received_packets: traffic.received,
        received_bytes: traffic.received_bytes,
        transmitted_packets: traffic.transmitted,
        transmitted_bytes: traffic.transmitted_bytes,
        kernel: None,
        xdp: None,
    }
}

fn port_stats(slot: &Slot, all: &Counters) -> PortStats {
    let kernel = open(slot).map(|port| {
        let statistics = port.statistics();
        KernelPortStats {
            rx_dropped: statistics.rx_dropped,
            rx_invalid_descs: statistics.rx_invalid_descs,
            tx_invalid_descs: statistics.tx_invalid_descs,
            rx_ring_full: statistics.rx_ring_full,
            rx_fill_ring_empty_descs: statistics.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: statistics.tx_ring_empty_descs,
        }
    });
    let xdp = open(slot).and_then(|port| port.program_counters().ok()).map(|counters| {
        let passed = [counters.arp_passed, counters.host_passed, counters.control_passed];
        XdpProgramStats {
            redirected: counters.redirected.packets,
            passed: passed.iter().map(|count| count.packets).sum(),
            dropped: counters.no_socket_dropped.packets,
            fell_back: counters.no_socket_passed.packets,
            early_dropped: counters.early_dropped.packets,
        }
    });
    PortStats { kernel, xdp, ..traffic_stats(&slot.interface, slot.index, all) }
}

fn totals(counters: &Counters) -> PacketTotals {
    PacketTotals {
        received: counters.get(Counter::Received),
        originated: counters.get(Counter::Originated),
        handed_in: counters.get(Counter::HandedIn),
        transmitted: counters.get(Counter::Transmitted),
        to_host: counters.get(Counter::ToHost),
        handed_out: counters.get(Counter::HandedOut),
        dropped: counters.dropped_all(),
        absorbed: counters.get(Counter::Absorbed),
        held: counters.get(Counter::Held),
    }
}

fn drops(counters: &Counters) -> Vec<DropCount> {
    let count = |reason: &DropReason| DropCount {
        reason: reason.name().to_owned(),
        packets: counters.dropped(*reason),
    };
    DropReason::ALL.iter().map(count).collect()
}

fn events(counters: &Counters, latencies: &[Latency], unwritten: u64) -> Vec<EventCount> {
    let event = |event: &str, count| EventCount { event: event.to_owned(), count };
    vec![
        event("answers_suppressed", counters.get(Counter::AnswersSuppressed)),
        event("logged", counters.get(Counter::Logged)),
        event("log_suppressed", counters.get(Counter::LogSuppressed)),
        event("log_unwritten", unwritten),
        event("sleeps", counters.get(Counter::Sleeps)),
        event("kick_errors", counters.get(Counter::KickErrors)),
        event("synproxy_syns", counters.get(Counter::SynproxySyns)),
        event("synproxy_cookies_valid", counters.get(Counter::SynproxyCookiesValid)),
        event("synproxy_cookies_invalid", counters.get(Counter::SynproxyCookiesInvalid)),
        event("synproxy_cookies_repeated", counters.get(Counter::SynproxyCookiesRepeated)),
        event("synproxy_connections", counters.get(Counter::SynproxyConnections)),
        event("foreign_addresses", counters.get(Counter::ForeignAddresses)),
        event("latency_missed", latencies.iter().map(|latency| latency.missed).sum()),
    ]
}

fn latency_stats(latencies: &[Latency]) -> LatencyStats {
    LatencyStats {
        poll_ns: percentiles(latencies.iter().map(|latency| &latency.poll_ns)),
        forward_ns: percentiles(latencies.iter().map(|latency| &latency.forward_ns)),
    }
}

fn percentiles<'a>(histograms: impl Iterator<Item = &'a Histogram<u64>>) -> Percentiles {
    let merged = histograms.fold(None, |sum: Option<Histogram<u64>>, one| match sum {
        None => Some(one.clone()),
        // All have the same bounds, so adding cannot fail; a missing share would only make it coarser.
        Some(mut sum) => sum.add(one).map(|()| sum).ok(),
    });
    let Some(merged) = merged else { return Percentiles::default() };
    Percentiles {
        count: merged.len(),
        p50: merged.value_at_quantile(0.5),
        p90: merged.value_at_quantile(0.9),
        p99: merged.value_at_quantile(0.99),
        p999: merged.value_at_quantile(0.999),
        max: merged.max(),
    }
}
