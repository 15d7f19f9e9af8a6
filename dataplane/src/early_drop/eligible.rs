//! `Eligible`: rules of `-m fuzzy` whose sources the program may drop.
//!
//! The program must drop what the rules would have dropped, and nothing that any rule would have treated otherwise. So
//! a rule is eligible if it can be shown, from what is written in it and before it, that
//!
//! * it keeps a controller for each source or net (`--fuzzy-mode srcip`), for itself, and throws away: `-j DROP`. A
//!   REJECT is to be answered, a LOG to be written, and what goes to another chain is decided there;
//! * whatever else it asks for the program evaluates alike ([`Condition`]): `-p`, `-d`, `-i`, ports, TCP flags, and
//!   nothing behind the limit;
//! * it stands in chain FORWARD, and no rule before it can match a packet that it is about: another protocol, other
//!   ports, flags or destinations, another interface. Rules before it that ask for sources (`-s`) exempt just those: an
//!   operator's trusted nets are never pushed. Any other rule before it, `-m state --state ESTABLISHED` for one, makes
//!   it ineligible, for the program knows no states: who wants his floods dropped early writes the limit first;
//! * table raw has no rules, for it comes before.
//!
//! What is not shown is not believed: a rule may be refused here that would have been right.

use weir_control::command::ChainName;
use weir_control::rule::{
    Family, FuzzyMatch, InterfacePattern, IpNet, Match, Negatable, PortRange, Rule, Target,
};
use weir_control::ruleset::{Policy, RuleId, Ruleset};

use super::condition::{ANY_PORT, Condition, Hook};
use super::net::Net;

/// A rule whose sources may be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eligible {
    /// From how many packets a second on it holds to its floor.
    pub upper_pps: u32,
    /// What it is about, but for the interface.
    pub condition: Condition,
    /// The only interface that it is about, if there is just one.
    pub interface: Option<String>,
    /// Sources that it is about; all others it leaves alone.
    within: Option<Net>,
    /// Sources that a rule before it may treat otherwise.
    exempt: Vec<Net>,
}

