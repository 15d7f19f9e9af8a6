//! The program on a device: what stays and what goes when its process ends, in order or by SIGKILL;
//! who may take whose place. Seen from outside, by `ip link` and by ping.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::child::Router;
use crate::world::{BOB, ROUTER, WEST, World};

const DRIVER: u64 = 1;
const SKB: u64 = 2;

/// Attaches and returns the program's id, checked against what `ip link` says.
fn attach(world: &World, on_exit: &str, mode: &str) -> (Router, u64) {
    let mut router = Router::start(world);
    let answer = router.ask(&format!("attach {WEST} {on_exit} {mode}"));
    let id = answer.strip_prefix("id ").unwrap_or_else(|| panic!("{answer}")).parse().unwrap();
    let place = if mode == "skb" { SKB } else { DRIVER };
    assert_eq!(world.program_on_west(), Some((place, id)), "{on_exit} {mode}");
    (router, id)
}

/// Compiles a program that passes everything, called `name`, as somebody else might have on the
/// device.
fn compile_foreign(directory: &std::path::Path, name: &str) -> String {
    let (source, object) =
        (directory.join(format!("{name}.c")), directory.join(format!("{name}.o")));
    let code = format!(
        "__attribute__((section(\"xdp\"), used)) int {name}(void *ctx) {{ return 2; }}\n\
         char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n"
    );
    std::fs::write(&source, code).unwrap();
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(clang)
        .args(["-O2", "-g", "-target", "bpf", "-c"])
        .args([&source, std::path::Path::new("-o"), &object])
        .status()
        .unwrap();
    assert!(status.success());
    object.to_str().unwrap().to_owned()
}

#[test]
fn pass_leaves_nothing_behind() {
    let Some(world) = World::new() else { return };
    assert!(world.alice_reaches(BOB), "the world itself forwards");
    for mode in ["driver", "skb"] {
        let (mut router, _) = attach(&world, "pass", mode);
        assert!(world.alice_reaches(BOB), "without a socket everything passes");
        let counters = router.ask("counters");
        assert!(!counters.contains("no_socket_passed: PacketCount { packets: 0"), "{counters}");
        assert_eq!(router.ask("in-place"), "true");
        router.kill();
        assert_eq!(world.program_on_west(), None, "{mode}: gone after SIGKILL");

        let (mut router, _) = attach(&world, "pass", mode);
        assert_eq!(router.ask("close"), "closed");
        assert_eq!(world.program_on_west(), None, "{mode}: gone after close");
        router.end();
    }
    assert!(world.alice_reaches(BOB));
}

#[test]
fn drop_stays_and_fails_closed() {
    let Some(world) = World::new() else { return };
    assert!(world.alice_reaches(BOB), "the world itself forwards");
    for mode in ["driver", "skb"] {
        let (router, id) = attach(&world, "drop", mode);
        router.kill();
        let left = world.program_on_west();
        assert_eq!(left.map(|(_, id)| id), Some(id), "{mode}: still there after SIGKILL");
        world.alice_forgets_neighbours();
        assert!(world.alice_reaches(ROUTER), "ARP and the machine's own traffic go up");
        assert!(!world.alice_reaches(BOB), "transit is dropped");

        let (mut router, id) = attach(&world, "drop", mode);
        assert_eq!(router.ask("close"), "closed");
        router.end();
        assert_eq!(world.program_on_west(), left.map(|(place, _)| (place, id)), "after close");
        assert!(!world.alice_reaches(BOB));

        let mut router = Router::start(&world);
        let removed = router.ask(&format!("remove-own {WEST}"));
        assert!(removed.contains(&format!("id: {id}")), "{removed}");
        assert!(removed.contains("owner: Weir(Drop)"), "{removed}");
        assert_eq!(router.ask(&format!("remove-own {WEST}")), "None");
        assert_eq!(world.program_on_west(), None);
        assert!(world.alice_reaches(BOB), "open again");
        router.end();
    }
}

/// Alice floods bob while one Weir after another takes the device over. One answered ping would
/// show a gap.
#[test]
fn takeover_leaves_no_gap() {
    let Some(world) = World::new() else { return };
    assert!(world.alice_reaches(BOB), "the world itself forwards");
    let (router, mut last) = attach(&world, "drop", "driver");
    router.kill();
    let mut ping = world
        .command("alice", "ping")
        .args(["-n", "-q", "-i", "0.002", "-w", "60", BOB])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..20 {
        let (router, id) = attach(&world, "drop", "driver");
        assert_ne!(id, last, "a new program took the old one's place");
        last = id;
        router.kill();
    }
    let pid = rustix::process::Pid::from_child(&ping);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let mut report = String::new();
    ping.stdout.take().unwrap().read_to_string(&mut report).unwrap();
    ping.wait().unwrap();
    assert!(report.contains(" 0 received"), "{report}");
    assert!(!report.contains("\n0 packets transmitted"), "{report}");
}

