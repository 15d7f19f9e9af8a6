//! Ctrl-C as a flag.
//!
//! The handler only sets a flag; whoever works asks between steps and while waiting, and leaves by
//! the ordinary way of an error, so that every `Drop` on the way runs. A second Ctrl-C ends the
//! process at once; what that leaves behind, the next run removes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{Error, Result};

/// Set by the first signal, never cleared.
static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The exit status of a program ended by Ctrl-C, as shells count: 128 + SIGINT.
pub const EXIT_STATUS: i32 = 130;

/// Installs the handlers of SIGINT, SIGTERM and SIGHUP. Calling it twice does nothing more.
///
/// # Errors
///
/// [`Error::Io`] when the system refuses a handler.
pub fn install() -> Result<()> {
    if REQUESTED.get().is_some() {
        return Ok(());
    }
    let flag = REQUESTED.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: at the first signal the flag is still unset when the first of the two
        // looks at it.
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_STATUS, Arc::clone(flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(flag)))
            .map_err(Error::io("install the handler of Ctrl-C"))?;
    }
    Ok(())
}

/// Whether the user asked to stop.
#[must_use]
pub fn requested() -> bool {
    REQUESTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Goes on, unless the user asked to stop.
///
/// # Errors
///
/// [`Error::Interrupted`] once a signal has come.
pub fn check() -> Result<()> {
    if requested() { Err(Error::Interrupted) } else { Ok(()) }
}