/// Why a rule's sources are not pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message says what the variant means")]
pub enum Ineligible {
    #[error("its keys are not sources alone")]
    Keys,
    #[error("it shares controllers by name")]
    Name,
    #[error("it does not -j DROP")]
    Target,
    #[error("the XDP program cannot evaluate its `{0}'")]
    Word(&'static str),
    #[error("it stands in a chain other than FORWARD")]
    Chain,
    #[error("rule {0} comes before it, and may treat the same packets otherwise")]
    Before(usize),
    #[error("table raw has rules, which come before it")]
    Raw,
}

impl Eligible {
    /// Whether this source may be pushed.
    #[must_use]
    pub fn includes(&self, source: Net) -> bool {
        let apart = |net: &Net| !net.covers(source) && !source.covers(*net);
        self.within.is_none_or(|within| within.covers(source)) && self.exempt.iter().all(apart)
    }
}

/// Of all rules of a set that keep a controller for each key, whether they are eligible; `raw` is table raw of the
/// family.
#[must_use]
pub fn eligible(filter: &Ruleset, raw: &Ruleset) -> Vec<(RuleId, Result<Eligible, Ineligible>)> {
    let forward = ChainName::forward();
    let raw_decides =
        raw.rule_count() > 0 || raw.chains().iter().any(|chain| chain.policy == Some(Policy::Drop));
    let mut all = Vec::new();
    for chain in filter.chains() {
        for (place, entry) in chain.rules.iter().enumerate() {
            let Some(fuzzy) = entry.rule.matches.iter().find_map(keyed) else { continue };
            let judge = || {
                let mut eligible = of_rule(&entry.rule, fuzzy, filter.family())?;
                if !chain.is_base(&forward) {
                    return Err(Ineligible::Chain);
                }
                if raw_decides {
                    return Err(Ineligible::Raw);
                }
                for (number, before) in (1..).zip(&chain.rules[..place]) {
                    match meeting(&before.rule, &eligible) {
                        Meeting::Never => {}
                        Meeting::From(net) => eligible.exempt.push(net),
                        Meeting::Perhaps => return Err(Ineligible::Before(number)),
                    }
                }
                Ok(eligible)
            };
            all.push((entry.id, judge()));
        }
    }
    all
}

fn keyed(asked: &Match) -> Option<&FuzzyMatch> {
    match asked {
        Match::Fuzzy(fuzzy) if fuzzy.keys.is_some() => Some(fuzzy),
        _ => None,
    }
}

/// What can be said without looking at other rules.
fn of_rule(rule: &Rule, fuzzy: &FuzzyMatch, family: Family) -> Result<Eligible, Ineligible> {
    let Some(keys) = fuzzy.keys.as_deref() else { return Err(Ineligible::Keys) };
    if !keys.parts.source || keys.parts.destination || keys.parts.ports() {
        return Err(Ineligible::Keys);
    }
    if keys.name.is_some() {
        return Err(Ineligible::Name);
    }
    if rule.target != Some(Target::Drop) {
        return Err(Ineligible::Target);
    }
    let all = Net::try_from(IpNet::all(family)).map_err(|_| Ineligible::Word("-d"))?;
    let mut condition = Condition::any(Hook::Forward, all);
    if let Some(protocol) = rule.protocol {
        let protocol = plain(protocol).ok_or(Ineligible::Word("! -p"))?;
        condition.protocol = Some(protocol.0);
    }
    if let Some(destination) = rule.destination {
        condition.destination = prefix(destination).ok_or(Ineligible::Word("-d"))?;
    }
    let within = rule.source.map(|source| prefix(source).ok_or(Ineligible::Word("-s")));
    if rule.out_interface.is_some() {
        return Err(Ineligible::Word("-o"));
    }
    if rule.fragment == Some(true) {
        return Err(Ineligible::Word("-f"));
    }
    let interface = rule.in_interface.as_ref().map(|asked| match asked {
        Negatable { value, negated: false } if value.prefix().is_none() => Ok(value.as_str()),
        _ => Err(Ineligible::Word("-i")),
    });
    let interface = interface.transpose()?.map(str::to_owned);
    let mut matches = rule.matches.iter();
    for asked in matches.by_ref() {
        match asked {
            Match::Fuzzy(_) => break,
            Match::Comment(_) => {}
            Match::Tcp(tcp) if tcp.option.is_none() => {
                narrow(&mut condition, tcp.source_ports, tcp.destination_ports)?;
                let flags = plain(tcp.flags).ok_or(Ineligible::Word("! --tcp-flags"))?;
                if condition.tcp_mask != 0 {
                    return Err(Ineligible::Word("-m tcp -m tcp"));
                }
                (condition.tcp_mask, condition.tcp_flags) = (flags.mask(), flags.set());
            }
            Match::Udp(udp) => narrow(&mut condition, udp.source_ports, udp.destination_ports)?,
            other => return Err(Ineligible::Word(other.name())),
        }
    }
    if let Some(behind) = matches.find(|asked| !matches!(asked, Match::Comment(_))) {
        return Err(Ineligible::Word(behind.name()));
    }
    Ok(Eligible {
        upper_pps: fuzzy.upper_pps,
        condition,
        interface,
        within: within.transpose()?,
        exempt: Vec::new(),
    })
}

/// What is not negated.
fn plain<T>(asked: Negatable<T>) -> Option<T> {
    (!asked.negated).then_some(asked.value)
}

fn prefix(asked: Negatable<IpNet>) -> Option<Net> {
    Net::try_from(plain(asked)?).ok()
}

fn narrow(
    condition: &mut Condition,
    source: Negatable<PortRange>,
    destination: Negatable<PortRange>,
) -> Result<(), Ineligible> {
    let ends = |range: PortRange| (range.first(), range.last());
    let asked = [(source, "--sport"), (destination, "--dport")];
    for (now, (asked, word)) in
        [&mut condition.source_ports, &mut condition.destination_ports].into_iter().zip(asked)
    {
        let asked = ends(plain(asked).ok_or(Ineligible::Word(word))?);
        if asked == ANY_PORT {
            continue;
        }
        if *now != ANY_PORT {
            return Err(Ineligible::Word(word));
        }
        *now = asked;
    }
    Ok(())
}

/// Whether a rule before may match a packet that an eligible one is about.
enum Meeting {
    Never,
    /// Only of these sources.
    From(Net),
    Perhaps,
}

fn meeting(before: &Rule, eligible: &Eligible) -> Meeting {
    let condition = &eligible.condition;
    let other_protocol = before.protocol.is_some_and(|asked| {
        condition.protocol.is_some_and(|protocol| (asked.value.0 == protocol) == asked.negated)
    });
    let elsewhere = before.destination.is_some_and(|asked| {
        let Ok(net) = Net::try_from(asked.value) else { return false };
        let (covers, covered) =
            (net.covers(condition.destination), condition.destination.covers(net));
        if asked.negated { covers } else { !covers && !covered }
    });
    let from_elsewhere = matches!(
        (&before.in_interface, &eligible.interface),
        (Some(asked), Some(interface)) if !comes_by(asked, interface)
    );
    // Of the first match alone: what comes before another may have an effect of its own.
    let other_segments = match before.matches.iter().find(|it| !matches!(it, Match::Comment(_))) {
        Some(Match::Tcp(tcp)) => {
            let (mask, set) = (tcp.flags.value.mask(), tcp.flags.value.set());
            let contradict = mask & condition.tcp_mask & (set ^ condition.tcp_flags) != 0;
            contradict && !tcp.flags.negated
                || apart(tcp.source_ports, condition.source_ports)
                || apart(tcp.destination_ports, condition.destination_ports)
        }
        Some(Match::Udp(udp)) => {
            apart(udp.source_ports, condition.source_ports)
                || apart(udp.destination_ports, condition.destination_ports)
        }
        _ => false,
    };
    if other_protocol || elsewhere || from_elsewhere || other_segments {
        return Meeting::Never;
    }
    let source = before.source.and_then(prefix);
    let outside = |net: Net| eligible.within.is_some_and(|it| !it.covers(net) && !net.covers(it));
    match source {
        Some(net) if outside(net) => Meeting::Never,
        Some(net) => Meeting::From(net),
        None => Meeting::Perhaps,
    }
}

fn comes_by(asked: &Negatable<InterfacePattern>, interface: &str) -> bool {
    asked.value.matches(interface) != asked.negated
}

/// Whether no port is in both.
fn apart(asked: Negatable<PortRange>, (first, last): (u16, u16)) -> bool {
    let range = asked.value;
    if asked.negated {
        range.first() <= first && last <= range.last()
    } else {
        range.last() < first || last < range.first()
    }
}

#[cfg(test)]
mod tests {
    use weir_control::command::{Command, Parsed, parse};
    use weir_control::rule::Names;

