//! `cargo verify`: every check there is, in one command.
//!
//! It installs what is missing, then runs, with a heading each: format, lints, documentation, the
//! rings under loom and Miri, all tests, and the lab. The last line says how many tests and checks
//! of the lab passed, failed and were skipped; a step that fails without naming a test (a lint, a
//! build) counts as one failed. What is skipped is listed with its reason.
//!
//! Exit status: 0 when nothing failed, 1 when something did, 2 when it could not start, 130 on
//! Ctrl-C.

mod count;
mod null_device;
mod steps;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use weir_tests::console::{Console, Stream, Tone};
use weir_tests::{Error, Result, interrupt, netns, packages, skip};

use crate::count::Tally;
use crate::steps::STEPS;

/// Everything together must end within half an hour, on two cores.
const ALL_MAX: Duration = Duration::from_secs(28 * 60);

/// Runs every check of the repository: format, lints, documentation, tests, the lab
#[derive(Debug, Parser)]
#[command(name = "cargo verify", bin_name = "cargo verify")]
struct Args {
    /// Without root: run what works without it, list the rest as skipped
    #[arg(long)]
    unprivileged: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::new(Stream::Output);
    match run(&args, &console) {
        Ok(tally) if tally.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(Error::Interrupted) => {
            console.line("Interrupted.");
            ExitCode::from(130)
        }
        Err(error) => {
            console.line(&format!("{} {error}", console.paint(Tone::Bad, "error:")));
            ExitCode::from(2)
        }
    }
}

/// Runs the steps and prints the closing lines.
fn run(args: &Args, console: &Console) -> Result<Tally> {
    let is_root = skip::is_root();
    if !is_root && !args.unprivileged {
        return Err(Error::Unmet(
            "many tests make network namespaces, which takes root. Run it as root, or: \
             sudo env \"PATH=$PATH\" cargo verify; or give --unprivileged (cargo verify \
             --unprivileged) to run what works without, the rest listed as skipped"
                .to_owned(),
        ));
    }
    interrupt::install()?;
    let wanted = [packages::BUILD, packages::LAB, packages::KERNEL, packages::TESTS];
    packages::install(console, wanted.into_iter().flatten().copied())?;
    null_device::check(console, is_root)?;
    if is_root {
        for name in netns::remove_stale()? {
            console.line(&format!("Removed {name}, left behind by a test that died."));
        }
    }

    let start = Instant::now();
    let mut total = Tally::default();
    let mut failed_steps = Vec::new();
    for (index, step) in STEPS.iter().enumerate() {
        interrupt::check()?;
        console.heading(&format!("{}/{}  {}", index + 1, STEPS.len(), step.title));
        let left = ALL_MAX.saturating_sub(start.elapsed());
        let tally = if step.needs_root && !is_root {
            Ok(step.skip(console, "needs root"))
        } else {
            step.run(console, left)
        };
        let tally = match tally {
            Err(error) if steps::ends_the_run(&error) => return Err(error),
            Err(error) => {
                console.line(&format!("{} {error}", console.paint(Tone::Bad, "error:")));
                Tally { failed: 1, ..Tally::default() }
            }
            Ok(tally) => tally,
        };
        if tally.failed > 0 {
            failed_steps.push(step.title);
        }
        total.add(tally);
    }
    close(console, &total, &failed_steps, start.elapsed());
    Ok(total)
}

/// Prints what was skipped, what failed, and the closing line.
fn close(console: &Console, total: &Tally, failed_steps: &[&str], took: Duration) {
    console.heading("What it came to");
    for skipped in &total.skipped {
        console.line(&console.paint(Tone::Note, &format!("   skipped  {skipped}")));
    }
    for step in failed_steps {
        console.line(&console.paint(Tone::Bad, &format!("   FAILED   {step}")));
    }
    console.line(&format!("   {} min {} s", took.as_secs() / 60, took.as_secs() % 60));
    console.line("");
    let Tally { passed, failed, skipped } = total;
    console.line(&format!("{passed} passed, {failed} failed, {} skipped", skipped.len()));
}
