//! Next hops are asked for, and hosts that are played answered for: the kernel is the box between, and nobody has
//! entered a neighbour by hand.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process;
use weir_tests::skip_unless;

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const PATIENCE: Duration = Duration::from_secs(120);

/// MAC addresses: the generator's left and right, the router's left and right.
const MACS: [&str; 4] =
    ["02:00:00:00:0c:01", "02:00:00:00:0c:02", "02:00:00:00:0d:01", "02:00:00:00:0d:02"];

const USERS_V4: &str =
    "[users]\nrate = 100\nclients = \"198.18.1.0/28\"\nservers = \"198.19.1.2\"\n";
const USERS_V6: &str =
    "[users]\nrate = 100\nclients = \"2001:db8:18::1:0/124\"\nservers = \"2001:db8:19::1:2\"\n";
const PROBE: &str = "[[stream]]\nname = \"probe\"\nkind = \"udp\"\nrate = 500\nsource = \"198.18.1.200\"\n\
                     destination = \"198.19.1.200\"\n";

/// The generator's namespace with `v0` and `v1`, without an address, and a router between them that knows nobody.
fn street() -> (Namespace, Namespace) {
    let generator = Namespace::unique("gennext").expect("a namespace");
    let router = Namespace::unique("gennexthop").expect("a namespace");
    router.set("net/ipv4/ip_forward", "1").expect("forwarding");
    router.set("net/ipv6/conf/all/forwarding", "1").expect("forwarding");
    for (at, (own, other)) in [("v0", "r0"), ("v1", "r1")].into_iter().enumerate() {
        Veth::between(&generator, own, &router, other)
            .macs(MACS[at], MACS[at + 2])
            .create()
            .expect("a veth pair");
        let net = 18 + at;
        router.add_address(other, &format!("198.{net}.0.1/16")).expect("an address");
        router.add_address(other, &format!("2001:db8:{net}::1/64 nodad")).expect("an address");
    }
    (generator, router)
}

fn run(generator: &Namespace, profile: &str, words: &str) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("duration_s = 1\nsettle_s = 1\n{profile}");
    std::fs::write(folder.path().join("a.toml"), text).expect("a profile");
    let mut program = generator.command(WEIRGEN);
    program.current_dir(folder.path()).args(["run", "a.toml", "--sleep", "--json", "-"]);
    program.args(["--left", "v0", "--right", "v1"]).args(words.split_whitespace());
    process::output(program, PATIENCE).expect("weirgen starts")
}

/// The result of a run in which all went well; but on a machine that is busy with others the generator may not keep up,
/// and must say so.
fn passed(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: one line of JSON; {said}"));
    let void = result["void"].as_str();
    assert!(void.is_none_or(|why| why.contains("could not keep up")), "{said}");
    assert_eq!(output.status.code(), Some(if void.is_none() { 0 } else { 3 }), "{said}");
    if let Some(users) = result["users"].as_object() {
        assert!(users["attempted"].as_u64() > Some(0), "{result}");
        assert_eq!(users["completed"], users["attempted"], "{said} {result}");
    }
    for stream in result["streams"].as_array().expect("streams") {
        assert!(stream["sent"].as_u64() > Some(0), "{said} {stream}");
        assert_eq!(
            (&stream["missing"], &stream["damaged"]),
            (&0.into(), &0.into()),
            "{said} {stream}"
        );
    }
    result
}

/// The station that the router has found for an address.
fn neighbour(router: &Namespace, address: &str) -> String {
    let found = router.ip(&format!("neighbour show to {address}")).expect("its neighbours");
    let mut words = found.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).unwrap_or_default().to_owned()
}

#[test]
fn a_router_of_the_kernel_s_is_found_and_finds_all_hosts() {
    skip_unless!(root, command "ip");
    for (users, gateways, host, client) in [
        (USERS_V4, ["198.18.0.1", "198.19.0.1"], "198.19.1.2", "198.18.1.5"),
        (USERS_V6, ["2001:db8:18::1", "2001:db8:19::1"], "2001:db8:19::1:2", "2001:db8:18::1:5"),
    ] {
        let (generator, router) = street();
        let profile = if users == USERS_V4 { format!("{users}{PROBE}") } else { users.to_owned() };
        let [left, right] = gateways;
        let words = format!("--left-gateway {left} --right-gateway {right}");
        let output = run(&generator, &profile, &words);
        passed(&output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("v0 <-> v1"), "{said}");
        assert_eq!(neighbour(&router, host), MACS[1]);
        assert_eq!(neighbour(&router, client), MACS[0]);
    }
}

