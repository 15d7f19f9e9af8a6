//! The program in the kernel as a judge of single packets, and the lists' specification against it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use libbpf_rs::ErrorKind;
use rustix::time::{ClockId, clock_gettime};
use weir_dataplane::early_drop::{EarlyDrop, Sizes};
use weir_dataplane::program::{Action, EarlyMaps, OnExit, Program, ProgramConfig, ProgramError};

use crate::chance::{Chance, Seed};
use crate::frame;
use crate::lists::set_conditions;
use crate::spec::{Change, SIZES, Spec, address};

/// The device that a test run's packets come by.
pub(crate) const LOOPBACK: u32 = 1;

/// The machine's own addresses.
pub(crate) const OWN_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const OWN_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 2, 0, 0, 0, 1);

/// True if this process may load programs; else says why the test is skipped.
pub(crate) fn require_root() -> bool {
    let config = ProgramConfig::forwarding(OnExit::Drop);
    let reason = if !rustix::process::geteuid().is_root() {
        "loading XDP programs needs root"
    } else if is_denied(Program::load(config)) {
        "root here (a container?) may not load BPF programs"
    } else {
        return true;
    };
    eprintln!("SKIPPED: {reason}");
    false
}

fn is_denied(loaded: Result<Program, ProgramError>) -> bool {
    match loaded {
        Err(ProgramError::Load { source }) => source.kind() == ErrorKind::PermissionDenied,
        _ => false,
    }
}

/// Now, as the program sees it.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).expect("after the start") * 1_000_000_000
        + u64::try_from(now.tv_nsec).expect("after the start")
}

/// A program without a socket: what it does not drop goes up.
pub(crate) struct Judge {
    maps: Arc<EarlyMaps>,
    pub(crate) program: Program,
}

impl Judge {
    pub(crate) fn new(sizes: Sizes, host_firewalled: bool) -> Self {
        let maps = Arc::new(EarlyMaps::new(sizes).expect("maps"));
        Self::sharing(&maps, host_firewalled)
    }

    pub(crate) fn sharing(maps: &Arc<EarlyMaps>, host_firewalled: bool) -> Self {
        let config =
            ProgramConfig { on_exit: OnExit::Pass, host_firewalled, discovery_redirected: false };
        let mut program = Program::load_sharing(config, Some(maps)).expect("loaded");
        program.set_local_addresses(&[OWN_V4], &[], &[OWN_V6], &[]).expect("addresses");
        Self { maps: Arc::clone(maps), program }
    }

    pub(crate) fn maps(&self) -> Arc<EarlyMaps> {
        Arc::clone(&self.maps)
    }

    /// Whether a packet ends there, which must be for its source.
    pub(crate) fn drops(&self, frame: &[u8]) -> bool {
        let before = self.program.counters().expect("counters");
        let action = self.program.test_run(frame).expect("a run");
        let after = self.program.counters().expect("counters");
        let early = after.early_dropped.since(before.early_dropped);
        let dropped = action == Action::Drop;
        let bytes = u64::from(dropped) * frame.len() as u64;
        assert_eq!((early.packets, early.bytes), (u64::from(dropped), bytes), "{action:?}");
        assert_ne!(action, Action::Redirect, "there is no socket");
        dropped
    }

    /// Whether a frame bears one of the machine's addresses where the program looks for it.
    pub(crate) fn is_own(&self, frame: &[u8]) -> bool {
        match frame.get(12..14) {
            Some([0x08, 0x00]) => frame.get(30..34) == Some(&OWN_V4.octets()),
            Some([0x86, 0xdd]) => frame.get(38..54) == Some(&OWN_V6.octets()),
            _ => false,
        }
    }
}

#[test]
fn the_program_does_what_a_linear_search_finds() {
    if !require_root() {
        return;
    }
    let seed = crate::seed();
    let (_seed, mut chance) = (Seed(seed), Chance::new(seed));
    for round in 0..40 {
        let judge = Judge::new(SIZES, false);
        let mut lists = EarlyDrop::new(judge.maps(), SIZES);
        set_conditions(&mut lists);
        let mut spec = Spec::default();
        // Entries end an hour from now or have ended: how long this takes is no matter.
        let now_ns = now_ns();
        for step in 0..50 {
            let change = Change::draw(&mut chance, now_ns);
            let taken = change.make(&mut lists, now_ns);
            assert_eq!(taken, spec.make(change, now_ns), "round {round}, step {step}: {change:?}");
            for _ in 0..10 {
                let source = address(&mut chance);
                let drops = judge.drops(&frame::from(source));
                let expected = spec.drops(source, now_ns);
                assert_eq!(
                    drops, expected,
                    "round {round}, step {step}: {source} after {change:?}"
                );
            }
        }
        let early = judge.program.counters().expect("counters").early_dropped;
        assert_eq!(lists.dropped().expect("maps"), early, "entries and ways out count the same");
    }
}
