//! The kernel as judge of table raw: the same random rules of tables raw and filter and the same packets through both.
//! Way and fate of every packet, the counters of both tables, and in the end the flows must be the same.
//!
//! Environment and needs are those of `oracle`, and `conntrack`.

use weir_control::rule::Family;

use crate::chance::{Chance, Seed};
use crate::flow_oracle::{Talk, condition, flows, forget, frames, no_conntrack, target};
use crate::oracle::{Kernel, forward, frame, number, unmet};
use crate::packet::Packet;
use crate::spec::{MARKS, Spec, traffic};
use crate::world::*;

/// The rules of both tables, as lines that begin with `-A`.
struct Rules {
    raw: Vec<String>,
    filter: Vec<String>,
    policies: [&'static str; 2],
}

impl Rules {
    /// In place of all others on both sides, counters at zero.
    fn load(&self, kernel: &mut Kernel, world: &mut World) {
        let [raw, filter] = self.policies;
        kernel.restore(&format!(
            "*raw\n:PREROUTING {raw} [0:0]\n:u - [0:0]\n{}\nCOMMIT\n*filter\n:FORWARD {filter} [0:0]\n{}\nCOMMIT\n",
            self.raw.join("\n"),
            self.filter.join("\n")
        ));
        let change = |begin: &[&str], rules: &[String]| -> Vec<String> {
            begin.iter().map(|line| (*line).to_owned()).chain(rules.iter().cloned()).collect()
        };
        let policy = format!("-P PREROUTING {raw}");
        let lines = change(&["-F", "-X", "-Z", "-N u", &policy], &self.raw);
        world.raw(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let policy = format!("-P FORWARD {filter}");
        let lines = change(&["-F", "-Z", &policy], &self.filter);
        world.rules(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// That both sides have counted the same.
    #[track_caller]
    fn compare(&self, kernel: &mut Kernel, world: &World) {
        let told =
            format!("Weir, kernel; {:#?}\n{:#?}\n{:?}", self.raw, self.filter, self.policies);
        // Weir lists chain after chain, and so does iptables-save.
        assert_eq!(world.raw_counts(Family::V4), kernel.counted("raw"), "{told}");
        let ours: Vec<_> = (0..=self.filter.len()).map(|n| world.count(n)).collect();
        assert_eq!(ours, kernel.counters(), "{told}");
    }
}

/// Rules of PREROUTING, then of the chain `u` that some of them lead to: as many as asked, each with the conditions
/// that `draw` finds.
fn raw_rules(
    chance: &mut Chance,
    count: usize,
    draw: impl Fn(&mut Chance) -> String,
) -> Vec<String> {
    let (mut base, mut user) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let conditions = draw(chance);
        // Chains that packets come to before they have a way must not ask for it; others may, and find none.
        let to_user = conditions.contains(" -o ") || chance.percent(25);
        let target = match chance.below(12) {
            0..3 => " -j CT --notrack".to_owned(),
            3 => " -j NOTRACK".to_owned(),
            4 => " -j DROP".to_owned(),
            5 => " -j ACCEPT".to_owned(),
            6 => " -j RETURN".to_owned(),
            7..9 => {
                format!(" -j MARK --set-xmark {}/{}", chance.one_of(&MARKS), chance.one_of(&MARKS))
            }
            9 if !to_user => " -j u".to_owned(),
            10 if !to_user => " -g u".to_owned(),
            // To ask for marks of flows is to have them tracked.
            11 if conditions.contains(" --state ") => " -j CONNMARK --set-mark 7".to_owned(),
            _ => String::new(),
        };
        match to_user {
            true => user.push(format!("-A u{conditions}{target}")),
            false => base.push(format!("-A PREROUTING{conditions}{target}")),
        }
    }
    base.extend(user);
    base
}

/// Conditions of a rule of `oracle`, without those that the kernel refuses here.
fn conditions(chance: &mut Chance) -> String {
    loop {
        let words = Spec::draw(chance).words();
        let conditions = words.split(" -j ").next().unwrap_or_default();
        if !conditions.contains("--limit-iface-out") {
            return conditions.strip_prefix("-A FORWARD").unwrap_or_default().to_owned();
        }
    }
}

fn policies(chance: &mut Chance) -> [&'static str; 2] {
    let policy = |chance: &mut Chance| if chance.percent(80) { "ACCEPT" } else { "DROP" };
    [policy(chance), policy(chance)]
}

#[test]
fn where_nothing_is_tracked_both_tables_decide_as_in_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    let cases = number("WEIR_ORACLE_CASES", 120);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let mut met = [0; 2];
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let count = chance.below(12);
        let raw = raw_rules(&mut chance, count, conditions);
        let specs: Vec<Spec> = (0..chance.below(12)).map(|_| Spec::draw(&mut chance)).collect();
        let filter = specs.iter().map(Spec::words).collect();
        let rules = Rules { raw, filter, policies: policies(&mut chance) };
        rules.load(&mut kernel, &mut world);
        let frames: Vec<_> = (0..100)
            .map(|identification| {
                let (ingress, packet) = traffic(&mut chance);
                frame(&(ingress, Packet { identification, ..packet }))
            })
            .collect();
        let theirs = kernel.forward(&frames);
        // Some rules count: the order is that of arrival.
        let ours = forward(&mut world, &frames, true);
        assert_eq!(ours, theirs, "{:#?}\n{:#?}", rules.raw, rules.filter);
        rules.compare(&mut kernel, &world);
        met[0] += world.raw_counts(Family::V4)[1..].iter().map(|count| count.0).sum::<u64>();
        met[1] += world.count(0).0;
    }
    eprintln!("packets counted by rules of raw, and by the policy of FORWARD: {met:?}");
    assert!(met.iter().all(|packets| *packets > cases * 5), "{met:?}");
    world.shut_down();
}

/// A condition about what a conversation may be, in table raw.
fn raw_condition(chance: &mut Chance) -> String {
    let not = if chance.percent(30) { " !" } else { "" };
    match chance.below(8) {
        0 => " -p tcp --syn".to_owned(),
        1 => format!(" -p {}", chance.one_of(&["tcp", "udp", "icmp", "253"])),
        2 => format!("{not} -s {}", chance.one_of(&[ALICE, BOB, CAROL])),
        3 => format!(" -m state{not} --state {}", chance.one_of(&["INVALID", "UNTRACKED", "NEW"])),
        4 => format!(" -m mark{not} --mark {:#x}", chance.one_of(&MARKS)),
        5 => format!("{not} -i {}", chance.one_of(&NAMES)),
        // What needs a flow finds none.
        6 => {
            let asked =
                ["conntrack --ctdir ORIGINAL", "connmark --mark 0", "conntrack ! --ctproto 6"];
            format!(" -m {}", chance.one_of(&asked))
        }
        _ => String::new(),
    }
}

fn filter_rule(chance: &mut Chance) -> String {
    let conditions = match chance.below(5) {
        0 => " -m state --state UNTRACKED".to_owned(),
        1 => format!(" -m mark --mark {:#x}", chance.one_of(&MARKS)),
        2 => " -m state --state UNTRACKED,INVALID -p tcp".to_owned(),
        _ => condition(chance).1,
    };
    let target = match chance.below(6) {
        0 => " -j DROP".to_owned(),
        1..3 => target(chance).1,
        _ => String::new(),
    };
    format!("-A FORWARD{conditions}{target}")
}

/// Conversations of a few hosts, as frames with numbers.
fn conversations(chance: &mut Chance, packets: u16) -> Vec<(usize, Vec<u8>)> {
    let mut talks: Vec<_> = (0..1 + chance.below(5)).map(|_| Talk::draw(chance)).collect();
    frames(chance, &mut talks, packets)
}

#[test]
fn what_is_not_tracked_is_untracked_to_the_rules_as_in_the_kernel() {
    if let Some(reason) = unmet().or_else(no_conntrack) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0xca7);
    let cases = number("WEIR_ORACLE_FLOWS", 200);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut worlds =
        [Sizes::ONE, Sizes::TWO].map(|sizes| World::new(Sizes { acct: true, ..sizes }));
    let (mut untracked, mut tracked) = (0, 0);
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let count = chance.below(8);
        let raw = raw_rules(&mut chance, count, raw_condition);
        let mut filter = vec![
            "-A FORWARD -m state --state UNTRACKED".to_owned(),
            "-A FORWARD -m state --state NEW,ESTABLISHED,RELATED".to_owned(),
        ];
        filter.extend((0..chance.below(10)).map(|_| filter_rule(&mut chance)));
        let rules = Rules { raw, filter, policies: policies(&mut chance) };
        let workers = 1 + usize::from(case % 2 == 1);
        let world = &mut worlds[workers - 1];
        rules.load(&mut kernel, world);
        assert_eq!(kernel.ask("forget"), "ok\n");
        forget(world, workers);
        let frames = conversations(&mut chance, 80);
        let theirs = kernel.forward(&frames);
        let ours = forward(world, &frames, true);
        assert_eq!(ours, theirs, "{:#?}\n{:#?}", rules.raw, rules.filter);
        rules.compare(&mut kernel, world);
        let ours = flows(world, workers);
        assert_eq!(ours, kernel.ask("entries").trim_end(), "Weir, kernel; {:#?}", rules.raw);
        (untracked, tracked) = (untracked + world.count(1).0, tracked + world.count(2).0);
    }
    eprintln!("{untracked} packets were UNTRACKED, {tracked} part of a flow");
    assert!(untracked > 10 * cases && tracked > 10 * cases);
    worlds.into_iter().for_each(World::shut_down);
}

