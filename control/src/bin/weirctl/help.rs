//! What `iptables -h` and `ip6tables -h` print.

use weir_control::rule::Family;

/// The text of both. A line that begins with `4> ` or `6> ` is of one of them.
const TEXT: &str = "\
Usage: PROGRAM -[ACD] CHAIN rule-specification [options]
       PROGRAM -I CHAIN [rulenum] rule-specification [options]
       PROGRAM -R CHAIN rulenum rule-specification [options]
       PROGRAM -D CHAIN rulenum [options]
       PROGRAM -[LS] [CHAIN [rulenum]] [options]
       PROGRAM -F [CHAIN]
       PROGRAM -Z [CHAIN [rulenum]]
       PROGRAM -N CHAIN
       PROGRAM -X [CHAIN]
       PROGRAM -E OLD-CHAIN NEW-CHAIN
       PROGRAM -P CHAIN ACCEPT|DROP

Weir filters what passes through this machine, and with host = \"firewalled\" also what
is sent to it and by it: the table filter, its chains FORWARD (INPUT, OUTPUT), the table
raw, asked before connections are tracked, its chains PREROUTING (OUTPUT), and the chains
that you make and lead to from there.
6> Unless the configuration forwards IPv6 (key ipv6), its rules can only be listed.
A command is in force on every worker when it returns. Anything that Weir does not
enforce is refused by name, never ignored.

Rule-specification ([!] may stand before the options marked so):
4> [!] --protocol      -p PROTO              by number or name, tcp, udp, icmp, all
6> [!] --protocol      -p PROTO              by number or name, tcp, udp, icmpv6, all
[!] --source        -s ADDRESS[/MASK][,..]
[!] --destination   -d ADDRESS[/MASK][,..]
[!] --in-interface  -i NAME[+]            + at the end: all names that begin so
[!] --out-interface -o NAME[+]
4> [!] --fragments     -f                    later fragments; none where connections are tracked
4>     --match         -m tcp | udp | icmp   implied by -p
6>     --match         -m tcp | udp | icmp6  implied by -p
                    -m state | conntrack | connbytes | connmark   of the connection that a packet
                       belongs to
                    -m addrtype | comment | dscp | ecn | iprange | length | mac
