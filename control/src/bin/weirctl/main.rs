//! `weirctl`: the hand on the firewall.
//!
//! Also the commands `iptables`, `iptables-save` and `iptables-restore` for Weir, those of `ip6tables`, and `ipset`,
//! when called by links of those names: `ln -s /usr/bin/weirctl /usr/local/sbin/iptables`.

mod address_list;
mod baseline;
mod cli;
mod conntrack;
mod help;
mod iptables;
mod limits;
mod lint;
mod listing;
mod output;
mod pages;
mod recent;
mod restore;
mod save;
mod set;
mod stats;
mod status;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use weir_control::command::VERSION_LINE_IPV6;

use weir_control::address_list::AddressList;
use weir_control::rule::Family;

use cli::{Cli, Restore, Save, Subcommand};
use conntrack::Conntrack;
use output::Output;
use recent::Recent;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if let Some(status) = by_link(&arguments) {
        return status;
    }
    let (own, verbatim) = cli::split_verbatim(&arguments);
    let cli = match Cli::try_parse_from(own) {
        Ok(cli) => cli,
        Err(error) => return usage(error),
    };
    if let Some(remedy) = cli.confirm.and_then(|_| unconfirmed(&cli.subcommand)) {
        eprintln!("weirctl: --confirm is for changes of rules; {remedy}");
        return ExitCode::from(2);
    }
    let mut output = Output::stdout(cli.json);
    let socket = cli.socket.as_deref();
    let result = match cli.subcommand {
        Subcommand::Iptables { .. } => {
            return iptables::run(Family::V4, verbatim, socket, cli.confirm, &mut output);
        }
        Subcommand::IptablesSave(save) => return save::run(Family::V4, socket, &save, &mut output),
        Subcommand::Set { .. } => return set::run(verbatim, socket, &mut output),
        Subcommand::IptablesRestore(mut restore) => {
            restore.confirm = restore.confirm.or(cli.confirm);
            return restore::run(Family::V4, socket, &restore, &mut output);
        }
        Subcommand::Ip6tables { .. } => {
            return iptables::run(Family::V6, verbatim, socket, cli.confirm, &mut output);
        }
        Subcommand::Ip6tablesSave(save) => {
            return save::run(Family::V6, socket, &save, &mut output);
        }
        Subcommand::Ip6tablesRestore(mut restore) => {
            restore.confirm = restore.confirm.or(cli.confirm);
            return restore::run(Family::V6, socket, &restore, &mut output);
        }
        Subcommand::Lint { ipv6, file } => {
            let family = if ipv6 { Family::V6 } else { Family::V4 };
            match lint::run(family, socket, file.as_deref(), &mut output) {
                Ok(status) => return status,
                Err(failed) => Err(failed),
            }
        }
        Subcommand::Confirm => return restore::confirm(socket, &mut output),
        Subcommand::Status => status::run(socket, &mut output),
        Subcommand::Ports => status::run_ports(socket, &mut output),
        Subcommand::Stats { watch } => stats::run(socket, watch, &mut output),
        Subcommand::Baseline(asked) => baseline::run(socket, &asked, &mut output),
        Subcommand::Limits { top } => limits::run(socket, top, &mut output),
        Subcommand::Conntrack { what } => match conntrack::run(socket, &what, &mut output) {
            Ok(status) => return status,
            Err(failed) => Err(failed),
        },
        Subcommand::Recent { what } => recent::run(socket, what, &mut output),
        Subcommand::Blocklist { what } => {
            address_list::run(AddressList::Blocklist, what, socket, &mut output)
        }
        Subcommand::Allowlist { what } => {
            address_list::run(AddressList::Allowlist, what, socket, &mut output)
        }
        Subcommand::Completions { shell } => pages::completions(shell, &mut output),
        Subcommand::Man { directory } => pages::man(directory.as_deref(), &mut output),
    };
    ended(result)
}

/// The exit status of a command that ended so, after saying why it failed.
fn ended(result: Result<(), output::Failed>) -> ExitCode {
    match result {
        Ok(()) | Err(output::Failed::PipeClosed) => ExitCode::SUCCESS,
        Err(output::Failed::Because(reason)) => {
            eprintln!("weirctl: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Why `--confirm` does not go with `subcommand`, whose changes are not undone, and what helps; `None` where it does.
fn unconfirmed(subcommand: &Subcommand) -> Option<&'static str> {
    match subcommand {
        Subcommand::Iptables { .. }
        | Subcommand::Ip6tables { .. }
        | Subcommand::IptablesRestore(_)
        | Subcommand::Ip6tablesRestore(_) => None,
        Subcommand::Set { .. } => Some("`set swap' undoes a swap"),
        Subcommand::Blocklist { .. } | Subcommand::Allowlist { .. } => {
            Some("`--timeout' ends an entry by itself")
        }
        Subcommand::Recent { what: None | Some(Recent::List { .. }) } => Some(CHANGES_NOTHING),
        Subcommand::Recent { what: Some(_) } => {
            Some("what was noted of addresses is not brought back")
        }
        Subcommand::Conntrack { what: Conntrack::Delete { .. } | Conntrack::Flush } => {
            Some("a flow that was deleted is not brought back")
        }
        Subcommand::Confirm => Some("`weirctl confirm' is what it waits for"),
        Subcommand::IptablesSave(_)
        | Subcommand::Ip6tablesSave(_)
        | Subcommand::Lint { .. }
        | Subcommand::Status
        | Subcommand::Ports
        | Subcommand::Stats { .. }
        | Subcommand::Limits { .. }
        | Subcommand::Baseline(_)
        | Subcommand::Conntrack { .. }
        | Subcommand::Completions { .. }
        | Subcommand::Man { .. } => Some(CHANGES_NOTHING),
    }
}

const CHANGES_NOTHING: &str = "this command changes nothing";

/// What a link of the name by which we are called does; `None` where it is no link of ours.
fn by_link(arguments: &[OsString]) -> Option<ExitCode> {
    let name = Path::new(arguments.first()?).file_name()?.to_str()?;
    let family = if name.starts_with("ip6") { Family::V6 } else { Family::V4 };
    let mut output = Output::stdout(false);
    let arguments_of = |command: clap::Command, of_ipv6: &'static str| {
        let named = match family {
            Family::V4 => command,
            Family::V6 => command.name(of_ipv6).version(VERSION_LINE_IPV6),
        };
        named.try_get_matches_from(arguments)
    };
    match name {
        "iptables" | "ip6tables" => {
            Some(iptables::run(family, &arguments[1..], None, None, &mut output))
        }
        "ipset" => Some(set::run(&arguments[1..], None, &mut output)),
        "iptables-save" | "ip6tables-save" => {
            let matches = arguments_of(Save::command(), "ip6tables-save");
            let save = matches.and_then(|matches| Save::from_arg_matches(&matches));
            Some(save.map_or_else(usage, |save| save::run(family, None, &save, &mut output)))
        }
        "iptables-restore" | "ip6tables-restore" => {
            let matches = arguments_of(Restore::command(), "ip6tables-restore");
            let restore = matches.and_then(|matches| Restore::from_arg_matches(&matches));
            let run = |restore| restore::run(family, None, &restore, &mut output);
            Some(restore.map_or_else(usage, run))
        }
        _ => None,
    }
}

/// Help goes to standard output with status 0, mistakes to standard error with 2.
fn usage(error: clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
