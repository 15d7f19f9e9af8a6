//! `ip route get` as the judge over random sets of routes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use weir_dataplane::route::{Forwarding, PortIndex, Route, Unreachable};

use crate::namespace::{EAST, Namespace, WEST, ip, settled};

/// What `ip route get` says about an address: the words before `uid`, or the error.
type Judgement = Result<String, String>;

/// What the kernel says about each address, asked with more words.
pub(crate) fn judge<A: std::fmt::Display>(
    namespace: &Namespace,
    words: &str,
    addresses: &[A],
) -> Vec<Judgement> {
    let mut commands = String::new();
    for address in addresses {
        writeln!(commands, "route get {words} {address}").unwrap();
    }
    let output = namespace.batch(&commands);
    let mut failures = HashMap::new();
    let mut why = String::new();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        if let Some(answer) = line.strip_prefix("RTNETLINK answers: ") {
            why = answer.to_owned();
        } else if let Some(number) = line.strip_prefix("Command failed -:") {
            failures.insert(number.parse::<usize>().unwrap(), std::mem::take(&mut why));
        }
    }
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines().map(|line| line.replace('\\', " "));
    let answer = |number| match failures.remove(&number) {
        Some(why) => Err(why),
        None => Ok(lines.next().unwrap_or_default()),
    };
    (1..=addresses.len()).map(answer).collect()
}

/// The port that the kernel names.
pub(crate) fn port(line: &str) -> Option<PortIndex> {
    match word_after(line, "dev") {
        Some("east") => Some(EAST),
        Some("west") => Some(WEST),
        _ => None,
    }
}

/// What the kernel's error is for Weir.
pub(crate) fn refusal<A>(why: &str) -> Route<A> {
    match why {
        "No route to host" => Route::Unreachable(Unreachable::Unreachable),
        "Permission denied" => Route::Unreachable(Unreachable::Prohibit),
        "Invalid argument" => Route::Unreachable(Unreachable::Blackhole),
        "Network is unreachable" => Route::None,
        other => panic!("{other}"),
    }
}

pub(crate) fn word_after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().skip_while(|word| *word != key).nth(1)
}

/// How the kernel's judgement reads as a `Route` and a source address.
fn translate(address: Ipv4Addr, judgement: &Judgement) -> (Route, Option<Ipv4Addr>) {
    let line = match judgement {
        Ok(line) => line,
        Err(why) => return (refusal(why), None),
    };
    let source = word_after(line, "src").map(ip);
    if line.starts_with("local") {
        return (Route::Local, source);
    }
    if line.starts_with("broadcast") {
        return (Route::Broadcast, None);
    }
    let Some(port) = port(line) else { return (Route::NotOurs, source) };
    let next_hop = word_after(line, "via").map_or(address, ip);
    let mtu = word_after(line, "mtu").map(|mtu| mtu.parse().unwrap());
    (Route::Forward { port, next_hop, mtu, source }, source)
}

/// Compares the snapshot with the kernel; returns the differences in words.
fn differences(
    namespace: &Namespace,
    forwarding: &Forwarding,
    addresses: &[Ipv4Addr],
) -> Vec<String> {
    let judgements = judge(namespace, "", addresses);
    let mut differences = Vec::new();
    for (&address, judgement) in addresses.iter().zip(judgements) {
        let is_about = |word: &str| word.parse() == Ok(address);
        if judgement.as_ref().is_ok_and(|line| !line.split_whitespace().any(is_about)) {
            differences.push(format!("{address}: no judgement, but {judgement:?}"));
            continue;
        }
        let expected = translate(address, &judgement);
        let found = (forwarding.route(address), forwarding.source_for(address));
        if expected != found {
            differences.push(format!("{address}: {judgement:?}: {expected:?}, found {found:?}"));
        }
    }
    differences
}

/// xorshift64*: the tests need a seed that can be repeated, nothing more.
pub(crate) struct Random(u64);

impl Random {
    /// With the seed that the environment gives.
    pub(crate) fn seeded() -> Self {
        Self(seed())
    }

