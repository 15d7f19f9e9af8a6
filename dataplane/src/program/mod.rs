//! The XDP program (`bpf/weir_xdp.bpf.c`): loading it, putting it on a device, telling it about
//! sockets and local addresses, reading its counters.
//!
//! One [`Program`] serves one device, so that its maps (sockets by queue, local addresses,
//! counters) are that device's alone; but for those of early drop, which all may share
//! ([`EarlyMaps`]). The order of things, in which no packet is lost to a half-ready device and no
//! living Weir is robbed of one:
//!
//! ```text
//!   load -> set_local_addresses -> bind the sockets -> set_socket -> attach     ... and back:
//!   Attachment::close (or remove) -> close the sockets -> drop the Program
//! ```
//!
//! What happens to forwarded traffic when the daemon ends, in whatever way, is [`OnExit`]. How that
//! is done, and what is done about programs found on the device, is in `attachment.rs`; how Weir's
//! are told from others in `attached.rs`.
//!
//! Rights: root, or CAP_BPF and CAP_NET_ADMIN (CAP_PERFMON on some kernels); taking over a program
//! that was left behind also needs CAP_SYS_ADMIN, without which the kernel shows nobody a program
//! of which they hold no descriptor.

mod attached;
mod attachment;
mod counters;
mod early_maps;
mod error;
mod front;
mod netlink;
mod skeleton;

use std::collections::BTreeMap;
use std::fmt;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Once;
use std::time::Duration;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, PrintLevel, ProgramInput};
use serde::{Deserialize, Serialize};

pub use af_xdp::AttachMode;
pub use attached::{AttachedProgram, Owner, Place, attached_programs};
pub use attachment::{Attachment, remove_own};
pub use counters::{PacketCount, ProgramCounters};
pub use early_maps::EarlyMaps;
pub use error::ProgramError;
pub use netlink::Refusal;

/// Highest number of rx queues a device may have (`QUEUES_MAX` in the program).
pub const QUEUES_MAX: u32 = 64;
/// Highest number of local addresses of each family (`LOCAL_ADDRESSES_MAX` in the program).
pub const LOCAL_ADDRESSES_MAX: usize = 1024;

/// First bytes of the program's settings, by which it is recognised. Never changes.
const SETTINGS_MARK: [u8; 8] = *b"weir-xdp";

/// What happens to forwarded traffic when the daemon is gone. ARP and the machine's own traffic go
/// up in both cases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// The program leaves the device with the daemon; the kernel forwards, if it is set to, as if
    /// Weir had never been there.
    Pass,
    /// The program stays on the device and drops what it cannot hand to a socket: fail closed.
    #[default]
    Drop,
}

impl fmt::Display for OnExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Drop => "drop",
        })
    }
}

/// What the program must know before it is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramConfig {
    /// What happens to forwarded traffic when the daemon is gone.
    pub on_exit: OnExit,
    /// Whether what is for the machine's own addresses goes to the sockets, too. Where there is none, it goes up.
    pub host_firewalled: bool,
    /// Whether ARP and neighbour discovery go to the sockets, too: for who plays hosts and answers for them.
    pub discovery_redirected: bool,
}

impl ProgramConfig {
    /// Nothing but what is to be forwarded goes to the sockets.
    #[must_use]
    pub const fn forwarding(on_exit: OnExit) -> Self {
        Self { on_exit, host_firewalled: false, discovery_redirected: false }
    }
}

/// What the program decides about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Dropped in the driver.
    Drop,
    /// Up to the kernel's stack.
    Pass,
    /// To the socket of its queue.
    Redirect,
    /// A code the program never returns (`enum xdp_action` in `linux/bpf.h`).
    Other(u32),
}

/// The program, loaded for one device, with its maps.
pub struct Program {
    skeleton: skeleton::WeirXdpSkel<'static>,
    on_exit: OnExit,
    host_firewalled: bool,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("on_exit", &self.on_exit).finish_non_exhaustive()
    }
}

impl Program {
    /// Loads a fresh instance of the program and its maps. libbpf's messages, those of the verifier
    /// included, go to tracing.
    ///
    /// # Errors
    /// [`ProgramError::Load`].
    pub fn load(config: ProgramConfig) -> Result<Self, ProgramError> {
        Self::load_sharing(config, None)
    }

