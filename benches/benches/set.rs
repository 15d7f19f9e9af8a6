//! Sets of addresses at 1 k, 64 k and a million entries: look-ups, beside `std`'s `HashSet`; changes and whole files,
//! beside the kernel's ipset.
//!
//! ```text
//!   cargo bench -p weir-benches --bench set
//! ```
//!
//! Nanoseconds a look-up, best and median of samples of 16,384 addresses that are drawn anew, half of them in the set.
//! The samples of all contenders come in turns. `HashSet` is what a naive program would have; nothing can be changed
//! in it while another thread looks, and nothing swapped. A change is what the daemon's control thread does for one:
//! reading, a copy of the sets, the change, and the old ones thrown away. That of ipset has the start of a process and
//! the kernel's answer in it, so it is taken beside for whole files only. Needs root and ipset for that, else prints
//! SKIPPED.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};
use std::time::Instant;

use weir_benches::flows::Draw;
use weir_benches::statistics::Summary;
use weir_control::rule::Names;
use weir_control::set::{SetChange, SetCommand, SetName, restore};
use weir_dataplane::set::{Found, Set, Sets};

const SIZES: [u32; 3] = [1_000, 65_536, 1_000_000];

/// Look-ups of a sample, samples of one contender before it is the other's turn, and turns.
const SAMPLE: u32 = 1 << 14;
const SAMPLES: usize = 32;
const TURNS: usize = 3;

/// Changes that are timed.
const CHANGES: u32 = 2_000;

/// Lengths of prefixes: a blocklist has most of its nets between these.
const LENGTHS: [u8; 8] = [16, 19, 20, 21, 22, 23, 24, 32];

fn main() {
    println!("ns, best / median");
    SIZES.into_iter().for_each(addresses);
    SIZES.into_iter().for_each(nets);
    SIZES.into_iter().for_each(changes);
    files(1_000_000);
}

/// The address of a number: all different, and none near another.
fn address(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1) | 1
}

fn create(kind: &str) -> String {
    format!("create s {kind} maxelem 2000000\n")
}

/// The text of a set of addresses. Half of the numbers up to twice `size` are in it.
fn saved_addresses(size: u32) -> String {
    let mut text = create("hash:ip");
    for number in 0..size {
        let _ = writeln!(text, "add s {}", Ipv4Addr::from(address(number * 2)));
    }
    text
}

fn saved_nets(size: u32) -> String {
    let mut text = create("hash:net");
    for (number, length) in (0..size).zip(LENGTHS.into_iter().cycle()) {
        let _ = writeln!(text, "add s {}/{length} -exist", Ipv4Addr::from(address(number * 2)));
    }
    text
}

fn changes_of(text: &str) -> Vec<SetChange> {
    let plan = restore::read(text.as_bytes(), false, &Names::builtin(), &|_| None);
    plan.expect("lines of a saved set").changes
}

fn sets(text: &str) -> Sets {
    Sets::new(1).after(&changes_of(text), 0, &|_| 0).expect("it can be carried out")
}

fn ip(address: u32) -> IpAddr {
    Ipv4Addr::from(address).into()
}

fn name() -> SetName {
    "s".parse().expect("a name")
}

fn set(sets: &Sets) -> &Set {
    sets.place_of(&name()).and_then(|place| sets.at(place)).expect("it is there")
}

/// Takes samples: nanoseconds a look-up.
fn samples(into: &mut Vec<f64>, draw: &mut Draw, size: u32, mut find: impl FnMut(u32) -> bool) {
    for _ in 0..SAMPLES {
        let asked: Vec<u32> = (0..SAMPLE).map(|_| address(draw.below(size * 2))).collect();
        let start = Instant::now();
        for asked in &asked {
            black_box(find(black_box(*asked)));
        }
        into.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(SAMPLE));
    }
}

