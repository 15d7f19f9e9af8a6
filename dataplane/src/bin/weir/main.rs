//! `weir`: the daemon's command line.

mod check;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{CommandFactory, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tracing_subscriber::EnvFilter;
use weir_dataplane::config::Config;
use weir_dataplane::daemon::Daemon;
use weir_dataplane::port::xdp::is_served;
use weir_dataplane::program;

/// A stateful firewall in a poll-mode dataplane over AF_XDP.
#[derive(Debug, Parser)]
#[command(name = "weir", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forward packets until a signal ends it (SIGINT, SIGTERM, SIGHUP)
    Run {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Say whether `run` would start with this configuration on this machine, and change nothing
    Check {
        /// The configuration file
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the program of a Weir that has ended off an interface (`on_exit = "drop"` leaves it there)
    Detach {
        /// The interface
        interface: String,
    },
    /// Print a shell's completion script
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config, json } => return check::check(&config, json),
        Command::Detach { interface } => detach(&interface),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "weir",
                &mut std::io::stdout(),
            );
            Ok(())
        }
        Command::Man => manual().map_err(|error| format!("cannot print the manual: {error}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("weir: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What is written unless `WEIR_LOG` says otherwise: lines of rules with `-j LOG` at any level.
const FILTER: &str = "info,weir::log=trace";

fn run(path: &Path) -> Result<(), String> {
    let filter = EnvFilter::try_from_env("WEIR_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    let ansi = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(ansi)
        .with_target(false)
        .init();
    let config = Config::load(path).map_err(|error| error.to_string())?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))
            .map_err(|error| format!("cannot watch for signals: {error}"))?;
    }
    let socket = config.control.socket.clone();
    let daemon = Daemon::start(config).map_err(|error| error.to_string())?;
    tracing::info!("ready; control socket {}", socket.display());
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let outcome = daemon.run(&stop).map_err(|error| error.to_string());
    tracing::info!("stopped");
    outcome
}

fn detach(interface: &str) -> Result<(), String> {
    let ifindex = af_xdp::nic::ifindex(interface).map_err(|error| error.to_string())?;
    if is_served(ifindex) {
        return Err(format!(
            "{interface}: its queues are in use: a running weir would go on without its program, and all \
             traffic pass it by; stop that weir first, then detach"
        ));
    }
    match program::remove_own(interface, ifindex).map_err(|error| error.to_string())? {
        Some(removed) => println!("{interface}: program {} removed", removed.id),
        None => println!("{interface}: no program of Weir's there"),
    }
    Ok(())
}

fn manual() -> std::io::Result<()> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Arguments::command()).render(&mut page)?;
    std::io::Write::write_all(&mut std::io::stdout(), &page)
}
