//! Live frames are the frames of the other engine, byte by byte.

use std::cell::RefCell;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weir_tests::netns::Namespace;
use weir_tests::skip_unless;

use super::super::lane::{Lane, NO_TAG, Seat};
use super::SEED;
use crate::live_frames::{LiveFrames, SLOTS};
use crate::packet::Key;
use crate::profile::{Profile, Stream};

const MACS: [weir_dataplane::wire::MacAddr; 2] = [
    weir_dataplane::wire::MacAddr([2, 0, 0, 0, 0, 1]),
    weir_dataplane::wire::MacAddr([2, 0, 0, 0, 0, 2]),
];

fn lane(stream: &Stream, seed: u64) -> Lane {
    let seat = Seat { lane: 3, stream: 1, thread: 0, threads: 1, first_tag: 1 };
    Lane::new(stream, seat, MACS, seed, 1_795_680_688, 1).unwrap()
}

/// A namespace with a cable whose other end runs an XDP program.
fn device() -> (Namespace, LiveFrames) {
    let namespace = Namespace::unique("genlive").unwrap();
    namespace.ip("link add v0 type veth peer name v1").unwrap();
    for name in ["v0", "v1"] {
        // What the kernel says of itself in IPv6 would be counted among the frames.
        namespace.set(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1").unwrap();
        namespace.ip(&format!("link set {name} up")).unwrap();
    }
    namespace.command("ethtool").args(["-K", "v1", "gro", "on"]).status().unwrap();
    let inside = namespace.enter().unwrap();
    let ifindex = af_xdp::nic::ifindex("v0").unwrap();
    let live = LiveFrames::open("v0", ifindex, [2, 0, 0, 0, 0, 1]).unwrap();
    drop(inside);
    (namespace, live)
}

/// Whatever profile and seed, and whatever a slot had before.
#[test]
fn the_program_makes_the_frames_that_a_socket_would_send() {
    skip_unless!(root, command "ip", command "ethtool");
    let (namespace, live) = device();
    let live = RefCell::new(live);
    let _inside = namespace.enter().unwrap();
    let profiles = Profile::all();
    let streams: Vec<&Stream> = profiles.iter().flat_map(|profile| &profile.streams).collect();
    assert!(streams.len() > 20, "the profiles that come with the program");
    let config = Config { cases: 100, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[0x5e; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let cases = (0..streams.len(), any::<u64>(), 0..SLOTS - 40, any::<u64>());
    runner
        .run(&cases, |(stream, seed, first, key)| {
            let key = Key::new(key);
            let (mut socket, mut slots) =
                (lane(streams[stream], seed ^ SEED), lane(streams[stream], seed ^ SEED));
            let mut live = live.borrow_mut();
            let mut tags = [NO_TAG; SLOTS];
            for slot in first..first + 40 {
                let slot = first + slot % 7;
                let due_ns = socket.pace.due_ns();
                let mut expected = vec![0x55; socket.next_len()];
                socket.make(due_ns, key, &mut expected, &mut { NO_TAG });
                let len = slots.next_len();
                slots.make(due_ns, key, live.slot(slot, len), &mut tags[slot]);
                prop_assert_eq!(live.preview(slot).unwrap(), expected, "{}", &streams[stream].name);
            }
            Ok(())
        })
        .unwrap();
}

/// What the call says of each frame, beside what the other end has counted.
#[test]
fn every_frame_is_on_its_way_or_refused() {
    skip_unless!(root, command "ip", command "ethtool");
    let (namespace, mut live) = device();
    let _inside = namespace.enter().unwrap();
    // What veth gives its other end by `ndo_xdp_xmit`, that one counts as received.
    let read = || -> u64 {
        let links = namespace.ip("-j -s link show v1").unwrap();
        let links: serde_json::Value = serde_json::from_str(&links).unwrap();
        links[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
    };
    let before = read();
    let mut sent = 0;
    for count in [1, 2, 16, 17, 64, 65, 300, SLOTS] {
        for slot in 0..count {
            live.slot(slot, 60 + slot).fill(0);
        }
        let taken = live.send(count).unwrap();
        assert_eq!(live.taken()[..count].iter().filter(|taken| **taken).count(), taken);
        sent += taken as u64;
    }
    assert!(sent > 0);
    assert_eq!(read() - before, sent);
    // The other end stops taking them.
    namespace.command("ethtool").args(["-K", "v1", "gro", "off"]).status().unwrap();
    assert_eq!(live.send(100).unwrap(), 0);
    assert!(live.taken()[..100].iter().all(|taken| !taken));
}

#[test]
fn a_device_that_takes_none_is_refused_with_the_remedy() {
    skip_unless!(root, command "ip", command "ethtool");
    let (namespace, live) = device();
    drop(live);
    let _inside = namespace.enter().unwrap();
    namespace.command("ethtool").args(["-K", "v1", "gro", "off"]).status().unwrap();
    let ifindex = af_xdp::nic::ifindex("v0").unwrap();
    let refusal = LiveFrames::open("v0", ifindex, [2, 0, 0, 0, 0, 1]).unwrap_err().to_string();
    assert!(refusal.contains("ethtool -K OTHER-END gro on"), "{refusal}");
    let links = namespace.ip("link show type tun").unwrap_or_default();
    assert!(!links.contains("wg"), "the device that held the program is gone: {links}");
}
