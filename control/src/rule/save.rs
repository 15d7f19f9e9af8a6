//! A rule as the words of the command line that makes it: what `iptables -S` prints.

use super::conntrack;
use super::{Match, Names, Negatable, PortRange, Protocol, Rule, Target, TcpFlags};

impl Rule {
    /// The words after `-A CHAIN` in canonical form and order, conditions first, then `-j`.
    /// Parsing them gives the same rule again.
    ///
    /// The form is that of iptables 1.8.11. Older ones lose the `!` of `! -i +` and of
    /// `! --dport 0:65535` (conditions that match nothing), so that their output, loaded again,
    /// means something else.
    pub fn arguments(&self, names: &Names) -> Vec<String> {
        let mut words = self.condition_arguments(names);
        words.extend(self.target_arguments());
        words
    }

    /// The conditions only; with [`Rule::target_arguments`], for output that has counters between
    /// the two.
    pub fn condition_arguments(&self, names: &Names) -> Vec<String> {
        let mut words = Words(Vec::new());
        words.option("-s", self.source.as_ref());
        words.option("-d", self.destination.as_ref());
        words.option("-i", self.in_interface.as_ref());
        words.option("-o", self.out_interface.as_ref());
        if let Some(Negatable { value, negated }) = self.protocol {
            words.option("-p", Some(&Negatable { value: protocol_word(value, names), negated }));
        }
        for extension in &self.matches {
            words.0.extend(["-m".to_owned(), extension.name().to_owned()]);
            match extension {
                Match::Tcp(tcp) => {
                    words.ports("--sport", &tcp.source_ports);
                    words.ports("--dport", &tcp.destination_ports);
                    words.flags(&tcp.flags);
                }
                Match::Udp(udp) => {
                    words.ports("--sport", &udp.source_ports);
                    words.ports("--dport", &udp.destination_ports);
                }
                Match::State(state) => words.conditions(state.words()),
                Match::Conntrack(conntrack) => words.conditions(conntrack.words(true)),
            }
        }
        words.0
    }

    /// `-j TARGET`, or nothing.
    pub fn target_arguments(&self) -> Vec<String> {
        let word = |target: &Target| vec!["-j".to_owned(), target.name().to_owned()];
        self.target.as_ref().map(word).unwrap_or_default()
    }
}

fn protocol_word(protocol: Protocol, names: &Names) -> String {
    names.protocol_name(protocol).map_or_else(|| protocol.0.to_string(), str::to_owned)
}

/// Words so far.
struct Words(Vec<String>);

impl Words {
    fn option<T: ToString>(&mut self, name: &str, value: Option<&Negatable<T>>) {
        let Some(value) = value else { return };
        if value.negated {
            self.0.push("!".to_owned());
        }
        self.0.extend([name.to_owned(), value.value.to_string()]);
    }

    fn ports(&mut self, name: &str, ports: &Negatable<PortRange>) {
        if *ports == Negatable::default() {
            return;
        }
        self.option(name, Some(ports));
    }

    fn conditions(&mut self, conditions: impl Iterator<Item = conntrack::Words>) {
        for conntrack::Words { negated, option, value } in conditions {
            self.option(&format!("--{option}"), Some(&Negatable { value, negated }));
        }
    }

    fn flags(&mut self, flags: &Negatable<TcpFlags>) {
        // iptables decides by the mask alone; nothing wanted of nothing is the default.
        if flags.value.mask() == 0 && !flags.negated && flags.value.set() == 0 {
            return;
        }
        if flags.negated {
            self.0.push("!".to_owned());
        }
        self.0.extend([
            "--tcp-flags".to_owned(),
            TcpFlags::names(flags.value.mask()),
            TcpFlags::names(flags.value.set()),
        ]);
    }
}
