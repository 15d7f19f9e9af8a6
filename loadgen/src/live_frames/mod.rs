//! The second way to send: frames that the kernel makes of what lies in a shared memory, and redirects to a device.
//!
//! ```text
//!   slot 0, 1, 2 ... (mapped) ──► one system call: for each slot a page of the kernel's ──► the device's ndo_xdp_xmit
//!                                                                                              │ 16 at a time
//!   which are on their way  ◄── the tracepoint xdp_devmap_xmit: sent and dropped of each 16 ◄──┘
//! ```
//!
//! In copy mode AF_XDP makes a socket buffer for every frame, and a veth device copies it once more when its other end
//! runs an XDP program. `BPF_PROG_TEST_RUN` with `BPF_F_TEST_XDP_LIVE_FRAMES` (Linux 5.18, `net/bpf/test_run.c`) needs
//! neither: a frame is a page of a pool, written once by our program (`bpf/live_frames.bpf.c`), and comes back to the
//! pool when the other end has done with it. It is for drivers that take redirected frames (`ndo_xdp_xmit`); for veth
//! that means that the other end runs an XDP program in the driver, or has GRO on.
//!
//! A call makes a pool of its own, which costs some 25 µs: it pays for many frames at a time, and users who are
//! answered one frame at a time are better served by a socket.
//!
//! # What is not obvious
//!
//! * A device that has no room lets frames fall and tells the sender nothing. The tracepoint tells it, for each bulk;
//!   the frames that fell are its last ones. So every frame is known to be on its way or not.
//! * A program that is run more than once is put into the kernel's XDP dispatcher for the time of the call, and taken
//!   out again; both wait until all processors have seen it, 30 ms. It stays there as long as it is on some device:
//!   each instance is put on a TUN device of its own, which is never switched on and vanishes with its descriptor.

mod error;
mod skeleton;

use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{ErrorKind, ProgramInput};

pub use error::LiveFramesError;
use skeleton::{LiveFramesSkel, LiveFramesSkelBuilder, types};

/// Frames of one call at most (`SLOTS` in the program).
pub const SLOTS: usize = 512;

/// Longest frame, in bytes without the check sequence (`FRAME_BYTES_MAX` in the program).
pub const FRAME_BYTES_MAX: usize = 2040;

/// `BPF_F_TEST_XDP_LIVE_FRAMES` of `linux/bpf.h`.
const LIVE: u32 = 1 << 1;

/// Bytes that the kernel puts into a page before our program makes a frame of it.
const BLANK: [u8; 60] = [0; 60];

/// EtherType of the frame that is tried: for local experiments (IEEE Std 802 section 9.2.4).
const EXPERIMENT: [u8; 2] = [0x88, 0xb5];

/// Instances of this process so far: their TUN devices have different names.
static INSTANCES: AtomicU32 = AtomicU32::new(0);

/// Programs and slots for one device, for one thread at a time.
pub struct LiveFrames {
    skeleton: LiveFramesSkel<'static>,
    interface: String,
    /// Of the last call: whether each frame is on its way.
    taken: Box<[bool; SLOTS]>,
    // Dropped in this order.
    _links: [libbpf_rs::Link; 2],
    _hold: Vec<OwnedFd>,
}

impl fmt::Debug for LiveFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveFrames").field("interface", &self.interface).finish_non_exhaustive()
    }
}

impl LiveFrames {
    /// Loads the programs for a device of the calling thread's network namespace, and sends one frame to find out
    /// whether the device takes any: from `mac` to itself, of an EtherType for local experiments.
    ///
    /// # Errors
    /// When the kernel or the device cannot do it.
    pub fn open(interface: &str, ifindex: u32, mac: [u8; 6]) -> Result<Self, LiveFramesError> {
        let mut live = Self::load(interface, ifindex)?;
        let probe = live.slot(0, BLANK.len());
        probe.fill(0);
        probe[..6].copy_from_slice(&mac);
        probe[6..12].copy_from_slice(&mac);
        probe[12..14].copy_from_slice(&EXPERIMENT);
        if live.send(1)? == 1 {
            Ok(live)
        } else {
            Err(LiveFramesError::NotTaken { interface: interface.to_owned() })
        }
    }

    fn load(interface: &str, ifindex: u32) -> Result<Self, LiveFramesError> {
        let refused = |source| LiveFramesError::Load { interface: interface.to_owned(), source };
        // The generated skeleton borrows the place where it keeps its object, and a struct cannot
        // borrow from itself. The place is one pointer: it is leaked, 8 bytes for each load.
        let place = Box::leak(Box::new(MaybeUninit::uninit()));
        let open = LiveFramesSkelBuilder::default().open(place).map_err(refused)?;
        let mut skeleton = open.load().map_err(refused)?;
        shared(&mut skeleton).ifindex = ifindex;
        let watch = skeleton.progs.watch_xmit.attach_trace().map_err(refused)?;
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        let name = format!("wg{}n{instance}", std::process::id());
        let held = |source| LiveFramesError::Hold { interface: interface.to_owned(), source };
        let hold = af_xdp::tun::open(&name, 1).map_err(held)?;
        let device = i32::try_from(af_xdp::nic::ifindex(&name).map_err(held)?).unwrap_or(0);
        let kept = skeleton.progs.send_slot.attach_xdp(device).map_err(refused)?;
        Ok(Self {
            skeleton,
            interface: interface.to_owned(),
            taken: Box::new([false; SLOTS]),
            _links: [kept, watch],
            _hold: hold,
        })
    }

