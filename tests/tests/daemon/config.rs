//! Configurations that are wrong, machines that are not ready, users who may not: each is told
//! what is wrong, with the key, the value and what would be right, and nothing is touched.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use weir_tests::{process, repository, skip_unless};

use crate::town::{
    BOB, SOON, Town, assert_conserved, binaries, config, errors, eventually, log, run_weir, status,
};

const PORTS: &str = "[[ports]]\ninterface = \"left\"\n[[ports]]\ninterface = \"right\"\n";

/// What stands before the ports, what stands after them, and the words of the answer.
const WRONG: &[(&str, &str, &[&str])] = &[
    ("mode = \"bridge\"", "", &["mode", "bridge", "`route`"]),
    ("", "", &["missing field `mode`"]),
    ("mode = \"route\"\nmoed = 1", "", &["moed", "unknown field", "line 2"]),
    ("mode = \"route\"\nhost = \"guest\"", "", &["host", "guest", "`kernel` or `firewalled`"]),
    ("mode = \"route\"\non_exit = \"stay\"", "", &["on_exit", "stay", "`drop` or `pass`"]),
    ("mode = \"route", "", &["line 1"]),
    ("mode = 1", "", &["line 1", "string"]),
    ("mode = \"route\"", "[workers]\ncount = 0", &["workers.count", "0", "1 to 64"]),
    ("mode = \"route\"", "[workers]\ncount = 65", &["workers.count", "65", "1 to 64"]),
    ("mode = \"route\"", "[workers]\ncount = \"2\"", &["count = \"2\"", "line"]),
    ("mode = \"route\"", "[workers]\ncount = -1", &["workers.count", "-1"]),
    ("mode = \"route\"", "[workers]\ncores = [9999]", &["workers.cores", "9999", "out of"]),
    ("mode = \"route\"", "[workers]\ncores = [0, 1]", &["workers.cores", "[0, 1]", "1 workers"]),
    (
        "mode = \"route\"",
        "[workers]\nspin_us_min = 20\nspin_us_max = 5",
        &["workers.spin_us_min", "20", "= 5"],
    ),
    (
        "mode = \"route\"",
        "[workers]\nflow_cache = -1",
        &["workers.flow_cache", "-1", "0 to 4194304"],
    ),
    ("mode = \"route\"", "[workers]\nspin = 5", &["spin", "unknown field", "spin_us_min"]),
    ("mode = \"route\"", "[umem]\nchunk_bytes = 3000", &["umem.chunk_bytes", "3000", "2048"]),
    ("mode = \"route\"", "[umem]\nchunks = 12", &["umem.chunks", "12", "1024"]),
    ("mode = \"route\"", "[umem]\nchunks = 2000", &["umem.chunks", "2000", "at least 8192"]),
    ("mode = \"route\"", "[rings]\nrx = 100", &["rings.rx", "100", "power of two"]),
    ("mode = \"route\"", "[rings]\nfill = 32", &["rings.fill", "32", "64"]),
    ("mode = \"route\"", "[rings]\ntx = 1048576", &["rings.tx", "1048576", "32768"]),
    ("mode = \"route\"", "[xdp]\nmode = \"fast\"", &["xdp.mode", "fast", "`zero-copy`"]),
    ("mode = \"route\"", "[xdp]\nbusy_poll_us = -1", &["xdp.busy_poll_us", "-1", "10000"]),
    ("mode = \"route\"", "[control]\nclients_max = 0", &["control.clients_max", "0"]),
    ("mode = \"route\"", "[control]\ntimeout_ms = 1", &["control.timeout_ms", "1", "60000"]),
    ("mode = \"route\"", "[control]\nsocket = \"\"", &["control.socket"]),
    (
        "mode = \"route\"",
        "[conntrack]\nsnapshot = \"flows\"",
        &["conntrack.snapshot", "\"flows\"", "absolute path"],
    ),
    ("mode = \"route\"\nsets = \"x\"", "", &["sets", "\"x\"", "absolute path"]),
    ("mode = \"route\"", "[log]\nfile = \"x.log\"", &["log.file", "\"x.log\"", "absolute path"]),
    ("mode = \"route\"", "[log]\npath = \"/x\"", &["path", "unknown field", "file"]),
    (
        "mode = \"route\"",
        "[recent]\naddresses_max = 0",
        &["recent.addresses_max", "0", "1 to 1048576"],
    ),
    ("mode = \"route\"", "[control]\nsocket = 5", &["line", "string"]),
    ("mode = \"route\"", "[extra]\na = 1", &["extra", "unknown field"]),
];

