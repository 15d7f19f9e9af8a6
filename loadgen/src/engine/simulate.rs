//! A run in time that is not real: for tests over ports in memory, where a second may pass in a millisecond.

use super::{Options, Plan, Ports, outcome};
use crate::engine::worker::{Turn, Worker};
use crate::error::Error;
use crate::profile::Profile;
use crate::result::RunResult;

/// Runs a profile as [`run`](super::run) does, with a clock that goes on by `step_ns` each turn. `between` is called
/// with the time before each turn: it may carry packets from one port to the other. All threads take their turns in
/// order.
///
/// # Errors
/// As [`run`](super::run).
pub fn simulate(
    profile: &Profile,
    ports: &mut Ports,
    options: &Options,
    step_ns: u64,
    between: &mut dyn FnMut(u64),
) -> Result<RunResult, Error> {
    let mut plan = Plan::new(profile, ports, options, 0)?;
    let mut workers: Vec<(Worker, bool)> =
        std::mem::take(&mut plan.workers).into_iter().map(|worker| (worker, false)).collect();
    let mut now_ns = 0;
    while !workers.iter().all(|(_, is_over)| *is_over) {
        between(now_ns);
        for (worker, is_over) in workers.iter_mut().filter(|(_, is_over)| !is_over) {
            *is_over = worker.turn(now_ns) == Turn::Over;
        }
        now_ns += step_ns;
    }
    let workers: Vec<Worker> = workers.into_iter().map(|(worker, _)| worker).collect();
    let result = outcome::assemble(profile, options, &workers, outcome::Outside::default());
    ports.equipment = workers.into_iter().map(Worker::into_equipment).collect();
    Ok(result)
}