4>                        | mark | multiport | pkttype | tcpmss | tos | ttl
6>                        | mark | multiport | pkttype | tcpmss | tos | hl
4>                     -m set                what `weirctl set' keeps
                    -m fuzzy              the more of them, the fewer pass: it holds for the others
                    -m limit              at most so many packets a time
                    -m hashlimit          the same of each source, destination, port or net
                    -m recent             addresses that sent packets lately
                    -m connlimit          how many connections an address has
                    -m statistic          chance, or every n-th packet
                    -m string             bytes that a packet must contain
                    -m time               the clock, UTC
                    -m u32                four bytes anywhere in a packet
    --jump          -j ACCEPT | DROP      without it the rule only counts
                    -j REJECT             drop, and tell the sender
                    -j LOG                write a line; the next rule sees the packet
                    -j MARK               change its mark; the next rule sees the packet
                    -j CONNMARK           change the connection's, or its own by that; likewise
                    -j CT --notrack | NOTRACK   do not track it, in table raw; likewise
                    -j SYNPROXY           answer SYNs, and connect who acknowledges that; likewise
                    -j CHAIN | RETURN     on with that chain; back from this one
    --goto          -g CHAIN              on with that chain, and not back to this one
  with tcp and udp:
[!] --sport, --source-port PORT[:PORT]    number, or name from /etc/services
[!] --dport, --destination-port PORT[:PORT]
  with tcp:
[!] --tcp-flags MASK SET                  of FIN SYN RST PSH ACK URG, ALL, NONE
[!] --syn                                 --tcp-flags FIN,SYN,RST,ACK SYN
[!] --tcp-option NUMBER
4>   with icmp:
4> [!] --icmp-type TYPE[/CODE]               by numbers, or a name such as echo-request
6>   with icmp6, and -p icmpv6:
6> [!] --icmpv6-type TYPE[/CODE]             by numbers, or a name such as echo-request
  with state:
[!] --state STATE[,..]                    of INVALID NEW RELATED ESTABLISHED UNTRACKED
  with connbytes, all three; the configuration must say that counts are kept (acct)
[!] --connbytes COUNT[:COUNT]             of a count alone: from there on
    --connbytes-dir original | reply | both
    --connbytes-mode packets | bytes | avgpkt
  with connlimit, one of the first two:
[!] --connlimit-above N, --connlimit-upto N   connections that there are, this one included
    --connlimit-mask LENGTH               so many bits of addresses make a group
    --connlimit-saddr | --connlimit-daddr   of whose address; the source's unless said
  with connmark:
[!] --mark VALUE[/MASK]                   what CONNMARK made of the connection's; 0 at first
  with conntrack:
[!] --ctstate STATE[,..]                  as --state, and SNAT DNAT
[!] --ctproto PROTO
[!] --ctorigsrc, --ctorigdst, --ctreplsrc, --ctrepldst ADDRESS[/MASK]
[!] --ctorigsrcport, --ctorigdstport, --ctreplsrcport, --ctrepldstport PORT[:PORT]
[!] --ctstatus STATUS[,..]                of NONE EXPECTED SEEN_REPLY ASSURED CONFIRMED
[!] --ctexpire SECONDS[:SECONDS]          what is left of the connection's life
    --ctdir ORIGINAL | REPLY
  with addrtype:
4> [!] --src-type, --dst-type TYPE[,..]      of UNICAST LOCAL BROADCAST MULTICAST ANYCAST
6> [!] --src-type, --dst-type TYPE[,..]      of UNICAST LOCAL MULTICAST ANYCAST
    --limit-iface-in, --limit-iface-out   at that interface; elsewhere all are UNICAST
  with comment:
    --comment TEXT                        at most 255 bytes
  with dscp:
[!] --dscp NUMBER                         0 to 63; or --dscp-class BE | EF | CSx | AFxx
  with ecn:
[!] --ecn-ip-ect NUMBER                   0 to 3
[!] --ecn-tcp-cwr, --ecn-tcp-ece          with -p tcp
  with fuzzy:
    --lower-limit RATE                    packets a second up to which all pass; 1000 unless said
    --upper-limit RATE                    from which on 1 % pass, 2000 unless said; less between
    --fuzzy-mode PART[,..]                a controller for each key, of srcip srcport dstip
                                          dstport; without, one for the rule. With it, or with
                                          --fuzzy-unverified, 1 % of the limit pass, not of what comes
    --fuzzy-srcmask, --fuzzy-dstmask BITS   of the addresses, all unless said
    --fuzzy-name NAME                     rules of one name share them
    --fuzzy-htable-max NUMBER             of keys, 65536 unless said; --fuzzy-htable-expire MS
    --fuzzy-unverified                    instead of a mode: the limits hold for each source that has
                                          completed a handshake; all others share those of their
    --fuzzy-net LOWER:UPPER               /24 (/64 of IPv6), 4 times the limits unless said,
    --fuzzy-wide-net LOWER:UPPER          /16 (/48), 16 times,
    --fuzzy-dst LOWER:UPPER               and destination, 64 times; each of these implies it
  with hashlimit, a name and one rate:
[!] --hashlimit-upto, --hashlimit-above RATE   NUMBER[/second | /minute | /hour | /day], or
                                          bytes: NUMBER[k | m]b/s
    --hashlimit-burst NUMBER              so many at once, 5 unless said; of bytes 10kb, 10mb
    --hashlimit-mode PART[,..]            what makes a key: srcip srcport dstip dstport
    --hashlimit-srcmask, --hashlimit-dstmask BITS   of the addresses, all unless said
    --hashlimit-name NAME                 rules of one name share what they count
    --hashlimit-htable-max, --hashlimit-htable-size NUMBER   of keys; 65536 unless said
    --hashlimit-htable-expire, --hashlimit-htable-gcinterval MS
  with iprange:
[!] --src-range, --dst-range ADDRESS[-ADDRESS]
  with length:
4> [!] --length BYTES[:BYTES]                of the IPv4 packet, header included
6> [!] --length BYTES[:BYTES]                of the IPv6 packet, header included
  with limit:
    --limit NUMBER[/second | /minute | /hour | /day]   on average; 3/hour unless said
    --limit-burst NUMBER                  so many at once, 5 unless said
  with mac:
[!] --mac-source XX:XX:XX:XX:XX:XX
  with mark:
[!] --mark VALUE[/MASK]                   what MARK made of it; 0 at first
  with multiport, and -p tcp, udp, udplite, sctp or dccp:
[!] --sports, --dports, --ports PORT[:PORT][,..]   15 ports, a range for two
  with pkttype:
[!] --pkt-type TYPE                       unicast; others are never forwarded
  with recent, one of the first line:
[!] --set | --rcheck | --update | --remove   note a packet; was it seen; that, and note it; forget
    --seconds N                           with rcheck, update: no longer ago
    --hitcount N                          with rcheck, update: so often, at most 65535
    --rttl                                with rcheck, update: with the same TTL
    --reap                                with --seconds: the oldest goes if it is older
    --name NAME                           of the table, DEFAULT unless said; `weirctl recent' shows it
    --mask MASK                           of addresses, where this rule makes the table
    --rsource | --rdest                   of whose address; the source's unless said
