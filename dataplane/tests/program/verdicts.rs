//! One packet at a time through `BPF_PROG_TEST_RUN`, in the manner of Katran: description, packet,
//! expected action, and the expected change of *every* counter. No device, no traffic.
//!
//! Each packet meets three programs: one with a socket on its queue, one without and `on_exit =
//! "drop"`, one without and `on_exit = "pass"`. What is for the machine itself must fare alike in
//! all three.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{AddressFamily, SocketType, socket};
use weir_dataplane::program::{
    Action, LOCAL_ADDRESSES_MAX, OnExit, PacketCount, Program, ProgramConfig, ProgramCounters,
    ProgramError, QUEUES_MAX,
};

use crate::world::require_root;

const OUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 1];
const OTHER_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 9];
const BROADCAST_MAC: [u8; 6] = [0xff; 6];
const LOCAL_V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const LOCAL_BROADCAST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 255);
const REMOTE_V4: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 2);
const LOCAL_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const REMOTE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);

/// Where a packet must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Arp,
    Host,
    Control,
    Weir,
}

/// How the program is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Socket,
    NoSocketDrop,
    NoSocketPass,
}

struct Case {
    description: &'static str,
    frame: Vec<u8>,
    way: Way,
}

fn ethernet(destination: [u8; 6], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&destination[..], &[0x02, 0, 0, 0, 0, 7], &ethertype.to_be_bytes(), payload].concat()
}

/// An IPv4 header with `words` 32-bit words and a UDP header behind it.
fn ipv4(destination: Ipv4Addr, words: u8) -> Vec<u8> {
    let mut header = vec![0; usize::from(words) * 4];
    header[0] = 0x40 | words;
    header[8] = 64;
    header[9] = 17;
    header[12..16].copy_from_slice(&[10, 0, 0, 2]);
    header[16..20].copy_from_slice(&destination.octets());
    header.extend([0x30, 0x39, 0, 53, 0, 8, 0, 0]);
    header
}

fn ipv6(destination: Ipv6Addr) -> Vec<u8> {
    let mut header = vec![0; 40];
    header[0] = 0x60;
    header[6] = 58;
    header[7] = 64;
    header[24..40].copy_from_slice(&destination.octets());
    header.extend([128, 0, 0, 0, 0, 0, 0, 0]);
    header
}

/// An ICMPv6 message to us in a frame.
fn icmp6(destination: Ipv6Addr, kind: u8, hop_limit: u8) -> Vec<u8> {
    let mut packet = ipv6(destination);
    (packet[7], packet[40]) = (hop_limit, kind);
    ethernet(OUR_MAC, 0x86dd, &packet)
}

fn tagged(payload: &[u8]) -> Vec<u8> {
    [&[0x00, 0x05], payload].concat()
}

fn to_v4(destination: Ipv4Addr) -> Vec<u8> {
    ethernet(OUR_MAC, 0x0800, &ipv4(destination, 5))
}

fn to_v6(destination: Ipv6Addr) -> Vec<u8> {
    ethernet(OUR_MAC, 0x86dd, &ipv6(destination))
}

fn case(description: &'static str, frame: Vec<u8>, way: Way) -> Case {
    Case { description, frame, way }
}

fn link_cases() -> Vec<Case> {
    let group = |last| [0x01, 0x80, 0xc2, 0x00, 0x00, last];
    let mut off_by_one_group = group(0x0e);
    off_by_one_group[4] = 1;
    vec![
        case("ARP request", ethernet(BROADCAST_MAC, 0x0806, &[0; 28]), Way::Arp),
        case("ARP without a body", ethernet(OUR_MAC, 0x0806, &[]), Way::Arp),
        case("VLAN-tagged ARP", ethernet(BROADCAST_MAC, 0x8100, &tagged(&[8, 6])), Way::Weir),
        case("LLDP, nearest bridge", ethernet(group(0x0e), 0x88cc, &[0; 46]), Way::Control),
        case("LACP", ethernet(group(0x02), 0x8809, &[1; 110]), Way::Control),
        case("EAPOL", ethernet(group(0x03), 0x888e, &[2, 1, 0, 0]), Way::Control),
        case("last reserved group address", ethernet(group(0x0f), 0x88cc, &[]), Way::Control),
        case("one beyond the reserved group", ethernet(group(0x10), 0x88cc, &[]), Way::Weir),
        case("LLDP to a lookalike group", ethernet(off_by_one_group, 0x88cc, &[]), Way::Weir),
        case("EAPOL to a unicast address", ethernet(OUR_MAC, 0x888e, &[2, 1, 0, 0]), Way::Weir),
        case(
            "IPv4 to a group address",
            ethernet(group(0x0e), 0x0800, &ipv4(REMOTE_V4, 5)),
            Way::Weir,
        ),
        case("spanning tree (LLC)", ethernet(group(0), 38, &[0x42, 0x42, 3]), Way::Weir),
        case("PPPoE", ethernet(OUR_MAC, 0x8864, &[0; 50]), Way::Weir),
        case("MPLS", ethernet(OUR_MAC, 0x8847, &[0; 50]), Way::Weir),
        case("EtherType nobody knows", ethernet(OUR_MAC, 0x1234, &[0; 50]), Way::Weir),
        case("Ethernet header only", ethernet(OUR_MAC, 0x0800, &[]), Way::Weir),
    ]
}

