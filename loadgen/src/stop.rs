//! Ctrl-C as a flag that the loops ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::error::Error;

/// Whether the user asked to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether to stop now.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets the flag at SIGINT, SIGTERM and SIGHUP. A second signal ends the process at once; the
/// kernel then takes sockets and program away.
pub(crate) fn on_signal() -> Result<Stop, Error> {
    let stop = Stop::default();
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: at the first signal the flag is still unset when the first handler looks
        // at it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop.0))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop.0)))
            .map_err(Error::Signal)?;
    }
    Ok(stop)
}
