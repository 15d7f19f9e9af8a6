//! The end of the daemon, in order and not, and the next start.
//!
//! `on_exit = "pass"`: from then on the machine is as if Weir had never been there. `"drop"`: what
//! would be forwarded is dropped, while the machine itself stays reachable.

use std::net::UdpSocket;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use weir_tests::skip_unless;
use weir_tests::weir::Daemon;

use crate::link;
use crate::town::{
    ALICE, BOB, LEFT, RIGHT, Town, assert_conserved, config, errors, log, pings, run_weir,
};

/// Ends the daemon while packets flow both ways as fast as two threads send them.
fn end_under_load(
    town: &Town,
    daemon: Daemon,
    end: impl FnOnce(Daemon) -> weir_tests::Result<ExitStatus>,
) -> ExitStatus {
    let alice = link::socket(&town.alice, &format!("{ALICE}:5000"));
    let bob = link::socket(&town.bob, &format!("{BOB}:5000"));
    assert_eq!(link::carry(&alice, &bob, 0..1, 100).len(), 1);
    let stop = AtomicBool::new(false);
    let flood = |from: &UdpSocket, to: &UdpSocket| {
        let to = to.local_addr().expect("an address");
        while !stop.load(Ordering::Relaxed) {
            // Errors are news of what happens to the path.
            let _ = from.send_to(&[0; 200], to);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| flood(&alice, &bob));
        scope.spawn(|| flood(&bob, &alice));
        thread::sleep(Duration::from_millis(300));
        let ended = end(daemon);
        stop.store(true, Ordering::Relaxed);
        ended.expect("a status")
    })
}

fn forget_neighbours(town: &Town) {
    for namespace in [&town.alice, &town.firewall, &town.bob] {
        namespace.ip("neighbour flush all").expect("flushed");
    }
}

fn passes_after(end: impl FnOnce(Daemon) -> weir_tests::Result<ExitStatus>) -> ExitStatus {
    let town = Town::new();
    let daemon = town.start("pass");
    assert!(town.program_on("left").contains("weir_xdp"), "{}", town.program_on("left"));
    let status = end_under_load(&town, daemon, end);
    for device in ["left", "right"] {
        assert_eq!(town.program_on(device), "", "nothing is left on {device}");
    }
    assert!(!town.pings(BOB), "the kernel was not told to forward");
    town.kernel_forwards(true);
    forget_neighbours(&town);
    assert!(town.pings(BOB), "the kernel forwards");
    town.kernel_forwards(false);
    restarts(&town, "pass");
    status
}

fn drops_after(end: impl FnOnce(Daemon) -> weir_tests::Result<ExitStatus>) -> ExitStatus {
    let town = Town::new();
    let daemon = town.start("drop");
    // Whatever happens, this must not forward.
    town.kernel_forwards(true);
    let status = end_under_load(&town, daemon, end);
    for device in ["left", "right"] {
        let program = town.program_on(device);
        assert!(program.contains("weir_xdp"), "it still guards {device}: {program:?}");
    }
    forget_neighbours(&town);
    assert!(!town.pings(BOB), "transit is dropped");
    for address in [LEFT, RIGHT] {
        assert!(town.pings(address), "the firewall answers Alice at {address}");
        assert!(pings(&town.bob, address), "the firewall answers Bob at {address}");
    }
    restarts(&town, "drop");
    status
}

/// Weir starts again at once, forwards, and there is one program on each device.
fn restarts(town: &Town, on_exit: &str) {
    let before = town.program_on("left");
    let mut daemon = town.start(on_exit);
    let after = town.program_on("left");
    assert_eq!(after.matches("prog/xdp").count(), 1, "{after}");
    assert_ne!(after, before, "the old program was replaced");
    assert!(town.pings(BOB) && pings(&town.bob, ALICE), "Weir forwards again");
    assert_conserved(&mut daemon);
}

#[test]
fn sigkill_with_pass_leaves_nothing() {
    skip_unless!(root, command "ip", command "ping");
    let status = passes_after(Daemon::kill);
    assert!(status.to_string().contains("signal: 9"), "{status}");
}

#[test]
fn sigkill_with_drop_stays_closed() {
    skip_unless!(root, command "ip", command "ping");
    let status = drops_after(Daemon::kill);
    assert!(status.to_string().contains("signal: 9"), "{status}");
}

#[test]
fn sigterm_with_pass_leaves_nothing() {
    skip_unless!(root, command "ip", command "ping");
    let status = passes_after(Daemon::stop);
    assert!(status.success(), "{status}");
}

#[test]
fn sigterm_with_drop_stays_closed() {
    skip_unless!(root, command "ip", command "ping");
    let status = drops_after(Daemon::stop);
    assert!(status.success(), "{status}");
}

