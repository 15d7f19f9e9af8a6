//! `weirctl`: the hand on the firewall.
//!
//! Also the commands `iptables`, `iptables-save` and `iptables-restore` for Weir, when called by links
//! of those names: `ln -s /usr/bin/weirctl /usr/local/sbin/iptables`.

mod cli;
mod conntrack;
mod iptables;
mod lint;
mod listing;
mod output;
mod pages;
mod restore;
mod save;
mod stats;
mod status;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Subcommand};
use output::Output;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let called = arguments.first().map(Path::new).and_then(Path::file_name);
    match called.and_then(|name| name.to_str()) {
        Some("iptables") => {
            return iptables::run(&arguments[1..], None, None, &mut Output::stdout(false));
        }
        Some("iptables-save") => {
            let save = cli::Save::try_parse_from(&arguments);
            return save
                .map_or_else(usage, |save| save::run(None, &save, &mut Output::stdout(false)));
        }
        Some("iptables-restore") => {
            let restore = cli::Restore::try_parse_from(&arguments);
            let mut output = Output::stdout(false);
            return restore.map_or_else(usage, |restore| restore::run(None, &restore, &mut output));
        }
        Some(name) if name.starts_with("ip6tables") => {
            eprintln!("{name}: this version of Weir filters IPv4 only, so IPv6 rules are refused");
            return ExitCode::from(2);
        }
        _ => {}
    }
    let (own, verbatim) = cli::split_iptables(&arguments);
    let cli = match Cli::try_parse_from(own) {
        Ok(cli) => cli,
        Err(error) => return usage(error),
    };
    let mut output = Output::stdout(cli.json);
    let socket = cli.socket.as_deref();
    let result = match cli.subcommand {
        Subcommand::Iptables { .. } => {
            return iptables::run(verbatim, socket, cli.confirm, &mut output);
        }
        Subcommand::IptablesSave(save) => return save::run(socket, &save, &mut output),
        Subcommand::IptablesRestore(mut restore) => {
            restore.confirm = restore.confirm.or(cli.confirm);
            return restore::run(socket, &restore, &mut output);
        }
        Subcommand::Lint { file } => match lint::run(socket, file.as_deref(), &mut output) {
            Ok(status) => return status,
            Err(failed) => Err(failed),
        },
        Subcommand::Confirm => return restore::confirm(socket, &mut output),
        Subcommand::Status => status::run(socket, &mut output),
        Subcommand::Ports => status::run_ports(socket, &mut output),
        Subcommand::Stats { watch } => stats::run(socket, watch, &mut output),
        Subcommand::Conntrack { what } => match conntrack::run(socket, &what, &mut output) {
            Ok(status) => return status,
            Err(failed) => Err(failed),
        },
        Subcommand::Completions { shell } => pages::completions(shell, &mut output),
        Subcommand::Man { directory } => pages::man(directory.as_deref(), &mut output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(output::Failed::PipeClosed) => ExitCode::SUCCESS,
        Err(output::Failed::Because(reason)) => {
            eprintln!("weirctl: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Help goes to standard output with status 0, mistakes to standard error with 2.
fn usage(error: clap::Error) -> ExitCode {
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
