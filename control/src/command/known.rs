//! Words that iptables knows and Weir does not enforce yet. They are refused by name, apart from
//! words that nobody knows, so that an operator can tell a typing error from a gap.

/// Matches that Weir enforces.
pub(super) const MATCHES_ENFORCED: &[&str] = &[
    "addrtype",
    "comment",
    "conntrack",
    "dscp",
    "ecn",
    "icmp",
    "iprange",
    "length",
    "mac",
    "mark",
    "multiport",
    "pkttype",
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
pub(super) const TARGETS_ENFORCED: [&str; 6] =
    ["ACCEPT", "DROP", "RETURN", "REJECT", "LOG", "MARK"];

/// The other matches of iptables 1.8.11 and xtables-addons.
const MATCHES: &[&str] = &[
    "ah",
    "bpf",
    "cgroup",
    "cluster",
    "condition",
    "connbytes",
    "connlabel",
    "connlimit",
    "connmark",
    "cpu",
    "dccp",
    "devgroup",
    "dst",
    "esp",
    "eui64",
    "frag",
    "fuzzy",
    "geoip",
    "hashlimit",
    "hbh",
    "helper",
    "hl",
    "icmp6",
    "iface",
    "ipcomp",
    "ipv6header",
    "ipvs",
    "limit",
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
    "recent",
    "rpfilter",
    "rt",
    "sctp",
    "set",
    "socket",
    "srh",
];

/// The other targets of iptables 1.8.11 and xtables-addons.
const TARGETS: &[&str] = &[
    "AUDIT",
    "CHECKSUM",
    "CLASSIFY",
    "CLUSTERIP",
    "CONNMARK",
    "CONNSECMARK",
    "CT",
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
    "NOTRACK",
    "QUEUE",
    "RATEEST",
    "REDIRECT",
    "SECMARK",
    "SET",
    "SNAT",
    "SNPT",
    "SYNPROXY",
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

/// Tables of iptables other than filter.
const TABLES: &[&str] = &["nat", "mangle", "raw", "security"];

/// Options that a protocol's match brings without `-m`, as in `-p esp --espspi 8`.
const IMPLIED: [(&str, u8, &[&str]); 4] = [
    ("esp", 50, &["espspi"]),
    ("ah", 51, &["ahspi", "ahlen", "ahres"]),
    ("sctp", 132, &["source-port", "sport", "destination-port", "dport", "chunk-types"]),
    (
        "dccp",
        33,
        &["source-port", "sport", "destination-port", "dport", "dccp-types", "dccp-option"],
    ),
];

pub(super) fn is_match(name: &str) -> bool {
    MATCHES.contains(&name)
}

pub(super) fn is_target(name: &str) -> bool {
    TARGETS.contains(&name)
}

/// Whether iptables would find a target of that name, enforced by Weir or not.
pub(super) fn is_any_target(name: &str) -> bool {
    is_target(name) || TARGETS_ENFORCED.contains(&name)
}

pub(crate) fn is_table(name: &str) -> bool {
    TABLES.contains(&name)
}

/// The match of `protocol` that would know this long option (without `--`, maybe shortened).
pub(super) fn implied_match(protocol: u8, option: &str) -> Option<&'static str> {
    let option = option.split('=').next().unwrap_or_default();
    let (name, _, options) = IMPLIED.iter().find(|(_, number, _)| *number == protocol)?;
    let known = !option.is_empty() && options.iter().any(|known| known.starts_with(option));
    known.then_some(*name)
}
