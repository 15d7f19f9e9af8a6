//! Where it is played: the generator on both sides of a router of the kernel's.
//!
//! ```text
//!   generator v0 ───── r0 198.18.0.1/16      198.19.0.1/16 r1 ───── v1 the same generator
//!                         2001:db8:18::1/64  2001:db8:19::1/64
//! ```

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use weir_tests::netns::{Namespace, Veth};
use weir_tests::process;

const WEIRGEN: &str = env!("CARGO_BIN_EXE_weirgen");
const PATIENCE: Duration = Duration::from_secs(120);

/// MAC addresses: the generator's left and right, the router's left and right.
pub(crate) const MACS: [&str; 4] =
    ["02:00:00:00:0c:01", "02:00:00:00:0c:02", "02:00:00:00:0d:01", "02:00:00:00:0d:02"];

/// Two namespaces with two veth pairs between them, `v0` to `r0` and `v1` to `r1`, without an address.
pub(crate) fn pairs() -> (Namespace, Namespace) {
    let generator = Namespace::unique("genbetween").expect("a namespace");
    let other = Namespace::unique("genother").expect("a namespace");
    // Its addresses are good from the first moment on: a router asks for nobody while its own are doubtful.
    for key in ["accept_dad", "dad_transmits"] {
        other.set(&format!("net/ipv6/conf/default/{key}"), "0").expect("a setting");
    }
    for (at, (own, peer)) in [("v0", "r0"), ("v1", "r1")].into_iter().enumerate() {
        Veth::between(&generator, own, &other, peer)
            .macs(MACS[at], MACS[at + 2])
            .create()
            .expect("a veth pair");
    }
    (generator, other)
}

/// The generator's namespace with `v0` and `v1`, without an address, and a router between them that knows nobody.
pub(crate) fn street() -> (Namespace, Namespace) {
    let (generator, router) = pairs();
    router.set("net/ipv4/ip_forward", "1").expect("forwarding");
    router.set("net/ipv6/conf/all/forwarding", "1").expect("forwarding");
    for (device, net) in [("r0", 18), ("r1", 19)] {
        router.add_address(device, &format!("198.{net}.0.1/16")).expect("an address");
        router.add_address(device, &format!("2001:db8:{net}::1/64 nodad")).expect("an address");
    }
    (generator, router)
}

/// Makes a bridge of the other namespace's devices.
pub(crate) fn bridged(switch: &Namespace) {
    switch.ip("link add name switch type bridge").expect("a bridge");
    for port in ["r0", "r1"] {
        switch.ip(&format!("link set {port} master switch")).expect("a port");
    }
    switch.ip("link set switch up").expect("a bridge");
}

/// Runs `weirgen run` with a profile of this text, for a second, and with these words more.
pub(crate) fn run(generator: &Namespace, profile: &str, words: &str) -> Output {
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
pub(crate) fn passed(output: &Output) -> Value {
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
pub(crate) fn neighbour(router: &Namespace, address: &str) -> String {
    let found = router.ip(&format!("neighbour show to {address}")).expect("its neighbours");
    let mut words = found.split_whitespace().skip_while(|word| *word != "lladdr");
    words.nth(1).unwrap_or_default().to_owned()
}
