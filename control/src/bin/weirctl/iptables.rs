//! `weirctl iptables …`, and the link named `iptables`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use weir_control::client::{Client, ClientError};
use weir_control::command::{
    ChainName, Command, CommandLine, Context, ExitStatus, Parsed, VERSION_LINE, Wait, parse_in,
};
use weir_control::list;
use weir_control::protocol::{Failure, Listing, Reply, RequestBody};
use weir_control::rule::{Names, Rule};
use weir_control::ruleset::RuleError;

use crate::listing;
use crate::output::{Failed, Output};

/// What `-h` prints.
const HELP: &str = "\
Usage: iptables -[ACD] CHAIN rule-specification [options]
       iptables -I CHAIN [rulenum] rule-specification [options]
       iptables -R CHAIN rulenum rule-specification [options]
       iptables -D CHAIN rulenum [options]
       iptables -[LS] [CHAIN [rulenum]] [options]
       iptables -F [CHAIN]
       iptables -Z [CHAIN [rulenum]]
       iptables -N CHAIN
       iptables -X [CHAIN]
       iptables -E OLD-CHAIN NEW-CHAIN
       iptables -P CHAIN ACCEPT|DROP

Weir filters what passes through this machine, and with host = \"firewalled\" also what
is sent to it and by it: the table filter, its chains FORWARD (INPUT, OUTPUT), and the
chains that you make and lead to from there.
A command is in force on every worker when it returns. Anything that Weir does not
enforce is refused by name, never ignored.

Rule-specification ([!] may stand before the options marked so):
[!] --protocol      -p PROTO              by number or name, tcp, udp, icmp, all
[!] --source        -s ADDRESS[/MASK][,..]
[!] --destination   -d ADDRESS[/MASK][,..]
[!] --in-interface  -i NAME[+]            + at the end: all names that begin so
[!] --out-interface -o NAME[+]
[!] --fragments     -f                    later fragments; none where connections are tracked
    --match         -m tcp | udp | icmp   implied by -p
                    -m state | conntrack  of the connection that a packet belongs to
                    -m addrtype | comment | dscp | ecn | iprange | length | mac
                       | mark | multiport | pkttype | tcpmss | tos | ttl
                    -m statistic          chance, or every n-th packet
                    -m string             bytes that a packet must contain
                    -m time               the clock, UTC
                    -m u32                four bytes anywhere in a packet
    --jump          -j ACCEPT | DROP      without it the rule only counts
                    -j REJECT             drop, and tell the sender
                    -j LOG                write a line; the next rule sees the packet
                    -j MARK               change its mark; the next rule sees the packet
                    -j CHAIN | RETURN     on with that chain; back from this one
    --goto          -g CHAIN              on with that chain, and not back to this one
  with tcp and udp:
[!] --sport, --source-port PORT[:PORT]    number, or name from /etc/services
[!] --dport, --destination-port PORT[:PORT]
  with tcp:
[!] --tcp-flags MASK SET                  of FIN SYN RST PSH ACK URG, ALL, NONE
[!] --syn                                 --tcp-flags FIN,SYN,RST,ACK SYN
[!] --tcp-option NUMBER
  with icmp:
[!] --icmp-type TYPE[/CODE]               by numbers, or a name such as echo-request
  with state:
[!] --state STATE[,..]                    of INVALID NEW RELATED ESTABLISHED UNTRACKED
  with conntrack:
[!] --ctstate STATE[,..]                  as --state, and SNAT DNAT
[!] --ctproto PROTO
[!] --ctorigsrc, --ctorigdst, --ctreplsrc, --ctrepldst ADDRESS[/MASK]
[!] --ctorigsrcport, --ctorigdstport, --ctreplsrcport, --ctrepldstport PORT[:PORT]
[!] --ctstatus STATUS[,..]                of NONE EXPECTED SEEN_REPLY ASSURED CONFIRMED
[!] --ctexpire SECONDS[:SECONDS]          what is left of the connection's life
    --ctdir ORIGINAL | REPLY
  with addrtype:
[!] --src-type, --dst-type TYPE[,..]      of UNICAST LOCAL BROADCAST MULTICAST ANYCAST
    --limit-iface-in, --limit-iface-out   at that interface; elsewhere all are UNICAST
  with comment:
    --comment TEXT                        at most 255 bytes
  with dscp:
[!] --dscp NUMBER                         0 to 63; or --dscp-class BE | EF | CSx | AFxx
  with ecn:
[!] --ecn-ip-ect NUMBER                   0 to 3
[!] --ecn-tcp-cwr, --ecn-tcp-ece          with -p tcp
  with iprange:
[!] --src-range, --dst-range ADDRESS[-ADDRESS]
  with length:
[!] --length BYTES[:BYTES]                of the IPv4 packet, header included
  with mac:
[!] --mac-source XX:XX:XX:XX:XX:XX
  with mark:
[!] --mark VALUE[/MASK]                   what MARK made of it; 0 at first
  with multiport, and -p tcp, udp, udplite, sctp or dccp:
[!] --sports, --dports, --ports PORT[:PORT][,..]   15 ports, a range for two
  with pkttype:
[!] --pkt-type TYPE                       unicast; others are never forwarded
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
  with ttl:
[!] --ttl-eq HOPS                         what is left after this one
    --ttl-lt, --ttl-gt HOPS
  with u32:
[!] --u32 'PLACE=VALUE'                   and & << >> @ between numbers, ranges, lists, &&
  with REJECT:
    --reject-with TYPE      icmp-port-unreachable (default), icmp-net-unreachable,
                            icmp-host-unreachable, icmp-proto-unreachable,
                            icmp-net-prohibited, icmp-host-prohibited,
                            icmp-admin-prohibited; tcp-reset with -p tcp
  with LOG:
    --log-level LEVEL       0 to 7, or emerg alert crit error warning (default) notice
                            info debug
    --log-prefix TEXT       begins the line; cut to 29 bytes
    --log-tcp-sequence, --log-tcp-options, --log-ip-options, --log-macdecode
    --log-uid               of local sockets: says nothing of what passes through
  with MARK, one of
    --set-mark VALUE[/MASK] of the mark the bits of MASK (default: all); later rules see it,
                            and nothing else
    --set-xmark VALUE[/MASK]   bits of MASK cleared, then those of VALUE flipped
    --and-mark, --or-mark, --xor-mark BITS

Options:
  --numeric -n   --exact -x   --line-numbers   with -L
  --verbose -v       with -L and -S: counters; with changes: print the rule
  --set-counters -c PACKETS BYTES   what the rule has counted, with -A, -I, -R and -P
  --table   -t filter
  --wait    -w [SECONDS]    how long to wait for the daemon (10 s; without SECONDS: for ever)
  --ipv4    -4       nothing; --ipv6 -6 is refused
  --help -h   --version -V
";

/// Why the command ended otherwise than well.
pub(crate) enum Problem {
    Output(Failed),
    Client(ClientError),
}

impl From<Failed> for Problem {
    fn from(failed: Failed) -> Self {
        Self::Output(failed)
    }
}