fn ipv4_cases() -> Vec<Case> {
    let local_all = ethernet(OUR_MAC, 0x0800, &ipv4(LOCAL_V4, 5));
    let mut fragment = local_all.clone();
    fragment[14 + 6] = 0x20;
    let mut version_6 = local_all.clone();
    version_6[14] = 0x65;
    let with_options = |destination| ethernet(OUR_MAC, 0x0800, &ipv4(destination, 15));
    let to_other = ethernet(OTHER_MAC, 0x0800, &ipv4(LOCAL_V4, 5));
    let as_broadcast = ethernet(BROADCAST_MAC, 0x0800, &ipv4(REMOTE_V4, 5));
    let in_vlan = ethernet(OUR_MAC, 0x8100, &tagged(&[&[8, 0][..], &ipv4(LOCAL_V4, 5)].concat()));
    let in_qinq = ethernet(OUR_MAC, 0x88a8, &tagged(&[&[8, 0][..], &ipv4(LOCAL_V4, 5)].concat()));
    vec![
        case("IPv4 to us", local_all.clone(), Way::Host),
        case("IPv4 to us with options", with_options(LOCAL_V4), Way::Host),
        case("IPv4 to us, a fragment", fragment, Way::Host),
        case("IPv4 to us, of 1,514 bytes", [&local_all[..], &[0; 1472]].concat(), Way::Host),
        case("IPv4 to us by another's MAC", to_other, Way::Host),
        case("malformed (version 6), for the kernel to count", version_6, Way::Host),
        case("header complete, nothing behind it", local_all[..34].to_vec(), Way::Host),
        case("header one byte short", local_all[..33].to_vec(), Way::Weir),
        case("one byte of a header", local_all[..15].to_vec(), Way::Weir),
        case("IPv4 elsewhere", to_v4(REMOTE_V4), Way::Weir),
        case("IPv4 elsewhere with options", with_options(REMOTE_V4), Way::Weir),
        case("IPv4 elsewhere by broadcast MAC", as_broadcast, Way::Weir),
        case("neighbour of a local address", to_v4(Ipv4Addr::new(10, 0, 0, 3)), Way::Weir),
        case("our address with bytes reversed", to_v4(Ipv4Addr::new(1, 0, 0, 10)), Way::Weir),
        case("broadcast of our subnet", to_v4(LOCAL_BROADCAST), Way::Host),
        case("limited broadcast", to_v4(Ipv4Addr::BROADCAST), Way::Host),
        case("one below limited broadcast", to_v4(Ipv4Addr::new(255, 255, 255, 254)), Way::Weir),
        case("first multicast (IGMP queries)", to_v4(Ipv4Addr::new(224, 0, 0, 1)), Way::Host),
        case("last multicast", to_v4(Ipv4Addr::new(239, 255, 255, 255)), Way::Host),
        case("one below multicast", to_v4(Ipv4Addr::new(223, 255, 255, 255)), Way::Weir),
        case("one above multicast", to_v4(Ipv4Addr::new(240, 0, 0, 0)), Way::Weir),
        case("the unspecified address", to_v4(Ipv4Addr::UNSPECIFIED), Way::Weir),
        case("IPv4 to us in a VLAN", in_vlan, Way::Weir),
        case("IPv4 to us in two VLANs", in_qinq, Way::Weir),
    ]
}

