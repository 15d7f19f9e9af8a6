//! The kernel as judge of `-m hashlimit --hashlimit-rate-match`: the same random rules and packets through iptables in
//! a network namespace and through the engine. Way and fate of every packet, and the counters of all rules must be the
//! same.
//!
//! The engine is given the kernel's time: packets go through both in bursts, and pauses between them are such that no
//! window ends, and none comes to its rate, within a burst's length of a packet. A case in which anything took longer
//! tells nothing, and is left out. What a limit without windows says is asked in `oracle`.
//!
//! Environment: `WEIR_ORACLE_WINDOWS` rule sets (default 48), `WEIR_ORACLE_SEED`. Needs are those of `oracle`.

use std::net::Ipv4Addr;

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, frame, number, unmet};
use crate::packet::Packet;
use crate::recent_oracle::{BURST_NS_MAX, clock, count_alike, decide_alike};
use crate::world::*;

const BURSTS: usize = 5;

/// By how much a burst may come late.
const LATE_NS_MAX: u64 = 15_000_000;

/// No sum of four is near a third of a second, nor a third of two.
const PAUSES_MS: [u64; 2] = [600, 640];

/// A rule with a table of its own.
fn rule(chance: &mut Chance, number: usize) -> String {
    let which = chance.one_of(&["upto", "above"]);
    // Three in so many seconds, or one, and what no burst comes to.
    let (rate, interval) = chance.one_of(&[
        ("3/s", ""),
        ("3/s", ""),
        ("1/s", ""),
        ("3/s", " --hashlimit-rate-interval 2"),
        ("180/m", " --hashlimit-rate-interval 1"),
        // Less than a packet has, and more than all of a burst.
        ("16b/s", ""),
        ("1mb/s", ""),
    ]);
    let burst = match rate.ends_with("b/s") {
        true => String::new(),
        false => format!(" --hashlimit-burst {}", chance.one_of(&[1, 2, 4])),
    };
    let mode = chance.one_of(&[
        "",
        " --hashlimit-mode srcip",
        " --hashlimit-mode srcip --hashlimit-srcmask 31",
        " --hashlimit-mode dstip,srcport",
    ]);
    let target = chance.one_of(&["", "", " -j DROP", " -j ACCEPT"]);
    format!(
        "-A FORWARD -m hashlimit --hashlimit-{which} {rate}{burst}{mode} --hashlimit-name w{number} \
         --hashlimit-htable-expire 60000 --hashlimit-rate-match{interval}{target}"
    )
}

fn packet(chance: &mut Chance) -> Packet {
    let source = u8::try_from(chance.below(4)).expect("few");
    let to = chance.one_of(&[BOB, BOB, BOB, ALICE]);
    let port = 1000 + (chance.word() & 1);
    Packet::udp((Ipv4Addr::new(10, 70, 0, source), port), (to, 53), b"12345678")
}

/// How many packets rules have counted; `None` if the case tells nothing.
fn play(kernel: &mut Kernel, world: &mut World, case: u64) -> Option<u64> {
    let _seed = Seed(case);
    let mut chance = Chance::new(case);
    let rules: Vec<_> = (0..1 + chance.below(6)).map(|number| rule(&mut chance, number)).collect();
    let lines: Vec<&str> = rules.iter().map(String::as_str).collect();
    // Tables of the last case go before those of this one come.
    kernel.lines(&[], true);
    kernel.lines(&lines, true);
    world.rules(&["-F", "-Z"]);
    world.rules(&lines);
    for burst in 0..BURSTS {
        let pause_ms = if burst > 0 { chance.one_of(&PAUSES_MS) } else { 0 };
        assert_eq!(kernel.ask(&format!("pause {pause_ms}")), "ok\n");
        let frames: Vec<_> = (0..u16::try_from(chance.below(12)).expect("few"))
            .map(|identification| {
                let packet = packet(&mut chance);
                frame(&(WAN.as_usize(), Packet { identification, ..packet }))
            })
            .collect();
        let before_ns = std::mem::replace(&mut world.now_ns, clock(kernel));
        let late_ns = (world.now_ns - before_ns).saturating_sub(pause_ms * 1_000_000);
        if burst > 0 && late_ns > LATE_NS_MAX {
            return None;
        }
        decide_alike(kernel, world, (burst, &frames), BURST_NS_MAX, &lines)?;
    }
    let counts = count_alike(kernel, world, rules.len(), &lines);
    Some(counts[1..].iter().map(|(packets, _)| packets).sum())
}

#[test]
fn windows_are_those_of_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let (seed, cases) = (number("WEIR_ORACLE_SEED", 0x3a7e), number("WEIR_ORACLE_WINDOWS", 48));
    // They spend their time in pauses, so several go on at once.
    let (threads, share) = (8, cases.div_ceil(8));
    let play = |thread| {
        let mut kernel = Kernel::new("tap").expect("unshare runs");
        let mut world = World::new(Sizes::ONE);
        let cases = seed + thread * share..seed + (thread + 1) * share;
        let played: Vec<_> = cases.map(|case| play(&mut kernel, &mut world, case)).collect();
        world.shut_down();
        played
    };
    let played: Vec<_> = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads).map(|n| scope.spawn(move || play(n))).collect();
        spawned.into_iter().flat_map(|thread| thread.join().expect("it plays")).collect()
    });
    let (told, counted) = (played.iter().flatten().count(), played.iter().flatten().sum::<u64>());
    eprintln!(
        "{told} of {} cases told something; packets counted by rules: {counted}",
        played.len()
    );
    assert!(told > played.len() / 4, "this machine is too busy");
}