4>   with set:
4> [!] --match-set NAME src|dst[,src|dst]
4>     --return-nomatch                      match what the set has as `nomatch'
  with statistic:
    --mode random | nth
[!] --probability P                       from 0 to 1, with random
[!] --every N                             with nth: one packet of N,
    --packet N                            the first of them number N, from 0
  with string:
[!] --string TEXT                         of at most 128 bytes
[!] --hex-string 'TEXT|00 ff|TEXT'        bytes in hexadecimal between bars
    --algo bm | kmp                       must be named; the search is one and the same
    --from OFFSET, --to OFFSET            from the IP header on; the pattern lies whole between
    --icase                               capitals do not count
  with tcpmss, and -p tcp:
[!] --mss BYTES[:BYTES]
  with time:
    --datestart, --datestop YYYY[-MM[-DD[Thh[:mm[:ss]]]]]
    --timestart, --timestop hh:mm[:ss]    a stop before the start is that of the next day
[!] --monthdays DAY[,..]                  1 to 31
[!] --weekdays DAY[,..]                   Mon to Sun, or 1 to 7
    --contiguous                          after midnight it is still the day before
    --utc                                 as always
  with tos:
[!] --tos VALUE[/MASK]                    or a name such as Minimize-Delay
4>   with ttl:
4> [!] --ttl-eq HOPS                         what is left after this one
4>     --ttl-lt, --ttl-gt HOPS
6>   with hl:
6> [!] --hl-eq HOPS                          what is left after this one
6>     --hl-lt, --hl-gt HOPS
  with u32:
[!] --u32 'PLACE=VALUE'                   and & << >> @ between numbers, ranges, lists, &&
  with REJECT:
4>     --reject-with TYPE      icmp-port-unreachable (default), icmp-net-unreachable,
4>                             icmp-host-unreachable, icmp-proto-unreachable,
4>                             icmp-net-prohibited, icmp-host-prohibited,
4>                             icmp-admin-prohibited; tcp-reset with -p tcp
6>     --reject-with TYPE      icmp6-port-unreachable (default), icmp6-no-route,
6>                             icmp6-adm-prohibited, icmp6-addr-unreachable,
6>                             icmp6-policy-fail, icmp6-reject-route; tcp-reset with -p tcp
  with LOG:
    --log-level LEVEL       0 to 7, or emerg alert crit error warning (default) notice
                            info debug
    --log-prefix TEXT       begins the line; cut to 29 bytes
    --log-tcp-sequence, --log-tcp-options, --log-ip-options, --log-macdecode
    --log-uid               of local sockets: says nothing of what passes through
  with MARK, one of
    --set-mark VALUE[/MASK] of the mark the bits of MASK (default: all); later rules see it,
                            and CONNMARK --save-mark; nothing else
    --set-xmark VALUE[/MASK]   bits of MASK cleared, then those of VALUE flipped
    --and-mark, --or-mark, --xor-mark BITS
  with CONNMARK, one of these; it needs a connection, else nothing happens
    --set-mark, --set-xmark, --and-mark, --or-mark, --xor-mark   as MARK, of the connection's
    --save-mark             the packet's into the connection's
    --restore-mark          the connection's into the packet's
    --nfmask, --ctmask BITS which bits, of the packet's and the connection's; or --mask of both
    --left-shift-mark, --right-shift-mark BITS   0 to 31: of what is set, saved or restored
  with SYNPROXY, and -p tcp; the configuration must say that connections are proxied
    --mss BYTES, --wscale NUMBER   the server's segment size and window scale
    --sack-perm, --timestamp, --ecn   what the server knows of

Options:
  --numeric -n   --exact -x   --line-numbers   with -L
  --verbose -v       with -L and -S: counters; with changes: print the rule
  --set-counters -c PACKETS BYTES   what the rule has counted, with -A, -I, -R and -P
  --table   -t filter (default) | raw
  --wait    -w [SECONDS]    how long to wait for the daemon (10 s; without SECONDS: for ever)
4>   --ipv4    -4       nothing; --ipv6 -6 is refused
6>   --ipv6    -6       nothing; --ipv4 -4 is refused
  --help -h   --version -V
";

/// The text of one.
pub(crate) fn help(family: Family) -> String {
    let (own, other) = match family {
        Family::V4 => ("4> ", "6> "),
        Family::V6 => ("6> ", "4> "),
    };
    let lines = TEXT.lines().filter(|line| !line.starts_with(other));
    let lines = lines.map(|line| line.strip_prefix(own).unwrap_or(line));
    lines.map(|line| line.replace("PROGRAM", family.program()) + "\n").collect()
}