impl From<ClientError> for Problem {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

pub(crate) fn run(
    arguments: &[OsString],
    socket: Option<&Path>,
    confirm_s: Option<u32>,
    output: &mut Output,
) -> ExitCode {
    // Bytes that are no UTF-8 occur in no valid word; the parser will point at them.
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let names = Names::system();
    // A word after -j that is no target may be a chain, and INPUT and OUTPUT may be there. Should
    // the daemon not be reached, the command itself will say so.
    let is_chain = |name: &str| {
        chain_names(socket).is_none_or(|names| names.iter().any(|n| n.as_str() == name))
    };
    let context = Context { names: &names, is_chain: &is_chain, restoring: false };
    let line = match parse_in(&arguments, context) {
        Ok(Parsed::Command(line)) => line,
        Ok(Parsed::Help) => return finish(print(output, &format!("{VERSION_LINE}\n\n{HELP}"))),
        Ok(Parsed::Version) => return finish(print(output, &format!("{VERSION_LINE}\n"))),
        Err(error) => {
            eprintln!("{}", error.report());
            return ExitCode::from(error.kind.exit_status().code());
        }
    };
    for warning in &line.warnings {
        eprintln!("{warning}");
    }
    let result = carry_out(&line, (socket, confirm_s), &names, output);
    if let Err(Problem::Client(ClientError::Refused(Failure::Rule(error)))) = &result
        && let Some(report) = line.locate(error)
    {
        eprintln!("{report}");
        return ExitCode::from(ExitStatus::OtherProblem.code());
    }
    finish(result)
}

/// The names of all chains, if the daemon tells them.
pub(crate) fn chain_names(socket: Option<&Path>) -> Option<Vec<ChainName>> {
    match Client::connect(socket).ok()?.request(RequestBody::ChainNames).ok()? {
        Reply::ChainNames(names) => Some(names),
        _ => None,
    }
}

fn print(output: &mut Output, text: &str) -> Result<(), Problem> {
    Ok(output.text(text)?)
}

fn carry_out(
    line: &CommandLine,
    (socket, confirm_s): (Option<&Path>, Option<u32>),
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    // All chains are named by -v, as they were before.
    let chains = if line.verbose { chain_names(socket).unwrap_or_default() } else { Vec::new() };
    let mut client = Client::connect(socket)?;
    client.set_timeout(timeout(line.wait)).map_err(|error| Failed::Because(error.to_string()))?;
    let request = |client: &mut Client, command: &Command| {
        let confirm_s = confirm_s.filter(|_| !command.is_listing());
        client.request(RequestBody::Iptables { command: command.clone(), confirm_s })
    };
    match request(&mut client, &line.command)? {
        Reply::Listing(listing) if line.command.is_listing() => {
            print_listing(&line.command, &listing, names, output)?;
        }
        Reply::Done { policy_epoch } if !line.command.is_listing() => {
            if output.json {
                output.json(&serde_json::json!({ "policy_epoch": policy_epoch }), false)?;
            } else if line.verbose {
                output.text(&echo(&line.command, &chains))?;
            }
        }
        _ => return Err(ClientError::UnexpectedReply.into()),
    }
    if let Some(then) = &line.then {
        match request(&mut client, then)? {
            Reply::Done { .. } => {}
            _ => return Err(ClientError::UnexpectedReply.into()),
        }
    }
    Ok(())
}

/// How long to wait for the daemon.
pub(crate) fn timeout(wait: Option<Wait>) -> Option<Duration> {
    match wait {
        None => Some(weir_control::client::TIMEOUT_DEFAULT),
        Some(Wait::Forever) => None,
        Some(Wait::Seconds(seconds)) => Some(Duration::from_secs(seconds.into())),
    }
}

fn print_listing(
    command: &Command,
    listing: &Listing,
    names: &Names,
    output: &mut Output,
) -> Result<(), Failed> {
    let (selection, text) = match command {
        Command::List { selection, format } => {
            (selection, list::list(listing, selection, *format, names))
        }
        Command::ListRules { selection, counters } => {
            (selection, list::list_rules(listing, selection, *counters, names))
        }
        _ => return Ok(()),
    };
    if output.json {
        output.json(&listing::document(listing, selection, names), false)
    } else {
        output.text(&text)
    }
}

/// What `-v` prints after a change; `chains` are those of before.
fn echo(command: &Command, chains: &[ChainName]) -> String {
    let rules = |rules: &[Rule]| rules.iter().map(list::echo).collect();
    let each = |doing: &str, chain: &Option<ChainName>, chains: &[ChainName]| {
        let chains = chain.as_ref().map_or(chains, std::slice::from_ref);
        chains.iter().map(|chain| format!("{doing} chain `{chain}'\n")).collect()
    };
    match command {
        Command::Append { rules: list, .. }
        | Command::Insert { rules: list, .. }
        | Command::Delete { rules: list, .. }
        | Command::Check { rules: list, .. } => rules(list),
        Command::Replace { rule, .. } => rules(std::slice::from_ref(rule)),
        Command::Flush { chain } => each("Flushing", chain, chains),
        Command::Zero { number: None, chain } => each("Zeroing", chain, chains),
        Command::DeleteChain { chain } => {
            let user_defined: Vec<_> =
                chains.iter().filter(|chain| !chain.is_reserved()).cloned().collect();
            each("Deleting", chain, &user_defined)
        }
        _ => String::new(),
    }
}

fn finish(result: Result<(), Problem>) -> ExitCode {
    finish_as("iptables", result)
}

/// Says what went wrong, and how the program of that name ends.
pub(crate) fn finish_as(program: &str, result: Result<(), Problem>) -> ExitCode {
    let error = match result {
        Ok(()) | Err(Problem::Output(Failed::PipeClosed)) => return ExitCode::SUCCESS,
        Err(Problem::Output(Failed::Because(reason))) => {
            eprintln!("{program}: {reason}");
            return ExitCode::from(ExitStatus::OtherProblem.code());
        }
        Err(Problem::Client(error)) => error,
    };
    eprintln!("{program}: {error}");
    let status = match &error {
        ClientError::Refused(Failure::Rule(error) | Failure::Transaction { error, .. })
            if !matches!(
                error,
                RuleError::TooManyRules { .. }
                    | RuleError::TooManyChains
                    | RuleError::TooDeep { .. }
            ) =>
        {
            ExitStatus::OtherProblem
        }
        ClientError::Refused(Failure::Version { .. }) => ExitStatus::VersionProblem,
        _ => ExitStatus::ResourceProblem,
    };
    ExitCode::from(status.code())
}
