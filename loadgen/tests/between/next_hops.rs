//! Next hops are asked for, and hosts that are played answered for.

use weir_tests::skip_unless;

use crate::street::{MACS, bridged, neighbour, pairs, passed, run, street};

const USERS_V4: &str =
    "[users]\nrate = 100\nclients = \"198.18.1.0/28\"\nservers = \"198.19.1.2\"\n";
const USERS_V6: &str =
    "[users]\nrate = 100\nclients = \"2001:db8:18::1:0/124\"\nservers = \"2001:db8:19::1:2\"\n";
const PROBE: &str = "[[stream]]\nname = \"probe\"\nkind = \"udp\"\nrate = 500\nsource = \"198.18.1.200\"\n\
                     destination = \"198.19.1.200\"\n";

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
    let (generator, switch) = pairs();
    bridged(&switch);
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
