//! Next hops are found, and hosts that are played are found by others, through ports in memory.

use std::net::IpAddr;

use super::*;
use crate::address::Address;
use crate::neighbour::find_next_hops;

/// The stations of [`Cables`], and a router's.
const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const ROUTER: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// An ARP packet in a frame.
fn arp(operation: u8, sender: (MacAddr, [u8; 4]), target: (MacAddr, [u8; 4])) -> Vec<u8> {
    let to = if operation == 1 { MacAddr::BROADCAST } else { target.0 };
    let head = [0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, operation];
    let mut frame = [&to.0[..], &sender.0.0, &head, &sender.0.0, &sender.1].concat();
    frame.extend([&target.0.0[..], &target.1].concat());
    frame.resize(60, 0);
    frame
}

fn is_arp(frame: &[u8], operation: u8) -> bool {
    frame[12..14] == [8, 6] && frame[21] == operation
}

/// Finds the next hops; `answer` gets each frame that is sent with its side, and returns what comes back there.
fn find(
    cables: &mut Cables,
    text: &str,
    answer: impl Fn(Side, &[u8]) -> Vec<(Side, Vec<u8>)>,
) -> Result<Vec<String>, String> {
    let wires = cables.wires.clone();
    let mut now_ns = 0;
    let mut clock = || {
        now_ns += 1_000_000;
        for side in Side::BOTH {
            for frame in wires[0][side.index()].take_sent() {
                // The frames come by any of the queues.
                for (to, frame) in answer(side, &frame) {
                    wires[wires.len() - 1][to.index()].send(frame);
                }
            }
        }
        Some(now_ns)
    };
    let interfaces = ["v0".to_owned(), "v1".to_owned()];
    let found =
        find_next_hops(&profile(text), &mut cables.ports, &interfaces, [true; 2], &mut clock);
    cables.conserved();
    found.map_err(|error| error.to_string())
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

#[test]
fn on_a_cable_the_other_side_answers() {
    for threads in [1, 2] {
        let mut cables = Cables::new(threads);
        cables.ports.macs = [[OWN, MacAddr::ZERO], [ROUTER, MacAddr::ZERO]];
        let said = find(&mut cables, STREAMS, |side, frame| vec![(side.other(), frame.to_vec())]);
        assert_eq!(said, Ok(Vec::new()));
        assert_eq!(cables.ports.macs, [[OWN, ROUTER], [ROUTER, OWN]]);
    }
}

#[test]
fn a_gateway_answers_for_itself_and_only_the_sides_that_send_ask() {
    let one_way = STREAMS.split("[[stream]]").take(3).collect::<Vec<_>>().join("[[stream]]");
    let mut cables = Cables::new(2);
    let before = cables.ports.macs;
    cables.ports.residents[0].gateways = vec![address("198.18.0.1")];
    let asked = std::cell::RefCell::new(Vec::new());
    let said = find(&mut cables, &one_way, |side, frame| {
        asked.borrow_mut().push((side, frame.to_vec()));
        // Only the third question is heard.
        let answers = asked.borrow().len() == 3;
        let answer = arp(2, (ROUTER, [198, 18, 0, 1]), (OWN, [198, 18, 0, 2]));
        if answers { vec![(side, answer)] } else { Vec::new() }
    });
    assert_eq!(said, Ok(Vec::new()));
    assert_eq!(cables.ports.macs, [[before[0][0], ROUTER], before[1]]);
    // In the name of a host that is played there.
    let question = arp(1, (OWN, [198, 18, 0, 2]), (MacAddr::ZERO, [198, 18, 0, 1]));
    assert_eq!(asked.into_inner(), vec![(Side::Left, question); 3]);
}

#[test]
fn who_does_not_answer_is_named_with_the_remedy() {
    let mut cables = Cables::new(1);
    cables.ports.residents[1].own = vec![address("10.0.0.2")];
    cables.ports.residents[1].gateways = vec![address("10.0.0.1")];
    let asked = std::cell::Cell::new(0);
    let why = find(&mut cables, STREAMS, |side, _| {
        asked.set(asked.get() + usize::from(side == Side::Right));
        Vec::new()
    });
    let expected = "nobody on v1 answers for 10.0.0.1, asked 10 times in 3 s by 10.0.0.2: is it the box's address on this \
                    side, is its interface up, and would it answer 10.0.0.2? Else give its MAC address: --right-mac";
    assert_eq!((why, asked.get()), (Err(expected.to_owned()), 10));
    // Where no gateway is named it is said, and taken for a cable.
    let mut cables = Cables::new(1);
    let before = cables.ports.macs;
    let said = find(&mut cables, STREAMS, |_, _| Vec::new()).expect("a cable");
    assert_eq!((said.len(), cables.ports.macs), (2, before));
    let expected = "nobody on v0 answers for 198.19.0.2: frames go to 02:00:00:00:00:02, the other interface, as on a \
                    cable; with a router between, name its address on this side (--left-gateway) or its MAC address \
                    (--left-mac)";
    assert_eq!(said[0], expected);
}

#[test]
fn two_stations_on_one_side_are_too_many() {
    let mut cables = Cables::new(1);
    cables.ports.residents[0].gateways = vec![address("198.18.0.1"), address("2001:db8::1")];
    let text =
        "[users]\nrate = 1\nclients = \"2001:db8:1::1\"\nservers = \"2001:db8:2::1\"\n".to_owned();
    let said = find(&mut cables, &(text + STREAMS_LEFT), |side, frame| {
        let mac = if frame[12..14] == [8, 6] { ROUTER } else { MacAddr([2, 0, 0, 0, 0, 8]) };
        vec![(side, told(frame, mac))]
    });
    let expected = "v0 has several next hops (02:00:00:00:00:08 for 2001:db8::1, 02:00:00:00:00:09 for 198.18.0.1), and \
                    each side sends to one: run what goes by each for itself, or choose: --left-mac";
    assert_eq!(said, Err(expected.to_owned()));
}

const STREAMS_LEFT: &str = "[[stream]]\nname = \"udp\"\nkind = \"udp\"\nrate = 1\nsource = \"198.18.0.9\"\n\
                            destination = \"198.19.0.2\"\n";

/// The answer of a station that has whatever is asked for.
fn told(question: &[u8], mac: MacAddr) -> Vec<u8> {
    if question[12..14] == [8, 6] {
        let four = |at: usize| <[u8; 4]>::try_from(&question[at..at + 4]).expect("four");
        return arp(2, (mac, four(38)), (OWN, four(28)));
    }
    // The question as an advertisement of its sender's: addresses change places, the checksum stays but for the type.
    let mut frame = question.to_vec();
    frame[..6].copy_from_slice(&OWN.0);
    frame[6..12].copy_from_slice(&mac.0);
    frame[22..38].copy_from_slice(&question[62..78]);
    frame[38..54].copy_from_slice(&question[22..38]);
    (frame[54], frame[78]) = (136, 2);
    frame[80..86].copy_from_slice(&mac.0);
    frame[56..58].fill(0);
    let ip = weir_dataplane::wire::Ipv6::new_checked(&frame[14..]).expect("IPv6");
    let pseudo = weir_dataplane::wire::checksum::pseudo_v6(
        ip.source(),
        ip.destination(),
        weir_dataplane::wire::IpProtocol::ICMPV6,
        32,
    );
    let sum = weir_dataplane::wire::checksum::sum(&frame[54..]);
    let sum = !weir_dataplane::wire::checksum::add(pseudo, sum);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn a_box_that_asks_for_every_host_is_answered_during_the_run() {
    for threads in [1, 2] {
        let mut cables = Cables::new(threads);
        // What waits for a host's answer, by the host.
        let mut waiting: std::collections::BTreeMap<[u8; 4], Vec<Vec<u8>>> = Default::default();
        let mut known = std::collections::BTreeSet::new();
        let result = cables.run(STREAMS, |frame, out| {
            if is_arp(&frame, 2) {
                let host = <[u8; 4]>::try_from(&frame[28..32]).expect("four");
                assert_eq!((&frame[..6], &frame[22..28]), (&ROUTER.0[..], &OWN.0[..]));
                // The answer came from the other side: so did the questions' data not, and is sent on there.
                known.insert(host);
                return;
            }
            let host = <[u8; 4]>::try_from(&frame[30..34]).expect("four");
            if known.contains(&host) {
                for frame in waiting.remove(&host).unwrap_or_default() {
                    out(threads - 1, frame);
                }
                return out(threads - 1, frame);
            }
            if !waiting.contains_key(&host) {
                out(0, arp(1, (ROUTER, [198, 18, 0, 251]), (MacAddr::ZERO, host)));
            }
            waiting.entry(host).or_default().push(frame);
        });
        assert_eq!((result.void, result.foreign_frames), (None, 0));
        for stream in &result.streams {
            assert_eq!((stream.received, stream.missing), (stream.sent, 0), "{}", stream.name);
        }
        assert!(known.contains(&[198, 19, 0, 2]) && known.contains(&[198, 18, 0, 1]));
    }
}

/// A router between two VLANs, by two interfaces of which the second keeps tags beside the frames.
#[test]
fn users_in_vlans_are_served_whatever_becomes_of_their_tags() {
    use crate::packet::{Tag, tag};
    let text = "duration_s = 0.5\nsettle_s = 1\n[users]\nrate = 400\nclients = \"2001:2::/120\"\n\
                servers = \"2001:2:1::2\"\nvlan = 100\nserver_vlan = 200\nvlan_priority = 5\n\
                [[stream]]\nname = \"probe\"\nkind = \"udp\"\nrate = 1000\nvlan = 7\nsource = \"2001:2:0:1::1\"\n\
                destination = \"2001:2:1::2\"";
    for threads in [1, 2] {
        let mut cables = Cables::new(threads);
        cables.step_ns = 50_000;
        let mut tags = [0_u64; 3];
        let mut turn = 0;
        let result = cables.run(text, |mut frame, out| {
            turn += 1;
            match tag::of(&frame) {
                Some(Tag { id: 100, priority: 5 }) => {
                    tags[0] += 1;
                    frame[15] = 200;
                }
                Some(Tag { id: 200, priority: 5 }) => {
                    tags[1] += 1;
                    frame.drain(12..16);
                }
                Some(Tag { id: 7, priority: 0 }) => {
                    tags[2] += 1;
                    frame.drain(12..16);
                }
                other => panic!("{other:?}"),
            }
            out(turn % threads, frame);
        });
        let users = result.users.expect("users");
        assert!(users.attempted > 150, "{users:?}");
        assert_eq!((users.completed, users.unfinished), (users.attempted, 0), "{threads} threads");
        assert_eq!((users.damaged, users.server.damaged), (0, 0));
        let probe = &result.streams[0];
        assert_eq!((probe.sent, probe.received, probe.damaged), (500, 500, 0));
        assert_eq!((probe.kind.as_str(), tags[2]), ("udp IPv6 VLAN 7", 500));
        assert!(tags[0] > users.attempted && tags[1] > users.attempted, "{tags:?}");
        assert_eq!((result.void, result.foreign_frames), (None, 0));
    }
}
