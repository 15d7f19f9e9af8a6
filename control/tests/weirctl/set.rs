//! `weirctl set` and the link named `ipset`: what ends before there is a set. The rest is in
//! `dataplane/tests/sets` and, with the daemon, in `tests/tests/daemon/sets.rs`.

use std::path::Path;
use std::process::Command;

use crate::{WEIRCTL, done, outcome, weirctl};

const VERSION: &str = concat!("ipset v7.17 (weir ", env!("CARGO_PKG_VERSION"), ")");

#[test]
fn a_link_named_ipset_is_ipset() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let link = directory.path().join("ipset");
    std::os::unix::fs::symlink(WEIRCTL, &link).expect("link");
    let run = |line: &str| {
        let mut command = Command::new(&link);
        command.env("WEIR_SOCKET", "/nonexistent").args(line.split_ascii_whitespace());
        outcome(command.output().expect("the link runs"))
    };
    assert_eq!(run("version"), done(&format!("{VERSION}, protocol version: 7\n")));
    assert_eq!(run("-V"), run("version"));
    let help = run("help");
    assert_eq!((help.0, &*help.2), (0, ""));
    assert!(help.1.starts_with(&format!("{VERSION}\n\nUsage: weirctl set")), "{}", help.1);
    // These are weirctl's, not ipset's.
    assert_eq!(run("--json list").0, 2);
    assert_eq!(run("status").0, 2);
}

#[test]
fn lines_are_refused_before_the_daemon_is_asked() {
    let nowhere = Path::new("/nonexistent/socket");
    let advice = "Try `ipset help' for more information.";
    for (line, status, message) in [
        ("", 2, format!("No command specified.\n{advice}")),
        ("frobnicate a", 2, format!("No command specified: unknown argument frobnicate\n{advice}")),
        ("create a", 2, format!("Missing second mandatory argument to command create\n{advice}")),
        ("list a b", 2, format!("Unknown argument b\n{advice}")),
        (
            "create a hash:ip counters",
            2,
            format!(
                "`counters' is not enforced by this version of Weir\n  entries keep no count; the rule that \
                 asks for the set does (`iptables -L -v')\n{advice}"
            ),
        ),
        (
            "create a hash:ip skbinfo",
            2,
            format!(
                "`skbinfo' is not enforced by this version of Weir\n  leave it out, if the set is meant \
                 without it\n{advice}"
            ),
        ),
        (
            "create a hash:net,iface",
            1,
            "settype hash:net,iface is not enforced by this version of Weir\n  types are hash:ip, \
             hash:net, hash:ip,port and list:set"
                .to_owned(),
        ),
        (
            "list -o json",
            1,
            "Syntax error: unknown output mode 'json'\n  use `weirctl --json set list', which prints a line \
             for each set and each entry"
                .to_owned(),
        ),
        (
            "list -r",
            2,
            format!(
                "`resolve' is not enforced by this version of Weir\n  at `-r'\n  Weir asks no name server: \
                 addresses are printed in digits\n{advice}"
            ),
        ),
    ] {
        let (ended, printed, said) = weirctl(nowhere, &format!("set {line}"));
        assert_eq!((ended, &*printed), (status, ""), "{line}");
        assert_eq!(said.trim_end().strip_prefix(&format!("{VERSION}: ")), Some(&*message), "{line}");
        let (quiet, _, nothing) = weirctl(nowhere, &format!("set -q {line}"));
        assert_eq!((quiet, &*nothing), (status, ""), "-q {line}");
    }
}

#[test]
fn without_the_daemon_that_is_said() {
    let nowhere = Path::new("/nonexistent/socket");
    for line in ["set list", "set add a 1.1.1.1", "set create a hash:ip", "set test a 1.1.1.1"] {
        let (status, printed, said) = weirctl(nowhere, line);
        assert_eq!((status, &*printed), (4, ""), "{line}");
        assert!(said.contains("/nonexistent/socket"), "{said}");
    }
}
