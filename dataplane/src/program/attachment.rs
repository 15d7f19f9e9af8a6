//! Putting the program on a device, and taking it off again.
//!
//! | found on the device           | `on_exit = "pass"`     | `on_exit = "drop"`         |
//! |-------------------------------|------------------------|----------------------------|
//! | nothing                       | bpf_link               | netlink                    |
//! | Weir's by netlink, same mode  | removed, then bpf_link | exchanged in one step      |
//! | Weir's by netlink, other mode | removed, then bpf_link | removed, then netlink [^1] |
//! | Weir's by a bpf_link          | refused: in use        | refused: in use            |
//! | anybody else's                | refused, left alone    | refused, left alone        |
//!
//! [^1]: If the new one is refused, the old one is put back.
//!
//! In the one case "exchanged in one step" there is no moment in which transit traffic could pass
//! the device unfiltered. From one mode to the other there is one, of some microseconds to (NICs
//! that reset their rings) seconds: the kernel does not allow both at once, and has no operation
//! that swaps them. Keep the mode fixed in the configuration where that matters.
//!
//! Every step is a compare-and-exchange on the program that was looked at. When something else came
//! in between, the device is looked at anew, a bounded number of times.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::attached::{AttachedProgram, Owner, Place, held_programs, open};
use super::netlink::{LinkSocket, Refusal};
use super::{AttachMode, OnExit, ProgramError};

/// How often the device is looked at anew when its program changed under our hands.
const ATTEMPTS_MAX: usize = 4;

/// The program on a device.
///
/// Dropping it does what [`close`](Self::close) does. Either way close the attachment before the
/// sockets, or packets are redirected to sockets that are going.
#[derive(Debug)]
pub struct Attachment {
    ifname: String,
    ifindex: u32,
    place: Place,
    program: OwnedFd,
    hold: Hold,
}

/// What keeps the program on the device.
#[derive(Debug)]
enum Hold {
    /// The kernel removes the program when this is closed.
    Link(af_xdp::Link),
    /// The program stays until somebody removes it.
    Netlink,
}

impl Attachment {
    /// Ends this attachment as `on_exit` says: with `pass` the program leaves the device; with
    /// `drop` it **stays**, forwards nothing, and goes on passing up ARP and what is for the
    /// machine itself, until the next Weir takes it over or [`remove_own`] removes it. An end
    /// by SIGKILL has the same outcome.
    pub fn close(self) {
        match self.hold {
            Hold::Link(link) => drop(link),
            Hold::Netlink => {}
        }
    }

    /// Takes the program off the device now, whatever `on_exit` says: for a start-up that failed,
    /// for another rung of the mode ladder, for a device that Weir no longer serves. Only this
    /// very program: if another took its place, or the device is gone, there is nothing to do.
    ///
    /// # Errors
    /// [`ProgramError::Query`] or [`ProgramError::Remove`]; the program may still be there.
    pub fn remove(self) -> Result<(), ProgramError> {
        match self.hold {
            Hold::Link(link) => {
                drop(link);
                Ok(())
            }
            Hold::Netlink => {
                let mut socket = open(&self.ifname)?;
                let removed =
                    socket.replace(self.ifindex, self.place, Some(self.program.as_fd()), None);
                ignore_absence(removed).map_err(|refusal| ProgramError::Remove {
                    ifname: self.ifname,
                    place: self.place,
                    refusal,
                })
            }
        }
    }

    /// True while the device has this very program: false after it was removed or replaced by hand,
    /// or the device vanished.
    ///
    /// # Errors
    /// [`ProgramError::Query`] when the kernel cannot be asked.
    pub fn is_in_place(&self) -> Result<bool, ProgramError> {
        let query = |source| ProgramError::Query { ifname: self.ifname.clone(), source };
        let own = self.program_id()?;
        match open(&self.ifname)?.programs(self.ifindex) {
            Ok(programs) => Ok(programs.contains(&(self.place, own))),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
            Err(error) => Err(query(error)),
        }
    }

    /// The kernel's id of the attached program.
    ///
    /// # Errors
    /// [`ProgramError::Map`] when the kernel does not tell.
    pub fn program_id(&self) -> Result<u32, ProgramError> {
        libbpf_rs::Program::id_from_fd(self.program.as_fd())
            .map_err(|source| ProgramError::Map { action: "reading the program's id", source })
    }

