//! The mirror against the kernel: in network namespaces made for the purpose, with `ip` changing the tables and
//! `ip route get` as the judge. Needs root; prints SKIPPED without.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use weir_dataplane::publish::Published;
use weir_dataplane::route::{
    Forwarding, Mirror, MirrorConfig, MirrorEvent, NeighbourState, PortIndex, Route, Unreachable,
};

const EAST: PortIndex = PortIndex(0);
const WEST: PortIndex = PortIndex(1);

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(30);

/// A network namespace, deleted at the end.
struct Namespace {
    name: String,
}

impl Namespace {
    /// `None`, with a reason printed, where namespaces cannot be made.
    fn new(test: &str) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("weir-route-{}-{number}", std::process::id());
        let made = Command::new("ip").args(["netns", "add", &name]).output();
        match made {
            Ok(output) if output.status.success() => {
                let namespace = Self { name };
                namespace.ip("link set lo up");
                Some(namespace)
            }
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                eprintln!("SKIPPED: {test}: cannot make a network namespace: {}", why.trim());
                None
            }
            Err(error) => {
                eprintln!("SKIPPED: {test}: cannot run ip: {error}");
                None
            }
        }
    }

    /// Runs `ip` in the namespace; it must succeed.
    fn ip(&self, arguments: &str) -> String {
        let arguments = arguments.split_whitespace();
        let output = Command::new("ip").args(["-n", &self.name]).args(arguments.clone()).output();
        let output = output.unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {:?}: {why}", arguments.collect::<Vec<_>>());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs many commands of `ip`, some of which may fail.
    fn batch(&self, commands: &str) -> Output {
        let mut child = Command::new("ip")
            .args(["-n", &self.name, "-o", "-force", "-batch", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let commands = commands.to_owned();
        // In a thread of its own, or both sides could wait for a full pipe.
        let writer = std::thread::spawn(move || input.write_all(commands.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        output
    }

    /// Runs `body` in a thread inside the namespace.
    fn inside<T: Send + 'static>(&self, body: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).unwrap();
        let thread = std::thread::spawn(move || {
            use std::os::fd::AsFd;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            body()
        });
        thread.join().unwrap()
    }

    fn mirror_with(&self, mut change: impl FnMut(&mut MirrorConfig)) -> Mirror {
        let mut config = MirrorConfig::new(vec!["east".into(), "west".into()]);
        change(&mut config);
        self.inside(move || Mirror::start(&config)).unwrap()
    }

    fn mirror(&self) -> Mirror {
        self.mirror_with(|_| {})
    }

    /// Sets a sysctl of the namespace.
    fn sysctl(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/{path}");
        let value = value.to_owned();
        self.inside(move || std::fs::write(&path, value).unwrap());
    }

    /// Interfaces `east` (10.0.0.1/24), `west` (192.168.0.1/24) and `other` (172.16.0.1/24), with peers beside them.
    fn with_three_links(test: &str) -> Option<Self> {
        let namespace = Self::new(test)?;
        for (name, address) in
            [("east", "10.0.0.1/24"), ("west", "192.168.0.1/24"), ("other", "172.16.0.1/24")]
        {
            namespace.ip(&format!("link add {name} type veth peer name {name}-peer"));
            namespace.ip(&format!("link set {name} up"));
            namespace.ip(&format!("link set {name}-peer up"));
            namespace.ip(&format!("address add {address} broadcast + dev {name}"));
        }
        Some(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// Waits until a published snapshot is as wanted, and returns it.
#[track_caller]
fn eventually(
    mirror: &Mirror,
    what: &str,
    wanted: impl Fn(&Forwarding) -> bool,
) -> Arc<Forwarding> {
    let start = Instant::now();
    let published: &Published<Forwarding> = mirror.forwarding();
    loop {
        let current = published.current();
        if wanted(&current) {
            return current;
        }
        assert!(start.elapsed() < PATIENCE, "never came: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until everything that happened in the namespace so far is published: notices come in order, so a route added
/// now comes after them.
#[track_caller]
fn settled(namespace: &Namespace, mirror: &Mirror) -> Arc<Forwarding> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let marker = Ipv4Addr::from(u32::from(ip("198.18.0.0")) + number);
    namespace.ip(&format!("route add prohibit {marker}/32"));
    let wanted = Route::Unreachable(Unreachable::Prohibit);
    let settled = eventually(mirror, "the marker", |now| now.route(marker) == wanted);
    namespace.ip(&format!("route del prohibit {marker}/32"));
    settled
}

fn events(mirror: &Mirror) -> Vec<MirrorEvent> {
    mirror.events().try_iter().collect()
}

/// Waits for an event; returns those before it, and itself.
#[track_caller]
fn events_up_to(mirror: &Mirror, last: &MirrorEvent) -> Vec<MirrorEvent> {
    let mut all = Vec::new();
    while all.last() != Some(last) {
        match mirror.events().recv_timeout(PATIENCE) {
            Ok(event) => all.push(event),
            Err(error) => panic!("{last:?}: {error}, after {all:?}"),
        }
    }
    all
}

/// What `ip route get` says about an address: the words before `uid`, or the error.
type Judgement = Result<String, String>;

fn judge(namespace: &Namespace, addresses: &[Ipv4Addr]) -> HashMap<Ipv4Addr, Judgement> {
    let mut commands = String::new();
    for address in addresses {
        writeln!(commands, "route get {address}").unwrap();
    }
    let output = namespace.batch(&commands);
    let mut judgements = HashMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let Some(&address) = words.iter().find(|word| word.parse::<Ipv4Addr>().is_ok()) else {
            continue;
        };
        judgements.insert(ip(address), Ok(line.replace('\\', " ")));
    }
    let errors = String::from_utf8(output.stderr).unwrap();
    let mut why = String::new();
    for line in errors.lines() {
        if let Some(answer) = line.strip_prefix("RTNETLINK answers: ") {
            why = answer.to_owned();
        } else if let Some(number) = line.strip_prefix("Command failed -:") {
            let number: usize = number.parse().unwrap();
            judgements.insert(addresses[number - 1], Err(std::mem::take(&mut why)));
        }
    }
    judgements
}

fn word_after<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    line.split_whitespace().skip_while(|word| *word != key).nth(1)
}

/// How the kernel's judgement reads as a `Route` and a source address.
fn translate(address: Ipv4Addr, judgement: &Judgement) -> (Route, Option<Ipv4Addr>) {
    let line = match judgement {
        Ok(line) => line,
        Err(why) => {
            let route = match why.as_str() {
                "No route to host" => Route::Unreachable(Unreachable::Unreachable),
                "Permission denied" => Route::Unreachable(Unreachable::Prohibit),
                "Invalid argument" => Route::Unreachable(Unreachable::Blackhole),
                "Network is unreachable" => Route::None,
                other => panic!("{address}: {other}"),
            };
            return (route, None);
        }
    };
    let source = word_after(line, "src").map(ip);
    if line.starts_with("local") {
        return (Route::Local, source);
    }
    if line.starts_with("broadcast") {
        return (Route::Broadcast, None);
    }
    let port = match word_after(line, "dev") {
        Some("east") => EAST,
        Some("west") => WEST,
        _ => return (Route::NotOurs, source),
    };
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
    let judgements = judge(namespace, addresses);
    let mut differences = Vec::new();
    for &address in addresses {
        let Some(judgement) = judgements.get(&address) else {
            differences.push(format!("{address}: no judgement"));
            continue;
        };
        let expected = translate(address, judgement);
        let found = (forwarding.route(address), forwarding.source_for(address));
        if expected != found {
            differences.push(format!("{address}: {judgement:?}: {expected:?}, found {found:?}"));
        }
    }
    differences
}

/// xorshift64*: the tests need a seed that can be repeated, nothing more.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        u32::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32).unwrap()
    }

    fn below(&mut self, end: u32) -> u32 {
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
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 20 | 1);
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
    let mut random = Random(seed());
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

#[test]
fn lost_notices_lead_to_a_new_reading() {
    let Some(namespace) = Namespace::with_three_links("lost notices") else { return };
    let mirror = namespace.mirror_with(|config| config.notices_bytes = 2048);
    let mut commands = String::new();
    for number in 0..4000_u32 {
        let network = Ipv4Addr::from(u32::from(ip("11.0.0.0")) + number * 256);
        writeln!(commands, "route add {network}/24 via 10.0.0.2").unwrap();
    }
    // The mirror may keep pace; then there is another try.
    for _ in 0..20 {
        namespace.batch(&commands);
        let forwarding = settled(&namespace, &mirror);
        for probe in ["11.0.0.1", "11.0.200.1", "11.15.159.1"] {
            let expected = Route::Forward {
                port: EAST,
                next_hop: ip("10.0.0.2"),
                mtu: None,
                source: Some(ip("10.0.0.1")),
            };
            assert_eq!(forwarding.route(ip(probe)), expected);
        }
        if mirror.stats().resynchronisations.load(Ordering::Relaxed) > 0 {
            assert!(events(&mirror).contains(&MirrorEvent::Resynchronised));
            return;
        }
        namespace.batch(&commands.replace("route add", "route del"));
        let forwarding = settled(&namespace, &mirror);
        assert_eq!(forwarding.route(ip("11.0.0.1")), Route::None);
    }
    eprintln!("SKIPPED: the end of lost notices: none was lost on this machine");
}

#[test]
fn interfaces_come_and_go() {
    let Some(namespace) = Namespace::with_three_links("interfaces") else { return };
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2");
    let mirror = namespace.mirror();
    let forwarding = mirror.forwarding().current();
    let west = forwarding.port(WEST).unwrap().clone();
    let ifindex = west.ifindex.unwrap();
    assert!(west.up && west.mtu == 1500 && west.mac != [0; 6]);
    assert_eq!(west.addresses.iter().map(|a| a.address).collect::<Vec<_>>(), [ip("192.168.0.1")]);
    assert!(matches!(forwarding.route(ip("10.9.1.1")), Route::Forward { port: WEST, .. }));
    let locals = ["10.0.0.1", "127.0.0.1", "172.16.0.1", "192.168.0.1"].map(ip);
    assert_eq!(forwarding.local_addresses(), locals);
    assert_eq!(forwarding.local_prefixes(), [(ip("127.0.0.0"), 8)]);
    events(&mirror);

    namespace.ip("link set west mtu 1280");
    let mtu = MirrorEvent::MtuChanged { port: WEST, mtu: 1280 };
    assert_eq!(events_up_to(&mirror, &mtu), [mtu]);
    namespace.ip("link set west address 02:00:00:00:00:77");
    let mac = MirrorEvent::MacChanged { port: WEST, mac: [2, 0, 0, 0, 0, 0x77] };
    assert_eq!(events_up_to(&mirror, &mac), [mac]);

    // The kernel drops the routes without a notice.
    namespace.ip("link set west down");
    assert_eq!(
        events_up_to(&mirror, &MirrorEvent::PortDown { port: WEST }),
        [MirrorEvent::PortDown { port: WEST }]
    );
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.9.1.1")), Route::None);
    assert_eq!(forwarding.route(ip("192.168.0.2")), Route::None);
    assert!(!forwarding.port(WEST).unwrap().up);
    namespace.ip("link set west up");
    eventually(&mirror, "up again", |now| now.port(WEST).unwrap().up);
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2");
    let forwarding = settled(&namespace, &mirror);
    assert!(matches!(forwarding.route(ip("10.9.1.1")), Route::Forward { port: WEST, .. }));
    events(&mirror);

    namespace.ip("link del west");
    let vanished = MirrorEvent::PortVanished { port: WEST, ifindex };
    assert!(events_up_to(&mirror, &vanished).contains(&vanished));
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.port(WEST).unwrap().ifindex, None);
    assert_eq!(forwarding.port(WEST).unwrap().name, "west");
    assert_eq!(forwarding.route(ip("10.9.1.1")), Route::None);
    assert_eq!(forwarding.route(ip("192.168.0.1")), Route::None);
    assert!(events(&mirror).contains(&MirrorEvent::LocalAddressesChanged));

    namespace.ip("link add west type veth peer name west-peer");
    namespace.ip("address add 192.168.0.1/24 dev west");
    namespace.ip("link set west up");
    namespace.ip("link set west-peer up");
    let up = MirrorEvent::PortUp { port: WEST };
    let returned = events_up_to(&mirror, &up);
    let again = settled(&namespace, &mirror).port(WEST).unwrap().ifindex.unwrap();
    assert_ne!(again, ifindex);
    let appeared = MirrorEvent::PortAppeared { port: WEST, ifindex: again };
    assert!(returned.contains(&appeared), "{returned:?}");
    let forwarding = settled(&namespace, &mirror);
    assert!(matches!(forwarding.route(ip("192.168.0.2")), Route::Forward { port: WEST, .. }));
    assert_eq!(forwarding.route(ip("192.168.0.1")), Route::Local);
}

#[test]
fn addresses_and_hops_follow() {
    let Some(namespace) = Namespace::with_three_links("addresses") else { return };
    let mirror = namespace.mirror();
    events(&mirror);
    namespace.ip("address add 10.5.0.1/24 dev east");
    namespace.ip("route add 10.6.0.0/16 via 10.0.0.2 src 10.5.0.1");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.5.0.1")), Route::Local);
    assert_eq!(forwarding.source_for(ip("10.6.0.1")), Some(ip("10.5.0.1")));
    assert_eq!(events(&mirror), [MirrorEvent::LocalAddressesChanged]);
    // With the address goes the route that prefers it, again without a notice.
    namespace.ip("address del 10.5.0.1/24 dev east");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.6.0.1")), Route::None);
    assert_eq!(forwarding.route(ip("10.5.0.1")), Route::None);
    // An address on an interface that is no port is the machine's as well.
    namespace.ip("address add 10.7.0.1/24 dev other");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(forwarding.route(ip("10.7.0.1")), Route::Local);
    assert_eq!(forwarding.route(ip("10.7.0.2")), Route::NotOurs);

    // Of several next hops the first living one that is a port.
    namespace.ip(
        "route add 10.8.0.0/16 nexthop via 172.16.0.2 nexthop via 192.168.0.2 nexthop via 10.0.0.2",
    );
    let port_of = |forwarding: &Forwarding| match forwarding.route(ip("10.8.0.1")) {
        Route::Forward { port, next_hop, .. } => Some((port, next_hop)),
        _ => None,
    };
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((WEST, ip("192.168.0.2"))));
    namespace.ip("link set west down");
    let forwarding = settled(&namespace, &mirror);
    assert_eq!(port_of(&forwarding), Some((EAST, ip("10.0.0.2"))));
}

#[test]
fn strange_rules_and_routes_are_reported() {
    let Some(namespace) = Namespace::with_three_links("rules") else { return };
    let mirror = namespace.mirror();
    events(&mirror);
    namespace.ip("rule add from 10.0.0.0/24 table 100 priority 500");
    let what = "rule 500 is not one of the defaults".to_owned();
    let unsupported = MirrorEvent::RulesUnsupported { what };
    assert_eq!(events_up_to(&mirror, &unsupported), [unsupported]);
    namespace.ip("rule del priority 500");
    let supported = MirrorEvent::RulesSupported;
    assert_eq!(events_up_to(&mirror, &supported), [supported]);
    // What only the machine's own traffic follows is none of Weir's business.
    namespace.ip("rule add iif lo table 100 priority 500");
    namespace.ip("route add 10.9.0.0/16 via 192.168.0.2 tos 0x10");
    let what = "route 10.9.0.0/16 is for one type of service only".to_owned();
    let unsupported = MirrorEvent::RouteUnsupported { what };
    assert_eq!(events_up_to(&mirror, &unsupported), [unsupported]);
    assert_eq!(settled(&namespace, &mirror).route(ip("10.9.0.1")), Route::None);
}

/// A firewall with `east` towards a host that has 10.0.0.2 at 02:00:00:00:00:02.
fn with_host(test: &str) -> Option<(Namespace, Namespace)> {
    let (firewall, host) = (Namespace::new(test)?, Namespace::new(test)?);
    firewall.ip(&format!("link add east type veth peer name eth netns {}", host.name));
    firewall.ip("link set east up");
    firewall.ip("address add 10.0.0.1/24 dev east");
    host.ip("link set eth address 02:00:00:00:00:02");
    host.ip("link set eth up");
    host.ip("address add 10.0.0.2/24 dev eth");
    Some((firewall, host))
}

#[test]
fn neighbours_are_resolved_or_fail() {
    let Some((firewall, _host)) = with_host("neighbours") else { return };
    // One ARP request a tenth of a second, so that failing does not take three seconds.
    firewall.sysctl("net/ipv4/neigh/east/retrans_time_ms", "100");
    let mirror = firewall.mirror();
    let resolver = mirror.resolver();
    let host = ip("10.0.0.2");
    assert!(mirror.forwarding().current().neighbour(EAST, host).is_none());
    let start = Instant::now();
    assert!(resolver.request(EAST, host));
    resolver.wake();
    let forwarding = eventually(&mirror, "the host's MAC address", |now| {
        now.neighbour(EAST, host).is_some_and(|neighbour| neighbour.is_usable())
    });
    eprintln!("resolved and published after {:?}", start.elapsed());
    let neighbour = forwarding.neighbour(EAST, host).unwrap();
    assert_eq!((neighbour.mac, neighbour.state), ([2, 0, 0, 0, 0, 2], NeighbourState::Reachable));
    assert!(forwarding.neighbour(WEST, host).is_none());

    let nobody = ip("10.0.0.99");
    let asked = || mirror.stats().neighbours_asked.load(Ordering::Relaxed);
    let before = asked();
    for _ in 0..100 {
        resolver.request(EAST, nobody);
        resolver.wake();
    }
    let failed = |now: &Forwarding| {
        now.neighbour(EAST, nobody).map(|neighbour| neighbour.state) == Some(NeighbourState::Failed)
    };
    eventually(&mirror, "failure", failed);
    assert_eq!(asked(), before + 1, "repeated requests within a second count once");
    // Asked again, it is open again.
    std::thread::sleep(Duration::from_millis(1100));
    resolver.request(EAST, nobody);
    resolver.wake();
    eventually(&mirror, "a new attempt", |now| {
        now.neighbour(EAST, nobody).map(|neighbour| neighbour.state) != Some(NeighbourState::Failed)
    });
    eventually(&mirror, "failure again", failed);
    // A port without an interface, or that does not exist: ignored.
    resolver.request(WEST, host);
    resolver.request(PortIndex(31), host);
    resolver.wake();
    settled(&firewall, &mirror);
    assert_eq!(mirror.stats().neighbours_refused.load(Ordering::Relaxed), 0);
}

#[test]
fn neighbours_in_use_are_kept_and_followed() {
    let Some((firewall, host)) = with_host("keep alive") else { return };
    // Reachable for about 0.15 s, probed 0.1 s after first use, three times 0.1 s apart; forgotten after a second.
    for (key, value) in [
        ("base_reachable_time_ms", "150"),
        ("retrans_time_ms", "100"),
        ("gc_stale_time", "1"),
        ("delay_first_probe_time", "0"),
    ] {
        firewall.sysctl(&format!("net/ipv4/neigh/east/{key}"), value);
    }
    let mirror = firewall.mirror();
    let resolver = mirror.resolver();
    let address = ip("10.0.0.2");
    resolver.request(EAST, address);
    resolver.wake();
    let mac = |now: &Forwarding| {
        now.neighbour(EAST, address).filter(|neighbour| neighbour.is_usable()).map(|n| n.mac)
    };
    let old = [2, 0, 0, 0, 0, 2];
    eventually(&mirror, "the host's MAC address", |now| mac(now) == Some(old));

    // As a worker does: every packet marks the neighbour. It never ceases to be usable.
    let use_for = |time: Duration| {
        let start = Instant::now();
        let mut reader = mirror.forwarding().reader();
        while start.elapsed() < time {
            reader.refresh();
            match reader.get().neighbour(EAST, address) {
                Some(neighbour) if neighbour.is_usable() => neighbour.mark_used(),
                other => panic!("not usable: {other:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    let asked = || mirror.stats().neighbours_asked.load(Ordering::Relaxed);
    use_for(Duration::from_secs(4));
    assert!(asked() >= 3, "kept alive {} times", asked());

    // The host's network card is replaced, silently.
    host.sysctl("net/ipv4/conf/eth/arp_notify", "0");
    host.ip("link set eth address 02:00:00:00:00:05");
    let new = [2, 0, 0, 0, 0, 5];
    let start = Instant::now();
    while mac(&mirror.forwarding().current()) != Some(new) {
        if let Some(neighbour) = mirror.forwarding().current().neighbour(EAST, address)
            && neighbour.is_usable()
        {
            neighbour.mark_used();
        } else {
            // The old card does not answer; a packet comes and asks.
            resolver.request(EAST, address);
            resolver.wake();
        }
        assert!(start.elapsed() < PATIENCE, "the new MAC address never came");
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("a changed MAC address noticed after {:?}", start.elapsed());

    // Not used any more, it is left alone.
    std::thread::sleep(Duration::from_millis(2500));
    let before = asked();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(asked(), before);
}