fn ipv6_cases() -> Vec<Case> {
    let first = |word| Ipv6Addr::new(word, 0, 0, 0, 0, 0, 0, 1);
    let local = to_v6(LOCAL_V6);
    vec![
        case("IPv6 to us", local.clone(), Way::Host),
        case("header complete, nothing behind it", local[..54].to_vec(), Way::Host),
        case("header one byte short", local[..53].to_vec(), Way::Weir),
        case("IPv6 elsewhere", to_v6(REMOTE_V6), Way::Weir),
        case("all routers", to_v6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2)), Way::Host),
        case("solicited node", to_v6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2)), Way::Host),
        case("one below multicast", to_v6(first(0xfeff)), Way::Weir),
        case("link-local", to_v6(first(0xfe80)), Way::Host),
        case("last of fe80::/10", to_v6(first(0xfebf)), Way::Host),
        case("one above fe80::/10", to_v6(first(0xfec0)), Way::Weir),
        case("one below fe80::/10", to_v6(first(0xfe7f)), Way::Weir),
        case("unique local", to_v6(first(0xfd00)), Way::Weir),
        case("the unspecified address", to_v6(Ipv6Addr::UNSPECIFIED), Way::Weir),
        case(
            "IPv6 header under EtherType IPv4",
            ethernet(OUR_MAC, 0x0800, &ipv6(LOCAL_V6)),
            Way::Weir,
        ),
    ]
}

fn expected(setting: Setting, way: Way) -> Action {
    match (way, setting) {
        (Way::Arp | Way::Host | Way::Control, _) | (Way::Weir, Setting::NoSocketPass) => {
            Action::Pass
        }
        (Way::Weir, Setting::Socket) => Action::Redirect,
        (Way::Weir, Setting::NoSocketDrop) => Action::Drop,
    }
}

/// The counters after one more packet of `bytes`.
fn counted(before: ProgramCounters, setting: Setting, way: Way, bytes: usize) -> ProgramCounters {
    let mut after = before;
    let counter = match (way, setting) {
        (Way::Arp, _) => &mut after.arp_passed,
        (Way::Host, _) => &mut after.host_passed,
        (Way::Control, _) => &mut after.control_passed,
        (Way::Weir, Setting::Socket) => &mut after.redirected,
        (Way::Weir, Setting::NoSocketDrop) => &mut after.no_socket_dropped,
        (Way::Weir, Setting::NoSocketPass) => &mut after.no_socket_passed,
    };
    *counter += PacketCount { packets: 1, bytes: bytes as u64 };
    after
}

fn load(on_exit: OnExit) -> Program {
    Program::load(ProgramConfig::forwarding(on_exit)).unwrap()
}

fn check(program: &Program, setting: Setting, case: &Case) {
    let before = program.counters().unwrap();
    let action = program.test_run(&case.frame).unwrap();
    let after = program.counters().unwrap();
    let what = format!("{} ({setting:?})", case.description);
    assert_eq!(action, expected(setting, case.way), "{what}");
    assert_eq!(after, counted(before, setting, case.way, case.frame.len()), "{what}");
}

fn xdp_socket() -> OwnedFd {
    socket(AddressFamily::XDP, SocketType::RAW, None).unwrap()
}

#[test]
fn every_packet_goes_its_way_and_is_counted_once() {
    if !require_root() {
        return;
    }
    let cases: Vec<Case> =
        [link_cases(), ipv4_cases(), ipv6_cases()].into_iter().flatten().collect();
    for setting in [Setting::Socket, Setting::NoSocketDrop, Setting::NoSocketPass] {
        let on_exit = if setting == Setting::NoSocketPass { OnExit::Pass } else { OnExit::Drop };
        let mut program = load(on_exit);
        program.set_local_addresses(&[LOCAL_V4], &[LOCAL_BROADCAST], &[LOCAL_V6], &[]).unwrap();
        let socket = xdp_socket();
        if setting == Setting::Socket {
            program.set_socket(0, socket.as_fd()).unwrap();
        }
        for case in &cases {
            check(&program, setting, case);
        }
    }
}

