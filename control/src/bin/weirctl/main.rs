//! `weirctl`: the hand on the firewall.
//!
//! Also the commands `iptables` for Weir, when called by a link of that name:
//! `ln -s /usr/bin/weirctl /usr/local/sbin/iptables`.

mod cli;
mod conntrack;
mod iptables;
mod listing;
mod output;
mod pages;
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
    if called.is_some_and(|name| name == "iptables") {
        return iptables::run(&arguments[1..], None, &mut Output::stdout(false));
    }
    let (own, verbatim) = cli::split_iptables(&arguments);
    let cli = match Cli::try_parse_from(own) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to standard output with status 0, mistakes to standard error with 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut output = Output::stdout(cli.json);
    let socket = cli.socket.as_deref();
    let result = match cli.subcommand {
        Subcommand::Iptables { .. } => return iptables::run(verbatim, socket, &mut output),
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
