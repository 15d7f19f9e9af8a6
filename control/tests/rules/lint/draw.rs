//! Rule sets at random that get in each other's way, and packets at random that lie where rules begin and end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::Rng as _;
use proptest::test_runner::TestRunner;
use weir_control::rule::{CtStates, Family, IpNet, Match, Negatable, PortRange, Rule};

use super::model::{BASES, Header, Model, Packet, is_by};

pub(super) struct Dice(pub(super) TestRunner);

impl Dice {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.0.rng().next_u64() % bound as u64).expect("below a usize")
    }

    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// One that will do, if there is one among a few.
    fn fitting<T: Clone>(&mut self, choices: &[T], fits: impl Fn(&T) -> bool) -> T {
        let mut drawn = self.one_of(choices);
        for _ in 0..8 {
            if fits(&drawn) {
                break;
            }
            drawn = self.one_of(choices);
        }
        drawn
    }
}

const CHAINS: [&str; 4] = ["a", "b", "c", "d"];

const NETS: [[&str; 2]; 11] = [
    ["10.0.0.0/8", "fd00::/8"],
    ["10.0.0.0/9", "fd00::/9"],
    ["10.128.0.0/9", "fd80::/9"],
    ["10.0.0.1", "fd00::1"],
    ["10.0.0.0/31", "fd00::/127"],
    ["10.0.0.2/31", "fd00::2/127"],
    ["0.0.0.1/0.0.0.1", "::1/::1"],
    ["0.0.0.0/1", "::/1"],
    ["128.0.0.0/1", "8000::/1"],
    ["255.255.255.255", "ffff::/16"],
    ["0.0.0.0/0", "::/0"],
];

const INTERFACES: [&str; 9] = ["eth0", "eth0", "eth1", "eth10", "eth+", "e+", "eth1+", "wan", "+"];

const TRANSPORTS: [&str; 28] = [
    "-p tcp",
    "! -p tcp",
    "-p udp",
    "! -p udp",
    "-p 47",
    "-p tcp -m tcp",
    "-p tcp --dport 80",
    "-p tcp --dport 80",
    "-p tcp ! --dport 80",
    "-p tcp --dport 0:80",
    "-p tcp --dport 81:",
    "-p tcp --dport 0:79",
    "-p tcp ! --dport 0:65535",
    "-p tcp --sport 1024:",
    "-p tcp ! --sport 1024: --dport 80",
    "-p tcp --syn",
    "-p tcp ! --syn",
    "-p tcp --tcp-flags SYN,ACK SYN",
    "-p tcp --tcp-flags SYN ACK",
    "-p tcp --dport 80 --syn",
    "-p udp --dport 53",
    "-p udp ! --dport 53",
    "-p tcp -m multiport --dports 80,443",
    "-p tcp -m multiport ! --ports 80,1024:2048",
    "-p tcp --tcp-option 5",
    "-p tcp ! --tcp-option 5 --dport 80",
    "-p tcp -m tcpmss --mss 500:1000 -m tcp --dport 80",
    "-p tcp -m statistic --mode nth --every 2 --packet 0 -m tcp --dport 80",
];

const ICMP: [[&str; 2]; 2] =
    [["-p icmp", "-p ipv6-icmp"], ["-p icmp --icmp-type 8", "-p ipv6-icmp --icmpv6-type 128"]];

const STATES: [&str; 11] = [
    "-m state --state NEW",
    "-m state --state NEW",
    "-m state --state ESTABLISHED,RELATED",
    "-m state ! --state INVALID",
    "-m conntrack --ctstate NEW,ESTABLISHED",
    "-m conntrack ! --ctstate NEW",
    "-m conntrack --ctstate ESTABLISHED --ctdir REPLY",
    "-m conntrack --ctdir ORIGINAL",
    "-m conntrack --ctstate INVALID,UNTRACKED --ctdir ORIGINAL",
    "-m conntrack --ctstate SNAT",
    "-m conntrack ! --ctstate DNAT",
];

const OTHERS: [[&str; 2]; 10] = [
    ["-f", "-m comment --comment first"],
    ["! -f", "-m comment --comment second"],
    ["-m mark --mark 1", "-m mark --mark 1"],
    ["-m mark ! --mark 0/0xff", "-m mark --mark 0"],
    [
        "-m statistic --mode random --probability 0.5",
        "-m statistic --mode random --probability 0.5",
    ],
    [
        "-m statistic --mode nth --every 2 --packet 1",
        "-m statistic --mode nth ! --every 3 --packet 1",
    ],
    ["-m ttl --ttl-lt 5", "-m hl --hl-lt 5"],
    ["-m ttl --ttl-lt 5", "-m hl --hl-lt 5"],
    ["-m length --length 0:100", "-m length --length 0:100"],
    ["-m comment --comment nothing", "-m comment --comment nothing"],
];

const TARGETS: [&str; 14] = [
    "-j ACCEPT",
    "-j ACCEPT",
    "-j ACCEPT",
    "-j DROP",
    "-j DROP",
    "-j DROP",
    "-j RETURN",
    "-j RETURN",
    "-j REJECT",
    "-j LOG",
    "-j MARK --set-mark 1",
    "-j MARK --xor-mark 1",
    "-j MARK --set-mark 2",
    "",
];

