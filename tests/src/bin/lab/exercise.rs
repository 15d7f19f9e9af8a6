//! The exercises, as data: what is typed, what is tried, and what must be seen.
//!
//! They follow the seed's lab, its iptables lines verbatim. Each stands for itself: it begins with
//! no rules and policy ACCEPT, so any of them can be played alone. A new exercise is a new entry
//! here and nothing else; how a step is played is `play.rs`.

/// One exercise.
pub(crate) struct Exercise {
    /// Its name on the command line.
    pub(crate) name: &'static str,
    /// Its name in the table.
    pub(crate) title: &'static str,
    /// What happens, in a few sentences.
    pub(crate) story: &'static str,
    /// What is done, in order.
    pub(crate) steps: &'static [Step],
}

/// One of the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// The everyday user, and the world beyond her.
    Alice,
    /// The web server, and the trojan on it.
    Bob,
}

/// One thing done in an exercise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Type a line at the firewall. `{x}` is the address that the trojan's latest packet went to.
    Type(&'static str),
    /// Ping this address from a host; `{x}` as above.
    Ping { from: Host, to: &'static str, answered: bool },
    /// Fetch this host's page from the other one.
    Page { of: Host, loads: bool },
    /// Type a line at the firewall in the middle of a download by Alice, which goes on beside the
    /// next steps.
    TypeDuringDownload(&'static str),
    /// See that download to its end.
    DownloadEnds,
    /// Run a version of the trojan on Bob.
    Trojan { version: u8, leaks: bool },
    /// The same, stopped, while Alice fetches Bob's page again and again.
    TrojanAmongPages { version: u8 },
    /// Run a version of the trojan until it leaks to another address than its latest.
    TrojanElsewhere { version: u8 },
    /// Send packets from Alice to Bob, so many a second; so many of a hundred arrive.
    Flood { packets: u32, rate: u32, arrive: (u32, u32) },
    /// Open so many connections to port 80 of an address from Alice's side, one after the other: so many
    /// of them must come about, those first that are tried first.
    Calls { from: &'static str, to: &'static str, tried: u64, answered: u64 },
    /// Have the firewall's own packets filtered as well, for this exercise.
    GuardFirewall,
    /// Look at a counter of the chain FORWARD: it must say exactly what was lost, that is, how many
    /// packets were seen to leave and not to arrive since the exercise began.
    Counter(Counter),
}

/// One of the chain's packet counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// That of the rule with this number, from 1.
    Rule(usize),
    /// That of the policy.
    Policy,
}

impl Exercise {
    /// Whether it asks for what no kernel of today has.
    pub(crate) fn is_of_weir_alone(&self) -> bool {
        let fuzzy = |step: &Step| matches!(step, Step::Type(line) if line.contains("-m fuzzy"));
        self.steps.iter().any(fuzzy)
    }
}

const LOST_BY_RULE_1: Step = Step::Counter(Counter::Rule(1));

/// All of them, in the order they are played.
pub(crate) const EXERCISES: &[Exercise] = &[
    Exercise {
        name: "first-light",
        title: "First light",
        story: "Bob, a researcher at a particle accelerator, shares his love for his cat on a web \
                server and is on holiday. Everything between him and the world passes through the \
                firewall. Do packets get through at all, and does the page load?",
        steps: &[
            Step::Ping { from: Host::Alice, to: "192.168.0.2", answered: true },
            Step::Ping { from: Host::Bob, to: "10.0.0.2", answered: true },
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "mal1",
        title: "A trojan calls home",
        story: "Bob's machine has caught a trojan. It sends the secret system time of his \
                accelerator to some address in Alice's subnet. Nothing stops it yet.",
        steps: &[Step::Trojan { version: 1, leaks: true }],
    },
    Exercise {
        name: "address",
        title: "Block its address",
        story: "The first idea: block the address the packet went to. That address is deaf now, \
                but the next run of the trojan picks another one.",
        steps: &[
            Step::Trojan { version: 1, leaks: true },
            Step::Type("iptables -A FORWARD -d {x} -j DROP"),
            Step::Ping { from: Host::Bob, to: "{x}", answered: false },
            Step::TrojanElsewhere { version: 1 },
            LOST_BY_RULE_1,
        ],
    },
    Exercise {
        name: "subnet",
        title: "Block the subnet",
        story: "Then block them all? The leak stops. But that subnet is the whole world, and \
                the world can no longer see the cat.",
        steps: &[
            Step::Type("iptables -A FORWARD -d 10.0.0.0/255.255.255.0 -j DROP"),
            Step::Trojan { version: 1, leaks: false },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: false },
        ],
    },
    Exercise {
        name: "ports",
        title: "Block its ports",
        story: "A closer look: source and destination port are always the same. Blocking these \
                two stops the trojan and nothing else. Solved, until it kicks into higher gear.",
        steps: &[
            Step::Type("iptables -A FORWARD -p tcp --sport 1337 --dport 7331 -j DROP"),
            Step::Trojan { version: 1, leaks: false },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "mal2",
        title: "Random ports",
        story: "The second version picks its ports at random and walks past that rule.",
        steps: &[
            Step::Type("iptables -A FORWARD -p tcp --sport 1337 --dport 7331 -j DROP"),
            Step::Trojan { version: 2, leaks: true },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "policy",
        title: "Only port 80",
        story: "Drop everything but port 80? No leak, but no page either: a browser's own port \
                is random too, so nobody ever talks from port 80 to port 80.",
        steps: &[
            Step::Type("iptables -P FORWARD DROP"),
            Step::Type("iptables -A FORWARD -p tcp --sport 80 --dport 80 -j ACCEPT"),
            Step::Trojan { version: 2, leaks: false },
            Step::Counter(Counter::Policy),
            Step::Page { of: Host::Bob, loads: false },
        ],
    },
    Exercise {
        name: "all-syn",
        title: "Drop every SYN",
        story: "The malicious packet has SYN set, and SYN alone. The common mistake is to drop \
                every SYN: then Alice cannot open a connection either.",
        steps: &[
            Step::Type("iptables -A FORWARD -p tcp --tcp-flags ALL SYN -j DROP"),
            Step::Trojan { version: 2, leaks: false },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: false },
        ],
    },
    Exercise {
        name: "bobs-syn",
        title: "Drop Bob's SYN",
        story: "A server answers; it hardly ever opens a connection itself. So drop the SYNs that \
                come from Bob. The leak stops, and the cat is back.",
        steps: &[
            Step::Type("iptables -A FORWARD -p tcp -s 192.168.0.2 --tcp-flags ALL SYN -j DROP"),
            Step::Trojan { version: 2, leaks: false },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "mal3",
        title: "SYN-ACK",
        story: "The third version sends SYN-ACK, as every server does when it is called. No rule \
                that looks at one packet alone can tell the two apart: that takes memory of what \
                went before.",
        steps: &[
            Step::Type("iptables -A FORWARD -p tcp -s 192.168.0.2 --tcp-flags ALL SYN -j DROP"),
            Step::Trojan { version: 3, leaks: true },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "state",
        title: "Remember connections",
        story: "The fourth version only spells the secret otherwise. But what it sends answers \
                nobody: it belongs to no connection and opens none. A firewall that remembers \
                connections calls that INVALID. Alice keeps on reading all the while, and a \
                download that began before the rule goes on.",
        steps: &[
            Step::Trojan { version: 4, leaks: true },
            Step::TypeDuringDownload("iptables -A FORWARD -m state --state INVALID -j DROP"),
            Step::TrojanAmongPages { version: 3 },
            Step::TrojanAmongPages { version: 4 },
            Step::DownloadEnds,
            LOST_BY_RULE_1,
        ],
    },
    Exercise {
        name: "conntrack",
        title: "The modern spelling",
        story: "The match state is called conntrack today, and does the same.",
        steps: &[
            Step::Type("iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP"),
            Step::TrojanAmongPages { version: 3 },
            Step::TrojanAmongPages { version: 4 },
            LOST_BY_RULE_1,
        ],
    },
    Exercise {
        name: "who-may-call",
        title: "Who may call whom",
        story: "Alice has put up a copy of the page, and Bob can fetch it. Then a firewall as \
                most are: who is in a conversation may go on, Alice may begin one, and nobody \
                else. The trojan is stopped whatever it sends.",
        steps: &[
            Step::Page { of: Host::Alice, loads: true },
            Step::Type("iptables -A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT"),
            Step::Type("iptables -A FORWARD -s 10.0.0.0/24 -m state --state NEW -j ACCEPT"),
            Step::Type("iptables -A FORWARD -j DROP"),
            Step::Page { of: Host::Bob, loads: true },
            Step::Ping { from: Host::Alice, to: "192.168.0.2", answered: true },
            Step::Ping { from: Host::Bob, to: "10.0.0.2", answered: false },
            Step::Trojan { version: 2, leaks: false },
            Step::Trojan { version: 4, leaks: false },
            Step::Counter(Counter::Rule(3)),
            Step::Page { of: Host::Alice, loads: false },
        ],
    },
    Exercise {
        name: "flood",
        title: "A flood",
        story: "Then somebody floods Bob. The fuzzy match lets all pass up to a hundred packets a \
                second, one of a hundred from a thousand on, and the fewer the faster between; the \
                others are rejected. It is the module of 2002, which no kernel of today has. When the \
                flood is over, it is so for some tenths of a second, and all pass again.",
        steps: &[
            Step::Type(
                "iptables -A FORWARD -m fuzzy --lower-limit 100 --upper-limit 1000 -j REJECT",
            ),
            Step::Flood { packets: 150, rate: 50, arrive: (100, 100) },
            Step::Flood { packets: 20_000, rate: 10_000, arrive: (1, 10) },
            // What the controller decides holds until the window after the one that has seen it end.
            Step::Flood { packets: 20, rate: 20, arrive: (75, 100) },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: true },
        ],
    },
    Exercise {
        name: "recent",
        title: "Fifty calls a minute",
        story: "A firewall that remembers can hold back a flood. These two lines let every address \
                begin fifty connections a minute, and not one more: Alice overdoes it, and is cut \
                off, while another reader is served.",
        steps: &[
            Step::Type(
                "iptables -A FORWARD -p tcp -m state --state NEW -m recent --update --seconds 60 --hitcount 50 -j DROP",
            ),
            Step::Type("iptables -A FORWARD -p tcp -m state --state NEW -m recent --set -j ACCEPT"),
            Step::Calls { from: "10.0.0.2", to: "192.168.0.2", tried: 53, answered: 50 },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: false },
            Step::Calls { from: "10.0.0.9", to: "192.168.0.2", tried: 2, answered: 2 },
        ],
    },
    Exercise {
        name: "recent-input",
        title: "The same for itself",
        story: "The firewall has a page, too, and the same two lines protect it, in the chain of what \
                is meant for itself.",
        steps: &[
            Step::GuardFirewall,
            Step::Type(
                "iptables -A INPUT -p tcp -m state --state NEW -m recent --update --seconds 60 --hitcount 50 -j DROP",
            ),
            Step::Type("iptables -A INPUT -p tcp -m state --state NEW -m recent --set -j ACCEPT"),
            Step::Calls { from: "10.0.0.2", to: "10.0.0.1", tried: 53, answered: 50 },
            Step::Calls { from: "10.0.0.9", to: "10.0.0.1", tried: 2, answered: 2 },
        ],
    },
    // The last: Bob's server goes on sending what did not arrive, beside whatever came next.
    Exercise {
        name: "string",
        title: "Look for the secret",
        story: "Another idea, without memory: what the trojan sends contains the word secret, so \
                look into the packets. That stops the third version. But the page has the word, \
                too, and no longer arrives; and the fourth spells it with a dollar and walks past.",
        steps: &[
            Step::Type("iptables -A FORWARD -m string --string \"secret\" --algo bm -j DROP"),
            Step::Trojan { version: 3, leaks: false },
            LOST_BY_RULE_1,
            Step::Page { of: Host::Bob, loads: false },
            Step::Trojan { version: 4, leaks: true },
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<&str> = EXERCISES.iter().map(|exercise| exercise.name).collect();
        assert_eq!(names.len(), EXERCISES.len());
    }

    #[test]
    fn the_readme_counts_right() {
        let checks = |step: &Step| match step {
            Step::Type(_) | Step::TypeDuringDownload(_) | Step::GuardFirewall => 0,
            Step::TrojanAmongPages { .. } => 2,
            _ => 1,
        };
        let all: usize = EXERCISES.iter().flat_map(|exercise| exercise.steps).map(checks).sum();
        let readme = std::fs::read_to_string(weir_tests::repository().join("README.md"));
        let sentence = format!("The lab is {} exercises, {all} checks", EXERCISES.len());
        assert!(readme.expect("the README").contains(&sentence), "README.md: {sentence}");
    }

    #[test]
    fn a_download_ends_where_it_began() {
        for exercise in EXERCISES {
            let begun = |step: &&Step| matches!(step, Step::TypeDuringDownload(_));
            let ended = |step: &&Step| matches!(step, Step::DownloadEnds);
            let count =
                |wanted: &dyn Fn(&&Step) -> bool| exercise.steps.iter().filter(wanted).count();
            assert_eq!(count(&begun), count(&ended), "{}", exercise.name);
        }
    }

    #[test]
    fn an_address_is_named_only_after_the_trojan_chose_one() {
        for exercise in EXERCISES {
            let uses = |step: &Step| match step {
                Step::Type(text) | Step::TypeDuringDownload(text) | Step::Ping { to: text, .. } => {
                    text.contains("{x}")
                }
                Step::TrojanElsewhere { .. } => true,
                _ => false,
            };
            let chosen =
                |step: &Step| matches!(step, Step::Trojan { .. } | Step::TrojanAmongPages { .. });
            if let Some(first_use) = exercise.steps.iter().position(uses) {
                assert!(exercise.steps[..first_use].iter().any(chosen), "{}", exercise.name);
            }
        }
    }
}
