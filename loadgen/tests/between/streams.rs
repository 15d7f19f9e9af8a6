//! Streams and users of IPv6, and VLAN tags: the kernel reads them, and what it forwards is told apart as ever.

use std::collections::BTreeMap;

use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::skip_unless;

use crate::street::{MACS, bridged, neighbour, pairs, passed, run, street};

/// A stream of 500 packets from left to right, stated in a line.
fn stream(name: &str, kind: &str, net: &str, more: &str) -> String {
    let [source, destination] = if net == "v6" {
        ["2001:db8:18::1:0/112", "2001:db8:19::1:2"]
    } else {
        ["198.18.1.0-198.18.1.200", "198.19.1.2"]
    };
    format!(
        "[[stream]]\nname = {name:?}\nkind = {kind:?}\nrate = 500\nsource = {source:?}\n\
         destination = {destination:?}\n{more}\n"
    )
}

/// The kernel's counters of both families, by protocol and name; TCP's are of both.
fn counters(namespace: &Namespace) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for line in namespace.run("cat /proc/net/snmp6").expect("counters").lines() {
        if let Some((name, count)) = line.split_once(char::is_whitespace) {
            found.insert(name.to_owned(), count.trim().parse().unwrap_or(0));
        }
    }
    let text = namespace.run("cat /proc/net/snmp").expect("counters");
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks(2) {
        let [names, counts] = pair else { continue };
        let (Some((protocol, names)), Some((_, counts))) =
            (names.split_once(':'), counts.split_once(':'))
        else {
            continue;
        };
        for (name, count) in names.split_whitespace().zip(counts.split_whitespace()) {
            found.insert(format!("{protocol}{name}"), count.parse().unwrap_or(0));
        }
    }
    found
}

/// What a run changed in the counters of a host that nothing else is sent to, and how many packets were sent.
fn judged(
    judge: &Namespace,
    generator: &Namespace,
    profile: &str,
    gateway: &str,
) -> (u64, impl Fn(&str) -> u64) {
    let before = counters(judge);
    let output = run(generator, profile, &format!("--left-gateway {gateway}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("nobody"), "{said}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}"));
    let sent = result["streams"][0]["sent"].as_u64().expect("a number");
    assert!(sent > 0, "{said}");
    let after = counters(judge);
    (sent, move |name| after[name] - before[name])
}

/// By kind: what a host of IPv6 counts when its checksum is right, and when it is not. Nothing listens there.
const KINDS_V6: [(&str, &str, &str); 4] = [
    ("udp", "Udp6NoPorts", "Udp6InCsumErrors"),
    ("tcp-syn", "TcpOutRsts", "TcpInCsumErrors"),
    ("tcp-data", "TcpInSegs", "TcpInCsumErrors"),
    ("icmp-echo", "Icmp6InEchos", "Icmp6InCsumErrors"),
];

const KINDS_V4: [(&str, &str, &str); 3] = [
    ("udp", "UdpNoPorts", "UdpInCsumErrors"),
    ("tcp-syn", "TcpOutRsts", "TcpInCsumErrors"),
    ("icmp-echo", "IcmpInEchos", "IcmpInCsumErrors"),
];

#[test]
fn the_kernel_finds_every_checksum_of_ipv6_right() {
    skip_unless!(root, command "ip");
    let (generator, judge) = pairs();
    let host = "2001:db8:19::1:2";
    judge.add_address("r0", &format!("{host}/32 nodad")).expect("an address");
    for (kind, good, bad) in KINDS_V6 {
        for more in ["", "frame_bytes = \"82-400\"", "frame_bytes = 1518"] {
            let profile = stream("a", kind, "v6", more);
            let (sent, change) = judged(&judge, &generator, &profile, host);
            assert_eq!((change(good), change(bad)), (sent, 0), "{kind} {more}");
        }
    }
    for (at, kind) in ["bad-udp-checksum", "bad-tcp-checksum"].into_iter().enumerate() {
        let (_, good, bad) = KINDS_V6[at];
        let profile = stream("a", kind, "v6", "expect = \"drop\"");
        let (sent, change) = judged(&judge, &generator, &profile, host);
        assert_eq!((change(good), change(bad)), (0, sent), "{kind}");
    }
}

/// A tag of VLAN 0, which bears a priority and no VLAN, is every host's.
#[test]
fn the_kernel_finds_every_checksum_behind_a_tag_right() {
    skip_unless!(root, command "ip");
    let (generator, judge) = pairs();
    judge.add_address("r0", "2001:db8:19::1:2/32 nodad").expect("an address");
    judge.add_address("r0", "198.19.1.2/15").expect("an address");
    let tag = "vlan = 0\nvlan_priority = 5";
    for (family, host, kinds) in
        [("v6", "2001:db8:19::1:2", &KINDS_V6[..]), ("v4", "198.19.1.2", &KINDS_V4[..])]
    {
        for (kind, good, bad) in kinds {
            for more in [String::from(tag), format!("{tag}\nframe_bytes = \"82-400\"")] {
                let profile = stream("a", kind, family, &more);
                let (sent, change) = judged(&judge, &generator, &profile, host);
                assert_eq!((change(good), change(bad)), (sent, 0), "{family} {kind} {more}");
            }
        }
    }
    // Of another VLAN than the host's nobody is there.
    let profile = stream("a", "udp", "v6", "vlan = 101");
    let output = run(&generator, &profile, "--left-gateway 2001:db8:19::1:2");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nobody on v0 answers for 2001:db8:19::1:2"), "{said}");
}

/// Packets that a rule of the bridge has counted.
fn counted(switch: &Namespace, rule: &str) -> u64 {
    let rules = switch.run("ebtables -t nat -L PREROUTING --Lc").expect("the rules");
    let line =
        rules.lines().find(|line| line.starts_with(rule)).unwrap_or_else(|| panic!("{rules}"));
    let mut words = line.split_whitespace().skip_while(|word| *word != "pcnt");
    words.nth(2).expect("a count").parse().expect("a number")
}

#[test]
fn the_kernel_reads_the_tags_as_they_are_meant() {
    skip_unless!(root, command "ip", command "ebtables");
    let (generator, switch) = pairs();
    bridged(&switch);
    let rules = [
        "-p 802_1Q -i r0 --vlan-id 100 --vlan-encap 0800",
        "-p 802_1Q -i r0 --vlan-id 100 --vlan-encap 86DD",
        "-p 802_1Q -i r0 --vlan-prio 5",
        "-p 802_1Q -i r0 --vlan-prio 3",
    ];
    for rule in rules {
        switch.run(&format!("ebtables -t nat -A PREROUTING {rule} -j CONTINUE")).expect("a rule");
    }
    let profile = stream("four", "udp", "v4", "vlan = 100\nvlan_priority = 5")
        + &stream("six", "tcp-syn", "v6", "vlan = 100")
        + &stream("three", "icmp-echo", "v4", "vlan = 7\nvlan_priority = 3")
        + &stream("plain", "tcp-ack", "v4", "");
    let macs = format!("--left-mac {} --right-mac {}", MACS[1], MACS[0]);
    let result = passed(&run(&generator, &profile, &macs));
    let sent = |at: usize| result["streams"][at]["sent"].as_u64().expect("a number");
    let expected = [sent(0), sent(1), sent(0), sent(2)];
    assert_eq!(rules.map(|rule| counted(&switch, rule)), expected, "{result}");
    // Bridged users, and neighbours that are asked for within the VLAN.
    let users = USERS_V6.to_owned() + "vlan = 100\nvlan_priority = 1\n";
    let output = run(&generator, &(users + &stream("four", "udp", "v4", "vlan = 100")), "");
    passed(&output);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("nobody"), "{output:?}");
}