#[test]
fn leftover_is_taken_over_in_another_mode_or_by_pass() {
    let Some(world) = World::new() else { return };
    for (first, second) in [("driver", "skb"), ("skb", "driver")] {
        attach(&world, "drop", first).0.kill();
        // `attach` checks that the new one is the only one there.
        attach(&world, "drop", second).0.kill();
        let (router, _) = attach(&world, "pass", first);
        assert!(world.alice_reaches(BOB));
        router.kill();
        assert_eq!(world.program_on_west(), None);
        attach(&world, "drop", first).0.kill();
        let (router, _) = attach(&world, "pass", first);
        router.kill();
        assert_eq!(world.program_on_west(), None);
    }
}

#[test]
fn refused_mode_change_puts_the_old_program_back() {
    let Some(world) = World::new() else { return };
    let (router, id) = attach(&world, "drop", "skb");
    router.kill();
    // The veth driver refuses native XDP when the peer may send more than a page holds.
    for (host, device) in [("alice", "eth0"), ("router", WEST)] {
        assert!(world.shell(host, &format!("ip link set {device} mtu 9000")));
    }
    let mut router = Router::start(&world);
    let answer = router.ask(&format!("attach {WEST} drop driver"));
    assert!(
        answer.starts_with("error: cannot attach the XDP program to west (driver mode): ")
            && answer.contains("Peer MTU is too large to set XDP")
            && answer.contains("`ip link set dev west mtu 1500`"),
        "{answer}"
    );
    assert_eq!(world.program_on_west(), Some((SKB, id)), "still dropping");
    router.end();
}

#[test]
fn foreign_program_is_named_and_left_alone() {
    let Some(world) = World::new() else { return };
    let directory = tempfile::tempdir().unwrap();
    // The second has our name but not our mark.
    for name in ["somebody", "weir_xdp"] {
        let object = compile_foreign(directory.path(), name);
        for how in ["netlink", "link"] {
            let mut owner = Router::start(&world);
            assert_eq!(owner.ask(&format!("foreign {object} {WEST} {how}")), "attached");
            let found = world.program_on_west();
            let (_, id) = found.unwrap();
            let mut router = Router::start(&world);
            let remedy = if how == "link" {
                "bpftool link detach id"
            } else {
                "ip link set dev west xdp off"
            };
            for command in ["attach west drop driver", "attach west pass skb", "remove-own west"] {
                let answer = router.ask(command);
                let named = format!(
                    "error: interface west already has the XDP program \"{name}\" (id {id}, \
                     driver mode"
                );
                assert!(
                    answer.starts_with(&named) && answer.contains(remedy),
                    "{command}: {answer}"
                );
                assert_eq!(answer.contains("held by bpf_link id"), how == "link", "{answer}");
                assert_eq!(world.program_on_west(), found, "{command}");
            }
            let list = router.ask("list west");
            assert!(
                list.contains("owner: Foreign") && list.contains(&format!("id: {id}")),
                "{list}"
            );
            router.end();
            owner.end();
            assert!(world.shell("router", &format!("ip link set dev {WEST} xdp off")));
        }
    }
}

#[test]
fn living_weir_is_not_robbed_of_its_device() {
    let Some(world) = World::new() else { return };
    let (first, id) = attach(&world, "pass", "driver");
    let mut second = Router::start(&world);
    for command in ["attach west pass driver", "attach west drop driver", "remove-own west"] {
        let answer = second.ask(command);
        let named =
            format!("error: interface west is in use by another Weir (XDP program id {id}, ");
        assert!(answer.starts_with(&named), "{command}: {answer}");
    }
    assert_eq!(world.program_on_west(), Some((DRIVER, id)));
    first.kill();
    let answer = second.ask("attach west pass driver");
    assert!(answer.starts_with("id "), "{answer}");
    second.end();
}

#[test]
fn removal_touches_only_the_own_program() {
    let Some(world) = World::new() else { return };
    let (mut first, _) = attach(&world, "drop", "driver");
    let (mut second, id) = attach(&world, "drop", "driver");
    assert_eq!(first.ask("in-place"), "false", "the second has replaced it");
    assert_eq!(first.ask("remove"), "removed");
    assert_eq!(world.program_on_west(), Some((DRIVER, id)), "the second's stays");
    assert_eq!(second.ask("in-place"), "true");
    assert_eq!(second.ask("remove"), "removed");
    assert_eq!(world.program_on_west(), None);

    let (third, _) = attach(&world, "drop", "driver");
    assert!(world.shell("router", &format!("ip link set dev {WEST} xdp off")));
    let mut third = third;
    assert_eq!(third.ask("in-place"), "false", "removed by hand");
    assert_eq!(third.ask("remove"), "removed");
    for router in [first, second, third] {
        router.end();
    }
}

#[test]
fn vanished_device_is_survived_and_named() {
    let Some(world) = World::new() else { return };
    for on_exit in ["pass", "drop"] {
        let (mut router, _) = attach(&world, on_exit, "driver");
        assert!(world.shell("router", &format!("ip link del {WEST}")));
        assert_eq!(router.ask("in-place"), "false");
        assert_eq!(router.ask("remove"), "removed");
        assert_eq!(
            router.ask("attach west drop driver"),
            "error: interface west (index 9999) does not exist; `ip link` lists those that do"
        );
        router.end();
        let recreated = "ip link add west type veth peer name west-peer && ip link set west up";
        assert!(world.shell("router", recreated));
    }
}