#[test]
fn the_other_on_exit_takes_over_and_detach_opens() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    town.start("drop").kill().expect("a status");
    let daemon = town.start("pass");
    daemon.kill().expect("a status");
    assert_eq!(town.program_on("left"), "", "the guard of the first was replaced");

    town.start("drop").stop().expect("a status");
    for device in ["left", "right"] {
        let detached = run_weir(&town, &["detach", device]);
        assert!(detached.status.success(), "{}", errors(&detached));
        assert_eq!(town.program_on(device), "");
        let again = run_weir(&town, &["detach", device]);
        assert!(again.status.success(), "{}", errors(&again));
        assert!(String::from_utf8_lossy(&again.stdout).contains("no program"));
    }
    let nowhere = run_weir(&town, &["detach", "nowhere"]);
    assert!(!nowhere.status.success() && errors(&nowhere).contains("nowhere"));
}

#[test]
fn a_living_weir_s_program_is_not_detached() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["drop", "pass"] {
        let town = Town::new();
        let mut daemon = town.start(on_exit);
        let program = town.program_on("left");
        let refused = run_weir(&town, &["detach", "left"]);
        let said = errors(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("left") && said.contains("stop that weir first"), "{said}");
        assert_eq!(town.program_on("left"), program);
        assert!(town.pings(BOB), "it forwards on");
        assert_conserved(&mut daemon);
    }
}

/// Does not wait for a queue that another has, for that one keeps it.
const AT_ONCE: &str = "[xdp]\nbind_retry_ms = 0\n";

/// Starts a second daemon that has to fail; what it said.
fn second(town: &Town, socket: &str, on_exit: &str, rest: &str) -> String {
    let file = town.folder.path().join("second.toml");
    let text = config(on_exit, &format!("{rest}[control]\nsocket = \"{socket}\"\n"));
    std::fs::write(&file, text).expect("a file");
    let ended = run_weir(town, &["run", "--config", &file.to_string_lossy()]);
    assert_eq!(ended.status.code(), Some(1), "{}", errors(&ended));
    errors(&ended)
}

#[test]
fn a_second_weir_is_refused_and_the_first_undisturbed() {
    skip_unless!(root, command "ip", command "ping");
    for on_exit in ["pass", "drop"] {
        let town = Town::new();
        let mut daemon = town.start(on_exit);
        let program = town.program_on("left");
        let same = daemon.socket().to_string_lossy().into_owned();
        let said = second(&town, &same, on_exit, "");
        assert!(said.contains("another weir is running") && said.contains(&same), "{said}");

        let other = town.folder.path().join("other.sock");
        for other_exit in ["pass", "drop"] {
            let said = second(&town, &other.to_string_lossy(), other_exit, AT_ONCE);
            assert!(said.contains("left") && said.contains("another weir"), "{said}");
            assert!(!other.exists(), "the second one's socket is gone");
        }
        assert_eq!(town.program_on("left"), program, "the first one's program stays");
        assert!(town.pings(BOB), "the first one forwards");
        daemon.ctl("status").expect("the first one answers");
        assert!(!log(&daemon).contains("ERROR"), "{}", log(&daemon));
        assert_conserved(&mut daemon);
    }
}

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    skip_unless!(root, command "ip", command "ping", command "clang");
    let town = Town::new();
    let source = town.folder.path().join("theirs.c");
    let object = town.folder.path().join("theirs.o");
    let text = "__attribute__((section(\"xdp\"), used)) int theirs(void *ctx) { return 2; }\n\
                char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";
    std::fs::write(&source, text).expect("a file");
    let (source, object) = (source.to_string_lossy(), object.to_string_lossy());
    town.firewall
        .run(&format!("clang -O2 -g -target bpf -c {source} -o {object}"))
        .expect("compiled");
    town.firewall
        .ip(&format!("link set right xdpdrv object {object} section xdp"))
        .expect("attached");
    let theirs = town.program_on("right");
    assert!(theirs.contains("prog/xdp"), "{theirs}");

    for on_exit in ["pass", "drop"] {
        let said = second(&town, &town.folder.path().join("s").to_string_lossy(), on_exit, "");
        assert!(said.contains("right") && said.contains("theirs"), "{said}");
        assert!(said.contains("xdp off"), "the remedy: {said}");
        assert_eq!(town.program_on("right"), theirs, "theirs stays");
        assert_eq!(town.program_on("left"), "", "nothing of ours stays");
    }
    let check = town.folder.path().join("second.toml");
    let check = run_weir(&town, &["check", "--config", &check.to_string_lossy()]);
    assert!(!check.status.success());
    assert!(String::from_utf8_lossy(&check.stdout).contains("theirs"));
    let detached = run_weir(&town, &["detach", "right"]);
    assert_eq!(town.program_on("right"), theirs, "{}", errors(&detached));
}
