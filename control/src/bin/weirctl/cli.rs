//! The command line of `weirctl` itself.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

use crate::conntrack::Conntrack;

/// Controls a running weir firewall.
#[derive(Debug, Parser)]
#[command(name = "weirctl", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The daemon's socket [default: $WEIR_SOCKET, else /run/weir/weir.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,

    /// Print JSON, for programs; with `iptables` it stands before that word
    #[arg(long, global = true)]
    pub(crate) json: bool,

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

/// Cuts the line after the word `iptables` if that is the subcommand. What follows belongs to
/// iptables to the last letter: `--json` or `--help` there must not be ours.
pub(crate) fn split_iptables(arguments: &[OsString]) -> (&[OsString], &[OsString]) {
    let mut index = 1;
    while let Some(argument) = arguments.get(index).and_then(|argument| argument.to_str()) {
        match argument {
            "iptables" => return arguments.split_at(index + 1),
            "--socket" => index += 2,
            option if option.starts_with('-') => index += 1,
            _ => break,
        }
    }
    (arguments, &[])
}