#[test]
fn every_wrong_configuration_is_told_apart() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let file = town.folder.path().join("wrong.toml");
    let path = file.to_string_lossy();
    let check = |text: &str, words: &[&str]| {
        fs::write(&file, text).expect("a file");
        for command in ["run", "check"] {
            let ended = run_weir(&town, &[command, "--config", &path]);
            let said = errors(&ended) + &String::from_utf8_lossy(&ended.stdout);
            assert_eq!(ended.status.code(), Some(1), "{text}\n{said}");
            for word in words {
                assert!(said.contains(word), "{word:?} is missing for\n{text}\n{said}");
            }
            assert!(said.contains(&*path), "which file: {said}");
        }
    };
    for (before, after, words) in WRONG {
        check(&format!("{before}\n{PORTS}{after}\n"), words);
    }
    check("mode = \"route\"\n", &["ports"]);
    let port = |name: &str| format!("[[ports]]\ninterface = \"{name}\"\n");
    let ports = |names: &[&str]| {
        "mode = \"route\"\n".to_owned() + &names.iter().map(|name| port(name)).collect::<String>()
    };
    check(&ports(&["left", "left"]), &["left", "each interface once"]);
    check(&ports(&["left", ""]), &["interface"]);
    check(&ports(&["left", "a-name-that-is-too-long"]), &["a-name-that-is-too-long", "15"]);
    assert_eq!(town.program_on("left"), "");
}

#[test]
fn a_machine_that_is_not_ready_is_told_what_to_do() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let file = town.folder.path().join("weir.toml");
    let socket = town.folder.path().join("s");
    let run = |text: String| {
        let control = format!("[control]\nsocket = \"{}\"\n", socket.display());
        fs::write(&file, text + &control).expect("a file");
        let ended = run_weir(&town, &["run", "--config", &file.to_string_lossy()]);
        assert_eq!(ended.status.code(), Some(1), "{}", errors(&ended));
        assert!(!socket.exists(), "nothing is left behind");
        assert_eq!(town.program_on("left"), "", "nothing is left behind");
        errors(&ended)
    };
    let missing = run(config("drop", "").replace("right", "enp9s9"));
    assert!(missing.contains("enp9s9") && missing.contains("no such"), "{missing}");

    let zero_copy = run(config("drop", "[xdp]\nmode = \"zero-copy\"\n"));
    assert!(zero_copy.contains("driver zero-copy") && zero_copy.contains("left"), "{zero_copy}");

    // A jumbo frame does not fit the driver's page; on veth it is the peer's MTU that counts.
    town.firewall.ip("link set left mtu 9000").expect("an MTU");
    town.alice.ip("link set eth0 mtu 9000").expect("an MTU");
    let jumbo = run(config("drop", "[xdp]\nmode = \"copy\"\n"));
    assert!(jumbo.contains("left") && jumbo.contains("MTU"), "{jumbo}");
}

#[test]
fn what_works_but_not_well_is_a_warning() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    town.firewall.ip("link set right down").expect("down");
    town.firewall.ip("link set left mtu 9000").expect("an MTU");
    town.alice.ip("link set eth0 mtu 9000").expect("an MTU");
    let mut daemon = town.start("drop");
    let warnings = || status(&daemon)["warnings"].to_string();
    eventually("all three are told", || {
        let told = warnings();
        ["right: the link is down", "left: MTU 9000", "left: SKB copy"]
            .iter()
            .all(|words| told.contains(words))
    });
    let logged = log(&daemon);
    assert!(logged.contains("ip link set right up"), "{logged}");
    town.firewall.ip("link set right up").expect("up");
    town.firewall.ip("link set left mtu 1500").expect("an MTU");
    eventually("two of them are over", || {
        let told = warnings();
        !told.contains("down") && !told.contains("MTU") && told.contains("SKB")
    });
    assert_conserved(&mut daemon);
}

#[test]
fn files_and_sockets_that_cannot_be_used_are_named() {
    skip_unless!(root, command "ip");
    let town = Town::new();
    let folder = town.folder.path();
    let no_file = run_weir(&town, &["run", "--config", "/nowhere/weir.toml"]);
    let said = errors(&no_file);
    assert!(said.contains("cannot read") && said.contains("/nowhere/weir.toml"), "{said}");
    let a_folder = run_weir(&town, &["run", "--config", &folder.to_string_lossy()]);
    assert!(errors(&a_folder).contains("directory"), "{}", errors(&a_folder));
    let binary = folder.join("binary.toml");
    fs::write(&binary, [0xff, 0xfe, 0x00]).expect("a file");
    let not_text = run_weir(&town, &["run", "--config", &binary.to_string_lossy()]);
    assert!(errors(&not_text).contains("UTF-8"), "{}", errors(&not_text));

    let file = folder.join("weir.toml");
    let plain = folder.join("plain");
    fs::write(&plain, "precious").expect("a file");
    let run = |socket: &str| {
        let text = config("drop", &format!("[control]\nsocket = \"{socket}\"\n"));
        fs::write(&file, text).expect("a file");
        errors(&run_weir(&town, &["run", "--config", &file.to_string_lossy()]))
    };
    let said = run(&plain.to_string_lossy());
    assert!(said.contains("not a socket") && said.contains("control.socket"), "{said}");
    assert_eq!(fs::read_to_string(&plain).expect("still there"), "precious");
    let said = run("/proc/nowhere/weir.sock");
    assert!(said.contains("/proc/nowhere"), "{said}");
    let said = run(&format!("{}/{}", folder.display(), "long".repeat(40)));
    assert!(said.contains("control.socket") && said.contains("107"), "{said}");

    // Flows that could not be kept at the end are no reason to wait until then.
    for (snapshot, told) in [("nowhere/flows", "there is no folder"), ("s", "control.socket")] {
        let (snapshot, socket) = (folder.join(snapshot), folder.join("s"));
        let control = format!("[control]\nsocket = {socket:?}\n");
        let text = config("drop", &format!("{control}[conntrack]\nsnapshot = {snapshot:?}\n"));
        fs::write(&file, text).expect("a file");
        for words in [["run", "--config"], ["check", "--config"]] {
            let refused = run_weir(&town, &[&words[..], &[&*file.to_string_lossy()]].concat());
            let said = format!("{}{}", errors(&refused), String::from_utf8_lossy(&refused.stdout));
            assert_eq!(refused.status.code(), Some(1), "{words:?}: {said}");
            assert!(
                said.contains("conntrack.snapshot") && said.contains(told),
                "{words:?}: {said}"
            );
        }
    }
    assert_eq!(town.program_on("left"), "");
}