/// What the rules of a set are made of: the fewer words there are, the more its rules get in each other's way.
struct Words {
    nets: Vec<&'static str>,
    interfaces: Vec<&'static str>,
    transports: Vec<&'static str>,
    states: Vec<&'static str>,
    others: Vec<&'static str>,
    targets: Vec<&'static str>,
    /// How many rules in a hundred have each of these, but for the last.
    shares: [usize; 5],
}

impl Words {
    fn draw(dice: &mut Dice, family: Family) -> Self {
        let of = |pair: &[&'static str; 2]| pair[usize::from(family == Family::V6)];
        let mut some = |words: Vec<&'static str>| -> Vec<&'static str> {
            (0..=dice.below(5)).map(|_| dice.one_of(&words)).collect()
        };
        let nets = some(NETS.iter().map(of).collect());
        let interfaces = some(INTERFACES.to_vec());
        let transports = some(TRANSPORTS.into_iter().chain(ICMP.iter().map(of)).collect());
        let states = some(STATES.to_vec());
        let others = some(OTHERS.iter().map(of).collect());
        let targets = some(TARGETS.to_vec());
        let shares = std::array::from_fn(|_| dice.one_of(&[0, 20, 40, 60]));
        let mut words = Self { nets, interfaces, transports, states, others, targets, shares };
        // What is rare otherwise.
        match dice.below(20) {
            0 | 1 => words.begin_connections(),
            2 => words.look_at_marks(),
            3 => words.look_at_headers(),
            4 => words.look_at_interfaces(),
            _ => {}
        }
        words
    }

    fn begin_connections(&mut self) {
        (self.states, self.shares) = (STATES[..1].to_vec(), [20, 20, 20, 95, 10]);
    }

    fn look_at_marks(&mut self) {
        self.others = vec!["-m mark --mark 1"];
        self.targets = vec!["-j ACCEPT", "-j MARK --set-mark 1", "-j MARK --set-mark 0"];
        self.shares = [10, 0, 10, 0, 70];
    }

    fn look_at_headers(&mut self) {
        self.transports = vec![
            "-p tcp --dport 0:79",
            "-p tcp --dport 81:",
            "-p tcp -m statistic --mode nth --every 2 --packet 0 -m tcp --dport 80",
            "-p tcp -m tcpmss --mss 500:1000 -m tcp --dport 80",
            "-p tcp -m tcp",
        ];
        self.shares = [0, 0, 90, 0, 0];
    }

    fn look_at_interfaces(&mut self) {
        self.interfaces = vec!["eth+", "eth0", "wan", "+"];
        self.shares = [0, 70, 0, 0, 0];
    }

    fn line(&self, dice: &mut Dice, chain: &str, below: &[&str]) -> String {
        let not = |dice: &mut Dice| if dice.percent(30) { "! " } else { "" };
        let [nets, interfaces, transports, states, others] = self.shares;
        let mut words = vec![format!("-A {chain}")];
        for (option, share) in [("-s", nets), ("-d", nets / 3)] {
            if dice.percent(share) {
                words.push(format!("{}{option} {}", not(dice), dice.one_of(&self.nets)));
            }
        }
        for (option, unfit) in [("-i", "OUTPUT"), ("-o", "INPUT")] {
            if chain != unfit && dice.percent(interfaces) {
                words.push(format!("{}{option} {}", not(dice), dice.one_of(&self.interfaces)));
            }
        }
        for (choices, share) in
            [(&self.transports, transports), (&self.states, states), (&self.others, others)]
        {
            if dice.percent(share) {
                words.push(dice.one_of(choices).to_owned());
            }
        }
        words.push(match below {
            [_, ..] if dice.percent(30) => {
                let option = dice.one_of(&["-j", "-j", "-g"]);
                format!("{option} {}", dice.one_of(below))
            }
            _ => dice.one_of(&self.targets).to_owned(),
        });
        words.join(" ")
    }
}

/// Lines of a saved rule set.
pub(super) fn lines(dice: &mut Dice, family: Family) -> Vec<String> {
    let mut lines = Vec::new();
    for base in BASES {
        let policy = dice.one_of(&["ACCEPT", "DROP"]);
        lines.push(format!(":{base} {policy}"));
    }
    let chains = dice.below(CHAINS.len() + 1);
    lines.extend(CHAINS[..chains].iter().map(|chain| format!(":{chain} -")));
    let words = Words::draw(dice, family);
    for base in BASES {
        let most = if base == "FORWARD" { 7 } else { 4 };
        for _ in 0..dice.below(most) {
            lines.push(words.line(dice, base, &CHAINS[..chains]));
        }
    }
    for (place, chain) in CHAINS[..chains].iter().enumerate() {
        for _ in 0..dice.below(6) {
            lines.push(words.line(dice, chain, &CHAINS[place + 1..chains]));
        }
    }
    if dice.percent(1) {
        // More interfaces than are told apart.
        lines.extend((0..130).map(|number| format!("-A FORWARD -i many{number}")));
    }
    lines
}

/// What packets are made of: where rules begin and end, and what lies beside.
pub(super) struct Pools {
    family: Family,
    addresses: Vec<IpAddr>,
    interfaces: Vec<String>,
    ports: Vec<u16>,
}

/// What interfaces are called where it is not known.
const NAMES: [&str; 9] = ["eth0", "eth1", "eth10", "eth", "eth2", "e", "wan", "lan", "x"];

impl Pools {
    /// Of a daemon with these ports, if they are known.
    pub(super) fn of(family: Family, model: &Model, ports: Option<&[String]>) -> Self {
        let rules = || model.chains.iter().flat_map(|chain| &chain.rules).map(|entry| &entry.rule);
        let nets = rules().flat_map(|rule| [rule.source, rule.destination]).flatten();
        let mut addresses: Vec<IpAddr> = nets.flat_map(|net| edges(net.value)).collect();
        addresses.push(match family {
            Family::V4 => Ipv4Addr::new(11, 0, 0, 3).into(),
            Family::V6 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3).into(),
        });
        let names = || NAMES.map(str::to_owned).to_vec();
        Self {
            family,
            addresses,
            interfaces: ports.map_or_else(names, <[String]>::to_vec),
            ports: vec![0, 52, 53, 54, 79, 80, 81, 443, 1023, 1024, 2048, 2049, 65535],
        }
    }

