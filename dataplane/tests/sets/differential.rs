//! Random commands given to both.

use crate::oracle::{self, Answer};
use crate::weir::Weir;

/// Small dice (xorshift64*), for commands that can be repeated.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let drawn = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(drawn).expect("31 bits") % bound
    }

    fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }
}

/// Names of sets, and what they are made as.
type Made = [(&'static str, &'static str); 13];

/// Sets and what they are made as; the last two are not there at first.
const SETS: Made = [
    ("ip", "hash:ip"),
    ("ip2", "hash:ip timeout 0"),
    ("ipmask", "hash:ip netmask 28"),
    ("small", "hash:ip maxelem 6 hashsize 64"),
    ("net", "hash:net"),
    ("net2", "hash:net comment timeout 9000"),
    ("few", "hash:net maxelem 4"),
    ("port", "hash:ip,port"),
    ("port2", "hash:ip,port timeout 5000 comment"),
    ("list", "list:set"),
    ("list2", "list:set timeout 0 comment size 2"),
    ("new", "hash:ip comment"),
    ("other", "hash:net"),
];

/// The same of IPv6. One is of IPv4: it never changes places with another.
const SETS6: Made = [
    ("ip", "hash:ip family inet6"),
    ("ip2", "hash:ip family inet6 timeout 0"),
    ("ipmask", "hash:ip netmask 124 family inet6"),
    ("small", "hash:ip -6 maxelem 6 hashsize 64"),
    ("net", "hash:net family inet6"),
    ("net2", "hash:net family ipv6 comment timeout 9000"),
    ("few", "hash:net family inet6 maxelem 4"),
    ("port", "hash:ip,port family inet6"),
    ("port2", "hash:ip,port family inet6 timeout 5000 comment"),
    ("list", "list:set"),
    ("list2", "hash:net"),
    ("new", "hash:ip family inet6 comment"),
    ("other", "hash:net family inet6"),
];

fn is_6(made_as: &str) -> bool {
    [" family inet6", " family ipv6", " -6"].iter().any(|words| made_as.contains(words))
}

fn address6(chance: &mut Chance) -> String {
    match chance.below(14) {
        0 => "::".to_owned(),
        1 => "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".to_owned(),
        2 => format!("2001:DB8:0:{:x}::{:X}", chance.below(3), chance.below(70_000) % 65_536),
        3 => format!("::ffff:10.0.0.{}", chance.below(40)),
        4 => format!("::{:x}:{:x}", chance.below(4), chance.below(4)),
        5 => format!("[2001:db8::{:x}]", chance.below(40)),
        6 => chance
            .one_of(&["10.0.0.1", "fe80::1%lo", "nope", "1::2::3", "2001:db8::1 "])
            .trim()
            .to_owned(),
        _ => format!("2001:db8::{:x}", chance.below(40)),
    }
}

fn addresses6(chance: &mut Chance, made_as: &str) -> String {
    let wide = made_as.starts_with("hash:net");
    let first = address6(chance);
    match chance.below(12) {
        0..4 if wide => {
            let lengths = ["0", "1", "16", "32", "48", "64", "119", "120", "127", "128", "129"];
            format!("{first}/{}", chance.one_of(&lengths))
        }
        0 => format!("{first}/{}", chance.one_of(&["128", "128", "64", "0", "129", "x"])),
        1 => format!("{first}-{}", address6(chance)),
        _ => first,
    }
}

fn address(chance: &mut Chance) -> String {
    match chance.below(12) {
        0 => "0.0.0.0".to_owned(),
        1 => "255.255.255.255".to_owned(),
        2 => format!("10.0.{}.{}", chance.below(3), chance.below(256)),
        3 => format!("[10.0.0.{}]", chance.below(40)),
        _ => format!("10.0.0.{}", chance.below(40)),
    }
}

fn addresses(chance: &mut Chance, made_as: &str) -> String {
    if is_6(made_as) {
        return addresses6(chance, made_as);
    }
    let wide = made_as.starts_with("hash:net");
    let first = address(chance);
    match chance.below(10) {
        // Backwards, the kernel forgets the mask, where there is one, and stores what no packet can match.
        2 if made_as.starts_with("hash:ip") && !made_as.contains("port") => {
            let first = chance.below(30);
            format!("10.0.0.{first}-10.0.0.{}", first + chance.below(30))
        }
        0 | 1 => {
            let lengths =
                if wide { &["8", "16", "20", "0", "24", "25"][..] } else { &["28", "29", "0"] };
            format!("{first}/{}", chance.one_of(&[lengths, &["30", "31", "32"]].concat()))
        }
        2 => format!("10.0.0.{}-10.0.0.{}", chance.below(30), chance.below(30)),
        3 if wide => format!("10.0.0.{}-10.0.2.{}", chance.below(256), chance.below(256)),
        _ => first,
    }
}