#[test]
fn without_the_rights_it_says_which_are_missing() {
    skip_unless!(root, command "ip", command "setpriv");
    let town = Town::new();
    let folder = town.folder.path();
    // Nobody has to get at the program and the file.
    let weir = folder.join("weir");
    fs::copy(&binaries().weir, &weir).expect("copied");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).expect("open to all");
    let file = folder.join("weir.toml");
    let socket = format!("[control]\nsocket = \"{}/s\"\n", folder.display());
    fs::write(&file, config("drop", &socket)).expect("a file");
    let (weir, path) = (weir.to_string_lossy(), file.to_string_lossy());
    let setpriv = |who: &str, command: &str| {
        let mut line = town.firewall.command("setpriv");
        line.args(who.split(' ')).args([&*weir, command, "--config", &*path]);
        let ended = process::output(line, SOON).expect("it ends");
        assert_eq!(ended.status.code(), Some(1), "{}", errors(&ended));
        errors(&ended) + &String::from_utf8_lossy(&ended.stdout)
    };
    let nobody = "--reuid 65534 --regid 65534 --clear-groups";
    let said = setpriv(nobody, "run");
    assert!(said.contains("CAP_NET_RAW"), "{said}");
    let said = setpriv(nobody, "check");
    assert!(said.contains("CAP_"), "{said}");
    for capability in ["net_raw", "net_admin", "bpf"] {
        // With CAP_SYS_ADMIN, CAP_BPF is not needed.
        let without = format!("-{capability},-sys_admin");
        let who = format!("--bounding-set {without} --inh-caps {without}");
        let said = setpriv(&who, "run");
        assert!(said.contains("CAP_"), "without {capability}: {said}");
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("closed");
    let said = setpriv(nobody, "run");
    assert!(said.contains("cannot read") && said.contains("denied"), "{said}");
    assert_eq!(town.program_on("left"), "");
}

#[test]
fn every_configuration_in_the_repository_loads() {
    let folder = repository().join("configs");
    let mut loaded = 0;
    for entry in fs::read_dir(folder).expect("the folder").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "toml") {
            let result = weir_dataplane::config::Config::load(&entry.path());
            assert!(result.is_ok(), "{}: {result:?}", entry.path().display());
            loaded += 1;
        }
    }
    assert!(loaded >= 2, "lab.toml and router.toml at least");
}

#[test]
fn check_says_yes_in_words_and_in_json_and_touches_nothing() {
    skip_unless!(root, command "ip", command "ping");
    let town = Town::new();
    let file = town.folder.path().join("weir.toml");
    fs::write(&file, config("drop", "")).expect("a file");
    let path = file.to_string_lossy();
    let yes = run_weir(&town, &["check", "--config", &path]);
    assert!(yes.status.success());
    let said = String::from_utf8_lossy(&yes.stdout).into_owned();
    assert!(said.contains("left: driver veth, 1 queue(s), MTU 1500"), "{said}");
    assert_eq!(town.program_on("left"), "");

    let json = |config: &str| -> serde_json::Value {
        let done = run_weir(&town, &["check", "--json", "--config", config]);
        serde_json::from_slice(&done.stdout).expect("JSON")
    };
    let yes = json(&path);
    assert_eq!((&yes["ok"], &yes["ports"][1]["driver"]), (&true.into(), &"veth".into()), "{yes}");
    let no = json("/nowhere");
    assert_eq!(no["ok"], false);
    assert!(no["problems"][0].as_str().is_some_and(|why| why.contains("/nowhere")), "{no}");

    // Beside a running daemon it harms nothing.
    let mut daemon = town.start("pass");
    run_weir(&town, &["check", "--config", &path]);
    assert!(town.pings(BOB));
    assert_conserved(&mut daemon);
}
