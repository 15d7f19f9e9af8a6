//! What each rung of the ladder against floods is worth: attacks on a web server, its users beside them.
//!
//! ```text
//!   users: each apart, behind one address, in the attacker's net ─┐
//!                                                                 ├─ router ── Weir ── a server with a small backlog
//!   attack: one source, a /24, random sources, slow, pulses ──────┘
//! ```
//!
//! Five seconds of quiet, ten of attack, and fifteen in which it ends. Time is virtual and dice are seeded: a play
//! is the same every time (`WEIR_ATTACK_SEED` is another one). `cargo test -p weir-dataplane --test engine -- attacks
//! --nocapture` prints the table.

pub(crate) mod flood;
pub(crate) mod play;
pub(crate) mod rung;
pub(crate) mod segment;
pub(crate) mod server;
pub(crate) mod users;

use std::fmt::Write;

use crate::attacks::flood::Attack;
use crate::attacks::play::{Outcome, play};
use crate::attacks::rung::{Rung, Worth};
use crate::attacks::segment::End;
use crate::attacks::users::Group;
use crate::chance::Seed;
use crate::oracle::number;
use crate::world::BOB;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND_NS: u64 = 1000 * MS;
/// How far time goes on at once.
pub(crate) const STEP_NS: u64 = 5 * MS;
/// The end of a play.
pub(crate) const ENDS_ALL_NS: u64 = 30 * SECOND_NS;
/// What is attacked.
pub(crate) const WEB: End = (BOB, 80);

/// An attack on all rungs.
fn on_all_rungs(attack: Attack) {
    let seed = number("WEIR_ATTACK_SEED", 0x5eed);
    let _seed = Seed(seed);
    let mut table = format!("attack: {}, seed {seed:#x}\n{HEAD}\n", attack.name());
    let outcomes = Rung::ALL.map(|rung| (rung, play(rung, attack, seed)));
    for (rung, outcome) in &outcomes {
        writeln!(table, "{:15} {}", rung.name(), row(outcome)).expect("memory");
    }
    println!("{table}");
    for (rung, Outcome { served, locked_out_ns, .. }) in outcomes {
        let place = Attack::ALL.iter().position(|other| *other == attack).expect("one of them");
        for (group, (served, _)) in Group::ALL.into_iter().zip(served) {
            let expected = match (rung.worth()[place], group) {
                (Worth::Most, Group::Apart) => 60..=94,
                (Worth::All | Worth::Most, _)
                | (Worth::Others, Group::Apart | Group::Neighbours) => 95..=100,
                (Worth::None, _) | (Worth::Others, Group::Shared) => 0..=80,
            };
            assert!(expected.contains(&served), "{}: {group:?} {served} %\n{table}", rung.name());
        }
        // Where the attack came through, users are many afterwards: they all try again.
        let (lost_ms, at_most_ms) = (locked_out_ns / MS, rung.recovery_ns() / MS);
        let recovers = lost_ms <= at_most_ms || rung.worth()[place] == Worth::None;
        assert!(recovers, "{}: {lost_ms} ms, not {at_most_ms}\n{table}", rung.name());
    }
}

const HEAD: &str = "rung            users served, at once: apart, shared, neighbours   locked out   passed   flows";

fn row(outcome: &Outcome) -> String {
    let Outcome { served, locked_out_ns, passed_permille, flows: [before, during] } = outcome;
    let served = served.map(|(served, at_once)| format!("{served:4}% {at_once:3}%")).join("  ");
    let (lost_ms, passed) = (locked_out_ns / MS, *passed_permille);
    format!("{served:>46} {lost_ms:>9} ms {:>5}.{} % {before} {during}", passed / 10, passed % 10)
}

#[test]
fn one_source() {
    on_all_rungs(Attack::OneSource);
}

#[test]
fn a_net() {
    on_all_rungs(Attack::Subnet);
}

#[test]
fn random_sources() {
    on_all_rungs(Attack::Spoofed);
}

#[test]
fn slow_and_low() {
    on_all_rungs(Attack::Slow);
}

#[test]
fn pulses_in_the_name_of_users() {
    on_all_rungs(Attack::Pulse);
}
