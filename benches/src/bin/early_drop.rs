//! What early drop costs, and how fast it drops.
//!
//! ```text
//!   cargo run --release -p weir-benches --bin early_drop -- --urgent
//!   ... -- --object old.o     also another build of the program: one from before, say
//! ```
//!
//! First each program by itself: `BPF_PROG_TEST_RUN` on one packet, some hundred thousand times, in nanoseconds as
//! the kernel measures them. The packet is of a source that no entry is about (what everybody pays), or of a blocked
//! one.
//!
//! Then packets a second on a veth pair: the kernel sends live frames from one end, as fast as it can, all of one
//! source, or each of one drawn from 10,000; the other end has the program. The bar is a program that does nothing but
//! drop, and counts nothing. Generator and program run on one core, one after the other, so a packet's time is that of
//! both; ratios are taken within a round, and every second round runs backwards.

use std::fs;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use libbpf_rs::{Object, ObjectBuilder, ProgramInput, Xdp, XdpFlags};
use weir_benches::statistics::Summary;
use weir_dataplane::early_drop::{
    Condition, ConditionNumber, EarlyDrop, FOR_EVER, Hook, Net, Pushed, Sizes,
};
use weir_dataplane::program::{AttachMode, EarlyMaps, OnExit, Program, ProgramConfig};
use weir_tests::netns::{Namespace, Veth};

type Failed = Box<dyn std::error::Error>;

/// `BPF_F_TEST_XDP_LIVE_FRAMES` in `linux/bpf.h`.
const LIVE_FRAMES: u32 = 1 << 1;

/// Sources that entries are about, and that packets come from, or the first of them: 198.18.0.0 and as many after it.
const SOURCES: u32 = 10_000;
const FIRST_SOURCE: u32 = 0xc612_0000;

const SIZES: Sizes = Sizes { sources_max: 16_384, prefixes_max: 1_024 };

/// Does nothing but drop.
const BARE: &str = "__attribute__((section(\"xdp\"), used)) int bare(void *ctx) { return 1; }\n\
    char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";\n";