#[test]
fn the_machine_s_own_unicast_goes_to_the_socket_where_it_is_firewalled() {
    if !require_root() {
        return;
    }
    for on_exit in [OnExit::Drop, OnExit::Pass] {
        let mut program = Program::load(ProgramConfig {
            on_exit,
            host_firewalled: true,
            discovery_redirected: false,
        })
        .unwrap();
        let kernel_v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
        let own_v6 = [&[LOCAL_V6][..], &[kernel_v6]];
        program.set_local_addresses(&[LOCAL_V4], &[LOCAL_BROADCAST], own_v6[0], own_v6[1]).unwrap();
        let run = |program: &Program, frame: &[u8]| program.test_run(frame).unwrap();
        let multicast = to_v4(Ipv4Addr::new(224, 0, 0, 5));
        let link = |last| Ipv6Addr::new(last, 0, 0, 0, 0, 0, 0, 1);
        let discovery = [133, 135, 136, 137].map(|kind| icmp6(LOCAL_V6, kind, 255));
        let up: [&[u8]; 10] = [
            &to_v4(LOCAL_BROADCAST),
            &to_v4(Ipv4Addr::BROADCAST),
            &multicast,
            &to_v6(kernel_v6),
            &to_v6(link(0xfe80)),
            &to_v6(link(0xff02)),
            &discovery[0],
            &discovery[1],
            &discovery[2],
            &discovery[3],
        ];
        let to_weir = [
            to_v4(LOCAL_V4),
            to_v6(LOCAL_V6),
            // No neighbour has sent these, or they are something else.
            icmp6(LOCAL_V6, 135, 254),
            icmp6(LOCAL_V6, 138, 255),
            icmp6(LOCAL_V6, 132, 255),
            to_v6(LOCAL_V6)[..54].to_vec(),
        ];
        // Without a socket it goes up, whatever becomes of the rest.
        for frame in &to_weir {
            assert_eq!(run(&program, frame), Action::Pass, "{frame:02x?}");
        }
        let socket = xdp_socket();
        program.set_socket(0, socket.as_fd()).unwrap();
        for frame in to_weir.iter().chain(&[to_v4(REMOTE_V4), to_v6(REMOTE_V6)]) {
            assert_eq!(run(&program, frame), Action::Redirect, "{frame:02x?}");
        }
        for frame in up {
            assert_eq!(run(&program, frame), Action::Pass, "{frame:02x?}");
        }
        // An address may become another kind of address.
        program.set_local_addresses(&[LOCAL_BROADCAST], &[LOCAL_V4], own_v6[1], own_v6[0]).unwrap();
        for frame in [to_v4(LOCAL_BROADCAST), to_v6(kernel_v6)] {
            assert_eq!(run(&program, &frame), Action::Redirect);
        }
        for frame in [to_v4(LOCAL_V4), to_v6(LOCAL_V6)] {
            assert_eq!(run(&program, &frame), Action::Pass);
        }
        let counters = program.counters().unwrap();
        assert_eq!((counters.host_passed.packets, counters.redirected.packets), (18, 10));
        drop(socket);
        assert_eq!(run(&program, &to_v4(LOCAL_BROADCAST)), Action::Pass);
    }
}

#[test]
fn sockets_come_and_go_and_a_closed_one_is_forgotten() {
    if !require_root() {
        return;
    }
    let mut program = load(OnExit::Drop);
    let frame = to_v4(REMOTE_V4);
    let run = |program: &Program| program.test_run(&frame).unwrap();
    let (first, second) = (xdp_socket(), xdp_socket());

    program.set_socket(1, first.as_fd()).unwrap();
    assert_eq!(run(&program), Action::Drop, "the socket of queue 1 is not that of queue 0");
    program.set_socket(0, first.as_fd()).unwrap();
    assert_eq!(run(&program), Action::Redirect);
    program.set_socket(0, second.as_fd()).unwrap();
    drop(first);
    assert_eq!(run(&program), Action::Redirect, "the second has replaced the first");
    program.clear_socket(0).unwrap();
    assert_eq!(run(&program), Action::Drop);
    program.clear_socket(0).unwrap();
    program.set_socket(0, second.as_fd()).unwrap();
    drop(second);
    assert_eq!(run(&program), Action::Drop, "the kernel forgets a closed socket");

    program.set_socket(QUEUES_MAX - 1, xdp_socket().as_fd()).unwrap();
    let beyond = program.set_socket(QUEUES_MAX, xdp_socket().as_fd()).unwrap_err();
    assert!(matches!(beyond, ProgramError::Queue { queue: QUEUES_MAX }), "{beyond}");
    assert!(matches!(program.clear_socket(u32::MAX), Err(ProgramError::Queue { queue: u32::MAX })));
    let no_socket = std::fs::File::open("/dev/null").unwrap();
    let error = program.set_socket(0, no_socket.as_fd()).unwrap_err();
    assert!(matches!(error, ProgramError::Map { .. }), "{error}");
}