    /// The bytes of a slot, as they were left, for a frame of `len` bytes: at most [`FRAME_BYTES_MAX`].
    ///
    /// # Panics
    /// If there is no such slot, or the frame is longer.
    #[inline]
    pub fn slot(&mut self, at: usize, len: usize) -> &mut [u8] {
        let slot = &mut shared(&mut self.skeleton).slots[at];
        slot.len = u32::try_from(len).unwrap_or(u32::MAX);
        &mut slot.bytes[..len]
    }

    /// Sends the frames of the first `count` slots, in order. Returns how many are on their way;
    /// [`taken`](Self::taken) tells which.
    ///
    /// # Errors
    /// When the kernel refuses the call. Some frames may be on their way then, as `taken` says.
    ///
    /// # Panics
    /// If there are fewer slots.
    pub fn send(&mut self, count: usize) -> Result<usize, LiveFramesError> {
        self.taken[..count].fill(false);
        let shared = shared(&mut self.skeleton);
        (shared.next_slot, shared.bulk_count, shared.failed) = (0, 0, 0);
        shared.slot_count = u32::try_from(count).unwrap_or(u32::MAX);
        shared.thread_id = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let outcome = self.run(count);
        let shared = self::shared(&mut self.skeleton);
        (shared.thread_id, shared.slot_count) = (0, 0);
        let bulks = usize::try_from(shared.bulk_count).unwrap_or(0).min(shared.bulks.len());
        let sent = mark(&shared.bulks[..bulks], &mut self.taken[..count]);
        outcome.map(|()| sent)
    }

    /// Runs the program until it has been at every slot: a signal ends a call early.
    fn run(&mut self, count: usize) -> Result<(), LiveFramesError> {
        loop {
            let made = usize::try_from(shared(&mut self.skeleton).next_slot).unwrap_or(count);
            let Some(repeat) = count.checked_sub(made).filter(|left| *left > 0) else {
                return Ok(());
            };
            let repeat = u32::try_from(repeat).unwrap_or(u32::MAX);
            let input = ProgramInput {
                data_in: Some(&BLANK),
                flags: LIVE,
                repeat,
                ..ProgramInput::default()
            };
            match self.skeleton.progs.send_slot.test_run(input) {
                Err(error) if error.kind() != ErrorKind::Interrupted => {
                    let source = std::io::Error::other(error);
                    return Err(LiveFramesError::Run { interface: self.interface.clone(), source });
                }
                _ => {}
            }
        }
    }

    /// Whether the frame of a slot is on its way, of the last call.
    #[must_use]
    pub fn taken(&self) -> &[bool] {
        self.taken.as_slice()
    }

    /// The frame that the program makes of a slot; it is sent nowhere.
    ///
    /// # Errors
    /// When the kernel refuses the run.
    pub fn preview(&mut self, at: usize) -> Result<Vec<u8>, LiveFramesError> {
        let shared = shared(&mut self.skeleton);
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        (shared.next_slot, shared.slot_count) = (at, at.saturating_add(1));
        let mut out = [0; FRAME_BYTES_MAX];
        let input = ProgramInput {
            data_in: Some(&BLANK),
            data_out: Some(&mut out),
            ..ProgramInput::default()
        };
        let output = self.skeleton.progs.send_slot.test_run(input).map_err(|error| {
            let source = std::io::Error::other(error);
            LiveFramesError::Run { interface: self.interface.clone(), source }
        })?;
        Ok(output.data.map(|data| data.to_vec()).unwrap_or_default())
    }
}

/// What is shared with the programs. They touch it in our own system calls only.
#[inline]
fn shared<'a>(skeleton: &'a mut LiveFramesSkel<'static>) -> &'a mut types::bss {
    skeleton.maps.bss_data.as_deref_mut().expect("the program has variables, and libbpf maps them")
}

/// Marks which frames are on their way, from what became of each bulk: its last frames are those that fell. What is in
/// no bulk was not redirected at all.
fn mark(bulks: &[types::bulk], taken: &mut [bool]) -> usize {
    let mut places = taken.iter_mut();
    let mut sent = 0;
    for bulk in bulks {
        for _ in 0..bulk.sent {
            if let Some(place) = places.next() {
                *place = true;
                sent += 1;
            }
        }
        for _ in 0..bulk.dropped {
            places.next();
        }
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_frames_of_a_bulk_are_those_that_fell() {
        let bulk = |(sent, dropped)| types::bulk { sent, dropped };
        let mut taken = [false; 8];
        assert_eq!(mark(&[(2, 1), (0, 2), (1, 0)].map(bulk), &mut taken), 3);
        assert_eq!(taken, [true, true, false, false, false, true, false, false]);
    }
}
