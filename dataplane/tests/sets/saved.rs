//! Saved sets go from one to the other and back, and wrong lines are found by both.

use std::path::Path;

use weir_control::rule::Names;
use weir_control::set::restore;

use crate::differential::{comparable, messages, words};
use crate::oracle;
use crate::weir::Weir;

/// Sets of every kind with every option, as ipset reads and saves them.
const SETS: &str = "\
create ip hash:ip family inet hashsize 1024 maxelem 65536
add ip 10.0.0.1
add ip 255.255.255.255
create masked hash:ip family inet hashsize 64 maxelem 7 netmask 28 timeout 900000 comment
add masked 10.0.0.16 timeout 500000
add masked 10.0.0.32 timeout 0 comment \"a note: 100% #1\"
create net hash:net family inet hashsize 1024 maxelem 65536 comment
add net 10.0.0.0/8
add net 10.1.0.0/16 nomatch
add net 10.1.2.3 comment \"one host\"
add net 0.0.0.0/1 nomatch comment \"half\"
create port hash:ip,port family inet hashsize 1024 maxelem 65536 timeout 0
add port 10.0.0.1,tcp:80 timeout 0
add port 10.0.0.1,udp:53 timeout 900000
add port 10.0.0.1,sctp:1 timeout 0
add port 10.0.0.1,udplite:65535 timeout 0
add port 10.0.0.1,icmp:echo-request timeout 0
add port 10.0.0.1,icmp:200/9 timeout 0
add port 10.0.0.1,gre:0 timeout 0
add port 10.0.0.1,254:0 timeout 0
create ip6 hash:ip family inet6 hashsize 1024 maxelem 65536 netmask 64 timeout 0
add ip6 2001:db8:: timeout 0
create net6 hash:net family inet6 hashsize 1024 maxelem 65536 comment
add net6 2001:db8::/32 comment \"a net\"
add net6 2001:db8:1::/48 nomatch
add net6 ::1.2.3.4
create port6 hash:ip,port family inet6 hashsize 1024 maxelem 65536
add port6 2001:db8::1,tcp:80
add port6 2001:db8::1,ipv6-icmp:echo-request
add port6 ::ffff:1.2.3.4,ipv6-icmp:200/9
create all list:set size 8 comment
add all net comment \"second thoughts\"
add all ip
add all port
create none list:set size 16 timeout 77000
";

/// What the oracle does with a file.
fn restored(directory: &Path, text: &str) -> Vec<oracle::Answer> {
    let file = directory.join("sets");
    std::fs::write(&file, text).expect("written");
    let file = file.to_str().expect("text");
    oracle::run(&[words(&format!("restore -file {file}")), words("save")])
}

/// Puts all lines of a file into effect, or tells what is wrong.
fn restore(weir: &mut Weir, text: &[u8]) -> Result<(), String> {
    let plan = restore::read(text, false, &Names::system(), &|name| weir.sets.form_of(name));
    let plan = plan.map_err(|error| error.report())?;
    weir.sets = weir.sets.after(&plan.changes, 0, &|_| 0).map_err(|refused| {
        restore::refused(&plan, refused.change, refused.entry, refused.error).report()
    })?;
    Ok(())
}

#[test]
fn what_one_has_saved_the_other_restores() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut weir = Weir::new();
    restore(&mut weir, SETS.as_bytes()).expect("it can be carried out");
    let ours = weir.run(&words("save")).stdout;
    assert_eq!(comparable(&ours), comparable(SETS));
    let answers = restored(directory.path(), &ours);
    assert_eq!((answers[0].status, &*answers[0].stderr), (0, ""));
    let theirs = &answers[1].stdout;
    assert_eq!(comparable(theirs), comparable(&ours));
    let mut again = Weir::new();
    restore(&mut again, theirs.as_bytes()).expect("it can be carried out");
    let saved = again.run(&words("save")).stdout;
    assert_eq!(comparable(&saved), comparable(&ours));
    // What only the kernel's tables have is kept for it.
    assert!(saved.contains(" bucketsize 12 initval 0x"), "{saved}");
}

