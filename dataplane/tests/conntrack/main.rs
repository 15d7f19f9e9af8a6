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
//! | `cases` `cases.txt` | written by hand, with what is expected |
//! | `kernel` `driver.py` `weir` | both ends |
//! | `play` `seen` `judge` `script` | side by side; what is compared; what is told |
//!
//! Not compared, for they differ on purpose (see the module `conntrack`): SCTP, UDP-Lite, full tables; fragments,
//! which are put together before.
//!
//! Environment: `WEIR_CONNTRACK_SEQUENCES` random sequences (default 3000), `WEIR_CONNTRACK_SEED`, the first seed.
//! Needs root, unshare, ip, python3, iptables-legacy, /dev/net/tun; else prints SKIPPED.

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

use crate::play::Pair;
use crate::shot::Sequence;

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
        &["unshare", "-n", "iptables-legacy", "-t", "mangle", "-A", "FORWARD", "-m", "conntrack",
            "--ctstate", "NEW", "-j", "TEE", "--gateway", "10.9.0.1"],
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
}

#[test]
fn every_state_and_segment() {
    let Some(mut pair) = pair() else { return };
    assert_same(&mut pair, &grid::grid());
}

#[test]
fn canary_a_wrong_answer_is_seen() {
    let Some(mut pair) = pair() else { return };
    pair.lie();
    let sequence = generate::draw(1);
    let text = judge::differences(&mut pair, &[sequence]).expect("a difference");
    assert!(text.contains("but Weir:"), "{text}");
}