    /// The same, with the maps of early drop that others have, too; `None` for some of its own, which stay empty.
    ///
    /// # Errors
    /// [`ProgramError::Load`].
    pub fn load_sharing(
        config: ProgramConfig,
        early: Option<&EarlyMaps>,
    ) -> Result<Self, ProgramError> {
        let load = |source| ProgramError::Load { source };
        trace_libbpf();
        // The generated skeleton borrows the place where it keeps its object, and a struct cannot
        // borrow from itself. The place is one pointer: it is leaked, 8 bytes for each
        // load. The object in it is freed with the skeleton.
        let place = Box::leak(Box::new(MaybeUninit::uninit()));
        let mut open = skeleton::WeirXdpSkelBuilder::default().open(place).map_err(load)?;
        let Some(rodata) = open.maps.rodata_data.as_deref_mut() else {
            return Err(load(libbpf_rs::Error::from(std::io::Error::other(
                "the compiled program has no settings",
            ))));
        };
        rodata.settings.on_exit_pass = u32::from(config.on_exit == OnExit::Pass);
        rodata.settings.host_firewalled = u32::from(config.host_firewalled);
        rodata.settings.discovery_redirected = u32::from(config.discovery_redirected);
        open.progs.weir_egress.set_autoload(config.host_firewalled);
        if let Some(early) = early {
            early.lend(&mut open).map_err(load)?;
        }
        let skeleton = open.load().map_err(load)?;
        let ProgramConfig { on_exit, host_firewalled, .. } = config;
        Ok(Self { skeleton, on_exit, host_firewalled })
    }

    /// Leads what the kernel sends out of a device to the one that [`set_host_devices`](Self::set_host_devices) names,
    /// as long as the link lives. `None` without [`ProgramConfig::host_firewalled`].
    ///
    /// # Errors
    /// As [`af_xdp::Link::attach_egress`]: a kernel before Linux 6.6 cannot do it.
    pub fn attach_egress(&self, ifindex: u32) -> Option<std::io::Result<af_xdp::Link>> {
        let program = &self.skeleton.progs.weir_egress;
        self.host_firewalled.then(|| af_xdp::Link::attach_egress(program.as_fd(), ifindex))
    }

    /// Says which device the machine's own traffic goes to, that of IPv4 and that of IPv6; 0 for none.
    ///
    /// # Errors
    /// [`ProgramError::Map`].
    pub fn set_host_devices(&mut self, ifindexes: [u32; 2]) -> Result<(), ProgramError> {
        let map = &self.skeleton.maps.host_device;
        for (key, ifindex) in (0_u32..).zip(ifindexes) {
            map.update(&key.to_ne_bytes(), &ifindex.to_ne_bytes(), MapFlags::ANY).map_err(
                |source| ProgramError::Map { action: "setting the host's device", source },
            )?;
        }
        Ok(())
    }

    /// Puts the program on a device of the caller's network namespace. `ifname` is for messages,
    /// `ifindex` decides.
    ///
    /// A program that an earlier Weir left there (`on_exit = "drop"`) is replaced; see the table in
    /// `attachment.rs`. Bind the device's sockets first: that fails while another Weir is using
    /// it.
    ///
    /// # Errors
    /// [`ProgramError::Foreign`] and [`ProgramError::InUse`] name what is in the way,
    /// [`ProgramError::Attach`] says why the kernel or the driver refuses;
    /// [`ProgramError::NoInterface`], [`ProgramError::Query`], [`ProgramError::Inspect`],
    /// [`ProgramError::Remove`].
    pub fn attach(
        &mut self,
        ifname: &str,
        ifindex: u32,
        mode: AttachMode,
    ) -> Result<Attachment, ProgramError> {
        let program = self.skeleton.progs.weir_xdp.as_fd();
        attachment::attach(program, self.on_exit, ifname, ifindex, mode)
    }