/// Texts, and whether both take them.
const TEXTS: [(&str, bool); 22] = [
    ("", true),
    ("\n\n# a comment\n  # another\ncreate a hash:ip\nCOMMIT\n", true),
    ("create a hash:ip\nadd a 1.1.1.1", true),
    ("-exist create a hash:ip\n-! create a hash:ip\nadd a 1.1.1.1\nadd a 1.1.1.1 -exist\n", true),
    ("create a hash:ip\ndel a 1.1.1.1 -exist\n-exist del a 1.1.1.1\n", true),
    ("-N a iphash\n-A a 1.1.1.1\n-N b nethash\n-A b 1.0.0.0/8\n", true),
    ("n a hash:ip\na a 1.1.1.1\nf a\ne a b\nn c hash:ip\nw b c\nx b\n", true),
    ("create a hash:ip comment\nadd a 1.1.1.1 comment \"two words\"\n", true),
    ("create a hash:net\nadd a 1.1.1.0-1.1.1.9\nadd a 1.1.1.0/24 nomatch\n", true),
    ("create a hash:ip\ncreate l list:set\nadd l a\ndel l a\ndestroy a\nflush l\n", true),
    ("create a hash:ip\ncreate b hash:net\nrename a c\nadd c 1.1.1.1\nadd b 1.1.1.1/1\n", true),
    ("create a hash:ip\ncreate a hash:ip\n", false),
    ("create a hash:ip\nadd a 1.1.1.1\nadd a 1.1.1.1\n", false),
    ("create a hash:ip\n\nadd b 1.1.1.1\n", false),
    ("create a hash:ip\nadd a 1.1.1.300\n", false),
    ("create a hash:ip\nadd a 1.1.1.1 timeout 5\n", false),
    ("create a hash:ip\nadd a\n", false),
    ("create a hash:ip\nrestore\n", false),
    ("create a hash:ip\nfrobnicate a\n", false),
    ("create a hash:ip maxelem 1\nadd a 1.1.1.1\nadd a 1.1.1.2\n", false),
    ("create a hash:nope\n", false),
    ("create a hash:ip\nswap a b\n", false),
];

#[test]
fn texts_are_read_as_ipset_reads_them() {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let directory = tempfile::tempdir().expect("temporary directory");
    for (text, taken) in TEXTS {
        let mut weir = Weir::new();
        let ours = restore(&mut weir, text.as_bytes());
        let answers = restored(directory.path(), text);
        assert_eq!((ours.is_ok(), answers[0].status == 0), (taken, taken), "{text}: {ours:?}");
        match ours {
            Ok(()) => {
                let saved = weir.run(&words("save")).stdout;
                assert_eq!(comparable(&saved), comparable(&answers[1].stdout), "{text}");
            }
            Err(report) => {
                let (said, heard) = (messages(&report)[0], messages(&answers[0].stderr));
                // Of some errors ipset does not tell the line.
                let bare = said.split_once(": ").map_or(said, |(_, what)| what);
                assert!(heard.contains(&said) || heard.contains(&bare), "{text}: {said} {heard:?}");
                // ipset may have done what comes before; here nothing is done.
                assert!(weir.sets.is_empty(), "{text}");
            }
        }
    }
}

#[test]
fn nothing_can_be_asked_in_the_middle_of_a_change() {
    for question in ["list a", "save", "test a 1.1.1.1"] {
        let text = format!("create a hash:ip\n{question}\n");
        let refused = restore(&mut Weir::new(), text.as_bytes()).expect_err(question);
        let command = question.split(' ').next().expect("a word");
        let expected = format!("Error in line 2: Command `{command}' is invalid in restore mode.");
        assert_eq!(messages(&refused)[0], expected);
        assert!(refused.contains("Weir carries out a file as one change"), "{refused}");
    }
}
