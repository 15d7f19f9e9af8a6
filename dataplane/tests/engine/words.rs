//! iptables words to rules. The tests speak iptables; this reads the few options they use.

use weir_control::command::{ChainName, Command};
use weir_control::rule::{
    InterfacePattern, Ipv4Net, Match, Negatable, PortRange, Protocol, Rule, Target, TcpFlags,
    TcpMatch, UdpMatch,
};
use weir_control::ruleset::Policy;

/// `-A FORWARD` with this specification, `-P FORWARD ACCEPT`, `-F`, `-D FORWARD 2`, `-Z`, `-R
/// FORWARD 1 ...`.
pub(crate) fn command(line: &str) -> Command {
    let words: Vec<&str> = line.split_whitespace().collect();
    let chain = ChainName::forward();
    let number = |at: usize| words[at].parse().expect("a rule number");
    match words[..] {
        ["-A", "FORWARD", ..] => Command::Append { chain, rules: vec![rule(&words[2..])] },
        ["-I", "FORWARD", _, ..] => {
            Command::Insert { chain, number: number(2), rules: vec![rule(&words[3..])] }
        }
        ["-R", "FORWARD", _, ..] => {
            Command::Replace { chain, number: number(2), rule: rule(&words[3..]) }
        }
        ["-D", "FORWARD", _] => Command::DeleteNumber { chain, number: number(2) },
        ["-P", "FORWARD", "ACCEPT"] => Command::Policy { chain, policy: Policy::Accept },
        ["-P", "FORWARD", "DROP"] => Command::Policy { chain, policy: Policy::Drop },
        ["-F"] => Command::Flush { chain: None },
        ["-Z"] => Command::Zero { chain: None, number: None },
        _ => panic!("not a command of these tests: {line}"),
    }
}

fn rule(words: &[&str]) -> Rule {
    let mut rule = Rule::default();
    let mut tcp = TcpMatch::default();
    let (mut tests, mut negated) = (false, false);
    let mut words = words.iter();
    while let Some(option) = words.next() {
        if *option == "!" {
            negated = true;
            continue;
        }
        let mut next = || *words.next().expect("an option's value");
        match *option {
            "-p" => rule.protocol = Some(Negatable { value: protocol(next()), negated }),
            "-s" => rule.source = Some(Negatable { value: net(next()), negated }),
            "-d" => rule.destination = Some(Negatable { value: net(next()), negated }),
            "-i" => rule.in_interface = Some(Negatable { value: interface(next()), negated }),
            "-o" => rule.out_interface = Some(Negatable { value: interface(next()), negated }),
            "--sport" => tcp.source_ports = Negatable { value: ports(next()), negated },
            "--dport" => tcp.destination_ports = Negatable { value: ports(next()), negated },
            "--syn" => tcp.flags = Negatable { value: TcpFlags::SYN, negated },
            "--tcp-flags" => {
                let flags = TcpFlags::new(flags(next()), flags(next())).expect("six flags");
                tcp.flags = Negatable { value: flags, negated };
            }
            "-j" => {
                let accept = match next() {
                    "ACCEPT" => Target::Accept,
                    "DROP" => Target::Drop,
                    other => panic!("target {other}"),
                };
                rule.target = Some(accept);
            }
            other => panic!("option {other}"),
        }
        tests |= matches!(*option, "--sport" | "--dport" | "--syn" | "--tcp-flags");
        negated = false;
    }
    if tests {
        let TcpMatch { source_ports, destination_ports, .. } = tcp;
        rule.matches.push(match rule.protocol {
            Some(Negatable { value: Protocol::UDP, .. }) => {
                Match::Udp(UdpMatch { source_ports, destination_ports })
            }
            _ => Match::Tcp(tcp),
        });
    }
    rule
}

fn protocol(word: &str) -> Protocol {
    match word {
        "icmp" => Protocol::ICMP,
        "tcp" => Protocol::TCP,
        "udp" => Protocol::UDP,
        number => Protocol(number.parse().expect("a protocol number")),
    }
}

fn net(word: &str) -> Ipv4Net {
    let (address, len) = word.split_once('/').unwrap_or((word, "32"));
    let len: u32 = len.parse().expect("a prefix length");
    let mask = u32::MAX.checked_shl(32 - len).unwrap_or(0);
    Ipv4Net::new(address.parse().expect("an address"), mask.into())
}

fn interface(word: &str) -> InterfacePattern {
    word.parse().expect("an interface name")
}

fn ports(word: &str) -> PortRange {
    let (first, last) = word.split_once(':').unwrap_or((word, word));
    let port = |word: &str| word.parse().expect("a port");
    PortRange::new(port(first), port(last)).expect("in order")
}

fn flags(word: &str) -> u8 {
    match word {
        "NONE" => 0,
        "ALL" => 0x3f,
        names => names
            .split(',')
            .map(|name| TcpFlags::NAMES.iter().find(|(known, _)| *known == name).expect("a flag").1)
            .fold(0, |all, bit| all | bit),
    }
}
