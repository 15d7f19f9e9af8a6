//! Which XDP programs a device has, and whether they are Weir's.
//!
//! With `on_exit = "drop"` the program stays on the device when the daemon dies, and the next start
//! must take it over: but only if it is Weir's. A name proves little (anybody may call a program
//! `weir_xdp`), and the tag, a hash of the instructions, changes with every release and compiler.
//! So the program carries a mark: the first eight bytes of its read-only settings, in a map that
//! only the loader of the program can have filled and that is frozen since. Name and mark together
//! are what counts. That is no proof against malice, nor need it be: who can load XDP programs can
//! also remove ours.
//!
//! A netlink attachment outlives its process; a bpf_link goes with it. So a Weir program held by a
//! link means a living Weir (or a pinned link), which is left alone. A Weir program without a link
//! may be a dead Weir's or a living one's: they look alike here. The sockets tell them apart:
//! binding a second socket to a queue is `EBUSY`. Therefore **bind first, then attach**.

use libbpf_rs::query::{LinkInfoIter, LinkTypeInfo, ProgInfoIter, ProgInfoQueryOptions};
use libbpf_rs::{ErrorKind, MapCore, MapFlags, MapHandle, MapType};
use std::fmt;
use std::os::fd::OwnedFd;

use super::netlink::LinkSocket;
use super::{AttachMode, OnExit, ProgramError, SETTINGS_MARK};

/// The program's name in the kernel.
const PROGRAM_NAME: &str = "weir_xdp";

/// Where on a device a program sits. The kernel keeps one program a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the driver (native XDP).
    Driver,
    /// In the network stack (generic XDP).
    Skb,
    /// On the NIC (offloaded). Weir does not go there, others may.
    Hardware,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Place::Driver => "driver mode",
            Place::Skb => "skb mode",
            Place::Hardware => "offloaded",
        })
    }
}

impl From<AttachMode> for Place {
    fn from(mode: AttachMode) -> Self {
        match mode {
            AttachMode::Driver => Place::Driver,
            AttachMode::Skb => Place::Skb,
        }
    }
}

/// Whose a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Weir's, of whatever version, loaded with this setting.
    Weir(OnExit),
    /// Somebody else's.
    Foreign,
}

/// A program found on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedProgram {
    /// Its name (at most 15 bytes; the kernel cuts the rest off).
    pub name: String,
    /// Its id (`bpftool prog show id N`).
    pub id: u32,
    /// Where it sits.
    pub place: Place,
    /// Id of the bpf_link that holds it; `None` if it was attached by netlink.
    pub link: Option<u32>,
    /// Whose it is.
    pub owner: Owner,
}

/// Lists the XDP programs of a device of the caller's network namespace.
///
/// # Errors
/// [`ProgramError::NoInterface`], [`ProgramError::Query`], and [`ProgramError::Inspect`] without
/// the rights to look at a program.
pub fn attached_programs(ifname: &str, ifindex: u32) -> Result<Vec<AttachedProgram>, ProgramError> {
    let mut socket = open(ifname)?;
    let held = held_programs(&mut socket, ifname, ifindex)?;
    Ok(held.into_iter().map(|(program, _)| program).collect())
}

pub(super) fn open(ifname: &str) -> Result<LinkSocket, ProgramError> {
    LinkSocket::open().map_err(|source| ProgramError::Query { ifname: ifname.to_owned(), source })
}

/// The programs of a device, each with a descriptor that keeps it (and its id) alive while we
/// decide.
pub(super) fn held_programs(
    socket: &mut LinkSocket,
    ifname: &str,
    ifindex: u32,
) -> Result<Vec<(AttachedProgram, OwnedFd)>, ProgramError> {
    let ids = socket.programs(ifindex).map_err(|source| match source.raw_os_error() {
        Some(libc::ENODEV) => ProgramError::NoInterface { ifname: ifname.to_owned(), ifindex },
        _ => ProgramError::Query { ifname: ifname.to_owned(), source },
    })?;
    let mut programs = Vec::new();
    for (place, id) in ids {
        match libbpf_rs::Program::fd_from_id(id) {
            Ok(fd) => programs.push((describe(ifindex, place, id), fd)),
            // Gone since the answer was written.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => {
                return Err(ProgramError::Inspect { ifname: ifname.to_owned(), id, place, source });
            }
        }
    }
    Ok(programs)
}

fn describe(ifindex: u32, place: Place, id: u32) -> AttachedProgram {
    // libbpf-rs reads a program's information only while it walks over all programs of the machine:
    // some dozens.
    let options = ProgInfoQueryOptions::default().include_map_ids(true);
    let info = ProgInfoIter::with_query_opts(options).find(|info| info.id == id);
    let (name, map_ids) = match info {
        Some(info) => (info.name.to_string_lossy().into_owned(), info.map_ids),
        None => (String::new(), vec![]),
    };
    let settings = map_ids.into_iter().find_map(read_settings);
    let owner = match settings {
        Some(on_exit) if name == PROGRAM_NAME => Owner::Weir(on_exit),
        _ => Owner::Foreign,
    };
    let link = LinkInfoIter::default().find(|link| {
        link.prog_id == id && matches!(&link.info, LinkTypeInfo::Xdp(xdp) if xdp.ifindex == ifindex)
    });
    AttachedProgram { name, id, place, link: link.map(|link| link.id), owner }
}

/// Reads `struct weir_settings` of `bpf/weir_xdp.bpf.c` if this map holds one.
fn read_settings(map_id: u32) -> Option<OnExit> {
    let map = MapHandle::from_map_id(map_id).ok()?;
    if map.map_type() != MapType::Array || map.max_entries() != 1 {
        return None;
    }
    let value = map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY).ok()??;
    let on_exit_pass = value.strip_prefix(&SETTINGS_MARK)?.first_chunk()?;
    Some(if u32::from_ne_bytes(*on_exit_pass) == 0 { OnExit::Drop } else { OnExit::Pass })
}
