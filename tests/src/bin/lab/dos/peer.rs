//! Who stands between the flood and the server.

use std::fmt;
use std::path::Path;

use clap::ValueEnum;
use weir_tests::weir::{Binaries, Daemon};
use weir_tests::{Error, Result};

use crate::street::{Street, config};

/// An engine with a set of rules. The rules of both engines are the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Peer {
    /// The kernel forwards, and nothing protects the server
    Open,
    /// The same; the server answers with SYN cookies when its queue is full
    ServerCookies,
    /// The kernel's connection tracking, three rules
    KernelState,
    /// The kernel lets connections to the web server begin with a SYN, and nothing else
    KernelStrict,
    /// The kernel's hashlimit: 50 SYNs a second of each source
    KernelHashlimit,
    /// The kernel's recent: 20 SYNs in a second of each source
    KernelRecent,
    /// The kernel's SYNPROXY: cookies by the firewall
    KernelSynproxy,
    /// Weir forwards, no rules
    Weir,
    /// Weir's connection tracking, the same three rules
    WeirState,
    /// Weir does so, by the same rules
    WeirStrict,
    /// Weir's hashlimit, the same rules
    WeirHashlimit,
    /// Weir's recent, the same rules
    WeirRecent,
    /// Weir's fuzzy by source: from 100 SYNs a second of each fewer, from 1,000 on 1 %
    WeirFuzzy,
    /// Weir's fuzzy, of sources that nobody knows together: those that have shaken hands have limits of their own
    WeirUnverified,
    /// Weir's SYNPROXY only under flood: from 1,000 SYNs a second to the server on, for 30 s
    WeirUnderFlood,
    /// Weir's SYNPROXY, the same rules
    WeirSynproxy,
}

const STATE: &[&str] = &[
    "-A FORWARD -m state --state INVALID -j DROP",
    "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -m state --state NEW -j ACCEPT",
];

/// With `tcp_loose` off, so that what belongs to no connection is INVALID, and takes no place in the table.
const STRICT: &[&str] = &[
    "-A FORWARD -m state --state INVALID -j DROP",
    "-A FORWARD -m state --state ESTABLISHED,RELATED -j ACCEPT",
    "-A FORWARD -d 198.19.0.2 -p tcp --syn --dport 80 -j ACCEPT",
    "-A FORWARD -j DROP",
];

const HASHLIMIT: &[&str] =
    &["-A FORWARD -p tcp --syn -m hashlimit --hashlimit-name syn --hashlimit-mode srcip \
     --hashlimit-above 50/second --hashlimit-burst 100 -j DROP"];

const RECENT: &[&str] = &[
    "-A FORWARD -p tcp --syn -m recent --name syn --rcheck --seconds 1 --hitcount 20 -j DROP",
    "-A FORWARD -p tcp --syn -m recent --name syn --set",
];

const FUZZY: &[&str] = &[
    "-A FORWARD -p tcp --syn -m fuzzy --lower-limit 100 --upper-limit 1000 --fuzzy-mode srcip -j DROP",
];

/// The shared address sends a fifth of all users, so much must be allowed to each.
const UNVERIFIED: &[&str] = &[
    "-A FORWARD -i f0 -p tcp --syn -m fuzzy --lower-limit 200 --upper-limit 1000 --fuzzy-unverified \
     --fuzzy-dst 500:1000 -j DROP",
];

/// The limit is above what users send; what comes before it is exceeded goes to the server, far less than its backlog.
const UNDER_FLOOD: &[&str] = &[
    "-t raw -A PREROUTING -i f0 -p tcp --syn -m hashlimit --hashlimit-above 1000/second --hashlimit-burst 200 \
     --hashlimit-mode dstip --hashlimit-name syn -m recent --name flood --rdest --set",
    "-t raw -A PREROUTING -i f0 -p tcp --syn -m recent --name flood --rdest --rcheck --seconds 30 -j CT --notrack",
    "-A FORWARD -i f0 -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 3 \
     --mss 1460",
    "-A FORWARD -m state --state INVALID -j DROP",
];