/// A reset that answers an UNTRACKED packet is a packet of its own to connection tracking.
#[test]
fn resets_that_answer_untracked_packets_are_tracked_as_in_the_kernel() {
    if let Some(reason) = unmet().or_else(no_conntrack) {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0xbad);
    let cases = number("WEIR_ORACLE_FLOWS", 60);
    let mut kernel = Kernel::new("tap").expect("unshare runs");
    let mut world = World::new(Sizes::ONE);
    let mut closed = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        let raw = vec![
            "-A PREROUTING -m statistic --mode nth --every 5 --packet 3 -j CT --notrack".to_owned(),
        ];
        let filter = vec![
            "-A FORWARD -p tcp -m state --state UNTRACKED -j REJECT --reject-with tcp-reset"
                .to_owned(),
            "-A FORWARD -m state --state INVALID -j DROP".to_owned(),
        ];
        let rules = Rules { raw, filter, policies: ["ACCEPT", "ACCEPT"] };
        rules.load(&mut kernel, &mut world);
        assert_eq!(kernel.ask("forget"), "ok\n");
        forget(&mut world, 1);
        let frames = conversations(&mut chance, 40);
        kernel.judge(&frames);
        for (ingress, frame) in &frames {
            world.inject(0, PORTS[*ingress], frame.clone());
            world.settle();
        }
        world.left();
        rules.compare(&mut kernel, &world);
        let mut ours = Vec::new();
        world.engine(0).conntrack().scan(0, u32::MAX, &mut |_, view| {
            if let Some(state) = view.tcp_state {
                let state = format!("{state:?}").to_uppercase();
                ours.push(format!("{}:{state}", view.original.source_port));
            }
        });
        let answer = kernel.ask("flows");
        let without_timeout =
            |flow: &str| flow.rsplit_once(':').map_or("", |flow| flow.0).replace('_', "");
        let mut theirs: Vec<_> = answer.split_whitespace().map(without_timeout).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        assert_eq!(ours, theirs, "Weir, kernel");
        closed += ours.iter().filter(|flow| flow.ends_with(":CLOSE")).count();
    }
    assert!(closed > 5, "{closed} connections were closed");
    world.shut_down();
}

