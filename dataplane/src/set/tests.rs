//! Sets beside a naive twin, and what the kernel cannot be asked about: copies, pages, limits, time.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use weir_control::protocol::SetCursor;
use weir_control::rule::{Family, Names};
use weir_control::set::{
    Entry, SET_ENTRIES_MAX, SETS_MAX, SetChange, SetCommand, SetError, SetForm, SetKind, SetName,
    restore,
};

use super::apply::Refused;
use super::{Found, Set, Sets};

fn name(text: &str) -> SetName {
    text.parse().expect("a name")
}

/// The sets after these lines of a saved file, all at one time.
fn after(sets: &Sets, lines: &str, now_ms: u64) -> Result<Sets, Refused> {
    let plan =
        restore::read(lines.as_bytes(), false, &Names::builtin(), &|name| sets.form_of(name));
    sets.after(&plan.expect("lines").changes, now_ms, &|_| 0)
}

fn of(lines: &str) -> Sets {
    after(&Sets::new(1), lines, 0).expect("it can be carried out")
}

fn set<'a>(sets: &'a Sets, of: &str) -> &'a Set {
    sets.place_of(&name(of)).and_then(|place| sets.at(place)).expect("a set")
}

fn ip(address: u32) -> IpAddr {
    Ipv4Addr::from(address).into()
}

/// All entries as they are saved, page by page; `between` runs after each page.
fn entries_while(sets: &mut Sets, of: &str, mut between: impl FnMut(&mut Sets)) -> Vec<String> {
    let (mut entries, mut cursor) = (Vec::new(), None::<SetCursor>);
    loop {
        let page = sets.page(&name(of), cursor, 0).expect("it is there");
        assert!(page.next.is_none_or(|next| cursor.is_none_or(|cursor| cursor < next)));
        entries.extend(page.entries);
        cursor = page.next;
        if cursor.is_none() {
            entries.sort();
            return entries;
        }
        between(sets);
    }
}

fn entries(sets: &Sets, of: &str) -> Vec<String> {
    entries_while(&mut sets.clone(), of, |_| {})
}

/// Nets by their length and address, and whether they are exceptions.
type Nets = BTreeMap<(u8, u32), bool>;

fn first_of(address: u32, length: u8) -> u32 {
    address & u32::MAX << (32 - length)
}

fn naive(nets: &Nets, address: u32) -> Found {
    let hit = (1..=32).rev().find_map(|length| nets.get(&(length, first_of(address, length))));
    match hit {
        None => Found::No,
        Some(false) => Found::Yes,
        Some(true) => Found::Exception,
    }
}

/// Addresses that lie close together, so that nets meet.
fn address() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0x0a00_0000_u32..0x0a00_1000, 1 => any::<u32>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn the_longest_net_decides(
        changes in prop::collection::vec((any::<bool>(), address(), 1_u8..=32, any::<bool>()), 1..3_000),
        asked in prop::collection::vec(address(), 200),
    ) {
        let (mut sets, mut nets) = (of("create n hash:net maxelem 100000"), Nets::new());
        for chunk in changes.chunks(500) {
            let mut lines = String::new();
            for (add, address, length, nomatch) in chunk.iter().copied() {
                let place = (length, first_of(address, length));
                let net = Ipv4Addr::from(address);
                if add {
                    nets.insert(place, nomatch);
                    let nomatch = if nomatch { "nomatch" } else { "" };
                    lines += &format!("add n {net}/{length} {nomatch} -exist\n");
                } else {
                    nets.remove(&place);
                    lines += &format!("del n {net}/{length} -exist\n");
                }
            }
            sets = after(&sets, &lines, 0).expect("it can be carried out");
            prop_assert_eq!(set(&sets, "n").len(), nets.len());
            let inside = nets.keys().map(|(_, address)| *address);
            for address in asked.iter().copied().chain(inside) {
                prop_assert_eq!(set(&sets, "n").find_in_nets(ip(address)), naive(&nets, address));
            }
        }
    }
}

/// Ten thousand addresses, in an order that is not theirs.
fn many() -> impl Iterator<Item = u32> {
    (0..10_000_u32).map(|number| 0x0100_0000 + number * 4_001 % 10_007)
}

fn lines(word: &str, addresses: impl Iterator<Item = u32>) -> String {
    addresses.map(|address| format!("{word} a {}\n", Ipv4Addr::from(address))).collect()
}

