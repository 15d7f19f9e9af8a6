//! Going before others on a machine that is shared.

use std::fs;

use weir_tests::{Error, Result};

/// How the scheduler weighs our session against others.
const AUTOGROUP: &str = "/proc/self/autogroup";

/// This session goes before others until this is dropped. `nice` alone does not: the scheduler
/// weighs sessions first (sched(7), autogroup).
#[derive(Debug)]
pub struct Urgency(());

impl Urgency {
    /// Takes precedence.
    ///
    /// # Errors
    /// When the kernel has no autogroups, or the rights are missing.
    pub fn take() -> Result<Self> {
        fs::write(AUTOGROUP, "-20").map_err(Error::io(format!("write {AUTOGROUP}")))?;
        Ok(Self(()))
    }
}

impl Drop for Urgency {
    fn drop(&mut self) {
        if let Err(error) = fs::write(AUTOGROUP, "0") {
            eprintln!("this session stays before others: {error}");
        }
    }
}
