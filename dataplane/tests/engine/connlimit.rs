//! `-m connlimit`, many packets at a time: what comes as one batch is counted as if each packet had come alone.

use weir_dataplane::conntrack::Settings;

use crate::chance::{Chance, Seed};
use crate::flow_oracle::{Talk, flows, forward, forward_one_by_one};
use crate::oracle::{frame, number};
use crate::packet::Packet;
use crate::world::*;

const SECOND_NS: u64 = 1_000_000_000;

fn rule(chance: &mut Chance) -> String {
    let conditions = [
        "",
        "",
        " -p tcp",
        " -p tcp --syn",
        " -p udp",
        " -m state --state NEW",
        " -m state --state ESTABLISHED",
    ];
    let condition = chance.one_of(&conditions);
    let limit = chance.one_of(&["--connlimit-above", "! --connlimit-above", "--connlimit-upto"]);
    let side = chance.one_of(&["saddr", "daddr"]);
    let (most, mask) = (chance.below(6), chance.one_of(&[32, 32, 24, 8, 0]));
    let target = chance.one_of(&["", " -j DROP", " -j ACCEPT"]);
    format!(
        "-A FORWARD{condition} -m connlimit {limit} {most} --connlimit-mask {mask} \
         --connlimit-{side}{target}"
    )
}

/// Frames in rows of one ingress each, between the conversations of many clients.
fn rows(chance: &mut Chance) -> Vec<Vec<(usize, Vec<u8>)>> {
    let mut talks: Vec<_> = (0..2 + chance.below(40)).map(|_| Talk::draw(chance)).collect();
    let hosts = [ALICE, BOB, CAROL];
    let mut row = |identification: &mut u16| {
        let ingress = chance.below(3);
        let mut frames = Vec::new();
        for _ in 0..1 + chance.below(90) {
            let talk = chance.below(talks.len());
            let mut packet = talks[talk].packet(chance);
            if chance.percent(4) {
                // The first part of what never becomes whole, or nonsense.
                packet.payload.truncate(chance.below(20));
            }
            if packet.source == hosts[ingress] && frames.len() < 60 {
                let packet = Packet { identification: *identification, ..packet };
                *identification += 1;
                frames.push(frame(&(ingress, packet)));
            }
        }
        frames
    };
    (0..12).map(|_| row(&mut 0)).collect()
}

#[test]
fn a_batch_is_counted_as_its_packets_one_by_one() {
    let seed = number("WEIR_CONNLIMIT_SEED", 0xc011);
    let cases = number("WEIR_CONNLIMIT_CASES", 60);
    let mut counted = 0;
    for case in seed..seed + cases {
        let _seed = Seed(case);
        let mut chance = Chance::new(case);
        // Small tables now and then, where something has to give way or is refused.
        let (flows_max, half_open) = chance.one_of(&[(512, 512), (512, 512), (20, 512), (512, 4)]);
        let sizes = Sizes { flows: flows_max, half_open, acct: true, ..Sizes::ONE };
        let settings = Settings { tcp_loose: chance.percent(50), ..Settings::default() };
        let rules: Vec<String> = (0..1 + chance.below(5)).map(|_| rule(&mut chance)).collect();
        let lines: Vec<&str> = rules.iter().map(String::as_str).collect();
        let mut worlds = [(); 2].map(|()| {
            let mut world = World::with(sizes, network().build(), sizes.tables(settings));
            world.rules(&lines);
            world
        });
        for row in rows(&mut chance) {
            let later_ns = chance.one_of(&[0, 0, SECOND_NS, 70 * SECOND_NS]);
            for world in &mut worlds {
                world.now_ns += later_ns;
                // What has expired goes first.
                world.settle();
            }
            let [together, alone] = &mut worlds;
            let ways = forward(together, 0, &row);
            assert_eq!(ways, forward_one_by_one(alone, 0, &row), "together, alone; {lines:#?}");
            let counts =
                |world: &World| (0..=lines.len()).map(|n| world.count(n)).collect::<Vec<_>>();
            assert_eq!(counts(together), counts(alone), "{lines:#?}");
            assert_eq!(flows(together, 1), flows(alone, 1), "{lines:#?}");
        }
        counted += (1..=lines.len()).map(|n| worlds[0].count(n).0).sum::<u64>();
        worlds.into_iter().for_each(World::shut_down);
    }
    eprintln!("{counted} packets were counted by rules");
    assert!(cases < 60 || counted > 3_000, "{counted}");
}
