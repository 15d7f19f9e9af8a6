//! What all control threads share.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::conntrack::Events;
use super::early_drop::SharedLists;
use super::rules::Rules;
use crate::config::{Config, HostMode};
use crate::port::PortIndex;
use crate::port::xdp::OpenPort;
use crate::publish::Published;
use crate::route::Forwarding;
use crate::worker::Worker;

/// A port as the supervisor sees it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) index: PortIndex,
    pub(crate) interface: String,
    pub(crate) state: SlotState,
    /// How long after the last attempt to open it the next one is made.
    pub(crate) pause: Duration,
    /// When that was.
    pub(crate) tried: Instant,
}

/// Whether a port works.
#[derive(Debug)]
pub(crate) enum SlotState {
    /// Packets flow.
    Open(Box<OpenPort>),
    /// They do not; why.
    Closed(String),
}

/// What all control threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) rules: Mutex<Rules>,
    pub(crate) slots: Mutex<Vec<Slot>>,
    pub(crate) workers: Vec<Worker>,
    pub(super) events: Events,
    pub(crate) forwarding: Arc<Published<Forwarding>>,
    pub(crate) frames: usize,
    /// Lines about packets that could not be written.
    pub(super) log_unwritten: Arc<AtomicU64>,
    /// Whoever has the rules may take these, too, and never the other way round.
    pub(crate) early_drop: Arc<Mutex<SharedLists>>,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Shared {
    /// The port of the machine itself, if its traffic passes through Weir.
    pub(crate) fn host_port(&self) -> Option<PortIndex> {
        match self.config.host {
            HostMode::Kernel => None,
            HostMode::Firewalled => PortIndex::new(self.config.interfaces.len()),
        }
    }

    pub(crate) fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn early_drop(&self) -> MutexGuard<'_, SharedLists> {
        self.early_drop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Vec<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn warnings(&self) -> MutexGuard<'_, Vec<String>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