#[test]
fn a_copy_does_not_feel_what_becomes_of_the_other() {
    let before = of(&format!("create a hash:ip\n{}", lines("add", many())));
    let kept = entries(&before, "a");
    assert_eq!((kept.len(), set(&before, "a").len()), (10_000, 10_000));
    let fewer = after(&before, &lines("del", many().step_by(2)), 0).expect("they are there");
    let other = after(&before, "add a 9.9.9.9\ncreate b hash:net\nswap a a", 0).expect("new");
    let none = after(&before, "flush a", 0).expect("it is there");
    for (index, address) in many().enumerate() {
        let found = |sets: &Sets| set(sets, "a").find_address(ip(address));
        assert_eq!(found(&before), Found::Yes);
        assert_eq!(found(&fewer) == Found::Yes, index % 2 == 1);
        assert_eq!((found(&other), found(&none)), (Found::Yes, Found::No));
    }
    assert_eq!(entries(&before, "a"), kept);
    assert_eq!(entries(&fewer, "a").len(), 5_000);
    assert_eq!((entries(&other, "a").len(), entries(&none, "a").len()), (10_001, 0));
    // What is gone makes room: all of it can come and go again.
    let gone = after(&fewer, &lines("del", many().skip(1).step_by(2)), 0).expect("they are there");
    assert_eq!((entries(&gone, "a").len(), gone.entries), (0, 0));
    assert_eq!(after(&gone, &lines("add", many()), 0).expect("room").entries, 10_000);
}

#[test]
fn what_stays_is_listed_once_while_others_come_and_go() {
    let mut sets = of(&format!("create a hash:ip maxelem 100000\n{}", lines("add", many())));
    let mut next = 0x0200_0000;
    let listed = entries_while(&mut sets, "a", |sets| {
        // Shards split meanwhile, and the directory doubles.
        let more = lines("add", next..next + 7_000);
        next += 7_000;
        *sets = after(sets, &more, 0).expect("room");
    });
    assert!(next > 0x0200_0000, "it takes several pages");
    let old: Vec<&String> = listed.iter().filter(|entry| entry.starts_with("1.")).collect();
    assert_eq!(old.len(), 10_000);
    assert!(listed.windows(2).all(|pair| pair[0] != pair[1]), "nothing twice");
    let cursor = sets.page(&name("a"), None, 0).expect("a page").next;
    for gone in ["flush a", "destroy a\ncreate a hash:ip", "create b hash:ip\nswap a b"] {
        let changed = after(&sets, gone, 0).expect("carried out");
        assert_eq!(changed.page(&name("a"), cursor, 0), Err(SetError::ListedNoMore), "{gone}");
    }
}

#[test]
fn one_wrong_line_and_nothing_changes() {
    let before = of("create a hash:ip\nadd a 1.1.1.1\ncreate l list:set\nadd l a");
    let saved = |sets: &Sets| (sets.headers(&|_| 0), entries(sets, "a"), entries(sets, "l"));
    for (lines, change, entry) in [
        ("add a 1.1.1.2\nadd a 1.1.1.1", 0, 1),
        ("flush l\nflush a\ndestroy a\ncreate b hash:ip\nadd b 1.1.1.1\ndel b 2.2.2.2", 5, 0),
        ("add a 1.1.1.2\ndestroy", 1, 0),
        ("del a 1.1.1.1-1.1.1.9", 0, 0),
    ] {
        let refused = after(&before, lines, 0).map(|_| ()).expect_err(lines);
        assert_eq!((refused.change, refused.entry), (change, entry), "{lines}: {refused:?}");
    }
    let again = of("create a hash:ip\nadd a 1.1.1.1\ncreate l list:set\nadd l a");
    assert_eq!(saved(&before), saved(&again));
}

#[test]
fn entries_go_when_their_time_is_over() {
    let sets = of("create a hash:ip timeout 10\nadd a 1.1.1.1\nadd a 1.1.1.2 timeout 3\n\
                   add a 1.1.1.3 timeout 0\ncreate n hash:net timeout 5 comment\nadd n 2.0.0.0/8\n\
                   create l list:set timeout 0\nadd l a timeout 7\nadd l n\ncreate p hash:ip\nadd p 1.1.1.1");
    let counts = |sets: &Sets| ["a", "n", "l", "p"].map(|of| set(sets, of).len());
    let mut at = sets.clone();
    for (now_ms, left) in [
        (2_999, [3, 1, 2, 1]),
        (3_000, [2, 1, 2, 1]),
        (5_000, [2, 0, 2, 1]),
        (9_999, [2, 0, 1, 1]),
        (10_000, [1, 0, 1, 1]),
        (1 << 40, [1, 0, 1, 1]),
    ] {
        let due = at.is_due(now_ms);
        let before = counts(&at);
        assert_eq!((at.expire(now_ms), counts(&at)), (before != left, left), "{now_ms}");
        assert!(due || before == left);
        assert!(!at.is_due(now_ms));
    }
    assert_eq!(at.entries, 2);
    let left = |now_ms| sets.page(&name("a"), None, now_ms).expect("a page").entries;
    let mut listed = left(1_500);
    listed.sort();
    let expected = ["1.1.1.1 timeout 8", "1.1.1.2 timeout 1", "1.1.1.3 timeout 0"];
    assert_eq!(listed, expected);
    // Another time in place of the first, sooner and later; and none.
    for (seconds, stays) in [(1, false), (100, true), (0, true)] {
        let lines = format!("add a 1.1.1.1 timeout {seconds} -exist");
        let mut changed = after(&sets, &lines, 0).expect("it is there");
        changed.expire(50_000);
        assert_eq!(set(&changed, "a").find_address(ip(0x0101_0101)) == Found::Yes, stays);
    }
}

