//! What a message alone would leave a tired reader guessing: the reason, and what to write instead.

use crate::rule::{Family, InvalidRule, IpNetError, PatternError, RecentError, TimeError};

use super::error::ParseErrorKind;
use super::known::{matches_enforced, program_of, targets_enforced};

impl ParseErrorKind {
    /// Reason and remedy, where the message alone would leave a tired reader guessing.
    pub fn hint(&self, family: Family) -> Option<String> {
        let hint = match self {
            Self::NoSuchChain { .. } | Self::NoSuchPolicyChain { .. } => format!(
                "`{} -S' shows the chains there are; `-N CHAIN' makes one",
                family.program()
            ),
            Self::OtherFamily { family } => {
                format!("the command for these is {}", family.program())
            }
            Self::UnknownMatch { name } | Self::UnknownTarget { name }
                if program_of(name, family).is_some() =>
            {
                let program = program_of(name, family).unwrap_or_default();
                format!("{program} has it, for {} alone", family.other())
            }
            Self::HostChain { chain } => format!(
                "packets from or to the firewall itself go through the kernel and never meet \
                 Weir, so a rule in {chain} would protect nothing; with host = \"firewalled\" in its \
                 configuration Weir enforces {chain}; or use the kernel's own iptables or nft for it, \
                 or FORWARD for traffic that passes through"
            ),
            Self::Table { table, .. } if super::known::is_table(table) => {
                "known to iptables, but not enforced by Weir, which has the tables filter and raw only"
                    .to_owned()
            }
            Self::PolicyName { .. } => "a policy is ACCEPT or DROP".to_owned(),
            Self::NotEnforced { what, name } => not_enforced(what, name, family),
            Self::UnknownMatch { .. } => format!(
                "unknown to iptables and to Weir; a typing error? Weir has -m {}",
                matches_enforced(family).join(", ")
            ),
            Self::UnknownTarget { .. } => format!(
                "no chain has that name, and no target of iptables or Weir; a typing error? Weir has \
                 -j {}; `-N CHAIN' makes a chain",
                targets_enforced(family).join(", ")
            ),
            Self::GotoNoChain { .. } => "`-N CHAIN' makes a chain".to_owned(),
            Self::ChainName { .. } => {
                "a chain has 1 to 28 characters, without blanks, control characters and double quotes"
                    .to_owned()
            }
            _ => return self.remedy(family).map(str::to_owned),
        };
        Some(hint)
    }

    // long: one arm for each kind of mistake
    /// What to write instead.
    fn remedy(&self, family: Family) -> Option<&'static str> {
        let of_ipv6 = family == Family::V6;
        let remedy = match self {
            Self::Address(IpNetError::Address(_)) | Self::HostName { .. } if of_ipv6 => {
                "an IPv6 address in digits is needed: Weir \
                 asks no name server, since a rule must not depend on its answer"
            }
            Self::Address(IpNetError::Address(_)) | Self::HostName { .. } => {
                "an IPv4 address in digits is needed: Weir \
                 asks no name server, since a rule must not depend on its answer"
            }
            Self::Address(IpNetError::Mask(_)) | Self::OptionMask { .. } if of_ipv6 => {
                "a mask is 0 to 128, or whole like ffff:ffff::"
            }
            Self::Address(IpNetError::Mask(_)) | Self::OptionMask { .. } => {
                "a mask is 0 to 32, or dotted like 255.255.255.0"
            }
            Self::UnknownOption { option } => of_match(option)?,
            Self::TcpPort { .. } | Self::UdpPort { .. } => {
                "a port is 0 to 65535, a range FIRST:LAST, or a name from /etc/services"
            }
            Self::BadArgument { after_negation: true, .. } => {
                "`!' stands before the option: `! -s ADDRESS', not `-s ! ADDRESS'"
            }
            Self::CtName { list, .. } if list == "!" => {
                "`!' stands before the option: `! --state NEW', not `--state ! NEW'"
            }
            Self::CtName { option: "state", .. } | Self::StateListEnds => {
                "states are INVALID NEW ESTABLISHED RELATED UNTRACKED, joined by commas"
            }
            Self::CtName { option: "ctstatus", .. } => {
                "statuses are NONE EXPECTED SEEN_REPLY ASSURED CONFIRMED, joined by commas"
            }
            Self::CtName { .. } => {
                "states are INVALID NEW ESTABLISHED RELATED UNTRACKED SNAT DNAT, joined by commas"
            }
            Self::NoFragments => {
                "where connections are tracked, rules see whole packets, and none is a fragment"
            }
            Self::RejectType { .. } if of_ipv6 => {
                "types are icmp6-no-route icmp6-adm-prohibited icmp6-addr-unreachable \
                 icmp6-port-unreachable icmp6-policy-fail icmp6-reject-route tcp-reset"
            }
            Self::RejectType { .. } => {
                "types are icmp-net-unreachable icmp-host-unreachable icmp-proto-unreachable \
                 icmp-port-unreachable icmp-net-prohibited icmp-host-prohibited \
                 icmp-admin-prohibited tcp-reset"
            }
            Self::LogLevel { .. } => {
                "a level is 0 to 7, or emerg alert crit error warning notice info debug"
            }
            Self::CtDirection { .. } => "a direction is ORIGINAL or REPLY",
            Self::OptionNotNegatable { option: "ctdir", .. } => {
                "the opposite of ORIGINAL is REPLY, without `!'"
            }
            Self::Incomplete(InvalidRule::StateMissing) => {
                "say which: `-m state --state NEW,ESTABLISHED'"
            }
            Self::Incomplete(InvalidRule::ConntrackMissing) => {
                "say what to look at: `-m conntrack --ctstate NEW,ESTABLISHED'"
            }
            Self::Incomplete(InvalidRule::ConnbytesMissing(_)) => {
                "say all three: `-m connbytes --connbytes 1000: --connbytes-dir both --connbytes-mode bytes'"
            }
            Self::Incomplete(InvalidRule::ConnbytesNegatedOne { .. }) => {
                "write two rules, one for less and one for more: `--connbytes 0:4', `--connbytes 6:'"
            }
            Self::Incomplete(InvalidRule::ConnlimitMissing) => {
                "say how many: `-p tcp --syn -m connlimit --connlimit-above 20 -j REJECT'"
            }
            Self::Incomplete(InvalidRule::Recent(RecentError::NoAction)) => {
                "say what to do: `-m recent --set', `-m recent --update --seconds 60 --hitcount 20'"
            }
            Self::Value(error) => error.remedy(family)?,
            Self::Incomplete(InvalidRule::StringMissing) => {
                "say what to look for: `-m string --string TEXT --algo bm'"
            }
            Self::Incomplete(InvalidRule::StringAlgorithmMissing)
            | Self::StringAlgorithm { .. } => {
                "an algorithm is bm or kmp, and one must be named; Weir looks for both in one way"
            }
            Self::StatisticMode { .. } | Self::Incomplete(InvalidRule::Statistic(_)) => {
                "write `--mode random --probability 0.25' or `--mode nth --every 4 --packet 0'"
            }
            Self::Time(TimeError::Weekday(_) | TimeError::SundayFirst) => {
                "days are Mon Tue Wed Thu Fri Sat Sun or 1 (Monday) to 7, joined by commas"
            }
            Self::U32(_) | Self::Incomplete(InvalidRule::U32Missing) => {
                "a test is PLACE[&MASK][>>BITS][@PLACE]..=VALUE[:VALUE][,..], several are joined by &&"
            }
            Self::StringNotText => "write its bytes in hexadecimal: `--hex-string '|ff fe|'`",
            Self::Pattern(PatternError::TooLong(_)) => "a pattern has at most 128 bytes",
            Self::Pattern(_) => "bytes stand in pairs of digits between bars: `a|00 ff|b'",
            Self::TcpFlag { .. } => {
                "flags are FIN SYN RST PSH ACK URG, ALL or NONE, joined by commas"
            }
            Self::ListTooLong { .. } => "write it as several commands",
            _ => return None,
        };
        Some(remedy)
    }
}

