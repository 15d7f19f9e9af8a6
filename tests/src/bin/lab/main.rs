//! `cargo lab`: the seed's lab in one command.
//!
//! It installs what is missing, builds Weir, makes three hosts out of network namespaces (see
//! `setup.rs`), plays the exercises (`exercise.rs`) for real, prints a table and removes everything
//! again, on Ctrl-C too. `--keep` leaves the lab standing for you, `--down` removes it.
//! `--engine kernel` plays the same exercises on the kernel's own forwarding and netfilter: the
//! proof that the exercises ask of Weir what the kernel does, and nothing else.
//!
//! Exit status: 0 when everything was as expected, 1 when something was not, 2 when the lab could
//! not be set up or broke, 130 on Ctrl-C.

mod dos;
mod exercise;
mod fuzzy;
mod play;
mod report;
mod setup;
mod street;
mod tools;

use std::process::ExitCode;

use clap::Parser;
use weir_tests::console::{Console, Stream, Tone};
use weir_tests::weir::{Binaries, Profile};
use weir_tests::{Error, Result, interrupt, netns, packages, skip};

use crate::exercise::{EXERCISES, Exercise};
use crate::play::{Check, Played, Player};
use crate::report::Report;
use crate::setup::{Engine, Lab, Owner, Standing};

/// Plays the exercises of the firewall lab, in network namespaces of its own
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", args_conflicts_with_subcommands = true)]
struct Args {
    /// Something else than exercises
    #[command(subcommand)]
    study: Option<Study>,
    /// Play only these exercises (see --list)
    #[arg(value_name = "EXERCISE", value_parser = exercise_names())]
    exercises: Vec<String>,
    /// What forwards the packets
    #[arg(long, value_enum, default_value = "weir")]
    engine: Engine,
    /// Leave the lab standing afterwards, and say how to walk around in it
    #[arg(long)]
    keep: bool,
    /// Remove a lab that was left standing, and what crashed runs left behind
    #[arg(long, conflicts_with_all = ["exercises", "keep", "list"])]
    down: bool,
    /// List the exercises
    #[arg(long)]
    list: bool,
    /// Print the results as JSON on standard output, everything else on standard error
    #[arg(long)]
    json: bool,
}

/// What the lab measures.
#[derive(Debug, clap::Subcommand)]
enum Study {
    /// Floods a server behind one protection after the other, and says what its users got
    Dos(dos::DosArgs),
    /// Offers the fuzzy rule a stream at rising rates, and compares what it accepts with the module of 2002
    Fuzzy(fuzzy::FuzzyArgs),
}

impl Study {
    /// Whether standard output is for JSON.
    fn prints_json(&self) -> bool {
        matches!(self, Self::Fuzzy(study) if study.json)
    }
}

/// The names of the exercises, as values that the command line takes.
fn exercise_names() -> impl clap::builder::TypedValueParser<Value = String> {
    clap::builder::PossibleValuesParser::new(EXERCISES.iter().map(|exercise| exercise.name))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json || args.study.as_ref().is_some_and(Study::prints_json);
    let console = Console::new(if json { Stream::Error } else { Stream::Output });
    match run(&args, &console) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(Error::Interrupted) => {
            console.line("Interrupted; everything is cleaned up.");
            ExitCode::from(130)
        }
        Err(error) => {
            console.line(&format!("{} {error}", console.paint(Tone::Bad, "error:")));
            ExitCode::from(2)
        }
    }
}

/// Does what the arguments ask for. Says whether everything was as expected.
fn run(args: &Args, console: &Console) -> Result<bool> {
    match &args.study {
        Some(Study::Dos(study)) => return dos::run(study, console),
        Some(Study::Fuzzy(study)) => return fuzzy::run(study, console),
        None => {}
    }
    if args.list {
        list(args, console)?;
        return Ok(true);
    }
    if !skip::is_root() {
        return Err(Error::Unmet(
            "the lab makes network namespaces, which takes root. Run it as root, or: \
             sudo env \"PATH=$PATH\" cargo lab"
                .to_owned(),
        ));
    }
    interrupt::install()?;
    if args.down {
        return take_down(console);
    }
    let built = prepare(args, console)?;

    console.heading("Three hosts");
    let mut lab = console.working("building the lab", || Lab::build(built.as_ref(), args.keep))?;
    console.paragraph("   ", THREE_HOSTS);
    let chosen: Vec<&Exercise> = EXERCISES
        .iter()
        .filter(|exercise| {
            args.exercises.is_empty() || args.exercises.iter().any(|name| name == exercise.name)
        })
        .collect();
    let (chosen, not): (Vec<_>, Vec<_>) = chosen
        .into_iter()
        .partition(|exercise| args.engine == Engine::Weir || !exercise.is_of_weir_alone());
    for exercise in not {
        console.line(&format!("SKIPPED: {}: the kernel has no such match", exercise.name));
    }
    let mut played = play(&mut lab, console, &chosen)?;
    if !args.keep {
        played.extend(stop(&mut lab)?);
    }
    let report = Report::new(name_of(args.engine), played);
    report.print(console);
    if args.json {
        print_json(&report)?;
    }
    if args.keep {
        console.heading("The lab is left standing");
        lab.instructions().iter().for_each(|line| console.line(&format!("   {line}")));
        lab.keep();
    }
    Ok(report.ok())
}