/// The last is wrong in a way that ipset tells only of what is added: asked for it, it says that it
/// has a bug.
const PORTS: [&str; 26] = [
    "80",
    "80",
    "tcp:80",
    "tcp:22-24",
    "81-79",
    "udp:53",
    "udp:53-54",
    "http",
    "udp:domain",
    "sctp:80",
    "udplite:80",
    "icmp:8/0",
    "icmp:ping",
    "icmp:3/4",
    "icmp:200/1",
    "gre:0",
    "47:0",
    "254:0",
    "6:25",
    "tcp:0",
    "icmp:3",
    "gre:5",
    "tcp:70000",
    "nope:0",
    "tcp:nope",
    "icmpv6:1/2",
];

/// In place of the last of them. Other words for ICMP are wrong in sets of IPv6.
const PORTS6: [&str; 9] = [
    "icmpv6:1/2",
    "icmpv6:ping",
    "ipv6-icmp:128/0",
    "icmpv6:neighbour-solicitation",
    "58:no-route",
    "icmpv6:packet-too-big",
    "icmpv6:255/255",
    "icmpv6:nope",
    "icmpv6:1",
];

fn ports6(chance: &mut Chance, adding: bool) -> &'static str {
    let wrong = |ports: &&&str| ports.starts_with("icmp:");
    let of_both: Vec<&str> =
        PORTS[..PORTS.len() - 1].iter().filter(|ports| adding || !wrong(ports)).copied().collect();
    chance.one_of(&[&of_both[..], &PORTS6, &PORTS6[..2]].concat())
}

fn ports(chance: &mut Chance, adding: bool) -> &'static str {
    chance.one_of(&PORTS[..PORTS.len() - usize::from(!adding)])
}

/// An entry of the kind, and options.
fn entry(chance: &mut Chance, made_as: &str, adding: bool) -> String {
    let mut text = match made_as.split(' ').next() {
        Some("hash:ip" | "hash:net") => addresses(chance, made_as),
        Some("hash:ip,port") if is_6(made_as) => {
            format!("{},{}", addresses6(chance, made_as), ports6(chance, adding))
        }
        Some("hash:ip,port") => format!("{},{}", addresses(chance, made_as), ports(chance, adding)),
        _ => {
            chance.one_of(&["ip", "net", "port", "small", "list", "new", "net2", "few"]).to_owned()
        }
    };
    let is_net = made_as.starts_with("hash:net");
    if is_net && chance.percent(30) {
        text.push_str(" nomatch");
    }
    if made_as.starts_with("list") && chance.percent(40) {
        let beside = chance.one_of(&["before", "after"]);
        text = format!("{text} {beside} {}", chance.one_of(&["ip", "net", "port", "small", "new"]));
    }
    if adding && chance.percent(if made_as.contains("timeout") { 40 } else { 4 }) {
        text.push_str(chance.one_of(&[
            " timeout 0",
            " timeout 4000",
            " timeout 80000",
            " timeout 3000000",
        ]));
    }
    if adding && chance.percent(if made_as.contains("comment") { 40 } else { 4 }) {
        text.push_str(chance.one_of(&[
            " comment 'a note'",
            " comment x",
            " comment ''",
            " comment 'a\"b'",
        ]));
    }
    text
}

/// A command, and the set that it is about.
fn command(chance: &mut Chance, sets: &'static Made) -> (String, &'static str) {
    let (name, made_as) = sets[chance.below(sets.len())];
    let exist = if chance.percent(25) { " -exist" } else { "" };
    let text = match chance.below(100) {
        0..55 => format!("add {name} {}", entry(chance, made_as, true)),
        55..70 => format!("del {name} {}", entry(chance, made_as, false)),
        70..87 => return (format!("test {name} {}", entry(chance, made_as, false)), name),
        87..90 => format!("create {name} {made_as}"),
        90..92 => format!("create {name} {made_as} maxelem 77"),
        92 => format!("destroy {name}"),
        93..95 => format!("flush {name}"),
        95..97 => format!("rename {name} {}", chance.one_of(&["new", "other", "ip", "list2"])),
        97 => chance.one_of(&["list nope", "save nope", "flush nope", "destroy nope"]).to_owned(),
        _ => {
            let with =
                chance.one_of(&["ip", "ip2", "net", "net2", "port", "port2", "list", "new", "few"]);
            format!("swap {name} {with}")
        }
    };
    (text + exist, name)
}

/// Cuts at blanks that are not between single quotes.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            words.last_mut().expect("never empty").push_str(part);
            continue;
        }
        for (index, word) in part.split(' ').enumerate() {
            if index > 0 {
                words.push(String::new());
            }
            words.last_mut().expect("never empty").push_str(word);
        }
    }
    words
}