/// What must stand before an option that exists only with a match.
fn of_match(option: &str) -> Option<&'static str> {
    match option {
        "--sport" | "--dport" | "--source-port" | "--destination-port" => {
            Some("ports belong to a protocol: write `-p tcp' or `-p udp' before it")
        }
        "--sports" | "--dports" | "--ports" => {
            Some("lists of ports belong to a match: write `-m multiport' before it")
        }
        "--string" | "--hex-string" => {
            Some("strings belong to a match: write `-m string' before it")
        }
        "--state" => Some("states belong to a match: write `-m state' before it"),
        "--ctstate" | "--ctstatus" => {
            Some("connections belong to a match: write `-m conntrack' before it")
        }
        "--connlimit-above" | "--connlimit-upto" | "--connlimit-mask" => {
            Some("limits of connections belong to a match: write `-m connlimit' before it")
        }
        "--rcheck" | "--update" | "--remove" | "--hitcount" => {
            Some("tables of addresses belong to a match: write `-m recent' before it")
        }
        "--connbytes" | "--connbytes-dir" | "--connbytes-mode" => {
            Some("counts of connections belong to a match: write `-m connbytes' before it")
        }
        _ if option.starts_with("--fuzzy-") => {
            Some("controllers belong to a match: write `-m fuzzy' before it")
        }
        "--lower-limit" | "--upper-limit" => {
            Some("rates belong to a match: write `-m fuzzy' before it")
        }
        _ if option.starts_with("--hashlimit") => {
            Some("rates of keys belong to a match: write `-m hashlimit' before it")
        }
        "--limit" | "--limit-burst" => Some("rates belong to a match: write `-m limit' before it"),
        "--reject-with" => Some("the option belongs to a target: write `-j REJECT' before it"),
        "--log-prefix" | "--log-level" => {
            Some("the option belongs to a target: write `-j LOG' before it")
        }
        "--mark" => Some("marks belong to a match: write `-m mark' or `-m connmark' before it"),
        "--set-xmark" | "--set-mark" | "--and-mark" | "--or-mark" | "--xor-mark" => {
            Some("the option belongs to a target: write `-j MARK' or `-j CONNMARK' before it")
        }
        "--save-mark" | "--restore-mark" => {
            Some("the option belongs to a target: write `-j CONNMARK' before it")
        }
        _ => None,
    }
}

/// Why a word that iptables knows is refused.
fn not_enforced(what: &str, name: &str, family: Family) -> String {
    let reason = match (what, name) {
        (_, "--kerneltz" | "--localtz") => {
            "the kernel tells no program its time zone: write the times in UTC"
        }
        ("option", name)
            if ["--packets-", "--bytes-", "--update-"].iter().any(|of| name.starts_with(of)) =>
        {
            "the entries of a set keep no count of their packets and bytes, so the command is refused \
             instead of letting you believe it works; the rule that asks for the set keeps one"
        }
        _ => {
            return format!(
                "not supported by this version of Weir, so the command is refused instead of \
                 letting you believe it works; enforced are -m {} and -j {}",
                matches_enforced(family).join(", "),
                targets_enforced(family).join(", ")
            );
        }
    };
    reason.to_owned()
}
