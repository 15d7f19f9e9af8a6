//! What each rung of the ladder against floods is worth: attacks on a web server, its users beside them.
//!
//! ```text
//!   users: each apart, behind one address, in the attacker's net ─┐
//!                                                                 ├─ router ── Weir ── a server with a small backlog
//!   attack: one source, a /24, random sources, slow, pulses ──────┘
//! ```
//!
//! Five seconds of quiet, ten of attack, and twenty-five in which it ends. Time is virtual and dice are seeded: a play
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
use crate::attacks::rung::Rung;
use crate::attacks::segment::End;
use crate::chance::Seed;
use crate::oracle::number;
use crate::world::BOB;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND_NS: u64 = 1000 * MS;
/// How far time goes on at once.
pub(crate) const STEP_NS: u64 = 5 * MS;
/// The end of a play.
pub(crate) const ENDS_ALL_NS: u64 = 40 * SECOND_NS;
/// What is attacked.
pub(crate) const WEB: End = (BOB, 80);

#[test]
fn table() {
    let seed = number("WEIR_ATTACK_SEED", 0x5eed);
    let _seed = Seed(seed);
    let mut text = String::new();
    for rung in Rung::ALL {
        for attack in Attack::ALL {
            let Outcome { served, locked_out_ns, passed_permille, flows } = play(rung, attack, seed);
            writeln!(text, "{:16} {:15} {served:?} {} ms {passed_permille} {flows:?}", rung.name(), attack.name(), locked_out_ns / MS).expect("memory");
        }
    }
    println!("{text}");
}
