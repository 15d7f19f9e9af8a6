//! Python's half of the tests: what needs raw sockets or the error queue of a socket.

use std::path::PathBuf;

use serde_json::Value;
use weir_tests::netns::Namespace;
use weir_tests::process;
use weir_tests::sniff::PYTHON;

use crate::town::SOON;

/// Runs one of the scripts beside this file in a namespace; what it printed as JSON.
pub(crate) fn script(namespace: &Namespace, name: &str, arguments: &[&str]) -> Value {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/daemon");
    let mut command = namespace.command(PYTHON);
    command.arg(folder.join(name)).args(arguments);
    let printed = process::run(command, SOON).expect("the script ends well");
    serde_json::from_str(&printed).unwrap_or_else(|_| panic!("JSON, not {printed:?}"))
}

/// The ICMP error that one datagram provokes; `{}` if none comes.
pub(crate) fn error_for(from: &Namespace, to: &str, ttl: u8, bytes: usize, df: bool) -> Value {
    let df = if df { "df" } else { "fragment" };
    script(from, "probe.py", &[to, &ttl.to_string(), &bytes.to_string(), df])
}