#[test]
fn hosts_behind_a_gateway_that_is_us_are_reached() {
    skip_unless!(root, command "ip");
    let (generator, router) = street();
    // Nets that are on none of its links, by ways over addresses that only we have.
    for (net, via) in [("10.18.0.0/16", "198.18.0.2"), ("10.19.0.0/16", "198.19.0.2")] {
        router.ip(&format!("route add {net} via {via}")).expect("a route");
    }
    let profile = PROBE.replace("198.18.1.200", "10.18.0.1").replace("198.19.1.200", "10.19.0.1");
    let words = "--left-gateway 198.18.0.1 --right-gateway 198.19.0.1 --left-address 198.18.0.2 \
                 --right-address 198.19.0.2";
    passed(&run(&generator, &profile, words));
    assert_eq!(neighbour(&router, "198.19.0.2"), MACS[1]);
    // The same where the addresses are the kernel's on our side: they are answered for, too.
    let (generator, router) = street();
    for (device, net) in [("v0", 18), ("v1", 19)] {
        generator.add_address(device, &format!("198.{net}.0.2/16")).expect("an address");
        router.ip(&format!("route add 10.{net}.0.0/16 via 198.{net}.0.2")).expect("a route");
    }
    let words = "--left-gateway 198.18.0.1 --right-gateway 198.19.0.1";
    passed(&run(&generator, &profile, words));
}

#[test]
fn through_a_bridge_the_other_side_is_the_next_hop() {
    skip_unless!(root, command "ip");
    let generator = Namespace::unique("gennext").expect("a namespace");
    let switch = Namespace::unique("genswitch").expect("a namespace");
    switch.ip("link add name switch type bridge").expect("a bridge");
    for (at, (own, other)) in [("v0", "s0"), ("v1", "s1")].into_iter().enumerate() {
        Veth::between(&generator, own, &switch, other)
            .macs(MACS[at], MACS[at + 2])
            .create()
            .expect("a veth pair");
        switch.ip(&format!("link set {other} master switch")).expect("a port");
    }
    switch.ip("link set switch up").expect("a bridge");
    for users in [USERS_V4, USERS_V6] {
        let output = run(&generator, users, "");
        passed(&output);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("nobody"), "{said}");
    }
    // It is not asked for what is given.
    let words = format!("--left-mac {} --right-mac {}", MACS[1], MACS[0]);
    passed(&run(&generator, PROBE, &words));
}

#[test]
fn who_does_not_answer_is_told_with_the_remedy() {
    skip_unless!(root, command "ip");
    let (generator, _router) = street();
    let output = run(&generator, PROBE, "--left-gateway 198.18.0.99");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{said}");
    let expected = "weirgen: nobody on v0 answers for 198.18.0.99, asked 10 times in 3 s by 198.18.1.200: is it the box's \
                    address on this side, is its interface up, and would it answer 198.18.1.200? Else give its MAC \
                    address: --left-mac\n";
    assert_eq!(said, expected);
    // A router where a cable is taken for granted: said before, and the run is void for it.
    let output = run(&generator, PROBE, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.starts_with("weirgen: nobody on v0 answers for 198.19.1.200: frames go to"),
        "{said}"
    );
    for (words, expected) in [
        ("--left-gateway 1.2.3.4,1.2.3.5", "--left-gateway = 1.2.3.4,1.2.3.5 is not possible: one"),
        ("--left-gateway 1.2.3.4 --left-mac 02:00:00:00:00:01", "cannot be used with"),
        ("--right-gateway x", "invalid IP address syntax"),
    ] {
        let said = run(&generator, PROBE, words).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains(expected), "{said}");
    }
}
