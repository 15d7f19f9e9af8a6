//! The kernel as judge of `-j LOG`: the same packets through iptables in a network namespace and through the
//! engine, and the lines of the kernel's log beside ours. Each must say the same, but for the Ethernet header, which a
//! TUN device does not have (`MAC=`).
//!
//! The log of a namespace is only kept while `net.netfilter.nf_log_all_netns` is 1: it is set for the time of the
//! test and put back. The lines have level 7, which no console prints.
//!
//! Environment and needs are those of `oracle`, and `/dev/kmsg`.

use std::sync::{Mutex, MutexGuard, PoisonError};

use weir_dataplane::packet_log::{PacketLog, line};

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, number, unmet};
use crate::packet::Packet;
use crate::reject_oracle::packet;
use crate::world::*;

const SWITCH: &str = "/proc/sys/net/netfilter/nf_log_all_netns";

/// Held by the test that has it switched on: another would take it for as it was, or find it switched off.
static SWITCHED: Mutex<()> = Mutex::new(());

/// The switch as it was, put back when dropped.
pub(crate) struct Switched {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl Switched {
    pub(crate) fn on() -> Result<Self, String> {
        let _alone = SWITCHED.lock().unwrap_or_else(PoisonError::into_inner);
        let told = |error: std::io::Error| format!("{SWITCH}: {error}");
        let before = std::fs::read_to_string(SWITCH).map_err(told)?;
        std::fs::write(SWITCH, "1").map_err(told)?;
        Ok(Self { before, _alone })
    }
}

impl Drop for Switched {
    fn drop(&mut self) {
        let _ = std::fs::write(SWITCH, self.before.trim());
    }
}

/// A packet with more to tell: an ICMP error that quotes another, IP options.
fn telling(chance: &mut Chance) -> (usize, Packet) {
    let (ingress, mut outer) = packet(chance);
    // The kernel refuses or fills in options that it knows; it knows neither of these.
    if chance.percent(20) {
        outer.options = vec![158, 4, chance.byte(), 7, 1, 1, 1, 1];
    }
    if outer.protocol == 1 && chance.percent(60) {
        let (_, quoted) = packet(chance);
        let mut payload = vec![chance.one_of(&[3, 3, 4, 5, 11, 12]), chance.byte() & 7, 0, 0];
        payload.extend(chance.bytes(4));
        let quoted = quoted.bytes();
        let len = chance.one_of(&[quoted.len(), quoted.len(), 28, 20, 19, 30, 45]);
        payload.extend(&quoted[..len.min(quoted.len()).min(400)]);
        outer.payload = payload;
        outer.more_fragments = false;
    }
    (ingress, outer)
}

/// A rule that has lines with `word` written, with some of the options.
pub(crate) fn log_rule(chance: &mut Chance, word: &str) -> String {
    let flags = [
        "--log-tcp-sequence",
        "--log-tcp-options",
        "--log-ip-options",
        "--log-uid",
        "--log-macdecode",
    ];
    let mut rule = format!("-A FORWARD -j LOG --log-level 7 --log-prefix {word}:");
    flags.iter().filter(|_| chance.percent(50)).for_each(|flag| rule += &format!(" {flag}"));
    rule
}

/// The line without what only Ethernet has.
pub(crate) fn without_link(line: &str) -> String {
    let (before, after) = line.split_once(" MAC").expect("an Ethernet header");
    let (_, after) = after.split_once(" SRC=").expect("a source");
    format!("{before} MAC= SRC={after}")
}

#[test]
fn a_line_says_what_the_kernels_says() {
    let switch = unmet().map_or_else(Switched::on, Err);
    let _switch = match switch {
        Ok(switch) => switch,
        Err(reason) => {
            eprintln!("SKIPPED: {reason}");
            return;
        }
    };
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 60) / 10;
    let word = format!("weir{}", std::process::id());
    let mut kernel = Kernel::new("tun").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let (log, records) = PacketLog::new();
    world.engine(0).set_log(log);
    let names = NAMES.map(str::to_owned);
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let rule = log_rule(&mut chance, &word);
        let packets: Vec<_> = (0..50).map(|_| telling(&mut chance)).collect();
        let marks: [u32; 4] = [0, 1, 0xff, u32::MAX];
        let mark = format!("-A FORWARD -j MARK --set-mark {}", chance.one_of(&marks));
        kernel.lines(&[&mark, &rule], true);
        world.rules(&["-F", &mark, &rule]);
        let bytes: Vec<_> = packets.iter().map(|(port, packet)| (*port, packet.bytes())).collect();
        let theirs = kernel.logged(&word, &bytes);
        for ((ingress, packet), theirs) in packets.iter().zip(theirs) {
            world.now_ns += 1_000_000_000;
            world.inject_packet(0, PORTS[*ingress], packet);
            world.settle();
            world.left();
            let record = records.pop().expect("a line");
            let ours = without_link(&line(&record, &names));
            assert_eq!(ours, theirs, "Weir left, the kernel right; {rule}\n{packet:?}");
        }
    }
    world.shut_down();
}