    use super::*;

    const LIMIT: &str = "-m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP";

    fn command(line: &str) -> Command {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse(&words, &Names::builtin()) {
            Ok(Parsed::Command(line)) => line.command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn filter(lines: &[&str]) -> Ruleset {
        let mut ruleset = Ruleset::new();
        for line in lines {
            ruleset.apply(&command(line)).expect(line);
        }
        ruleset
    }

    fn judged(lines: &[&str]) -> Vec<Result<Eligible, String>> {
        let all = eligible(&filter(lines), &Ruleset::raw(Family::V4)).into_iter();
        all.map(|(_, judged)| judged.map_err(|why| why.to_string())).collect()
    }

    /// What is said of the one such rule.
    #[track_caller]
    fn why_not(lines: &[&str], said: &str) {
        assert_eq!(judged(lines), [Err(said.to_owned())], "{lines:?}");
    }

    fn net(text: &str) -> Net {
        Net::try_from(IpNet::parse(text, Family::V4).expect("a net")).expect("a prefix")
    }

    #[test]
    fn what_the_program_evaluates_becomes_a_condition() {
        let rule = format!(
            "-A FORWARD -s 10.0.0.0/8 -d 192.0.2.0/24 -i east -p tcp --dport 80:443 --syn {LIMIT}"
        );
        let [Ok(eligible)] = &judged(&[&rule])[..] else { panic!() };
        assert_eq!(
            eligible,
            &Eligible {
                upper_pps: 1000,
                condition: Condition {
                    hook: Hook::Forward,
                    protocol: Some(6),
                    destination: net("192.0.2.0/24"),
                    source_ports: ANY_PORT,
                    destination_ports: (80, 443),
                    tcp_mask: 0x17,
                    tcp_flags: 0x02,
                    ifindex: 0,
                },
                interface: Some("east".to_owned()),
                within: Some(net("10.0.0.0/8")),
                exempt: Vec::new(),
            }
        );
        assert!(eligible.includes(net("10.1.2.3")) && !eligible.includes(net("11.1.2.3")));
        let all = judged(&[&format!("-A FORWARD {LIMIT}"), &format!("-A FORWARD {LIMIT}")]);
        let any = Condition::any(Hook::Forward, net("0.0.0.0/0"));
        assert!(matches!(&all[0], Ok(eligible) if eligible.condition == any));
        assert!(all[1].is_err(), "the first of two comes before the second");
    }

    #[test]
    fn what_it_does_not_is_named() {
        for (rule, said) in [
            ("-A FORWARD -o west LIMIT", "the XDP program cannot evaluate its `-o'"),
            ("-A FORWARD ! -p tcp LIMIT", "the XDP program cannot evaluate its `! -p'"),
            ("-A FORWARD -i e+ LIMIT", "the XDP program cannot evaluate its `-i'"),
            ("-A FORWARD ! -d 10.0.0.1 LIMIT", "the XDP program cannot evaluate its `-d'"),
            (
                "-A FORWARD -s 10.0.0.1/255.0.0.255 LIMIT",
                "the XDP program cannot evaluate its `-s'",
            ),
            ("-A FORWARD -f LIMIT", "the XDP program cannot evaluate its `-f'"),
            (
                "-A FORWARD -p udp ! --dport 53 LIMIT",
                "the XDP program cannot evaluate its `--dport'",
            ),
            ("-A FORWARD -m ttl --ttl-lt 5 LIMIT", "the XDP program cannot evaluate its `ttl'"),
            (
                "-A FORWARD -m fuzzy --fuzzy-mode srcip -m ttl --ttl-lt 5 -j DROP",
                "the XDP program cannot evaluate its `ttl'",
            ),
            ("-A FORWARD -m fuzzy --fuzzy-mode srcip -j REJECT", "it does not -j DROP"),
            ("-A FORWARD -m fuzzy --fuzzy-mode srcip", "it does not -j DROP"),
            (
                "-A FORWARD -m fuzzy --fuzzy-mode srcip,dstport -j DROP",
                "its keys are not sources alone",
            ),
            (
                "-A FORWARD -m fuzzy --fuzzy-mode srcip --fuzzy-name t -j DROP",
                "it shares controllers by name",
            ),
        ] {
            why_not(&[&rule.replace("LIMIT", LIMIT)], said);
        }
        why_not(&["-N web", &format!("-A web {LIMIT}")], "it stands in a chain other than FORWARD");
        assert_eq!(judged(&["-A FORWARD -m fuzzy -j DROP"]), [], "one controller for all");
        let mut raw = Ruleset::raw(Family::V4);
        raw.apply(&Command::Policy {
            chain: ChainName::prerouting(),
            policy: Policy::Drop,
            counters: None,
        })
        .expect("a chain");
        let limit = filter(&[&format!("-A FORWARD {LIMIT}")]);
        assert_eq!(eligible(&limit, &raw)[0].1, Err(Ineligible::Raw));
    }

    #[test]
    fn rules_before_it_must_be_about_other_packets() {
        let limit = format!("-A FORWARD -i east -d 192.0.2.0/24 -p tcp --dport 80 --syn {LIMIT}");
        for before in [
            "-A FORWARD -p udp -j ACCEPT",
            "-A FORWARD ! -p tcp -j ACCEPT",
            "-A FORWARD -d 192.0.3.0/24 -j ACCEPT",
            "-A FORWARD ! -d 192.0.0.0/16 -j ACCEPT",
            "-A FORWARD -i west -j ACCEPT",
            "-A FORWARD ! -i e+ -j ACCEPT",
            "-A FORWARD -p tcp --dport 81: -j ACCEPT",
            "-A FORWARD -p tcp ! --dport 80:90 -m recent --set -j ACCEPT",
            "-A FORWARD -p tcp --tcp-flags ACK ACK -j ACCEPT",
        ] {
            assert!(judged(&[before, &limit])[0].is_ok(), "{before}");
        }
        let said = "rule 1 comes before it, and may treat the same packets otherwise";
        for before in [
            "-A FORWARD -m state --state ESTABLISHED -j ACCEPT",
            "-A FORWARD -p tcp",
            "-A FORWARD ! -p udp -j ACCEPT",
            "-A FORWARD -d 192.0.2.77 -j ACCEPT",
            "-A FORWARD -d 192.0.0.0/16 -j ACCEPT",
            "-A FORWARD ! -d 192.0.2.77 -j ACCEPT",
            "-A FORWARD ! -s 10.0.0.0/8 -j ACCEPT",
            "-A FORWARD -s 10.0.0.1/255.0.0.255 -j ACCEPT",
            "-A FORWARD -i e+ -j ACCEPT",
            "-A FORWARD -o west -j ACCEPT",
            "-A FORWARD -p tcp --dport 22:80 -j ACCEPT",
            "-A FORWARD -p tcp --tcp-flags SYN SYN -j ACCEPT",
            "-A FORWARD -p tcp -m recent --set -m tcp --dport 81 -j ACCEPT",
        ] {
            why_not(&[before, &limit], said);
        }
    }

    #[test]
    fn sources_that_a_rule_before_asks_for_are_exempt() {
        let before = ["-A FORWARD -s 10.0.0.0/8 -j ACCEPT", "-A FORWARD -s 192.0.2.7 -j LOG"];
        let limit = format!("-A FORWARD {LIMIT}");
        let [Ok(eligible)] = &judged(&[before[0], before[1], &limit])[..] else { panic!() };
        for (source, may) in [
            ("10.1.2.3", false),
            ("192.0.2.7", false),
            ("192.0.2.0/24", false),
            ("192.0.2.8", true),
            ("11.0.0.0/24", true),
        ] {
            assert_eq!(eligible.includes(net(source)), may, "{source}");
        }
        let within = format!("-A FORWARD -s 172.16.0.0/12 {LIMIT}");
        assert!(matches!(&judged(&[before[0], &within])[..], [Ok(it)] if it.exempt.is_empty()));
    }
}
