//! Words that iptables knows and Weir does not enforce yet. They are refused by name, apart from
//! words that nobody knows, so that an operator can tell a typing error from a gap.

use crate::rule::Family;

/// Matches that Weir enforces, of either family.
const MATCHES_ENFORCED: &[&str] = &[
    "addrtype",
    "comment",
    "connbytes",
    "connlimit",
    "connmark",
    "conntrack",
    "dscp",
    "ecn",
    "fuzzy",
    "hashlimit",
    "hl",
    "icmp",
    "icmp6",
    "iprange",
    "length",
    "limit",
    "mac",
    "mark",
    "multiport",
    "pkttype",
    "recent",
    "rt",
    "set",
    "state",
    "statistic",
    "string",
    "tcp",
    "tcpmss",
    "time",
    "tos",
    "ttl",
    "u32",
    "udp",
];

/// Targets that Weir enforces.
const TARGETS_ENFORCED: [&str; 10] =
    ["ACCEPT", "DROP", "RETURN", "REJECT", "LOG", "MARK", "CONNMARK", "CT", "NOTRACK", "SYNPROXY"];

/// The other matches of iptables 1.8.11 and xtables-addons.
const MATCHES: &[&str] = &[
    "ah",
    "bpf",
    "cgroup",
    "cluster",
    "condition",
    "connlabel",
    "cpu",
    "dccp",
    "devgroup",
    "dst",
    "esp",
    "eui64",
    "frag",
    "geoip",
    "hbh",
    "helper",
    "iface",
    "ipcomp",
    "ipv6header",
    "ipvs",
    "mh",
    "nfacct",
    "osf",
    "owner",
    "physdev",
    "policy",
    "psd",
    "quota",
    "rateest",
    "realm",
    "rpfilter",
    "sctp",
    "socket",
    "srh",
];

/// The other targets of iptables 1.8.11 and xtables-addons.
const TARGETS: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNSECMARK",
    "DNAT",
    "DNPT",
    "DSCP",
    "ECN",
    "HL",
    "HMARK",
    "IDLETIMER",
    "LED",
    "MASQUERADE",
    "NETMAP",
    "NFLOG",
    "NFQUEUE",
    "QUEUE",
    "RATEEST",
    "REDIRECT",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "TARPIT",
    "TCPMSS",
    "TCPOPTSTRIP",
    "TEE",
    "TOS",
    "TPROXY",
    "TRACE",
    "TTL",
    "ULOG",
];

/// Of all these, what is for IPv4 alone.
const OF_IPV4: [&str; 7] = ["icmp", "realm", "ttl", "CLUSTERIP", "ECN", "TTL", "ULOG"];

/// And what is for IPv6 alone.
const OF_IPV6: [&str; 13] = [
    "dst",
    "eui64",
    "frag",
    "hbh",
    "hl",
    "icmp6",
    "ipv6header",
    "mh",
    "rt",
    "srh",
    "DNPT",
    "HL",
    "SNPT",
];

/// Tables of iptables that Weir has not.
const TABLES: &[&str] = &["nat", "mangle", "security"];

/// Options that a protocol's match brings without `-m`, as in `-p esp --espspi 8`.
const IMPLIED: [(&str, u8, &[&str]); 5] = [
    ("esp", 50, &["espspi"]),
    ("ah", 51, &["ahspi", "ahlen", "ahres"]),
    ("mh", 135, &["mh-type"]),
    ("sctp", 132, &["source-port", "sport", "destination-port", "dport", "chunk-types"]),
    (
        "dccp",
        33,
        &["source-port", "sport", "destination-port", "dport", "dccp-types", "dccp-option"],
    ),
];

/// Whether the word is none of the other family alone.
fn is_of(family: Family, name: &str) -> bool {
    !match family {
        Family::V4 => OF_IPV6.contains(&name),
        Family::V6 => OF_IPV4.contains(&name),
    }
}

/// Matches that Weir enforces.
pub(super) fn matches_enforced(family: Family) -> Vec<&'static str> {
    MATCHES_ENFORCED.iter().copied().filter(|name| is_of(family, name)).collect()
}

/// Targets that Weir enforces.
pub(super) fn targets_enforced(family: Family) -> Vec<&'static str> {
    TARGETS_ENFORCED.iter().copied().filter(|name| is_of(family, name)).collect()
}

/// The match that a word after `-m` names; ICMPv6 has three (`xtables_find_match`,
/// libxtables/xtables.c).
pub(super) fn match_name(word: &str, family: Family) -> &str {
    match (family, word) {
        (Family::V6, "icmpv6" | "ipv6-icmp") => "icmp6",
        _ => word,
    }
}

/// Whether iptables has a match of that name, and Weir does not enforce it.
pub(super) fn is_match(name: &str, family: Family) -> bool {
    is_of(family, name) && MATCHES.contains(&name)
}

pub(super) fn is_target(name: &str, family: Family) -> bool {
    TARGETS.contains(&name) && is_of(family, name)
}

/// Whether iptables would find a target of that name, enforced by Weir or not.
pub(super) fn is_any_target(name: &str, family: Family) -> bool {
    is_target(name, family) || TARGETS_ENFORCED.contains(&name)
}

/// The program that has a match or a target of this name, where the one of `family` has not.
pub(super) fn program_of(name: &str, family: Family) -> Option<&'static str> {
    let known = [MATCHES_ENFORCED, MATCHES, TARGETS].iter().any(|names| names.contains(&name));
    (known && !is_of(family, name)).then(|| family.other().program())
}

/// Whether iptables has a table of that name, and Weir has not.
pub(crate) fn is_table(name: &str) -> bool {
    TABLES.contains(&name)
}

/// The match of `protocol` that would know this long option (without `--`, maybe shortened).
pub(super) fn implied_match(protocol: u8, option: &str, family: Family) -> Option<&'static str> {
    let option = option.split('=').next().unwrap_or_default();
    let (name, _, options) = IMPLIED.iter().find(|(_, number, _)| *number == protocol)?;
    let known = !option.is_empty() && options.iter().any(|known| known.starts_with(option));
    (known && is_of(family, name)).then_some(*name)
}
