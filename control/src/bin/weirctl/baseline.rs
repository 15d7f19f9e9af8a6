//! `weirctl baseline`: limits that leave alone what comes in quiet times.
//!
//! Watches for a while which TCP connections begin ([`RequestBody::ConntrackEvents`]), and takes down how many came of
//! each source, of each net, and to each destination in each tenth of a second, which is the window of `-m fuzzy`. A
//! limit is then twice what the fastest of them had in its fullest window, and four times the limit the rate from which
//! on 1 % pass. Both factors are conventions: what is watched is some minutes, and next Monday is busier.
//!
//! What is remembered is bounded ([`KEYS_MAX`]); keys beyond are counted, and told.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use weir_control::client::{Client, ClientError};
use weir_control::protocol::{ConntrackEvents, FlowEvent, FlowEventKind, Reply, RequestBody};
use weir_control::rule::{
    Family, FuzzyMatch, FuzzyRates, FuzzyUnverified, IpNet, Match, Names, Negatable, Protocol,
    Rule, Target, TcpFlags, TcpMatch,
};

use crate::output::{Failed, HEADING, Output, grouped, table};

/// How long the daemon is to wait for events: what passes until a reader who has left is noticed.
const WAIT_MS: u32 = 500;

/// Keys of a kind that are remembered.
const KEYS_MAX: usize = 1 << 18;

/// The window of `-m fuzzy`, and how many of them are a second.
const WINDOW_MS: u64 = 100;
const WINDOWS_A_SECOND: u32 = 10;

/// How much above the fastest a limit is.
const HEADROOM: u32 = 2;

/// How much above the limit 1 % pass.
const SLOPE: u32 = 4;

/// The protocol number of TCP.
const TCP: u8 = 6;

#[derive(Debug, clap::Args)]
pub(crate) struct Baseline {
    /// How long to watch
    #[arg(long, value_name = "SECONDS", default_value_t = 60,
          value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,

    /// Only connections to this address or net
    #[arg(short, long, value_name = "ADDRESS[/LENGTH]", value_parser = IpNet::from_prefix)]
    dst: Option<IpNet>,
}

/// What came of a key.
#[derive(Debug, Default, Clone, Copy)]
struct Windows {
    /// The window that it came in last, and how often.
    last: u64,
    count: u32,
    /// The most in any window.
    most: u32,
}

/// All keys of a kind: sources, nets, destinations.
#[derive(Debug, Default)]
struct Keys {
    known: HashMap<IpAddr, Windows>,
    /// Connections of keys for which there was no room.
    beyond: u64,
}

impl Keys {
    fn note(&mut self, key: IpAddr, window: u64) {
        if self.known.len() >= KEYS_MAX && !self.known.contains_key(&key) {
            self.beyond += 1;
            return;
        }
        let known = self.known.entry(key).or_default();
        if known.count == 0 || known.last != window {
            (known.last, known.count) = (window, 0);
        }
        known.count += 1;
        known.most = known.most.max(known.count);
    }
}

/// What was seen of a family: sources, nets, wide nets, destinations.
#[derive(Debug, Default)]
struct Seen {
    connections: u64,
    keys: [Keys; 4],
}

/// What stands in a line of the result.
const KINDS: [[&str; 2]; 4] = [
    ["source", "source, a /64"],
    ["net, a /24", "net, a /64"],
    ["wide net, a /16", "wide net, a /48"],
    ["destination", "destination"],
];

impl Seen {
    fn note(&mut self, source: IpAddr, destination: IpAddr, at_ms: u64) {
        self.connections += 1;
        let nets = match source {
            IpAddr::V4(_) => [32, 24, 16].map(|bits| first(source, bits)),
            IpAddr::V6(_) => [64, 64, 48].map(|bits| first(source, bits)),
        };
        let [a, b, c] = nets;
        for (keys, key) in self.keys.iter_mut().zip([a, b, c, destination]) {
            keys.note(key, at_ms / WINDOW_MS);
        }
    }
}

/// The first address with these bits.
fn first(address: IpAddr, bits: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// What is proposed for a kind of keys, and why. Rates are connections a second in the fullest window of a key.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Proposed {
    kind: &'static str,
    keys: usize,
    /// Connections of keys that were not remembered.
    beyond: u64,
    /// Half of the keys were at most so fast, and 99 of 100.
    half_pps: u32,
    most_pps: u32,
    /// The fastest.
    fastest: IpAddr,
    fastest_pps: u32,
    lower_pps: u32,
    upper_pps: u32,
}

/// What is proposed for a family.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Proposal {
    family: Family,
    seconds: u32,
    connections: u64,
    /// Events that were not read in time: rates may be higher than is told.
    lost: u64,
    limits: Vec<Proposed>,
    /// The rule, as a command line of iptables.
    rule: String,
}