#[test]
fn local_addresses_are_added_kept_and_removed() {
    if !require_root() {
        return;
    }
    let mut program = load(OnExit::Drop);
    let v4 = |n: u32| Ipv4Addr::from_bits(0x0a00_0000 + n);
    let v6 = |n: u32| Ipv6Addr::from_bits((0xfd00_u128 << 112) + u128::from(n));
    let is_local = |program: &Program, n: u32| {
        let (v4, v6) = (program.test_run(&to_v4(v4(n))), program.test_run(&to_v6(v6(n))));
        (v4.unwrap() == Action::Pass, v6.unwrap() == Action::Pass)
    };
    let set = |program: &mut Program, numbers: std::ops::Range<u32>| {
        let v4: Vec<Ipv4Addr> = numbers.clone().map(v4).collect();
        let v6: Vec<Ipv6Addr> = numbers.map(v6).collect();
        program.set_local_addresses(&v4, &[], &v6, &[])
    };
    let max = u32::try_from(LOCAL_ADDRESSES_MAX).unwrap();

    assert_eq!(is_local(&program, 1), (false, false));
    set(&mut program, 0..max).unwrap();
    for number in 0..max {
        assert_eq!(is_local(&program, number), (true, true), "number {number}");
    }
    assert_eq!(is_local(&program, max), (false, false));

    let error = set(&mut program, 1..max + 2).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1025 local IPv4 addresses are more than the XDP program holds (1024)"
    );
    assert_eq!(is_local(&program, 0), (true, true), "a refused set changes nothing");

    // All others at once: a full map is exchanged for another full one.
    set(&mut program, max..2 * max).unwrap();
    assert_eq!(is_local(&program, max - 1), (false, false));
    assert_eq!(is_local(&program, max), (true, true));
    assert_eq!(is_local(&program, 2 * max - 1), (true, true));

    // Duplicates count once.
    program.set_local_addresses(&[LOCAL_V4; 2000], &[], &[], &[]).unwrap();
    assert_eq!(is_local(&program, max), (false, false));
    assert_eq!(program.test_run(&to_v4(LOCAL_V4)).unwrap(), Action::Pass);

    program.set_local_addresses(&[], &[], &[], &[]).unwrap();
    program.set_local_addresses(&[], &[], &[], &[]).unwrap();
    assert_eq!(program.test_run(&to_v4(LOCAL_V4)).unwrap(), Action::Drop);
}

#[test]
fn programs_of_two_devices_share_nothing() {
    if !require_root() {
        return;
    }
    let (mut first, second) = (load(OnExit::Drop), load(OnExit::Pass));
    first.set_local_addresses(&[LOCAL_V4], &[], &[], &[]).unwrap();
    assert_eq!(first.test_run(&to_v4(REMOTE_V4)).unwrap(), Action::Drop);
    assert_eq!(second.test_run(&to_v4(LOCAL_V4)).unwrap(), Action::Pass);
    let bytes = to_v4(LOCAL_V4).len() as u64;
    let one = PacketCount { packets: 1, bytes };
    assert_eq!(
        first.counters().unwrap(),
        ProgramCounters { no_socket_dropped: one, ..ProgramCounters::default() }
    );
    assert_eq!(
        second.counters().unwrap(),
        ProgramCounters { no_socket_passed: one, ..ProgramCounters::default() }
    );
}

#[test]
fn frame_without_ethernet_header_cannot_be_test_run() {
    if !require_root() {
        return;
    }
    let error = load(OnExit::Drop).test_run(&[0; 13]).unwrap_err();
    assert!(matches!(error, ProgramError::TestRun { bytes: 13, .. }), "{error}");
}

#[test]
fn who_plays_hosts_of_his_own_gets_what_asks_for_them() {
    if !require_root() {
        return;
    }
    let config =
        ProgramConfig { on_exit: OnExit::Pass, host_firewalled: false, discovery_redirected: true };
    let mut program = Program::load(config).unwrap();
    program.set_local_addresses(&[LOCAL_V4], &[LOCAL_BROADCAST], &[LOCAL_V6], &[]).unwrap();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 2);
    let link = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
    let arp = ethernet(BROADCAST_MAC, 0x0806, &[0; 28]);
    let mut to_socket = vec![arp.clone(), ethernet(OUR_MAC, 0x0806, &[])];
    for destination in [group, link, LOCAL_V6, REMOTE_V6] {
        to_socket.extend([135, 136].map(|kind| icmp6(destination, kind, 255)));
    }
    let up = [
        to_v4(LOCAL_V4),
        to_v6(LOCAL_V6),
        to_v6(group),
        icmp6(group, 133, 255),
        icmp6(group, 134, 255),
        icmp6(link, 137, 255),
        icmp6(link, 135, 254),
        icmp6(link, 135, 255)[..54].to_vec(),
    ];
    // Where no socket is it goes up, as ever.
    for frame in to_socket.iter().chain(&up) {
        assert_eq!(program.test_run(frame).unwrap(), Action::Pass, "{frame:02x?}");
    }
    let socket = xdp_socket();
    program.set_socket(0, socket.as_fd()).unwrap();
    for frame in &to_socket {
        assert_eq!(program.test_run(frame).unwrap(), Action::Redirect, "{frame:02x?}");
    }
    for frame in &up {
        assert_eq!(program.test_run(frame).unwrap(), Action::Pass, "{frame:02x?}");
    }
}