    /// Hands the packets of rx queue `queue` to `socket`, from the next one on. The kernel forgets
    /// the socket by itself when it is closed.
    ///
    /// # Errors
    /// [`ProgramError::Queue`] for a queue of [`QUEUES_MAX`] or more; [`ProgramError::Map`] if the
    /// descriptor is no `AF_XDP` socket.
    pub fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) -> Result<(), ProgramError> {
        let key = queue_key(queue)?;
        let value = socket.as_raw_fd().to_ne_bytes();
        self.skeleton
            .maps
            .xsks
            .update(&key, &value, MapFlags::ANY)
            .map_err(|source| ProgramError::Map { action: "setting the socket of a queue", source })
    }

    /// Leaves rx queue `queue` without a socket: its packets fare as [`OnExit`] says. A queue that
    /// has none stays as it is.
    ///
    /// # Errors
    /// [`ProgramError::Queue`] for a queue of [`QUEUES_MAX`] or more; [`ProgramError::Map`].
    pub fn clear_socket(&mut self, queue: u32) -> Result<(), ProgramError> {
        let key = queue_key(queue)?;
        match self.skeleton.maps.xsks.delete(&key) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                Err(ProgramError::Map { action: "clearing the socket of a queue", source })
            }
            _ => Ok(()),
        }
    }

    /// Makes these, and only these, the addresses whose packets go up: the machine's own on all
    /// devices (`v4`, `v6`: if those do not go to the sockets, [`ProgramConfig::host_firewalled`]), and
    /// its broadcast addresses, or those of IPv6 that are the kernel's in any case. Multicast,
    /// 255.255.255.255 and IPv6 link-local go up anyway. Addresses in both the old and the new set are
    /// not touched, so their packets go up without a gap.
    ///
    /// After the daemon the program keeps the last set it was given.
    ///
    /// # Errors
    /// [`ProgramError::TooManyAddresses`] beyond [`LOCAL_ADDRESSES_MAX`] different ones of a
    /// family, with nothing changed; [`ProgramError::Map`], after which the set may be a
    /// mixture of old and new: call again.
    pub fn set_local_addresses(
        &mut self,
        v4: &[Ipv4Addr],
        v4_broadcast: &[Ipv4Addr],
        v6: &[Ipv6Addr],
        v6_kernel: &[Ipv6Addr],
    ) -> Result<(), ProgramError> {
        let own = v4.iter().map(|a| (a.octets().to_vec(), UNICAST));
        let broadcast = v4_broadcast.iter().map(|a| (a.octets().to_vec(), BROADCAST));
        // An address that is both counts as the machine's own.
        let v4: Keys = broadcast.chain(own).collect();
        let own = v6.iter().map(|a| (a.octets().to_vec(), UNICAST));
        let kernel = v6_kernel.iter().map(|a| (a.octets().to_vec(), BROADCAST));
        let v6: Keys = kernel.chain(own).collect();
        for (family, wanted) in [("IPv4", &v4), ("IPv6", &v6)] {
            if wanted.len() > LOCAL_ADDRESSES_MAX {
                return Err(ProgramError::TooManyAddresses { family, count: wanted.len() });
            }
        }
        let failed = |source| ProgramError::Map { action: "setting the local addresses", source };
        let maps = &self.skeleton.maps;
        set_local(&maps.local_v4, &maps.local_v4_kinds, &v4).map_err(failed)?;
        set_local(&maps.local_v6, &maps.local_v6_kinds, &v6).map_err(failed)
    }

    /// Reads the counters. Each is exact; they are read one after the other, so a packet counted in
    /// between may be in one and not yet in another.
    ///
    /// # Errors
    /// [`ProgramError::Map`].
    pub fn counters(&self) -> Result<ProgramCounters, ProgramError> {
        let failed = |source| ProgramError::Map { action: "reading the counters", source };
        let mut sums = ProgramCounters::default();
        for way in 0..counters::WAYS_OUT {
            let key = way.to_ne_bytes();
            let values = self.skeleton.maps.counters.lookup_percpu(&key, MapFlags::ANY);
            let values = values.map_err(failed)?.unwrap_or_default();
            if let Some(sum) = sums.at(way) {
                values.iter().filter_map(|v| PacketCount::from_map(v)).for_each(|c| *sum += c);
            }
        }
        Ok(sums)
    }

    /// Runs the program `repeat` times on `frame`, as [`test_run`](Self::test_run) does once. Returns
    /// what one run takes, on average, as the kernel has measured it; whole nanoseconds.
    ///
    /// # Errors
    /// As [`test_run`](Self::test_run).
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<Duration, ProgramError> {
        let input = ProgramInput { data_in: Some(frame), repeat, ..ProgramInput::default() };
        let run = self.skeleton.progs.weir_xdp.test_run(input);
        let output = run.map_err(|source| ProgramError::TestRun { bytes: frame.len(), source })?;
        Ok(output.duration)
    }

    /// Runs the program once on `frame`, as if rx queue 0 had received it, and sends nothing
    /// anywhere. It counts like a real packet.
    ///
    /// # Errors
    /// [`ProgramError::TestRun`] for frames shorter than an Ethernet header or longer than a page
    /// allows.
    pub fn test_run(&self, frame: &[u8]) -> Result<Action, ProgramError> {
        let input = ProgramInput { data_in: Some(frame), ..ProgramInput::default() };
        let output = self
            .skeleton
            .progs
            .weir_xdp
            .test_run(input)
            .map_err(|source| ProgramError::TestRun { bytes: frame.len(), source })?;
        Ok(match output.return_value {
            1 => Action::Drop,
            2 => Action::Pass,
            4 => Action::Redirect,
            other => Action::Other(other),
        })
    }
}