    /// A packet, most of the time one that this rule is about.
    pub(super) fn packet(&self, dice: &mut Dice, rule: &Rule) -> Packet {
        let base = dice.one_of(&BASES);
        let mut by = |none: &str, pattern| match base == none {
            true => String::new(),
            false => dice.fitting(&self.interfaces, |name| is_by(pattern, name)),
        };
        let ingress = by("OUTPUT", rule.in_interface.as_ref());
        let egress = by("INPUT", rule.out_interface.as_ref());
        let mut address = |net: Option<Negatable<IpNet>>| {
            dice.fitting(&self.addresses, |address| {
                net.is_none_or(|net| net.value.contains(*address) != net.negated)
            })
        };
        let (source, destination) = (address(rule.source), address(rule.destination));
        let icmp = if self.family == Family::V4 { 1 } else { 58 };
        let protocol = dice.fitting(&[6, 6, 17, icmp, 47, 0], |number| {
            rule.protocol.is_none_or(|asked| (asked.value.0 == *number) != asked.negated)
        });
        let tcp = rule.matches.iter().find_map(|asked| match asked {
            Match::Tcp(tcp) => Some(*tcp),
            _ => None,
        });
        let tcp = tcp.unwrap_or_default();
        let mut port = |asked: Negatable<PortRange>| {
            dice.fitting(&self.ports, |port| asked.value.contains(*port) != asked.negated)
        };
        let (source_port, destination_port) = (port(tcp.source_ports), port(tcp.destination_ports));
        Packet {
            base,
            ingress,
            egress,
            source,
            destination,
            protocol,
            header: self.header(dice),
            source_port,
            destination_port,
            flags: dice.one_of(&[0, 0x02, 0x02, 0x10, 0x10, 0x12, 0x14, 0x11, 0x3f]),
            option: dice.one_of(&[5, 5, 8]),
            mss: dice.one_of(&[499, 500, 1000, 1001]),
            icmp: (dice.one_of(&[0, 8, 128, 129]), 0),
            state: dice.one_of(&[
                CtStates::NEW,
                CtStates::NEW,
                CtStates::ESTABLISHED,
                CtStates::RELATED,
                CtStates::INVALID,
                CtStates::UNTRACKED,
            ]),
            reply: dice.percent(50),
            ttl: dice.one_of(&[4, 5, 64]),
            length: dice.one_of(&[100, 101]),
            luck: dice.0.rng().next_u64(),
        }
    }

    fn header(&self, dice: &mut Dice) -> Header {
        if dice.percent(75) {
            return Header::Whole;
        }
        let broken = [
            Header::WithoutOptions,
            Header::Ports,
            Header::Nothing,
            Header::Later(1),
            Header::Later(2),
            Header::Lost,
            Header::LostLater,
        ];
        // Only of IPv6 nobody knows what the packet is.
        let there = if self.family == Family::V4 { 5 } else { broken.len() };
        dice.one_of(&broken[..there])
    }
}

/// The first and the last address of a net, and those beside.
fn edges(net: IpNet) -> [IpAddr; 4] {
    match net {
        IpNet::V4(net) => {
            let (first, rest) = (net.address().to_bits(), !net.mask().to_bits());
            let numbers =
                [first, first | rest, first.wrapping_sub(1), (first | rest).wrapping_add(1)];
            numbers.map(|number| Ipv4Addr::from_bits(number).into())
        }
        IpNet::V6(net) => {
            let (first, rest) = (net.address().to_bits(), !net.mask().to_bits());
            let numbers =
                [first, first | rest, first.wrapping_sub(1), (first | rest).wrapping_add(1)];
            numbers.map(|number| Ipv6Addr::from_bits(number).into())
        }
    }
}
