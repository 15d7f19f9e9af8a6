//! The kernel as judge of `-m time`: rules whose edges lie around now, for both ask the same clock.

use crate::chance::{Chance, Seed};
use crate::oracle::{Kernel, forward, frame, number, unmet};
use crate::packet::Packet;
use crate::world::*;

fn wall_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// A rule about the clock whose edges lie around now, with a minute of distance where it goes by
/// seconds.
fn about_now(chance: &mut Chance, now_s: u64) -> String {
    const DAY_S: u64 = 86_400;
    let mut line = "-A FORWARD -m time".to_owned();
    let offset = |chance: &mut Chance| match chance.below(4) {
        0 => 60,
        1 => DAY_S - 60,
        2 => 3600 * (1 + chance.below(22) as u64),
        _ => DAY_S / 2,
    };
    let clock = |at_s: u64| {
        let daytime = at_s % DAY_S;
        format!("{}:{}:{}", daytime / 3600, daytime / 60 % 60, daytime % 60)
    };
    let (start, stop) = (now_s + offset(chance), now_s + offset(chance));
    if chance.percent(60) {
        line += &format!(" --timestart {} --timestop {}", clock(start), clock(stop));
        if start % DAY_S >= stop % DAY_S && chance.percent(50) {
            line += " --contiguous";
        }
    }
    for (option, days) in [("monthdays", 31), ("weekdays", 7)] {
        if chance.percent(40) {
            let not = if chance.percent(50) { " !" } else { "" };
            let listed: Vec<_> =
                (1..=days).filter(|_| chance.percent(50)).map(|day| day.to_string()).collect();
            if (1..days).contains(&listed.len()) {
                line += &format!("{not} --{option} {}", listed.join(","));
            }
        }
    }
    for (option, years) in [("datestart", [2020, 2024, 2037]), ("datestop", [2020, 2037, 2038])] {
        if chance.percent(20) {
            line += &format!(" --{option} {}-06", chance.one_of(&years));
        }
    }
    line
}

#[test]
fn the_time_of_day_is_that_of_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let packet = Packet::udp((ALICE, 1), (BOB, 2), b"12345678");
    let packet = [frame(&(0, Packet { identification: 0, ..packet }))];
    let (mut cases, mut held) = (0, 0);
    // A case in which an edge is passed tells nothing, and is drawn again.
    for case in seed..seed + 100 {
        if cases == 20 {
            break;
        }
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let now_s = wall_s();
        let lines: Vec<String> = (0..50).map(|_| about_now(&mut chance, now_s)).collect();
        kernel.lines(&lines.iter().map(String::as_str).collect::<Vec<_>>(), true);
        kernel.forward(&packet);
        let theirs = kernel.counters();
        let ours = [now_s, wall_s()].map(|wall_s| {
            world.rules(&["-F", "-Z"]);
            world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            world.wall_s = wall_s;
            forward(&mut world, &packet, false);
            (0..=lines.len()).map(|n| world.count(n)).collect::<Vec<_>>()
        });
        if ours[0] != ours[1] {
            continue;
        }
        cases += 1;
        held += ours[0].iter().filter(|(packets, _)| *packets > 0).count();
        assert_eq!(ours[0], theirs, "Weir, kernel; {lines:#?}");
    }
    eprintln!("{held} of {} rules held", cases * 50);
    assert!(cases == 20 && (100..900).contains(&held), "{cases} cases, {held} rules held");
    world.shut_down();
}