fn queue_key(queue: u32) -> Result<[u8; 4], ProgramError> {
    if queue < QUEUES_MAX { Ok(queue.to_ne_bytes()) } else { Err(ProgramError::Queue { queue }) }
}

/// Keys of a map, with their values of one byte.
type Keys = BTreeMap<Vec<u8>, u8>;

/// What the program finds beside an address (`LOCAL_UNICAST`, `LOCAL_BROADCAST`).
const UNICAST: u8 = 1;
const BROADCAST: u8 = 2;

/// Words of a map of kinds (`LOCAL_FILTER_WORDS` in the program).
const KINDS_WORDS: usize = 64;

/// A bit for each kind of address that there is among these.
fn kinds<'a>(addresses: impl Iterator<Item = &'a Vec<u8>>) -> [u64; KINDS_WORDS] {
    let mut kinds = [0; KINDS_WORDS];
    for address in addresses {
        let words = address.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word));
        let spread = front::spread(words.fold(0, |folded, word| folded ^ word));
        kinds[(spread >> 26) as usize] |= 1_u64 << (spread >> 20 & 63);
    }
    kinds
}

/// Makes the contents of a map of local addresses those of `wanted`, and with it the map of their kinds, which at no
/// moment lacks one that is in the other.
fn set_local(map: &impl MapCore, kinds_map: &impl MapCore, wanted: &Keys) -> libbpf_rs::Result<()> {
    let set_kinds = |kinds: &[u64; KINDS_WORDS]| {
        (0_u32..).zip(kinds).try_for_each(|(place, word)| {
            kinds_map.update(&place.to_ne_bytes(), &word.to_ne_bytes(), MapFlags::ANY)
        })
    };
    let present: Vec<Vec<u8>> = map.keys().collect();
    set_kinds(&kinds(present.iter().chain(wanted.keys())))?;
    set_keys(map, wanted)?;
    set_kinds(&kinds(wanted.keys()))
}

/// Makes the contents of a map with one-byte values those of `wanted`. Removal comes first, so a full
/// map can be exchanged for another.
fn set_keys(map: &impl MapCore, wanted: &Keys) -> libbpf_rs::Result<()> {
    let mut present = Keys::new();
    for key in map.keys() {
        let value = map.lookup(&key, MapFlags::ANY)?;
        present.insert(key, value.and_then(|value| value.first().copied()).unwrap_or_default());
    }
    let stale: Vec<&[u8]> =
        present.keys().filter(|key| !wanted.contains_key(*key)).map(Vec::as_slice).collect();
    let changed = wanted.iter().filter(|(key, value)| present.get(*key) != Some(*value));
    let (missing, values): (Vec<&[u8]>, Vec<u8>) =
        changed.map(|(key, value)| (key.as_slice(), *value)).unzip();
    // The kernel calls an empty batch invalid.
    if let Some(count) = batch_count(&stale) {
        map.delete_batch(&stale.concat(), count, MapFlags::ANY, MapFlags::ANY)?;
    }
    if let Some(count) = batch_count(&missing) {
        map.update_batch(&missing.concat(), &values, count, MapFlags::ANY, MapFlags::ANY)?;
    }
    Ok(())
}

fn batch_count(keys: &[&[u8]]) -> Option<u32> {
    u32::try_from(keys.len()).ok().filter(|&count| count > 0)
}

/// Sends libbpf's messages to tracing instead of stderr, once for the process.
fn trace_libbpf() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        libbpf_rs::set_print(Some((PrintLevel::Debug, |level, message| {
            let message = message.trim_end();
            match level {
                PrintLevel::Debug => tracing::debug!(target: "libbpf", "{message}"),
                PrintLevel::Info => tracing::info!(target: "libbpf", "{message}"),
                PrintLevel::Warn => tracing::warn!(target: "libbpf", "{message}"),
            }
        })));
    });
}