fn propose(family: Family, seen: &Seen, asked: &Baseline, lost: u64) -> Option<Proposal> {
    let six = usize::from(family == Family::V6);
    let limits: Vec<Proposed> = seen
        .keys
        .iter()
        .zip(KINDS)
        .map(|(keys, kind)| of_keys(kind[six], keys))
        .collect::<Option<_>>()?;
    let rates =
        |limit: &Proposed| FuzzyRates { lower_pps: limit.lower_pps, upper_pps: limit.upper_pps };
    let [own, net, wide_net, destination] = &limits[..] else { return None };
    let unverified = FuzzyUnverified {
        net: Some(rates(net)),
        wide_net: Some(rates(wide_net)),
        destination: Some(rates(destination)),
    };
    let fuzzy = FuzzyMatch {
        lower_pps: own.lower_pps,
        upper_pps: own.upper_pps,
        keys: None,
        unverified: Some(Box::new(unverified)),
    };
    let syn = TcpMatch { flags: Negatable::is(TcpFlags::SYN), ..TcpMatch::default() };
    let rule = Rule {
        protocol: Some(Negatable::is(Protocol::TCP)),
        destination: asked.dst.map(Negatable::is),
        matches: vec![Match::Tcp(syn), Match::Fuzzy(fuzzy)],
        target: Some(Target::Drop),
        ..Rule::default()
    };
    let words = rule.arguments(&Names::builtin()).join(" ");
    let command = if family == Family::V6 { "ip6tables" } else { "iptables" };
    Some(Proposal {
        family,
        seconds: asked.seconds,
        connections: seen.connections,
        lost,
        limits,
        rule: format!("{command} -A FORWARD {words}"),
    })
}

fn of_keys(kind: &'static str, keys: &Keys) -> Option<Proposed> {
    let rate = |windows: &Windows| windows.most.saturating_mul(WINDOWS_A_SECOND);
    let mut rates: Vec<u32> = keys.known.values().map(rate).collect();
    rates.sort_unstable();
    // Of several that are as fast the first address: the same whatever the order of a map.
    let fastest =
        keys.known.iter().max_by_key(|(key, windows)| (rate(windows), std::cmp::Reverse(**key)));
    let (fastest, windows) = fastest?;
    let fastest_pps = rate(windows);
    let upper_max = FuzzyMatch::RATE_MAX;
    let lower_pps =
        fastest_pps.saturating_mul(HEADROOM).clamp(FuzzyMatch::RATE_MIN, upper_max / SLOPE);
    Some(Proposed {
        kind,
        keys: rates.len(),
        beyond: keys.beyond,
        half_pps: rates[(rates.len() - 1) / 2],
        most_pps: rates[(rates.len() - 1) * 99 / 100],
        fastest: *fastest,
        fastest_pps,
        lower_pps,
        upper_pps: lower_pps * SLOPE,
    })
}

pub(crate) fn run(
    socket: Option<&Path>,
    asked: &Baseline,
    output: &mut Output,
) -> Result<(), Failed> {
    let mut client = Client::connect(socket)?;
    let (start, whole) = (Instant::now(), Duration::from_secs(asked.seconds.into()));
    let (mut seen, mut lost) = ([Seen::default(), Seen::default()], 0);
    while start.elapsed() < whole {
        let request = RequestBody::ConntrackEvents { wait_ms: WAIT_MS };
        let Reply::ConntrackEvents(ConntrackEvents { events, lost: more }) =
            client.request(request)?
        else {
            return Err(ClientError::UnexpectedReply.into());
        };
        lost += more;
        let at_ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        for FlowEvent { event, flow } in &events {
            let (source, destination) = (flow.original.source, flow.original.destination);
            let asked_for = asked.dst.is_none_or(|net| net.contains(destination));
            if *event == FlowEventKind::New && flow.protocol == TCP && asked_for {
                seen[usize::from(source.is_ipv6())].note(source, destination, at_ms);
            }
        }
        output.check_reader()?;
    }
    let families = [Family::V4, Family::V6].into_iter().zip(&seen);
    let proposals: Vec<Proposal> =
        families.filter_map(|(family, seen)| propose(family, seen, asked, lost)).collect();
    if output.json {
        return output.json(&proposals, false);
    }
    if proposals.is_empty() {
        return Err(Failed::Because(format!(
            "no TCP connection has begun in {} s: connections are tracked from the first rule on that asks for it, or with track = \"always\" in [conntrack]",
            asked.seconds
        )));
    }
    let texts: Vec<String> = proposals.iter().map(|proposal| describe(proposal, output)).collect();
    output.text(&texts.join("\n"))
}

