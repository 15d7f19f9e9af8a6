//! `[workers]`: how many, where, and how eager.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{ConfigError, WORKERS_MAX, range, refuse};
use crate::idle::IdleConfig;

/// Shortest spin after the last packet unless the configuration says otherwise, in microseconds.
const SPIN_US_MIN: i64 = 50;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileWorkers {
    count: i64,
    cores: Option<Vec<i64>>,
    spin_us_min: Option<i64>,
    spin_us_max: i64,
    always_spin: bool,
    flow_cache: i64,
}

impl Default for FileWorkers {
    fn default() -> Self {
        Self {
            count: 1,
            cores: None,
            spin_us_min: None,
            spin_us_max: 20_000,
            always_spin: false,
            flow_cache: 65_536,
        }
    }
}

pub(super) fn cores(workers: &FileWorkers) -> Result<Vec<Option<usize>>, ConfigError> {
    let max = i64::try_from(WORKERS_MAX).unwrap_or(i64::MAX);
    let count: usize = range("workers.count", workers.count, 1, max)?;
    let available: BTreeSet<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    let Some(cores) = &workers.cores else {
        if count > available.len() {
            let allowed = format!("1 to {}, a core for each", available.len());
            return refuse("workers.count", count, allowed);
        }
        // Core 0 also serves most interrupts, so the last cores are taken first.
        let mut free = available.into_iter().rev();
        return Ok((0..count).map(|_| free.next()).collect());
    };
    let shown = format!("{cores:?}");
    if cores.len() != count {
        return refuse("workers.cores", shown, format!("one core for each of the {count} workers"));
    }
    let mut taken = BTreeSet::new();
    for &core in cores {
        let usable = usize::try_from(core).ok().filter(|core| available.contains(core));
        if !usable.is_some_and(|core| taken.insert(core)) {
            return refuse("workers.cores", shown, format!("different cores out of {available:?}"));
        }
    }
    Ok(cores.iter().map(|&core| usize::try_from(core).ok()).collect())
}

pub(super) fn idle(workers: &FileWorkers) -> Result<IdleConfig, ConfigError> {
    let max: u64 = range("workers.spin_us_max", workers.spin_us_max, 0, 1_000_000)?;
    let min = workers.spin_us_min.unwrap_or(SPIN_US_MIN.min(workers.spin_us_max));
    let min: u64 = range("workers.spin_us_min", min, 0, 1_000_000)?;
    if min > max {
        let allowed = format!("at most workers.spin_us_max = {max}");
        return refuse("workers.spin_us_min", min, allowed);
    }
    let spin_ns_max = if workers.always_spin { u64::MAX } else { max * 1000 };
    Ok(IdleConfig { spin_ns_min: min * 1000, spin_ns_max })
}

pub(super) fn flow_cache(workers: &FileWorkers) -> Result<usize, ConfigError> {
    range("workers.flow_cache", workers.flow_cache, 0, 1 << 22)
}