    /// Where the program sits.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

/// Takes Weir's program off a device where an earlier Weir left it (`on_exit = "drop"`). Returns
/// what was removed, `None` if there was nothing of Weir's.
///
/// Nothing here can tell whether a living Weir still uses the program: ask that one to stop first.
///
/// # Errors
/// [`ProgramError::InUse`] if a bpf_link holds it, [`ProgramError::Foreign`] if the only program
/// there is somebody else's, and the errors of looking and removing.
pub fn remove_own(ifname: &str, ifindex: u32) -> Result<Option<AttachedProgram>, ProgramError> {
    let mut socket = open(ifname)?;
    let mut found = held_programs(&mut socket, ifname, ifindex)?;
    // Somebody else's may sit beside ours only if it is offloaded to the NIC; ours is meant then.
    found.sort_by_key(|(program, _)| program.owner == Owner::Foreign);
    let Some((program, fd)) = found.into_iter().next() else { return Ok(None) };
    require_leftover(ifname, &program)?;
    remove(&mut socket, ifname, ifindex, program.place, fd.as_fd())?;
    Ok(Some(program))
}

/// Attaches `program` as the table above says.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    on_exit: OnExit,
    ifname: &str,
    ifindex: u32,
    mode: AttachMode,
) -> Result<Attachment, ProgramError> {
    let mut socket = open(ifname)?;
    let place = Place::from(mode);
    let refused = |refusal| ProgramError::Attach { ifname: ifname.to_owned(), place, refusal };
    let own = program.try_clone_to_owned().map_err(|error| refused(error.into()))?;
    let mut attempt = 1;
    let hold = loop {
        let found = held_programs(&mut socket, ifname, ifindex)?;
        for (other, _) in &found {
            require_leftover(ifname, other)?;
        }
        let leftover = found.first().map(|(other, fd)| (other.place, fd.as_fd()));
        let outcome = match on_exit {
            OnExit::Pass => {
                if let Some((place, fd)) = leftover {
                    remove(&mut socket, ifname, ifindex, place, fd)?;
                }
                af_xdp::Link::attach(program, ifindex, mode).map(Hold::Link).map_err(Refusal::from)
            }
            OnExit::Drop => {
                take_over(&mut socket, ifindex, leftover, (place, program)).map(|()| Hold::Netlink)
            }
        };
        match outcome {
            Ok(hold) => break hold,
            Err(refusal) if is_race(&refusal.error) && attempt < ATTEMPTS_MAX => attempt += 1,
            Err(refusal) => return Err(refused(refusal)),
        }
    };
    Ok(Attachment { ifname: ifname.to_owned(), ifindex, place, program: own, hold })
}

/// Puts the new program on the device in place of the leftover one, each given with its place.
fn take_over(
    socket: &mut LinkSocket,
    ifindex: u32,
    leftover: Option<(Place, BorrowedFd<'_>)>,
    (place, program): (Place, BorrowedFd<'_>),
) -> Result<(), Refusal> {
    let Some((old_place, old)) = leftover else {
        return socket.replace(ifindex, place, None, Some(program));
    };
    if old_place == place {
        return socket.replace(ifindex, place, Some(old), Some(program));
    }
    ignore_absence(socket.replace(ifindex, old_place, Some(old), None))?;
    socket.replace(ifindex, place, None, Some(program)).inspect_err(|_| {
        // A driver that refuses must not leave the device open: the old program goes on dropping.
        // If even that fails, the refusal that is being returned is the one to report.
        if let Err(refusal) = socket.replace(ifindex, old_place, None, Some(old)) {
            tracing::warn!(ifindex, %refusal, "the earlier XDP program could not be put back");
        }
    })
}

/// Removes exactly this program.
fn remove(
    socket: &mut LinkSocket,
    ifname: &str,
    ifindex: u32,
    place: Place,
    program: BorrowedFd<'_>,
) -> Result<(), ProgramError> {
    ignore_absence(socket.replace(ifindex, place, Some(program), None))
        .map_err(|refusal| ProgramError::Remove { ifname: ifname.to_owned(), place, refusal })
}

/// Refuses a device whose program is not a leftover of Weir's.
fn require_leftover(ifname: &str, program: &AttachedProgram) -> Result<(), ProgramError> {
    let AttachedProgram { name, id, place, link, owner } = program.clone();
    let ifname = ifname.to_owned();
    match (owner, link) {
        (Owner::Weir(_), None) => Ok(()),
        (Owner::Weir(_), Some(link)) => Err(ProgramError::InUse { ifname, id, place, link }),
        (Owner::Foreign, link) => Err(ProgramError::Foreign { ifname, name, id, place, link }),
    }
}

/// A program that is not there need not be removed; nor from a device that is not there.
fn ignore_absence(removed: Result<(), Refusal>) -> Result<(), Refusal> {
    removed.or_else(|refusal| match refusal.error.raw_os_error() {
        Some(libc::EEXIST | libc::ENODEV) => Ok(()),
        _ => Err(refusal),
    })
}

/// The device's program changed between looking and acting.
fn is_race(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}