fn describe(proposal: &Proposal, output: &Output) -> String {
    let Proposal { family, seconds, connections, lost, limits, rule } = proposal;
    let title = format!("{family}: {} connections in {seconds} s", grouped(*connections));
    let mut text = format!("{}\n", output.paint(HEADING, title));
    let rows = limits.iter().map(|limit| {
        let rate = |pps: u32| grouped(pps.into());
        vec![
            limit.kind.to_owned(),
            grouped(limit.keys as u64),
            rate(limit.half_pps),
            rate(limit.most_pps),
            rate(limit.fastest_pps),
            limit.fastest.to_string(),
            rate(limit.lower_pps),
            rate(limit.upper_pps),
        ]
    });
    let headings = ["kind", "seen", "half", "99 %", "fastest", "who", "limit", "1 % from"];
    text.push_str(&table(&headings, &[1, 2, 3, 4, 6, 7], rows.collect()));
    text.push_str(
        "Rates are connections a second in the fullest tenth of a second of each. A limit is twice the fastest.\n",
    );
    let beyond: u64 = limits.iter().map(|limit| limit.beyond).sum();
    if beyond > 0 {
        text.push_str(&format!(
            "{} connections were of sources or destinations beyond the {} that are remembered.\n",
            grouped(beyond),
            grouped(KEYS_MAX as u64)
        ));
    }
    if *lost > 0 {
        text.push_str(&format!(
            "{} events were lost, so rates may be higher: this is no quiet time.\n",
            grouped(*lost)
        ));
    }
    text.push_str(&format!("\nweirctl {rule}\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn asked() -> Baseline {
        Baseline { seconds: 60, dst: None }
    }

    #[test]
    fn limits_are_twice_what_the_fastest_had_in_a_window() {
        let (mut seen, server) = (Seen::default(), address("192.0.2.80"));
        // One with six at once; in the next window one more. Two others of his net, and one of elsewhere.
        for (source, at_ms) in [("10.1.2.3", 0), ("10.1.2.3", 99)].repeat(3) {
            seen.note(address(source), server, at_ms);
        }
        for (source, at_ms) in
            [("10.1.2.4", 99), ("10.1.9.9", 99), ("203.0.113.7", 99), ("10.1.2.3", 100)]
        {
            seen.note(address(source), server, at_ms);
        }
        let proposal = propose(Family::V4, &seen, &asked(), 0).expect("something was seen");
        let told: Vec<_> = proposal
            .limits
            .iter()
            .map(|it| {
                (
                    it.keys,
                    it.half_pps,
                    it.fastest_pps,
                    it.fastest.to_string(),
                    it.lower_pps,
                    it.upper_pps,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (4, 10, 60, "10.1.2.3".to_owned(), 120, 480),
                (3, 10, 70, "10.1.2.0".to_owned(), 140, 560),
                (2, 10, 80, "10.1.0.0".to_owned(), 160, 640),
                (1, 90, 90, "192.0.2.80".to_owned(), 180, 720),
            ]
        );
        assert_eq!(
            proposal.rule,
            "iptables -A FORWARD -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m fuzzy --lower-limit 120 \
             --upper-limit 480 --fuzzy-unverified --fuzzy-net 140:560 --fuzzy-wide-net 160:640 \
             --fuzzy-dst 180:720 -j DROP"
        );
        assert_eq!(proposal.connections, 10);
    }

    #[test]
    fn of_ipv6_a_source_is_its_net() {
        let mut seen = Seen::default();
        for host in 1..=3 {
            seen.note(address(&format!("2001:db8:1:2::{host}")), address("2001:db8::80"), 7);
        }
        let proposal = propose(Family::V6, &seen, &asked(), 0).expect("something was seen");
        assert_eq!(
            (proposal.limits[0].fastest_pps, proposal.limits[0].fastest),
            (30, address("2001:db8:1:2::"))
        );
        assert_eq!(proposal.limits[2].fastest, address("2001:db8:1::"));
        assert!(proposal.rule.starts_with("ip6tables -A FORWARD -p tcp "));
        assert_eq!(propose(Family::V4, &Seen::default(), &asked(), 0), None);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_rates_are_such_as_rules_take() {
        let mut keys = Keys::default();
        for number in 0..u32::try_from(KEYS_MAX).expect("small") + 9 {
            keys.note(std::net::Ipv4Addr::from_bits(number).into(), 0);
        }
        assert_eq!((keys.known.len(), keys.beyond), (KEYS_MAX, 9));
        let one = address("10.0.0.1");
        let windows = Windows { last: 0, count: 1, most: u32::MAX };
        let keys = Keys { known: [(one, windows)].into(), beyond: 0 };
        let limit = of_keys("source", &keys).expect("a key");
        assert_eq!((limit.lower_pps, limit.upper_pps), (2_500_000, 10_000_000));
    }
}