/// What stands, in words.
const THREE_HOSTS: &str = "Alice (10.0.0.2, and the rest of 10.0.0.0/24: the world), the firewall \
    (10.0.0.1 on enp0s8, 192.168.0.1 on enp0s3), Bob (192.168.0.2, his web server running).";

/// Clears away what the dead left, installs what is missing, builds Weir.
fn prepare(args: &Args, console: &Console) -> Result<Option<Binaries>> {
    let wanted = packages::LAB.iter();
    let binaries = match args.engine {
        Engine::Weir => {
            packages::install(console, wanted.chain(packages::BUILD).copied())?;
            console.line("Building Weir (release).");
            Some(Binaries::build(Profile::Release)?)
        }
        Engine::Kernel => {
            packages::install(console, wanted.chain(packages::KERNEL).copied())?;
            None
        }
    };
    for name in Standing::find(setup::is_dead)?.remove()? {
        console.line(&format!("Removed {name}, left behind by a run that died."));
    }
    for name in netns::remove_stale()? {
        console.line(&format!("Removed {name}, left behind by a test that died."));
    }
    if args.keep && !Standing::find(|owner| owner == Owner::Kept)?.is_empty() {
        return Err(Error::Unmet(
            "a lab is standing already. Remove it first: cargo lab --down".to_owned(),
        ));
    }
    Ok(binaries)
}

/// Plays the exercises, a heading each.
fn play(lab: &mut Lab, console: &Console, chosen: &[&Exercise]) -> Result<Vec<Played>> {
    let mut player = Player::new(lab, console);
    let mut played = Vec::new();
    for (index, exercise) in chosen.iter().enumerate() {
        console.heading(&format!("{}/{}  {}", index + 1, chosen.len(), exercise.title));
        console.paragraph("   ", exercise.story);
        played.push(player.play(exercise)?);
    }
    Ok(played)
}

/// Ends Weir as an operator would; that it ends well is a check too.
fn stop(lab: &mut Lab) -> Result<Option<Played>> {
    let Some(status) = lab.stop_engine()? else { return Ok(None) };
    let check = Check {
        did: "kill -TERM weir".to_owned(),
        expected: "it ends with status 0".to_owned(),
        saw: status.to_string(),
        expected_brief: "status 0".to_owned(),
        saw_brief: status.code().map_or(status.to_string(), |code| format!("status {code}")),
        ok: status.success(),
    };
    Ok(Some(Played::new("shutdown", "Weir is stopped", vec![check])))
}

/// Removes a kept lab, and what crashed runs left.
fn take_down(console: &Console) -> Result<bool> {
    let standing = Standing::find(|owner| owner == Owner::Kept || setup::is_dead(owner))?;
    if standing.is_empty() {
        console.line("No lab is standing.");
    }
    for name in standing.remove()? {
        console.line(&format!("Removed {name}."));
    }
    for pid in setup::running()? {
        console.line(&format!("A lab is running as process {pid}; it cleans up by itself."));
    }
    Ok(true)
}

/// Lists the exercises.
fn list(args: &Args, console: &Console) -> Result<()> {
    if args.json {
        let list: Vec<_> = EXERCISES
            .iter()
            .map(|exercise| serde_json::json!({"name": exercise.name, "title": exercise.title}))
            .collect();
        return print_json(&list);
    }
    for exercise in EXERCISES {
        let name = console.paint(Tone::Command, &format!("{:<12}", exercise.name));
        console.line(&format!("{name} {}", exercise.title));
        console.paragraph("             ", exercise.story);
    }
    Ok(())
}

/// Prints a value as JSON on standard output.
fn print_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Error::Io {
        what: "write the results as JSON".to_owned(),
        source: error.into(),
    })?;
    println!("{text}");
    Ok(())
}

/// The name of an engine, as on the command line.
fn name_of(engine: Engine) -> &'static str {
    match engine {
        Engine::Weir => "weir",
        Engine::Kernel => "kernel",
    }
}