#[test]
fn there_are_only_so_many_sets_and_entries() {
    let create: String = (0..SETS_MAX).map(|set| format!("create {set} hash:net\n")).collect();
    let full = of(&create);
    let error = after(&full, "create more hash:ip", 0).map(|_| ()).expect_err("full");
    assert_eq!(error.error, SetError::TooManySets);
    after(&full, "destroy 7\ncreate more hash:ip", 0).expect("there is room again");

    let small = of("create a hash:ip maxelem 3\nadd a 1.1.1.1-1.1.1.3");
    let error = after(&small, "add a 1.1.1.4", 0).map(|_| ()).expect_err("full");
    assert_eq!(error.error, SetError::Full { name: name("a"), maxelem: 3 });
    after(&small, "add a 1.1.1.1 -exist\ndel a 1.1.1.1\nadd a 1.1.1.4", 0).expect("room");

    let maxelem = SET_ENTRIES_MAX + 1;
    let large = of(&format!("create a hash:ip maxelem {maxelem}\nadd a 1.0.0.0-1.31.255.255"));
    assert_eq!(large.entries, SET_ENTRIES_MAX);
    let all = set(&large, "a").find_address(ip(0x0100_0000)) == Found::Yes;
    assert!(all && set(&large, "a").find_address(ip(0x0120_0000)) == Found::No);
    let error = after(&large, "create b hash:ip\nadd b 2.2.2.2", 0).map(|_| ()).expect_err("full");
    assert_eq!(error.error, SetError::TooManyEntries);
    let room = after(&large, "del a 1.0.0.0\ncreate b hash:ip\nadd b 2.2.2.2", 0);
    assert_eq!(room.expect("room").entries, SET_ENTRIES_MAX);
}

#[test]
fn what_something_refers_to_stays() {
    let sets = of("create a hash:ip\ncreate b hash:ip\ncreate l list:set\nadd l b");
    let change = |command, rules: &dyn Fn(&SetName) -> usize| {
        let changed = sets.after(&[SetChange { command, exist: false }], 0, rules);
        changed.map(|_| ()).map_err(|refused| refused.error)
    };
    let ruled = |set: &SetName| usize::from(set.as_str() == "a") * 2;
    let destroy = |of: &str| SetCommand::Destroy { name: Some(name(of)) };
    let in_use = |of: &str, rules, lists| Err(SetError::InUse { name: name(of), rules, lists });
    assert_eq!(change(destroy("a"), &|_| 0), Ok(()));
    assert_eq!(change(destroy("a"), &ruled), in_use("a", 2, 0));
    assert_eq!(change(destroy("b"), &ruled), in_use("b", 0, 1));
    assert_eq!(change(destroy("l"), &ruled), Ok(()));
    let all = SetCommand::Destroy { name: None };
    assert_eq!(change(all.clone(), &ruled), in_use("a", 2, 0));
    let rename = SetCommand::Rename { name: name("a"), to: name("c") };
    assert_eq!(change(rename.clone(), &|_| 0), Ok(()));
    let error = SetError::RenameInUse { name: name("a") };
    assert_eq!(change(rename, &ruled), Err(error));
    assert_eq!(change(SetCommand::Swap { name: name("a"), with: name("b") }, &ruled), Ok(()));
    // A swap leaves what refers to a name with that name.
    let swapped = after(&sets, "add a 1.1.1.1\nswap a b\ndestroy a", 0).expect("not in the list");
    assert_eq!(entries(&swapped, "b"), ["1.1.1.1"]);
    assert_eq!(entries(&swapped, "l"), ["b"]);
}

#[test]
fn an_entry_of_another_kind_is_refused_whoever_sends_it() {
    let sets = of("create a hash:ip\ncreate l list:set");
    let form = SetForm { kind: SetKind::HashIpPort, family: Family::V4 };
    let entry = Entry::from_wire(form, "1.1.1.1,80");
    assert_eq!(sets.test(&name("a"), &entry.expect("an entry")), Ok(false));
    for (of, text) in [("a", "1.1.1.1,80"), ("l", "nope"), ("a", ""), ("a", "1.1.1.1 nomatch")] {
        let entries = vec![text.to_owned()];
        let command = SetCommand::Add { name: name(of), entries };
        let refused = sets.after(&[SetChange { command, exist: true }], 0, &|_| 0);
        assert!(refused.is_err(), "{of} {text}");
    }
}
