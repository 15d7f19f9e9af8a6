//! Lint of saved rule sets.

use std::path::Path;

use crate::{done, weirctl};

#[test]
fn rules_of_all_chains_are_looked_at_in_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("rules");
    let lint = |option: &str, text: &str| {
        std::fs::write(&file, text).expect("written");
        weirctl(Path::new("/nonexistent"), &format!("lint {option} {}", file.display()))
    };
    // What leads to a chain may stand in any.
    let text = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:web - [0:0]\n:out - [0:0]\n\
        -A INPUT -p tcp -j web\n-A OUTPUT -p tcp -j out\n-A web -j LOG\n-A out -j LOG\nCOMMIT\n";
    assert_eq!(lint("", text), done("4 rules, nothing found\n"));
    assert_eq!(lint("-6", text), done("4 rules, nothing found\n"));
    let text = "*nat\n-A POSTROUTING -j MASQUERADE\nCOMMIT\n*filter\n:web -\n-A INPUT -j web\n-A web -o eth0 -j DROP\n\
        -A INPUT -j DROP\n-A INPUT -p udp -j DROP\nCOMMIT\n";
    let (status, out, _) = lint("", text);
    assert_eq!(status, 1);
    assert_eq!(
        out,
        "redundant: INPUT, rule 3: rule 2 before it decides about all of its packets, and as it would\n        \
             3: -A INPUT -p udp -j DROP\n        \
             2: -A INPUT -j DROP\n    for instance udp 0.0.0.0:0 -> 0.0.0.0:0\n\
         contradiction: web, rule 1: no packet that comes to chain web has the interfaces that it asks for\n        \
             1: -A web -o eth0 -j DROP\n"
    );
}