/// Where packets are tracked, rules of table raw see datagrams; where not, fragments.
#[test]
fn fragments_meet_table_raw_as_in_the_kernel() {
    if let Some(reason) = unmet() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let seed = number("WEIR_ORACLE_SEED", 0x5eed);
    for tracking in [false, true] {
        let mut kernel = Kernel::new("tap").expect("unshare runs");
        let mut world = World::new(Sizes::ONE);
        for case in seed..seed + number("WEIR_ORACLE_CASES", 60) / 2 {
            let _seed = Seed(case);
            let mut chance = Chance::new(case);
            let raw = raw_rules(&mut chance, 10, conditions);
            let kmp = |line: &String| line.replace("--algo bm", "--algo kmp");
            let mut filter: Vec<String> =
                (0..6).map(|_| kmp(&Spec::draw(&mut chance).words())).collect();
            if tracking {
                filter.insert(0, "-A FORWARD -m state --state NEW".to_owned());
            }
            let raw = raw.iter().map(kmp).collect();
            let rules = Rules { raw, filter, policies: ["ACCEPT", "ACCEPT"] };
            rules.load(&mut kernel, &mut world);
            let mut frames = Vec::new();
            for identification in 0..40 {
                let (ingress, packet) = traffic(&mut chance);
                // Of these Weir checks less than the kernel.
                if tracking && matches!(packet.protocol, 132 | 136) {
                    continue;
                }
                let whole = Packet { identification, offset: 0, more_fragments: false, ..packet };
                for piece in crate::oracle::pieces(&mut chance, &whole) {
                    frames.push(frame(&(ingress, Packet { dont_fragment: false, ..piece })));
                }
            }
            kernel.judge(&frames);
            for (ingress, frame) in &frames {
                world.inject(0, PORTS[*ingress], frame.clone());
                world.settle();
            }
            world.left();
            rules.compare(&mut kernel, &world);
        }
        world.shut_down();
    }
}