fn addresses(size: u32) {
    let sets = sets(&saved_addresses(size));
    let set = set(&sets);
    let naive: HashSet<u32> = (0..size).map(|number| address(number * 2)).collect();
    let (mut ours, mut theirs, mut draw) = (Vec::new(), Vec::new(), Draw::default());
    for _ in 0..TURNS {
        samples(&mut ours, &mut draw, size, |address| set.find_address(ip(address)) == Found::Yes);
        samples(&mut theirs, &mut draw, size, |address| naive.contains(&address));
    }
    let header = sets.headers(&|_| 0).remove(0);
    println!(
        "hash:ip of {size}: {}, HashSet {}; {:.1} bytes an entry",
        shown(&ours),
        shown(&theirs),
        header.memory_bytes as f64 / header.entries as f64,
    );
}

fn nets(size: u32) {
    let sets = sets(&saved_nets(size));
    let set = set(&sets);
    let mask = |address: u32, length: u8| address & (u32::MAX << (32 - length));
    let nets = (0..size).zip(LENGTHS.into_iter().cycle());
    let naive: HashSet<(u8, u32)> =
        nets.map(|(number, length)| (length, mask(address(number * 2), length))).collect();
    let (mut ours, mut theirs, mut draw) = (Vec::new(), Vec::new(), Draw::default());
    for _ in 0..TURNS {
        samples(&mut ours, &mut draw, size, |address| set.find_in_nets(ip(address)) == Found::Yes);
        samples(&mut theirs, &mut draw, size, |address| {
            LENGTHS.iter().rev().any(|length| naive.contains(&(*length, mask(address, *length))))
        });
    }
    println!("hash:net of {size}, 8 lengths: {}, HashSet {}", shown(&ours), shown(&theirs));
}

/// One entry comes and goes.
fn changes(size: u32) {
    let mut sets = sets(&saved_addresses(size));
    let (mut added, mut deleted) = (Vec::new(), Vec::new());
    let mut draw = Draw::default();
    for _ in 0..CHANGES {
        let entry = Ipv4Addr::from(address(draw.below(size) * 2 + 1)).to_string();
        let entries = vec![entry];
        let add = SetCommand::Add { name: name(), entries: entries.clone() };
        let delete = SetCommand::Delete { name: name(), entries };
        for (command, times) in [(add, &mut added), (delete, &mut deleted)] {
            let change = [SetChange { command, exist: false }];
            let start = Instant::now();
            sets = sets.after(&change, 0, &|_| 0).expect("it can be carried out");
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    println!("one entry of {size}: added {} us, deleted {} us", shown(&added), shown(&deleted));
}

/// A file is read and carried out.
fn files(size: u32) {
    let text = saved_addresses(size);
    let (mut ours, mut theirs, mut skipped) = (Vec::new(), Vec::new(), None);
    for _ in 0..TURNS {
        let start = Instant::now();
        black_box(sets(&text));
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        match ipset_restore(&text) {
            Ok(ms) => theirs.push(ms),
            Err(reason) => skipped = Some(reason),
        }
    }
    println!("restore of {size}: {} ms", shown(&ours));
    match skipped {
        Some(reason) => println!("    ipset restore: SKIPPED: {reason}"),
        None => println!("    ipset restore: {} ms", shown(&theirs)),
    }
}

/// Milliseconds of `ipset restore` in a namespace of its own.
fn ipset_restore(text: &str) -> Result<f64, String> {
    let start = Instant::now();
    let mut child = Command::new("unshare")
        .args(["-n", "ipset", "restore"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("unshare: {error}"))?;
    let stdin = child.stdin.take();
    let written = stdin.ok_or("no standard input")?.write_all(text.as_bytes());
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() || written.is_err() {
        return Err("needs root and ipset".to_owned());
    }
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Best and median.
fn shown(values: &[f64]) -> String {
    Summary::of(values)
        .map_or("nothing".to_owned(), |all| format!("{:.1} / {:.1}", all.min, all.median))
}
