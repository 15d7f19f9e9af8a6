//! Flows, events and counters as conntrack(8) 1.4.7 prints them, byte for byte: scripts that read
//! its output read ours.
//!
//! Weir shares no entries, so `use=1` in listings never changes. Of an event the kernel's tool tells
//! the mark unless it is 0, and also where it has become 0; ours does not. The tests hold lines that
//! the kernel's tool has printed (a namespace of its own, Linux 6.18).

use std::fmt::Write as _;

use weir_control::protocol::{
    ConntrackCounters, FlowCount, FlowEntry, FlowEvent, FlowEventKind, FlowPart, FlowTuple,
};

/// The names that libnetfilter_conntrack has.
const NAMES: [(u8, &str); 8] = [
    (1, "icmp"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (47, "gre"),
    (58, "icmpv6"),
    (132, "sctp"),
    (136, "udplite"),
];

/// Adds a line of `conntrack -L`.
pub(crate) fn listed(text: &mut String, flow: &FlowEntry) {
    describe(text, flow, true, true);
    // Writing to a string cannot fail.
    let _ = writeln!(text, " mark={} use=1", flow.mark);
}

/// Adds a line of `conntrack -E`.
pub(crate) fn event(text: &mut String, event: &FlowEvent) {
    text.push_str(match event.event {
        FlowEventKind::New => "    [NEW] ",
        FlowEventKind::Update => " [UPDATE] ",
        FlowEventKind::Destroy => "[DESTROY] ",
    });
    // What has expired has no time left, and the kernel says nothing of it.
    let expired = event.event == FlowEventKind::Destroy && event.flow.timeout_s == 0;
    // Nor has it anything to say of counts before the end.
    let counts = event.event == FlowEventKind::Destroy;
    describe(text, &event.flow, !expired, counts);
    if event.flow.mark != 0 {
        let _ = write!(text, " mark={}", event.flow.mark);
    }
    text.push('\n');
}

fn describe(text: &mut String, flow: &FlowEntry, timeout: bool, counts: bool) {
    let known = NAMES.iter().find(|(number, _)| *number == flow.protocol);
    let name = known.map_or("unknown", |(_, name)| name);
    // Writing to a string cannot fail.
    let _ = write!(text, "{name:<8} {} ", flow.protocol);
    if timeout {
        let _ = write!(text, "{} ", flow.timeout_s);
    }
    if let Some(state) = flow.tcp_state {
        let _ = write!(text, "{} ", state.name());
    }
    let counts = flow.counts.filter(|_| counts);
    tuple(text, &flow.original);
    count(text, counts.map(|counts| counts.original));
    if !flow.seen_reply {
        text.push_str(" [UNREPLIED]");
    }
    text.push(' ');
    tuple(text, &flow.reply);
    count(text, counts.map(|counts| counts.reply));
    if flow.assured {
        text.push_str(" [ASSURED]");
    }
}

fn count(text: &mut String, count: Option<FlowCount>) {
    if let Some(FlowCount { packets, bytes }) = count {
        let _ = write!(text, " packets={packets} bytes={bytes}");
    }
}

fn tuple(text: &mut String, tuple: &FlowTuple) {
    let _ = write!(text, "src={} dst={}", tuple.source, tuple.destination);
    match tuple.part {
        FlowPart::Ports { source, destination } => {
            let _ = write!(text, " sport={source} dport={destination}");
        }
        FlowPart::Icmp { kind, code, id } => {
            let _ = write!(text, " type={kind} code={code} id={id}");
        }
        FlowPart::Keys { source, destination } => {
            let _ = write!(text, " srckey={source:#x} dstkey={destination:#x}");
        }
        FlowPart::None => {}
    }
}

/// A line of `conntrack -S`, and what Weir counts besides.
///
/// `clash_resolve` and `chaintoolong` are always 0: two packets of one flow never meet on two
/// workers, and the table has no chains.
pub(crate) fn counters(counters: &ConntrackCounters) -> String {
    let kernel = [
        ("found", counters.found),
        ("invalid", counters.invalid),
        ("insert", counters.insert),
        ("insert_failed", counters.insert_failed),
        ("drop", counters.drop),
        ("early_drop", counters.early_drop),
        ("error", counters.error),
        ("search_restart", counters.search_restart),
        ("clash_resolve", 0),
        ("chaintoolong", 0),
    ];
    let own = [
        ("expired", counters.expired),
        ("deleted", counters.deleted),
        ("flows", counters.flows),
        ("flows_max", counters.flows_max),
        ("half_open", counters.half_open),
        ("half_open_max", counters.half_open_max),
        ("bytes_per_flow", counters.bytes_per_flow),
        ("memory_bytes", counters.memory_bytes),
    ];
    let mut text = format!("cpu={:<4}\t", counters.worker);
    for (name, count) in kernel.into_iter().chain(own) {
        let _ = write!(text, "{name}={count} ");
    }
    for evicted in &counters.evicted {
        let _ = write!(text, "evicted_{}={} ", evicted.kind, evicted.flows);
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use weir_control::protocol::{EvictedCount, FlowCounts, TcpState};

    use super::*;

    fn flow(protocol: u8, source: &str, destination: &str, parts: [FlowPart; 2]) -> FlowEntry {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address");
        let (source, destination) = (address(source), address(destination));
        FlowEntry {
            worker: 0,
            slot: 0,
            generation: 0,
            protocol,
            tcp_state: None,
            timeout_s: 29,
            original: FlowTuple { source, destination, part: parts[0] },
            reply: FlowTuple { source: destination, destination: source, part: parts[1] },
            seen_reply: false,
            assured: false,
            mark: 0,
            counts: None,
        }
    }

    fn ports(source: u16, destination: u16) -> [FlowPart; 2] {
        let there = FlowPart::Ports { source, destination };
        [there, FlowPart::Ports { source: destination, destination: source }]
    }

    fn icmp(there: u8, back: u8, id: u16) -> [FlowPart; 2] {
        [there, back].map(|kind| FlowPart::Icmp { kind, code: 0, id })
    }

    fn tcp() -> FlowEntry {
        FlowEntry {
            tcp_state: Some(TcpState::Established),
            timeout_s: 431_999,
            seen_reply: true,
            assured: true,
            ..flow(6, "127.0.0.1", "10.0.0.1", ports(40_000, 80))
        }
    }

    // long: a line for each kind of flow
    #[test]
    fn flows_are_listed_as_by_the_kernels_tool() {
        let me = "10.0.0.1";
        let none = [FlowPart::None; 2];
        let count = FlowCount { packets: 1, bytes: 84 };
        let cases = [
            (
                tcp(),
                "tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=10.0.0.1 sport=40000 dport=80 src=10.0.0.1 dst=127.0.0.1 sport=80 dport=40000 [ASSURED] mark=0 use=1\n",
            ),
            (
                FlowEntry {
                    tcp_state: Some(TcpState::SynSent),
                    timeout_s: 119,
                    ..flow(6, me, me, ports(53_680, 81))
                },
                "tcp      6 119 SYN_SENT src=10.0.0.1 dst=10.0.0.1 sport=53680 dport=81 [UNREPLIED] src=10.0.0.1 dst=10.0.0.1 sport=81 dport=53680 mark=0 use=1\n",
            ),
            (
                FlowEntry {
                    tcp_state: Some(TcpState::SynSent2),
                    timeout_s: 99,
                    ..flow(6, "1.1.1.1", "2.2.2.2", ports(1, 2))
                },
                "tcp      6 99 SYN_SENT2 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=1 mark=0 use=1\n",
            ),
            (
                flow(17, me, "224.0.0.1", ports(5_000, 6_001)),
                "udp      17 29 src=10.0.0.1 dst=224.0.0.1 sport=5000 dport=6001 [UNREPLIED] src=224.0.0.1 dst=10.0.0.1 sport=6001 dport=5000 mark=0 use=1\n",
            ),
            (
                FlowEntry { seen_reply: true, ..flow(17, me, me, ports(58_489, 7_777)) },
                "udp      17 29 src=10.0.0.1 dst=10.0.0.1 sport=58489 dport=7777 src=10.0.0.1 dst=10.0.0.1 sport=7777 dport=58489 mark=0 use=1\n",
            ),
            (
                flow(17, "fd00::1", "fd00::1", ports(35_431, 7_000)),
                "udp      17 29 src=fd00::1 dst=fd00::1 sport=35431 dport=7000 [UNREPLIED] src=fd00::1 dst=fd00::1 sport=7000 dport=35431 mark=0 use=1\n",
            ),
            (
                flow(1, me, me, icmp(8, 0, 17)),
                "icmp     1 29 src=10.0.0.1 dst=10.0.0.1 type=8 code=0 id=17 [UNREPLIED] src=10.0.0.1 dst=10.0.0.1 type=0 code=0 id=17 mark=0 use=1\n",
            ),
            (
                FlowEntry {
                    seen_reply: true,
                    ..flow(58, "fd00::1", "fd00::1", icmp(128, 129, 12_091))
                },
                "icmpv6   58 29 src=fd00::1 dst=fd00::1 type=128 code=0 id=12091 src=fd00::1 dst=fd00::1 type=129 code=0 id=12091 mark=0 use=1\n",
            ),
            (
                FlowEntry {
                    seen_reply: true,
                    counts: Some(FlowCounts { original: count, reply: count }),
                    ..flow(1, "127.0.0.1", "127.0.0.1", icmp(8, 0, 14_594))
                },
                "icmp     1 29 src=127.0.0.1 dst=127.0.0.1 type=8 code=0 id=14594 packets=1 bytes=84 src=127.0.0.1 dst=127.0.0.1 type=0 code=0 id=14594 packets=1 bytes=84 mark=0 use=1\n",
            ),
            (
                FlowEntry { timeout_s: 599, mark: u32::MAX, ..flow(89, me, me, none) },
                "unknown  89 599 src=10.0.0.1 dst=10.0.0.1 [UNREPLIED] src=10.0.0.1 dst=10.0.0.1 mark=4294967295 use=1\n",
            ),
            (
                flow(47, me, me, [FlowPart::Keys { source: 0, destination: 0 }; 2]),
                "gre      47 29 src=10.0.0.1 dst=10.0.0.1 srckey=0x0 dstkey=0x0 [UNREPLIED] src=10.0.0.1 dst=10.0.0.1 srckey=0x0 dstkey=0x0 mark=0 use=1\n",
            ),
            (
                FlowEntry { timeout_s: 0, ..flow(136, "1.1.1.1", "2.2.2.2", ports(2, 2)) },
                "udplite  136 0 src=1.1.1.1 dst=2.2.2.2 sport=2 dport=2 [UNREPLIED] src=2.2.2.2 dst=1.1.1.1 sport=2 dport=2 mark=0 use=1\n",
            ),
        ];
        for (flow, line) in cases {
            let mut text = String::new();
            listed(&mut text, &flow);
            assert_eq!(text, line);
        }
    }

    #[test]
    fn events_are_told_as_by_the_kernels_tool() {
        let closing = FlowEntry { tcp_state: Some(TcpState::TimeWait), timeout_s: 0, ..tcp() };
        for (kind, flow, line) in [
            (
                FlowEventKind::New,
                FlowEntry {
                    timeout_s: 600,
                    ..flow(89, "10.0.0.1", "10.0.0.1", [FlowPart::None; 2])
                },
                "    [NEW] unknown  89 600 src=10.0.0.1 dst=10.0.0.1 [UNREPLIED] src=10.0.0.1 dst=10.0.0.1\n",
            ),
            (
                FlowEventKind::Update,
                FlowEntry { timeout_s: 432_000, ..tcp() },
                " [UPDATE] tcp      6 432000 ESTABLISHED src=127.0.0.1 dst=10.0.0.1 sport=40000 dport=80 src=10.0.0.1 dst=127.0.0.1 sport=80 dport=40000 [ASSURED]\n",
            ),
            (
                FlowEventKind::Destroy,
                tcp(),
                "[DESTROY] tcp      6 431999 ESTABLISHED src=127.0.0.1 dst=10.0.0.1 sport=40000 dport=80 src=10.0.0.1 dst=127.0.0.1 sport=80 dport=40000 [ASSURED]\n",
            ),
            (
                FlowEventKind::New,
                FlowEntry {
                    mark: 5,
                    timeout_s: 30,
                    ..flow(1, "127.0.0.1", "127.0.0.1", icmp(8, 0, 14_594))
                },
                "    [NEW] icmp     1 30 src=127.0.0.1 dst=127.0.0.1 type=8 code=0 id=14594 [UNREPLIED] src=127.0.0.1 dst=127.0.0.1 type=0 code=0 id=14594 mark=5\n",
            ),
            (
                FlowEventKind::Destroy,
                closing,
                "[DESTROY] tcp      6 TIME_WAIT src=127.0.0.1 dst=10.0.0.1 sport=40000 dport=80 src=10.0.0.1 dst=127.0.0.1 sport=80 dport=40000 [ASSURED]\n",
            ),
        ] {
            let mut text = String::new();
            event(&mut text, &FlowEvent { event: kind, flow });
            assert_eq!(text, line);
        }
    }

    #[test]
    fn counters_begin_as_the_kernels_tool_prints_them() {
        let evicted = vec![EvictedCount { kind: "half_open".into(), flows: 9 }];
        let line = counters(&ConntrackCounters {
            worker: 1,
            invalid: 4,
            flows: 2,
            evicted,
            ..ConntrackCounters::default()
        });
        let kernel = "cpu=1   \tfound=0 invalid=4 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=0 clash_resolve=0 chaintoolong=0 ";
        let own = "expired=0 deleted=0 flows=2 flows_max=0 half_open=0 half_open_max=0 bytes_per_flow=0 memory_bytes=0 evicted_half_open=9 \n";
        assert_eq!(line, format!("{kernel}{own}"));
    }
}