/// As in iptables-extensions(8): SYNs are not tracked and answered by the proxy; what brings no cookie is dropped.
const SYNPROXY: &[&str] = &[
    "-t raw -A PREROUTING -i f0 -p tcp --syn -j CT --notrack",
    "-A FORWARD -i f0 -p tcp -m state --state INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 3 \
     --mss 1460",
    "-A FORWARD -m state --state INVALID -j DROP",
];

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

/// A peer at work. [`stop`](Self::stop) takes it down; dropping it ends the daemon, and the street goes anyway.
pub(crate) enum Running<'a> {
    Weir(Daemon),
    Kernel(&'a Street),
}

impl Peer {
    /// All of them, in the order of the command line's help.
    pub(crate) fn all() -> Vec<Self> {
        Self::value_variants().to_vec()
    }

    /// What it is, in words.
    pub(crate) fn about(self) -> String {
        let value = self.to_possible_value();
        value.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default()
    }

    /// Whether the server behind it has its own cookies switched on.
    pub(crate) fn server_sends_cookies(self) -> bool {
        self == Self::ServerCookies
    }

    fn is_weir(self) -> bool {
        matches!(
            self,
            Self::Weir
                | Self::WeirState
                | Self::WeirStrict
                | Self::WeirHashlimit
                | Self::WeirRecent
                | Self::WeirFuzzy
                | Self::WeirUnverified
                | Self::WeirUnderFlood
                | Self::WeirSynproxy
        )
    }

    fn rules(self) -> &'static [&'static str] {
        match self {
            Self::Open | Self::ServerCookies | Self::Weir => &[],
            Self::KernelState | Self::WeirState => STATE,
            Self::KernelStrict | Self::WeirStrict => STRICT,
            Self::KernelHashlimit | Self::WeirHashlimit => HASHLIMIT,
            Self::KernelRecent | Self::WeirRecent => RECENT,
            Self::WeirFuzzy => FUZZY,
            Self::WeirUnverified => UNVERIFIED,
            Self::WeirUnderFlood => UNDER_FLOOD,
            Self::KernelSynproxy | Self::WeirSynproxy => SYNPROXY,
        }
    }

    /// Sets it to work.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] when the engine has not what the rules ask for.
    pub(crate) fn start<'a>(
        self,
        binaries: &Binaries,
        street: &'a Street,
        folder: &Path,
    ) -> Result<Running<'a>> {
        if self.is_weir() {
            let daemon =
                Daemon::start(binaries, &street.firewall, &config(self.settings()), folder)?;
            self.rules().iter().try_for_each(|rule| daemon.iptables(rule).map(drop))?;
            return Ok(Running::Weir(daemon));
        }
        let running = Running::Kernel(street);
        for rule in self.rules() {
            if let Err(error) = street.firewall.run(&format!("iptables-legacy {rule}")) {
                running.stop()?;
                return Err(error);
            }
        }
        if !self.rules().is_empty() {
            // The others have the kernel's default, whoever came before them.
            let is_strict = matches!(self, Self::KernelSynproxy | Self::KernelStrict);
            let loose = if is_strict { "0" } else { "1" };
            street.firewall.set("net/netfilter/nf_conntrack_tcp_loose", loose)?;
        }
        street.firewall.set("net/ipv4/ip_forward", "1")?;
        Ok(running)
    }

    /// What its rules need in the configuration.
    fn settings(self) -> &'static str {
        match self {
            Self::WeirUnderFlood | Self::WeirSynproxy => {
                "\n[conntrack]\nsynproxy = true\ntcp_loose = false\n"
            }
            Self::WeirStrict => "\n[conntrack]\ntcp_loose = false\n",
            _ => "",
        }
    }
}

impl Running<'_> {
    /// Takes it down, and with it all that it has learned of the flood.
    pub(crate) fn stop(self) -> Result<()> {
        match self {
            Self::Weir(daemon) => {
                let status = daemon.stop()?;
                let what = "the end of weir".to_owned();
                if status.success() {
                    Ok(())
                } else {
                    Err(Error::Unreadable { what, text: status.to_string() })
                }
            }
            Self::Kernel(street) => {
                street.firewall.set("net/ipv4/ip_forward", "0")?;
                street.firewall.run("iptables-legacy -F FORWARD")?;
                street.firewall.run("iptables-legacy -t raw -F PREROUTING")?;
                street.firewall.run("conntrack -F").map(drop)
            }
        }
    }
}