/// Draws a source for each frame and sends it out of the device that it is said to have come by.
const GENERATOR: &str = "
struct xdp_md { unsigned data, data_end; };
static unsigned (*draw)(void) = (void *)7; /* bpf_get_prandom_u32 */
__attribute__((section(\"xdp\"), used)) int generator(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 34 > end)
		return 0;
	*(unsigned *)(data + 26) = __builtin_bswap32(FIRST_SOURCE + draw() % SOURCES);
	return 3; /* XDP_TX */
}
char LICENSE[] __attribute__((section(\"license\"), used)) = \"GPL\";
";

#[derive(Debug, Parser)]
struct Options {
    /// Rounds: each contender runs once in each.
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Packets of a run on the veth.
    #[arg(long, default_value_t = 3_000_000)]
    packets: u32,
    /// Times that a program is run by itself, in each round.
    #[arg(long, default_value_t = 300_000)]
    repeat: u32,
    /// An object file with another build of the program.
    #[arg(long, value_name = "FILE")]
    object: Option<PathBuf>,
    /// Go before what other sessions of this machine do (autogroup nice -20).
    #[arg(long)]
    urgent: bool,
}

/// What stands in the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lists {
    /// Nothing.
    Empty,
    /// So many addresses; `bool`: those that packets come from.
    Addresses(u32, bool),
    /// So many prefixes, likewise.
    Prefixes(u32, bool),
    /// All sources, pushed by the limiter, with a condition that all packets meet.
    Pushed,
}

impl Lists {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Addresses(1, false),
        Self::Addresses(SOURCES, false),
        Self::Prefixes(1, false),
        Self::Prefixes(1_000, false),
        Self::Addresses(SOURCES, true),
        Self::Prefixes(1, true),
        Self::Pushed,
    ];

    fn name(self) -> String {
        let of = |blocked| if blocked { "blocked" } else { "of others" };
        match self {
            Self::Empty => "lists empty".to_owned(),
            Self::Addresses(count, blocked) => format!("{count} addresses {}", of(blocked)),
            Self::Prefixes(count, blocked) => format!("{count} prefixes {}", of(blocked)),
            Self::Pushed => format!("{SOURCES} addresses pushed"),
        }
    }

    fn load(self) -> Result<Program, Failed> {
        let maps = Arc::new(EarlyMaps::new(SIZES)?);
        let config = ProgramConfig::forwarding(OnExit::Drop);
        let program = Program::load_sharing(config, Some(&maps))?;
        let mut lists = EarlyDrop::new(maps, SIZES);
        let source = |blocked: bool, number: u32| {
            let first = if blocked { FIRST_SOURCE } else { 0x0a00_0000 };
            IpAddr::from((first + number).to_be_bytes())
        };
        let prefix = |address, len| Net::new(address, len).ok_or("no such length");
        match self {
            Self::Empty => {}
            Self::Addresses(count, blocked) => {
                for number in 0..count {
                    lists.block(Net::host(source(blocked, number)), FOR_EVER, None, 0)?;
                }
            }
            Self::Prefixes(count, blocked) => {
                for number in 0..count {
                    let len = if blocked { 15 } else { 24 };
                    let net = prefix(source(blocked, number << 8), len)?;
                    lists.block(net, FOR_EVER, None, 0)?;
                }
            }
            Self::Pushed => {
                let condition = ConditionNumber::all().next().ok_or("no condition")?;
                let all = prefix([0; 4].into(), 0)?;
                let meaning = Condition {
                    protocol: Some(17),
                    destination_ports: (53, 53),
                    ..Condition::any(Hook::Forward, all)
                };
                lists.set_condition(condition, Some(meaning), 0)?;
                let batch: Vec<Pushed> = (0..SOURCES)
                    .map(|number| Pushed {
                        source: Net::host(source(true, number)),
                        acceptance: 1,
                        until_ns: FOR_EVER - 1,
                        condition,
                    })
                    .collect();
                let refused =
                    lists.push(&batch, 0)?.iter().filter(|outcome| outcome.is_err()).count();
                assert_eq!(refused, 0, "all are pushed");
            }
        }
        Ok(program)
    }
}

/// A UDP packet of 60 bytes from the first source.
fn packet() -> Vec<u8> {
    let mut packet = vec![0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 2, 0x08, 0x00];
    packet.extend([0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet.extend(FIRST_SOURCE.to_be_bytes());
    packet.extend([198, 19, 0, 2, 0x30, 0x39, 0, 53, 0, 26, 0, 0]);
    packet.resize(60, 0);
    packet
}

fn compile(folder: &Path, name: &str, source: &str, sources: u32) -> Result<Object, Failed> {
    let (from, to) = (folder.join(format!("{name}.c")), folder.join(format!("{name}.o")));
    fs::write(&from, source)?;
    let clang = std::env::var("CLANG").unwrap_or_else(|_| "clang".to_owned());
    let status = Command::new(clang)
        .args(["-O2", "-g", "-target", "bpf", "-mcpu=v2", "-c"])
        .arg(format!("-DSOURCES={sources}"))
        .arg(format!("-DFIRST_SOURCE={FIRST_SOURCE}U"))
        .args([&from, Path::new("-o"), &to])
        .status()?;
    if !status.success() {
        return Err(format!("clang: {status}").into());
    }
    Ok(ObjectBuilder::default().open_file(to)?.load()?)
}

/// Nanoseconds of one run.
fn time(object: &Object, repeat: u32) -> Result<f64, Failed> {
    let packet = packet();
    let input = ProgramInput { data_in: Some(&packet), repeat, ..ProgramInput::default() };
    let program = object.progs_mut().find(|program| program.section() == "xdp");
    Ok(program.ok_or("an object without an XDP program")?.test_run(input)?.duration.as_secs_f64()
        * 1e9)
}

/// A contender's name, and what each round says of it.
type Row = (String, Vec<f64>);

/// Runs contenders, backwards in every second round.
fn play(
    rounds: usize,
    names: Vec<String>,
    mut run: impl FnMut(usize) -> Result<f64, Failed>,
) -> Result<Vec<Row>, Failed> {
    let mut rows: Vec<Row> = names.into_iter().map(|name| (name, Vec::new())).collect();
    for round in 0..rounds {
        for turn in 0..rows.len() {
            let place = if round % 2 == 0 { turn } else { rows.len() - 1 - turn };
            let value = run(place)?;
            rows[place].1.push(value);
        }
    }
    Ok(rows)
}

fn print(title: &str, rows: &[Row]) {
    println!("{title}");
    let Some((_, first)) = rows.first() else { return };
    for (name, values) in rows {
        let ratios: Vec<f64> = values.iter().zip(first).map(|(one, first)| one / first).collect();
        let (Some(value), Some(ratio)) = (Summary::of(values), Summary::of(&ratios)) else {
            continue;
        };
        println!(
            "  {name:<28} {:>12.1} (best {:.1} / {:.1})   ratio to the first {:.3} ({:.3} to {:.3}, {:.0} %)",
            value.median,
            value.min,
            value.max,
            ratio.median,
            ratio.low,
            ratio.high,
            ratio.coverage * 100.0
        );
    }
}

fn alone(options: &Options, folder: &Path) -> Result<(), Failed> {
    let bare = compile(folder, "bare", BARE, 1)?;
    let other = match &options.object {
        Some(file) => Some(ObjectBuilder::default().open_file(file)?.load()?),
        None => None,
    };
    let programs: Vec<Program> =
        Lists::ALL.iter().map(|lists| lists.load()).collect::<Result<_, _>>()?;
    let mut names = vec!["bare XDP_DROP".to_owned()];
    names.extend(other.as_ref().map(|_| "the other object".to_owned()));
    let own = names.len();
    names.extend(Lists::ALL.iter().map(|lists| lists.name()));
    let rows = play(options.rounds, names, |place| match (place.checked_sub(own), &other) {
        (Some(place), _) => {
            Ok(programs[place].time(&packet(), options.repeat)?.as_secs_f64() * 1e9)
        }
        (None, Some(other)) if place == 1 => time(other, options.repeat),
        (None, _) => time(&bare, options.repeat),
    })?;
    print("one run of the program, ns", &rows);
    Ok(())
}

/// Packets that the sink's device has handed to its program.
fn received(sink: &Namespace) -> Result<u64, Failed> {
    Ok(sink.run("cat /sys/class/net/s0/statistics/rx_packets")?.trim().parse()?)
}

fn live(options: &Options, folder: &Path, sources: u32) -> Result<(), Failed> {
    let (generating, sink) = (Namespace::unique("early-gen")?, Namespace::unique("early-sink")?);
    Veth::between(&generating, "g0", &sink, "s0").create()?;
    let generator = compile(folder, "generator", GENERATOR, sources)?;
    let bare = compile(folder, "bare", BARE, 1)?;
    let index = |namespace: &Namespace, device: &str| -> Result<u32, Failed> {
        let _inside = namespace.enter()?;
        Ok(af_xdp::nic::ifindex(device)?)
    };
    let (from, to) = (index(&generating, "g0")?, index(&sink, "s0")?);
    let contenders: Vec<Option<Lists>> =
        std::iter::once(None).chain(Lists::ALL.map(Some)).collect();
    let name =
        |lists: &Option<Lists>| lists.map_or_else(|| "bare XDP_DROP".to_owned(), Lists::name);
    let names = contenders.iter().map(name).collect();
    let rows = play(options.rounds, names, |place| {
        let run = || -> Result<f64, Failed> {
            let before = received(&sink)?;
            let began = Instant::now();
            {
                let _inside = generating.enter()?;
                send(&generator, from, options.packets)?;
            }
            let seconds = began.elapsed().as_secs_f64();
            // More than a double holds exactly would take a century.
            Ok(f64::from(u32::try_from(received(&sink)? - before)?) / seconds / 1e6)
        };
        match contenders[place] {
            None => {
                let program = bare.progs_mut().next().ok_or("no program")?;
                let xdp = Xdp::new(program.as_fd());
                let to = i32::try_from(to)?;
                let inside = sink.enter()?;
                xdp.attach(to, XdpFlags::DRV_MODE)?;
                drop(inside);
                let outcome = run();
                let _inside = sink.enter()?;
                xdp.detach(to, XdpFlags::DRV_MODE)?;
                outcome
            }
            Some(lists) => {
                let mut program = lists.load()?;
                let inside = sink.enter()?;
                let attachment = program.attach("s0", to, AttachMode::Driver)?;
                drop(inside);
                let outcome = run();
                let _inside = sink.enter()?;
                attachment.remove()?;
                outcome
            }
        }
    })?;
    print(&format!("packets a second of {sources} source(s) on a veth pair, millions"), &rows);
    Ok(())
}

/// Sends live frames out of a device of this namespace.
fn send(generator: &Object, ifindex: u32, packets: u32) -> Result<(), Failed> {
    let packet = packet();
    let length = u32::try_from(packet.len())?;
    // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
    let mut context: Vec<u8> =
        [0, length, 0, ifindex, 0, 0].iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
    let input = ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(&packet),
        flags: LIVE_FRAMES,
        repeat: packets,
        ..ProgramInput::default()
    };
    generator.progs_mut().next().ok_or("no program")?.test_run(input)?;
    Ok(())
}

fn run(options: &Options) -> Result<(), Failed> {
    weir_tests::netns::remove_stale()?;
    let folder = tempfile::tempdir()?;
    alone(options, folder.path())?;
    live(options, folder.path(), 1)?;
    live(options, folder.path(), SOURCES)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let urgency = options.urgent.then(weir_benches::Urgency::take);
    if let Some(Err(error)) = &urgency {
        eprintln!("early_drop: not urgent: {error}");
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("early_drop: {error}");
            ExitCode::FAILURE
        }
    }
}
