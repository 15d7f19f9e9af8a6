//! The kernel as judge of connection tracking: the same packets through netfilter in a network namespace and
//! through Weir's tracker. After each packet both must say the same of it (`--ctstate`, `--ctdir`,
//! `--ctstatus`), and have the same flows: tuples, TCP state, answered, assured, time left to live.
//!
//! ```text
//!   generate, grid, cases --> sequences of packets --> play: in lockstep, thousands at once
//!      kernel: driver.py, three TUN devices, rules that write the state into the TOS byte, netlink
//!      weir:   Conntrack::track, confirm, scan
//! ```
//!
//! | file | what it is |
//! |---|---|
//! | `shot` | packets and sequences of them |
//! | `session` `mutate` `datagram` `generate` | random sequences from seeds |
//! | `grid` | every TCP state x segment x direction x edge of the window |
//! | `cases` `cases/*.txt` | written by hand, with what is expected |
//! | `kernel` `driver.py` `weir` | both ends |
//! | `play` `seen` `judge` `script` | side by side; what is compared; what is told |
//!
//! Not compared, for they differ on purpose (see the module `conntrack`): SCTP, UDP-Lite, full tables; fragments,
//! which are put together before.
//!
//! Environment: `WEIR_CONNTRACK_SEQUENCES` random sequences (default 3000), `WEIR_CONNTRACK_SEED`, the first seed.
//! Needs root, unshare, ip, python3, iptables-legacy, /dev/net/tun; else prints SKIPPED.

mod cases;
#[allow(dead_code, reason = "shared with another test")]
#[path = "../engine/chance.rs"]
mod chance;
mod datagram;
mod generate;
mod grid;
mod judge;
mod kernel;
mod mutate;
#[allow(dead_code, reason = "shared with another test")]
#[path = "../engine/packet.rs"]
mod packet;
mod play;
mod script;
mod seen;
mod session;
mod shot;
mod weir;

use std::process::Command;
use std::time::Instant;

use weir_dataplane::conntrack::TcpState;

use crate::play::Pair;
use crate::shot::{Event, Sequence};

fn unmet() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".into());
    }
    if !std::path::Path::new("/dev/net/tun").exists() {
        return Some("needs /dev/net/tun".into());
    }
    let works = |words: &[&str]| {
        let done = Command::new(words[0]).args(&words[1..]).output();
        done.is_ok_and(|output| output.status.success())
    };
    let needs: [&[&str]; 4] = [
        &["unshare", "-n", "true"],
        &["ip", "-V"],
        &["python3", "--version"],
        &[
            "unshare",
            "-n",
            "iptables-legacy",
            "-t",
            "mangle",
            "-A",
            "FORWARD",
            "-m",
            "conntrack",
            "--ctstate",
            "NEW",
            "-j",
            "TEE",
            "--gateway",
            "10.9.0.1",
        ],
    ];
    let missing = needs.iter().find(|words| !works(words))?;
    Some(format!("`{}` does not work here", missing.join(" ")))
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

/// Both ends, unless this machine cannot.
fn pair() -> Option<Pair> {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return None;
    }
    Some(Pair::new())
}

/// `percent` of what the environment asks for, from the first seed on.
fn drawn(percent: u64) -> Vec<Sequence> {
    let count = number("WEIR_CONNTRACK_SEQUENCES", 3000) * percent / 100;
    let first = number("WEIR_CONNTRACK_SEED", 1);
    (first..first + count).map(generate::draw).collect()
}

fn assert_same(pair: &mut Pair, sequences: &[Sequence]) {
    let start = Instant::now();
    if let Some(text) = judge::differences(pair, sequences) {
        panic!("{text}");
    }
    eprintln!("{:?} in {:.1} s", pair.work, start.elapsed().as_secs_f64());
}

#[test]
fn random_sequences_mean_to_weir_what_they_mean_to_the_kernel() {
    let Some(mut pair) = pair() else { return };
    assert_same(&mut pair, &drawn(100));
    let packets = ["INVALID", "NEW", "ESTABLISHED", "RELATED"].map(|name| format!("packet {name}"));
    let states = TcpState::ALL[1..].iter().map(|state| state.name().to_owned());
    let unreached: Vec<String> = states
        .chain(packets)
        .filter(|name| !pair.work.reached.contains_key(name.as_str()))
        .collect();
    assert_eq!(unreached, [""; 0], "the sequences are too tame");
}

#[test]
fn every_state_and_segment() {
    let Some(mut pair) = pair() else { return };
    assert_same(&mut pair, &grid::grid());
}

/// Settings that a part of the sequences is played under.
const OTHERWISE: &[&[(&str, u32)]] = &[
    &[("tcp_loose", 0)],
    &[("tcp_be_liberal", 1)],
    &[("tcp_ignore_invalid_rst", 1)],
    &[("tcp_max_retrans", 1)],
    &[("tcp_max_retrans", 0), ("tcp_loose", 0), ("tcp_be_liberal", 1)],
    &[("checksum", 0)],
    &[
        ("tcp_timeout_syn_sent", 210),
        ("tcp_timeout_syn_recv", 220),
        ("tcp_timeout_established", 1230),
        ("tcp_timeout_fin_wait", 240),
        ("tcp_timeout_close_wait", 250),
        ("tcp_timeout_last_ack", 260),
        ("tcp_timeout_time_wait", 270),
        ("tcp_timeout_close", 280),
        ("tcp_timeout_max_retrans", 235),
        ("tcp_timeout_unacknowledged", 245),
        ("udp_timeout", 100),
        ("udp_timeout_stream", 110),
        ("gre_timeout", 120),
        ("gre_timeout_stream", 130),
        ("icmp_timeout", 140),
        ("generic_timeout", 150),
    ],
    &[
        ("tcp_timeout_established", 100),
        ("tcp_timeout_close", 500),
        ("tcp_timeout_max_retrans", 50),
        ("tcp_timeout_unacknowledged", 1000),
    ],
];

#[test]
fn settings_mean_what_they_mean_to_the_kernel() {
    let Some(mut pair) = pair() else { return };
    let mut sequences = drawn(10);
    for sequence in &mut sequences {
        sequence.events.retain(|event| *event != Event::Pause);
    }
    sequences.extend(grid::grid().into_iter().step_by(7));
    for settings in OTHERWISE {
        eprintln!("{settings:?}");
        pair.set(settings);
        assert_same(&mut pair, &sequences);
    }
}

#[test]
fn cases_written_by_hand() {
    let Some(mut pair) = pair() else { return };
    let mut cases = cases::cases();
    cases.sort_by_key(|case| case.settings.clone());
    let mut unexpected = String::new();
    for group in cases.chunk_by(|one, other| one.settings == other.settings) {
        pair.set(&group[0].settings);
        let sequences: Vec<Sequence> = group.iter().map(|case| case.sequence.clone()).collect();
        for (case, course) in group.iter().zip(pair.play(&sequences)) {
            let lines = case.unexpected(&course);
            if course.differs || !lines.is_empty() {
                unexpected += &script::report(&case.sequence, &course);
                lines.iter().for_each(|line| unexpected += &format!("  the kernel: {line}\n"));
            }
        }
    }
    assert!(unexpected.is_empty(), "{unexpected}");
}

#[test]
fn canary_a_wrong_answer_is_seen() {
    let Some(mut pair) = pair() else { return };
    pair.lie();
    let sequence = generate::draw(1);
    let text = judge::differences(&mut pair, &[sequence]).expect("a difference");
    assert!(text.contains("but Weir:"), "{text}");
}