/// Lines of `save`, without what only the kernel has, in order; timeouts to the nearest thousand.
pub(crate) fn comparable(saved: &str) -> Vec<String> {
    let mut lines: Vec<String> = saved
        .lines()
        .map(|line| {
            let mut kept = Vec::new();
            let mut words = line.split(' ');
            while let Some(word) = words.next() {
                match word {
                    "bucketsize" | "initval" | "hashsize" => {
                        words.next();
                    }
                    // "Size in memory"
                    "memory:" => {
                        words.next();
                    }
                    "timeout" => {
                        let seconds: u32 =
                            words.next().and_then(|n| n.parse().ok()).expect("seconds");
                        kept.push(format!("timeout {}", (seconds + 500) / 1_000));
                    }
                    _ => kept.push(word.to_owned()),
                }
            }
            kept.join(" ")
        })
        .collect();
    let set = |line: &str| line.split(' ').nth(1).unwrap_or_default().to_owned();
    let lists: Vec<String> =
        lines.iter().filter(|line| line.contains(" list:set ")).map(|line| set(line)).collect();
    // The order of lists means something.
    let is_of_list = |line: &str| lists.contains(&set(line));
    lines.sort_by_cached_key(|line| if is_of_list(line) { String::new() } else { line.clone() });
    lines
}

/// What a message says, line by line, without the program's name.
pub(crate) fn messages(stderr: &str) -> Vec<&str> {
    let bare = |line| match str::split_once(line, ": ") {
        Some((program, rest)) if program.starts_with("ipset v") => rest,
        _ => line,
    };
    stderr.lines().map(bare).collect()
}

/// How the two differ about a line, if they do.
pub(crate) fn difference(line: &str, ours: &Answer, theirs: &Answer) -> Option<String> {
    // ipset says `after' also where `before' was asked for.
    let stderr = ours.stderr.replace(" before ", " after ");
    let (said, heard) = (messages(&stderr), messages(&theirs.stderr));
    let (printed, expected) = (comparable(&ours.stdout), comparable(&theirs.stdout));
    let same = ours.status == theirs.status
        && printed == expected
        && said.first().map_or(heard.is_empty(), |said| heard.contains(said));
    let only = |some: &[String], others: &[String]| {
        some.iter().filter(|line| !others.contains(line)).cloned().collect::<Vec<_>>()
    };
    (!same).then(|| {
        format!(
            "ipset {line}\n  Weir  {} {:?} {:?}\n  ipset {} {:?} {:?}",
            ours.status,
            ours.stderr,
            only(&printed, &expected),
            theirs.status,
            theirs.stderr,
            only(&expected, &printed),
        )
    })
}

#[test]
fn random_commands_do_what_they_do_to_the_kernel() {
    compare(&SETS);
}

#[test]
fn random_commands_about_ipv6_do_what_they_do_to_the_kernel() {
    compare(&SETS6);
}

fn compare(sets: &'static Made) {
    if let Some(reason) = oracle::missing() {
        eprintln!("SKIPPED: {reason}");
        return;
    }
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let seed = number("WEIR_SETS_SEED", 0x5eed).max(1);
    eprintln!("WEIR_SETS_SEED={seed}");
    let mut chance = Chance(seed);
    let (mut weir, mut lines, mut ours) = (Weir::new(), Vec::new(), Vec::new());
    let mut give = |weir: &mut Weir, text: String| {
        let line = words(&text);
        let answer = weir.run(&line);
        let status = answer.status;
        lines.push((text, line));
        ours.push(answer);
        status
    };
    for (name, made_as) in &sets[..11] {
        give(&mut weir, format!("create {name} {made_as}"));
    }
    let mut done = 0;
    for round in 0..number("WEIR_SETS_COMMANDS", 1_500) {
        let (text, name) = command(&mut chance, sets);
        let changes = text.starts_with("add") || text.starts_with("del");
        let many = text.contains(['/', '-']);
        let status = give(&mut weir, text);
        done += u32::from(status == 0);
        // What the kernel has done of several entries before one failed stays there.
        if status != 0 && changes && many {
            give(&mut weir, format!("flush {name}"));
        }
        if round % 25 == 0 {
            give(&mut weir, "save".to_owned());
        }
    }
    give(&mut weir, "save".to_owned());
    let asked: Vec<Vec<String>> = lines.iter().map(|(_, line)| line.clone()).collect();
    let answers = lines.iter().zip(&ours).zip(oracle::run(&asked));
    let mut differing =
        answers.filter_map(|(((text, _), ours), theirs)| difference(text, ours, &theirs));
    // What follows the first may be its consequence.
    let first: Vec<String> = differing.by_ref().take(5).collect();
    assert!(first.is_empty(), "WEIR_SETS_SEED={seed}\n{}", first.join("\n"));
    eprintln!("{} commands, {done} of them carried out", lines.len());
    assert!(done > 200, "only {done} commands were carried out");
}