const USERS_V6: &str =
    "[users]\nrate = 100\nclients = \"2001:db8:18::2:0/116\"\nservers = \"2001:db8:19::1:2\"\n";

#[test]
fn what_a_router_forwards_of_ipv6_is_told_apart() {
    skip_unless!(root, command "ip");
    let (generator, _router) = street();
    let mut profile = USERS_V6.to_owned();
    for (at, kind) in ["udp", "tcp-syn", "tcp-ack", "icmp-echo"].into_iter().enumerate() {
        profile += &stream(&format!("{at}"), kind, "v6", "");
        profile += &stream(&format!("long {at}"), kind, "v6", "frame_bytes = \"82-1000\"");
    }
    profile += "[[stream]]\nname = \"back\"\nfrom = \"right\"\nkind = \"icmp-reply\"\nrate = 500\n\
                source = \"2001:db8:19::1:2\"\ndestination = \"2001:db8:18::1:7\"\n";
    let words = "--left-gateway 2001:db8:18::1 --right-gateway 2001:db8:19::1";
    let result = passed(&run(&generator, &profile, words));
    for stream in result["streams"].as_array().expect("streams") {
        assert_eq!(stream["received"], stream["sent"], "{stream}");
        assert_eq!(stream["latency"]["count"], stream["sent"], "{stream}");
        assert!(stream["kind"].as_str().is_some_and(|kind| kind.ends_with(" IPv6")), "{stream}");
    }
    assert_eq!(result["users"]["damaged"], 0, "{result}");
}

/// What leaves with a tag that only bears a priority comes back from a router without one.
#[test]
fn users_and_streams_with_tags_are_told_apart_behind_a_router() {
    skip_unless!(root, command "ip");
    let (generator, router) = street();
    for (users, gateways, host) in [
        (
            "clients = \"198.18.2.0/28\"\nservers = \"198.19.1.2\"",
            ["198.18.0.1", "198.19.0.1"],
            "198.19.1.2",
        ),
        (
            "clients = \"2001:db8:18::2:0/116\"\nservers = \"2001:db8:19::1:2\"",
            ["2001:db8:18::1", "2001:db8:19::1"],
            "2001:db8:19::1:2",
        ),
    ] {
        let users = format!("[users]\nrate = 100\nvlan = 0\nvlan_priority = 3\n{users}\n");
        let family = if host.contains(':') { "v6" } else { "v4" };
        let profile = users + &stream("probe", "udp", family, "vlan = 0\nvlan_priority = 7");
        let [left, right] = gateways;
        let words = format!("--left-gateway {left} --right-gateway {right}");
        passed(&run(&generator, &profile, &words));
        assert_eq!(neighbour(&router, host), MACS[1]);
    }
}
