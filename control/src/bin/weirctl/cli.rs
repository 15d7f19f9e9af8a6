//! The command line of `weirctl` itself.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use weir_control::command::{VERSION_LINE as VERSION, VERSION_LINE_IPV6 as VERSION_IPV6};
use weir_control::protocol::{CONFIRM_S_MAX, LIMIT_KEYS_MAX};

use crate::address_list::ListCommand;
use crate::baseline::Baseline;
use crate::conntrack::Conntrack;
use crate::recent::Recent;

/// Controls a running weir firewall.
#[derive(Debug, Parser)]
#[command(name = "weirctl", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The daemon's socket [default: $WEIR_SOCKET, else /run/weir/weir.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Print JSON, for programs; with `iptables` and `ip6tables` it stands before that word
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Undo a change of rules after so many seconds unless `weirctl confirm` keeps it; with `iptables`
    /// and `ip6tables` it stands before that word
    #[arg(
        long, global = true, value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CONFIRM_S_MAX))
    )]
    pub(crate) confirm: Option<u32>,

    #[command(subcommand)]
    pub(crate) subcommand: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Subcommand {
    /// Show how the daemon is: ports, workers, frames, what is wrong
    Status,
    /// Show the ports alone
    Ports,
    /// Show what the daemon has counted: packets, drops by reason, times
    Stats {
        /// Repeat every so many seconds, with rates, until interrupted
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
        watch: Option<u32>,
    },
    /// Show what rules that limit keep: -m limit, -m hashlimit, -m fuzzy; who is held back most comes first
    Limits {
        /// So many keys of each
        #[arg(long, value_name = "NUMBER", default_value_t = 10,
              value_parser = clap::value_parser!(u32).range(0..=LIMIT_KEYS_MAX as i64))]
        top: u32,
    },
    /// Watch which TCP connections begin in quiet times, and propose a rule with --fuzzy-unverified for the others
    ///
    /// Connections have to be tracked, and nobody else may watch them by `weirctl conntrack events`.
    Baseline(Baseline),
    /// List, count, delete or watch tracked flows, with the options and the output of conntrack(8)
    Conntrack {
        #[command(subcommand)]
        what: Conntrack,
    },
    /// Change or list the rules: everything after this word is an iptables command line
    ///
    /// A change is in force on every worker when the command returns. What Weir does not enforce
    /// is refused with the offending word. Exit status as iptables: 0 done, 1 failed, 2 wrong
    /// command line, 3 no such table, 4 daemon not reached or limit hit.
    #[command(disable_help_flag = true)]
    Iptables {
        /// As for iptables: -A FORWARD -p tcp --dport 80 -j ACCEPT
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Change or list sets: everything after this word is an ipset command line
    ///
    /// A change is in force on every worker when the command returns. Exit status as ipset: 0 done,
    /// 1 failed, 2 wrong command line; and 4 daemon not reached.
    #[command(disable_help_flag = true)]
    Set {
        /// As for ipset: add blocked 192.0.2.1
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Show the tables of `-m recent`, or change one by hand; a table is there as long as a rule names it
    Recent {
        #[command(subcommand)]
        what: Option<Recent>,
    },
    /// Show or change the blocklist: sources whose packets the XDP program drops, on all ports
    ///
    /// All IP packets of such a source end there, also those to this machine; but not ARP and neighbour
    /// discovery. A change is in force on every port when the command returns. Entries live in the daemon:
    /// `early_drop.blocklist` in the configuration loads a file of them at the start.
    Blocklist {
        #[command(subcommand)]
        what: ListCommand,
    },
    /// Show or change the allowlist: sources that nothing in the blocklist drops
    Allowlist {
        #[command(subcommand)]
        what: ListCommand,
    },
    /// Print all rules in the form that iptables-restore reads
    #[command(name = "iptables-save")]
    IptablesSave(Save),
    /// Replace all rules by those of a file, or of standard input, at once: all of them or none
    #[command(name = "iptables-restore")]
    IptablesRestore(Restore),
    /// Change or list the rules for IPv6: everything after this word is an ip6tables command line
    #[command(disable_help_flag = true)]
    Ip6tables {
        /// As for ip6tables: -A FORWARD -p icmpv6 -j ACCEPT
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
        arguments: Vec<OsString>,
    },
    /// Print all rules for IPv6 in the form that ip6tables-restore reads
    #[command(name = "ip6tables-save", version = VERSION_IPV6)]
    Ip6tablesSave(Save),
    /// Replace all rules for IPv6 by those of a file, or of standard input: all of them or none
    #[command(name = "ip6tables-restore", version = VERSION_IPV6)]
    Ip6tablesRestore(Restore),
    /// Find rules that never match, change nothing, or do not do what was meant; status 1 if there are any
    Lint {
        /// The rules for IPv6
        #[arg(short = '6', long)]
        ipv6: bool,
        /// A saved rule set; without it the rules of the running daemon
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Keep the change of rules that was made with --confirm
    Confirm,
    /// Print a completion script for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man {
        /// Where to; without it the page of weirctl goes to standard output
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
}

/// Options of iptables-save.
#[derive(Debug, Parser)]
#[command(name = "iptables-save", version = VERSION, disable_version_flag = true)]
pub(crate) struct Save {
    /// With what each rule has counted
    #[arg(short, long)]
    pub(crate) counters: bool,
    /// Only this table; Weir has raw and filter
    #[arg(short, long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Write to a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// Options of iptables-restore.
#[derive(Debug, Parser)]
#[command(name = "iptables-restore", version = VERSION, disable_version_flag = true)]
pub(crate) struct Restore {
    /// Take over the counters in the file
    #[arg(short, long)]
    pub(crate) counters: bool,
    /// Keep what is there; chains that the file declares are emptied
    #[arg(short, long)]
    pub(crate) noflush: bool,
    /// Only find out whether the file could be loaded
    #[arg(short, long)]
    pub(crate) test: bool,
    /// Tell what is done
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Only this table of the file, the others without a word
    #[arg(short = 'T', long, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Leave out all tables but filter, and list what is left out
    #[arg(long)]
    pub(crate) filter_only: bool,
    /// Leave out what is about INPUT and OUTPUT, and list it
    #[arg(long)]
    pub(crate) forward_only: bool,
    /// How long to wait for the daemon [default: 10 s; without SECONDS: for ever]
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, require_equals = true)]
    pub(crate) wait: Option<Option<u32>>,
    /// Undo it after so many seconds unless `weirctl confirm` keeps it
    #[arg(
        long, value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CONFIRM_S_MAX))
    )]
    pub(crate) confirm: Option<u32>,
    /// What to load; `-` or nothing for standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print the version
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// Cuts the line after the word `iptables`, `ip6tables` or `set` if that is the subcommand. What follows belongs to
/// iptables or ipset to the last letter: `--json` or `--help` there must not be ours.
pub(crate) fn split_verbatim(arguments: &[OsString]) -> (&[OsString], &[OsString]) {
    let mut index = 1;
    while let Some(argument) = arguments.get(index).and_then(|argument| argument.to_str()) {
        match argument {
            "iptables" | "ip6tables" | "set" => return arguments.split_at(index + 1),
            "--socket" | "--confirm" => index += 2,
            option if option.starts_with('-') => index += 1,
            _ => break,
        }
    }
    (arguments, &[])
}
