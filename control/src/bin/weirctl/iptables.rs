//! `weirctl iptables …`, and the link named `iptables`.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use weir_control::client::{Client, ClientError};
use weir_control::command::{Command, CommandLine, ExitStatus, Parsed, VERSION_LINE, Wait, parse};
use weir_control::list;
use weir_control::protocol::{Failure, Listing, Reply, RequestBody};
use weir_control::rule::{Names, Rule};
use weir_control::ruleset::RuleError;

use crate::listing;
use crate::output::{Failed, Output};

/// What `-h` prints.
const HELP: &str = "\
Usage: iptables -[ACD] FORWARD rule-specification [options]
       iptables -I FORWARD [rulenum] rule-specification [options]
       iptables -R FORWARD rulenum rule-specification [options]
       iptables -D FORWARD rulenum [options]
       iptables -[LS] [FORWARD [rulenum]] [options]
       iptables -F [FORWARD]
       iptables -Z [FORWARD [rulenum]]
       iptables -P FORWARD ACCEPT|DROP

Weir filters what passes through this machine: the table filter, the chain FORWARD.
A command is in force on every worker when it returns. Anything that Weir does not
enforce is refused by name, never ignored.

Rule-specification ([!] may stand before the options marked so):
[!] --protocol      -p PROTO              by number or name, tcp, udp, all
[!] --source        -s ADDRESS[/MASK][,..]
[!] --destination   -d ADDRESS[/MASK][,..]
[!] --in-interface  -i NAME[+]            + at the end: all names that begin so
[!] --out-interface -o NAME[+]
    --match         -m tcp | udp          implied by -p
                    -m state | conntrack  of the connection that a packet belongs to
                    -m statistic          chance, or every n-th packet
                    -m string             bytes that a packet must contain
                    -m time               the clock, UTC
                    -m u32                four bytes anywhere in a packet
    --jump          -j ACCEPT | DROP      without it the rule only counts
  with tcp and udp:
[!] --sport, --source-port PORT[:PORT]    number, or name from /etc/services
[!] --dport, --destination-port PORT[:PORT]
  with tcp:
[!] --tcp-flags MASK SET                  of FIN SYN RST PSH ACK URG, ALL, NONE
[!] --syn                                 --tcp-flags FIN,SYN,RST,ACK SYN
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
  with time:
    --datestart, --datestop YYYY[-MM[-DD[Thh[:mm[:ss]]]]]
    --timestart, --timestop hh:mm[:ss]    a stop before the start is that of the next day
[!] --monthdays DAY[,..]                  1 to 31
[!] --weekdays DAY[,..]                   Mon to Sun, or 1 to 7
    --contiguous                          after midnight it is still the day before
    --utc                                 as always
  with u32:
[!] --u32 'PLACE=VALUE'                   and & << >> @ between numbers, ranges, lists, &&

Options:
  --numeric -n   --exact -x   --line-numbers   with -L
  --verbose -v       with -L and -S: counters; with changes: print the rule
  --table   -t filter
  --wait    -w [SECONDS]    how long to wait for the daemon (10 s; without SECONDS: for ever)
  --ipv4    -4       nothing; --ipv6 -6 is refused
  --help -h   --version -V
";

/// Why the command ended otherwise than well.
enum Problem {
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

pub(crate) fn run(arguments: &[OsString], socket: Option<&Path>, output: &mut Output) -> ExitCode {
    // Bytes that are no UTF-8 occur in no valid word; the parser will point at them.
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let names = Names::system();
    let line = match parse(&arguments, &names) {
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
    finish(carry_out(&line, socket, &names, output))
}

fn print(output: &mut Output, text: &str) -> Result<(), Problem> {
    Ok(output.text(text)?)
}

fn carry_out(
    line: &CommandLine,
    socket: Option<&Path>,
    names: &Names,
    output: &mut Output,
) -> Result<(), Problem> {
    let mut client = Client::connect(socket)?;
    let timeout = match line.wait {
        None => Some(weir_control::client::TIMEOUT_DEFAULT),
        Some(Wait::Forever) => None,
        Some(Wait::Seconds(seconds)) => Some(Duration::from_secs(seconds.into())),
    };
    client.set_timeout(timeout).map_err(|error| Failed::Because(error.to_string()))?;
    let request = |client: &mut Client, command: &Command| {
        client.request(RequestBody::Iptables { command: command.clone() })
    };
    match request(&mut client, &line.command)? {
        Reply::Listing(listing) if line.command.is_listing() => {
            print_listing(&line.command, &listing, names, output)?;
        }
        Reply::Done { policy_epoch } if !line.command.is_listing() => {
            if output.json {
                output.json(&serde_json::json!({ "policy_epoch": policy_epoch }), false)?;
            } else if line.verbose {
                output.text(&echo(&line.command))?;
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

/// What `-v` prints after a change.
fn echo(command: &Command) -> String {
    let rules = |rules: &[Rule]| rules.iter().map(list::echo).collect();
    match command {
        Command::Append { rules: list, .. }
        | Command::Insert { rules: list, .. }
        | Command::Delete { rules: list, .. }
        | Command::Check { rules: list, .. } => rules(list),
        Command::Replace { rule, .. } => rules(std::slice::from_ref(rule)),
        // Without a chain named, the only one is meant.
        Command::Flush { .. } => "Flushing chain `FORWARD'\n".to_owned(),
        Command::Zero { number: None, .. } => "Zeroing chain `FORWARD'\n".to_owned(),
        _ => String::new(),
    }
}

fn finish(result: Result<(), Problem>) -> ExitCode {
    let error = match result {
        Ok(()) | Err(Problem::Output(Failed::PipeClosed)) => return ExitCode::SUCCESS,
        Err(Problem::Output(Failed::Because(reason))) => {
            eprintln!("iptables: {reason}");
            return ExitCode::from(ExitStatus::OtherProblem.code());
        }
        Err(Problem::Client(error)) => error,
    };
    eprintln!("iptables: {error}");
    let status = match &error {
        ClientError::Refused(Failure::Rule(RuleError::TooManyRules { .. })) => {
            ExitStatus::ResourceProblem
        }
        ClientError::Refused(Failure::Rule(_)) => ExitStatus::OtherProblem,
        ClientError::Refused(Failure::Version { .. }) => ExitStatus::VersionProblem,
        _ => ExitStatus::ResourceProblem,
    };
    ExitCode::from(status.code())
}