    pub(crate) fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap()
    }

    pub(crate) fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }

    /// In 10.0.0.0/8 or 172.0.0.0/8, often close to others.
    fn address(&mut self) -> Ipv4Addr {
        let first = [10, 10, 10, 172][self.below(4) as usize];
        let second = [0, 1, 2, 16][self.below(4) as usize];
        Ipv4Addr::from(u32::from_be_bytes([first, second, 0, 0]) | (self.next() & 0xffff))
    }

    /// One command that adds, appends, replaces or deletes a route.
    fn route_command(&mut self) -> String {
        let len = 6 + self.below(14) + self.below(14);
        let network = u32::from(self.address()) & (u32::MAX << (32 - len));
        let prefix = format!("{}/{len}", Ipv4Addr::from(network));
        let verb = ["add", "add", "add", "append", "prepend", "replace", "del"];
        let verb = verb[self.below(7) as usize];
        let metric = self.below(3);
        let table = ["main", "main", "main", "main", "default", "local"][self.below(6) as usize];
        let gateway = self.address();
        let way = match self.below(12) {
            0 => return format!("route {verb} unreachable {prefix} metric {metric} table {table}"),
            1 => return format!("route {verb} prohibit {prefix} metric {metric} table {table}"),
            2 => return format!("route {verb} blackhole {prefix} metric {metric} table {table}"),
            3 => return format!("route {verb} throw {prefix} metric {metric} table {table}"),
            4 => {
                return format!("route {verb} local {prefix} dev lo metric {metric} table {table}");
            }
            5 => "dev other".into(),
            6 => "dev east scope link".into(),
            7 => format!("via {gateway} dev west onlink mtu 1400"),
            8 => format!("via {gateway} dev west onlink src 10.0.0.1"),
            9 => format!("via {gateway} dev other onlink"),
            10 => format!("via {gateway} dev west onlink"),
            _ => format!("via {gateway} dev east onlink"),
        };
        format!("route {verb} {prefix} {way} metric {metric} table {table}")
    }
}

fn seed() -> u64 {
    let given = std::env::var("WEIR_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(0x5eed);
    eprintln!("WEIR_SEED={seed}");
    seed
}

#[test]
fn random_routes_agree_with_the_kernel() {
    let Some(namespace) = Namespace::with_three_links("random routes") else { return };
    namespace.ip("address add 10.0.0.7/24 dev east");
    namespace.ip("address add 10.1.0.7/16 dev east");
    namespace.ip("address add 10.2.0.1/31 dev west");
    namespace.ip("address add 10.2.0.9/32 dev west");
    namespace.ip("address add 10.2.1.1 peer 10.2.2.2/24 dev west");
    let mut random = Random::seeded();
    let mirror = namespace.mirror();
    let mut kinds = HashMap::new();
    for round in 0..10 {
        // Split the tables half-way: the kernel looks routes up differently from then on.
        if round == 5 {
            namespace.ip("rule add iif lo table main priority 40000");
            namespace.ip("rule del iif lo table main priority 40000");
        }
        if round % 2 == 0 {
            for table in ["main", "local", "default"] {
                namespace.batch(&format!("route flush proto boot table {table}\n"));
            }
        }
        let mut commands = String::new();
        for _ in 0..300 {
            writeln!(commands, "{}", random.route_command()).unwrap();
        }
        namespace.batch(&commands);
        let forwarding = settled(&namespace, &mirror);
        let mut addresses: Vec<_> = (0..500).map(|_| random.address()).collect();
        // And as many at the beginning of some prefix, or just before it.
        let networks = commands.split([' ', '/', '\n']).filter_map(|word| word.parse().ok());
        let networks: Vec<Ipv4Addr> =
            networks.filter(|network| *network != Ipv4Addr::UNSPECIFIED).collect();
        let count = u32::try_from(networks.len()).unwrap();
        addresses.extend((0..500).map(|_| {
            let network = networks[random.below(count) as usize];
            Ipv4Addr::from(u32::from(network) + random.below(3) - 1)
        }));
        addresses.extend(["127.0.0.1", "8.8.8.8", "10.0.0.1", "10.0.0.255", "172.16.0.9"].map(ip));
        let different = differences(&namespace, &forwarding, &addresses);
        assert!(different.is_empty(), "round {round}: {} {different:#?}", different.len());
        // A mirror that starts now reads by dump what the other one heard.
        let fresh = namespace.mirror();
        let different = differences(&namespace, &fresh.forwarding().current(), &addresses);
        assert!(different.is_empty(), "fresh, round {round}: {different:#?}");
        for address in addresses {
            *kinds.entry(std::mem::discriminant(&forwarding.route(address))).or_insert(0) += 1;
        }
    }
    let counts: Vec<u32> = kinds.into_values().collect();
    eprintln!("answers of each kind: {counts:?}");
    assert!(counts.len() >= 5 && counts.iter().sum::<u32>() == 10_050, "{counts:?}");
    assert_eq!(mirror.stats().resynchronisations.load(Ordering::Relaxed), 0);
}
