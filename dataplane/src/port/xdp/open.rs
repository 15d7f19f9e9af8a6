//! Opening devices: the mode ladder over all ports together, and one port again later.
//!
//! A UMEM is shared by all sockets, and sockets that share one inherit the mode of the first that was
//! bound. So the ladder (driver zero-copy, driver copy, SKB) is climbed down by the whole set, with a
//! fresh UMEM for each rung; the rung in use is the best that *every* port can do.
//!
//! No socket owns the UMEM. A port that comes back joins it through any socket that is still open; if
//! none is, the same memory is registered anew.
//!
//! Sockets are bound before the program is attached: a device that another Weir serves is busy, and is
//! found out that way before anything on it is touched.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use af_xdp::{
    Area, AreaConfig, ModeChoice, Rung, SetupError, Socket, SocketConfig, SocketHandle,
    WeakSocketHandle,
};

use super::addresses::HostAddresses;
use super::error::{FILL_FRAMES_MIN, OpenError};
use crate::config::SocketOptions;
use crate::frame::{Frame, Memory};
use crate::port::PortIndex;
use crate::program::{
    AttachedProgram, Attachment, EarlyMaps, Owner, Program, ProgramConfig, ProgramCounters,
    ProgramError, QUEUES_MAX, attached_programs,
};

/// Packets that one wake-up sends at most: several batches, so that one call a poll is enough.
const TX_BUDGET: u32 = 256;

/// What all ports are opened with.
#[derive(Debug, Clone)]
pub struct Bank {
    /// The packet memory.
    pub area: AreaConfig,
    /// Rungs that may be used.
    pub mode: ModeChoice,
    /// Ring sizes and options.
    pub sockets: SocketOptions,
    /// What the program of each port is told.
    pub program: ProgramConfig,
    /// The lists that the programs of all ports share; `None` for empty ones.
    pub early: Option<Arc<EarlyMaps>>,
    /// Workers that the queues are distributed to.
    pub workers: usize,
    /// Ports that share the memory.
    pub ports: usize,
}

/// All ports, opened on one rung.
#[derive(Debug)]
pub struct Opened {
    /// The memory they share.
    pub memory: Arc<Memory>,
    /// All of its frames.
    pub frames: Vec<Frame>,
    /// The rung.
    pub rung: Rung,
    /// Rungs above it, with why they were not possible.
    pub refused: Vec<(Rung, OpenError)>,
    /// The ports, with their sockets by queue.
    pub ports: Vec<(OpenPort, Vec<Socket>)>,
}

/// An open port, without its sockets: those are with the workers.
#[derive(Debug)]
pub struct OpenPort {
    index: PortIndex,
    interface: String,
    ifindex: u32,
    rung: Rung,
    // Declared before the program: dropped in this order, packets stop first.
    attachment: Attachment,
    /// Keeps what the machine sends out of the interface by itself on its way through Weir.
    egress: Option<io::Result<af_xdp::Link>>,
    /// Whether an earlier Weir's program was there before this one.
    took_over: bool,
    program: Program,
    handles: Vec<WeakSocketHandle>,
    fill_frames: u32,
}

/// Ports, each with its sockets by queue.
type Ports = Vec<(OpenPort, Vec<Socket>)>;

/// Which port is opened how.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The rung of the mode ladder.
    pub rung: Rung,
    /// The port.
    pub index: PortIndex,
    /// Its interface.
    pub interface: &'a str,
}

/// A port whose sockets are bound and whose program is loaded, but not attached: no packet comes yet.
struct BoundPort {
    index: PortIndex,
    interface: String,
    ifindex: u32,
    rung: Rung,
    program: Program,
    area: Arc<Area>,
    config: SocketConfig,
    sockets: Vec<Socket>,
    fill_frames: u32,
}

impl BoundPort {
    /// Some drivers change their number of queues when a program is attached (virtio_net adds one for each
    /// core). The new ones get sockets too, or their packets would pass Weir by.
    fn serve_new_queues(&mut self) -> Result<(), OpenError> {
        let interface = || self.interface.clone();
        let queues = af_xdp::nic::queues(&self.interface)
            .map_err(|source| OpenError::Socket { interface: interface(), source })?
            .bindable();
        if queues > QUEUES_MAX {
            return Err(OpenError::ManyQueues { interface: interface(), queues });
        }
        let share = self.sockets.first().map(Socket::handle);
        for queue in u32::try_from(self.sockets.len()).unwrap_or(queues)..queues {
            let socket =
                Socket::bind(&self.area, share.as_ref(), self.ifindex, queue, &self.config)
                    .map_err(|source| OpenError::Socket { interface: interface(), source })?;
            self.program.set_socket(queue, socket.as_fd()).map_err(|source| {
                OpenError::Program { interface: interface(), source: Box::new(source) }
            })?;
            self.sockets.push(socket);
        }
        Ok(())
    }

    fn attach(mut self) -> Result<(OpenPort, Vec<Socket>), OpenError> {
        let error = |source| OpenError::Program {
            interface: self.interface.clone(),
            source: Box::new(source),
        };
        let before = attached_programs(&self.interface, self.ifindex).map_err(error)?;
        let took_over = before.iter().any(|program| matches!(program.owner, Owner::Weir(_)));
        let attachment = self
            .program
            .attach(&self.interface, self.ifindex, self.rung.attach_mode())
            .map_err(error)?;
        if let Err(error) = self.serve_new_queues() {
            // The one that is reported is the one to mend.
            let _ = attachment.remove();
            return Err(error);
        }
        let egress = self.program.attach_egress(self.ifindex);
        let port = OpenPort {
            index: self.index,
            ifindex: self.ifindex,
            rung: self.rung,
            attachment,
            egress,
            took_over,
            program: self.program,
            handles: self.sockets.iter().map(|socket| socket.handle().downgrade()).collect(),
            fill_frames: self.fill_frames,
            interface: self.interface,
        };
        Ok((port, self.sockets))
    }
}

impl Bank {
    /// Opens all interfaces on the best rung that all of them can do.
    ///
    /// # Errors
    /// [`OpenError`] of the last rung tried. Nothing is left open or attached.
    pub fn open(&self, interfaces: &[String], host: &HostAddresses) -> Result<Opened, OpenError> {
        let mut refused = Vec::new();
        let rungs = self.mode.rungs();
        for (place, &rung) in rungs.iter().enumerate() {
            match self.open_on(rung, interfaces, host) {
                Ok((memory, frames, ports)) => {
                    return Ok(Opened { memory, frames, rung, refused, ports });
                }
                Err(error) if error.is_rung_refusal() && place + 1 < rungs.len() => {
                    refused.push((rung, error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(OpenError::Memory(SetupError::Os {
            what: "choosing a mode".into(),
            source: io::Error::other("no rung of the mode ladder is allowed"),
        }))
    }

    /// Binds all interfaces before a program is attached to the first: what fails until then has touched
    /// nothing.
    fn open_on(
        &self,
        rung: Rung,
        interfaces: &[String],
        host: &HostAddresses,
    ) -> Result<(Arc<Memory>, Vec<Frame>, Ports), OpenError> {
        let area = Area::new(&self.area).map_err(OpenError::Memory)?;
        let mut bound: Vec<BoundPort> = Vec::new();
        for (place, interface) in interfaces.iter().enumerate() {
            let Some(index) = PortIndex::new(place) else { break };
            let share = bound.first().and_then(|port| port.sockets.first()).map(Socket::handle);
            let site = Site { rung, index, interface };
            let patience = Duration::from_millis(self.sockets.bind_retry_ms);
            bound.push(self.bind_port(&area, share.as_ref(), site, host, patience)?);
        }
        let mut ports: Ports = Vec::new();
        for port in bound {
            match port.attach() {
                Ok(port) => ports.push(port),
                Err(error) => {
                    ports.into_iter().for_each(|(port, _)| port.abandon());
                    return Err(error);
                }
            }
        }
        let (memory, frames) = Memory::new(area);
        Ok((memory, frames, ports))
    }

    /// Opens one interface again, over memory that is in use. `share` is any open socket of that memory;
    /// without one it is registered anew. A busy queue is not waited for: the caller comes back.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left open or attached.
    pub fn open_port(
        &self,
        area: &Arc<Area>,
        share: Option<&SocketHandle>,
        site: Site<'_>,
        host: &HostAddresses,
    ) -> Result<(OpenPort, Vec<Socket>), OpenError> {
        self.bind_port(area, share, site, host, Duration::ZERO)?.attach()
    }

    fn bind_port(
        &self,
        area: &Arc<Area>,
        share: Option<&SocketHandle>,
        site: Site<'_>,
        host: &HostAddresses,
        patience: Duration,
    ) -> Result<BoundPort, OpenError> {
        let Site { rung, index, interface } = site;
        let program_error = |source| OpenError::Program {
            interface: interface.to_owned(),
            source: Box::new(source),
        };
        let ifindex = af_xdp::nic::ifindex(interface)
            .map_err(|source| OpenError::Socket { interface: interface.to_owned(), source })?;
        let queues = self.queues(interface)?;
        let fill_frames = self.fill_frames(interface, queues)?;
        let config = self.socket_config(rung, patience);
        let mut sockets: Vec<Socket> = Vec::new();
        for queue in 0..queues {
            let own = sockets.first().map(Socket::handle);
            let share = share.or(own.as_ref());
            let socket = Socket::bind(area, share, ifindex, queue, &config)
                .map_err(|source| explain(interface, ifindex, source))?;
            sockets.push(socket);
        }
        let program = Program::load_sharing(self.program, self.early.as_deref());
        let mut program = program.map_err(program_error)?;
        host.tell(&mut program).map_err(program_error)?;
        for (queue, socket) in (0..).zip(&sockets) {
            program.set_socket(queue, socket.as_fd()).map_err(program_error)?;
        }
        let interface = interface.to_owned();
        let (area, config) = (Arc::clone(area), self.socket_config(rung, patience));
        Ok(BoundPort {
            index,
            interface,
            ifindex,
            rung,
            program,
            area,
            config,
            sockets,
            fill_frames,
        })
    }

    fn queues(&self, interface: &str) -> Result<u32, OpenError> {
        let queues = af_xdp::nic::queues(interface)
            .map_err(|source| OpenError::Socket { interface: interface.to_owned(), source })?
            .bindable();
        if (queues as usize) < self.workers {
            let interface = interface.to_owned();
            return Err(OpenError::FewQueues { interface, queues, workers: self.workers });
        }
        if queues > QUEUES_MAX {
            return Err(OpenError::ManyQueues { interface: interface.to_owned(), queues });
        }
        Ok(queues)
    }

    /// How many frames each of a port's queues may have lent to the kernel for receiving. All queues
    /// together get half of the frames, each port as many as another; the other half is what can be in
    /// motion. Without this bound the first queues would take all there is, and the others starve.
    fn fill_frames(&self, interface: &str, queues: u32) -> Result<u32, OpenError> {
        let ports = u32::try_from(self.ports).unwrap_or(u32::MAX);
        let shares = ports.saturating_mul(queues).saturating_mul(2).max(1);
        let each = self.area.chunks / shares;
        if each < FILL_FRAMES_MIN {
            return Err(OpenError::FewChunks {
                interface: interface.to_owned(),
                queues,
                chunks: self.area.chunks,
                each,
                wanted: shares.saturating_mul(FILL_FRAMES_MIN),
                workers: self.workers,
            });
        }
        Ok(each.min(self.sockets.fill_entries))
    }

    fn socket_config(&self, rung: Rung, bind_retry: Duration) -> SocketConfig {
        SocketConfig {
            rx_entries: self.sockets.rx_entries,
            tx_entries: self.sockets.tx_entries,
            fill_entries: self.sockets.fill_entries,
            completion_entries: self.sockets.completion_entries,
            rung,
            need_wakeup: true,
            busy_poll: self.sockets.busy_poll,
            tx_budget: TX_BUDGET.min(self.sockets.tx_entries),
            bind_retry,
        }
    }
}

/// Whether a living process has an AF_XDP socket on a device's first queue. The program alone does not
/// tell: what is attached for `on_exit = "drop"` looks the same after its Weir has died. A queue may stay
/// busy for a moment after that, so it is tried for a second.
#[must_use]
pub fn is_served(ifindex: u32) -> bool {
    let area = AreaConfig { chunk_bytes: 2048, chunks: 64, huge_pages: false };
    let config = SocketConfig {
        rx_entries: 64,
        tx_entries: 64,
        fill_entries: 64,
        completion_entries: 64,
        rung: Rung::Skb,
        need_wakeup: true,
        busy_poll: None,
        tx_budget: 64,
        bind_retry: Duration::from_secs(1),
    };
    let bound =
        Area::new(&area).and_then(|area| Socket::bind(&area, None, ifindex, 0, &config).map(drop));
    matches!(bound, Err(SetupError::QueueBusy { .. }))
}

/// A busy queue with a program of Weir's in front of it is another Weir's.
fn explain(interface: &str, ifindex: u32, source: SetupError) -> OpenError {
    let interface = interface.to_owned();
    if matches!(source, SetupError::QueueBusy { .. }) {
        let programs = attached_programs(&interface, ifindex).unwrap_or_default();
        let weir = programs.into_iter().find(|program| matches!(program.owner, Owner::Weir(_)));
        if let Some(AttachedProgram { id, .. }) = weir {
            return OpenError::Served { interface, id, source };
        }
    }
    OpenError::Socket { interface, source }
}

impl OpenPort {
    /// Which port it is.
    #[must_use]
    pub fn index(&self) -> PortIndex {
        self.index
    }

    /// Its interface.
    #[must_use]
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The interface's number when it was opened.
    #[must_use]
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// How packets cross.
    #[must_use]
    pub fn rung(&self) -> Rung {
        self.rung
    }

    /// How many queues have a socket.
    #[must_use]
    pub fn queues(&self) -> usize {
        self.handles.len()
    }

    /// Frames that each queue may have lent to the kernel for receiving.
    #[must_use]
    pub fn fill_frames(&self) -> u32 {
        self.fill_frames
    }

    /// An open socket of this port, for others to join its memory through.
    #[must_use]
    pub fn any_socket(&self) -> Option<SocketHandle> {
        self.handles.iter().find_map(WeakSocketHandle::upgrade)
    }

    /// The program, to tell it the machine's addresses.
    pub fn program_mut(&mut self) -> &mut Program {
        &mut self.program
    }

    /// Why what a program sends out of the interface past the routing table also passes Weir by, if it does.
    #[must_use]
    pub fn unguarded(&self) -> Option<String> {
        let error = self.egress.as_ref()?.as_ref().err()?;
        Some(format!(
            "{}: what sockets that are bound to it send does not meet chain OUTPUT, for the kernel has no tcx (Linux \
             6.6): {error}",
            self.interface
        ))
    }

    /// What the program counted.
    ///
    /// # Errors
    /// When its map cannot be read.
    pub fn program_counters(&self) -> Result<ProgramCounters, ProgramError> {
        self.program.counters()
    }

    /// The kernel's counters of all sockets of this port, summed.
    #[must_use]
    pub fn statistics(&self) -> af_xdp::Statistics {
        let handles = self.handles.iter().filter_map(WeakSocketHandle::upgrade);
        let each = handles.filter_map(|handle| handle.statistics().ok());
        each.fold(af_xdp::Statistics::default(), |sum, one| af_xdp::Statistics {
            rx_dropped: sum.rx_dropped + one.rx_dropped,
            rx_invalid_descs: sum.rx_invalid_descs + one.rx_invalid_descs,
            tx_invalid_descs: sum.tx_invalid_descs + one.tx_invalid_descs,
            rx_ring_full: sum.rx_ring_full + one.rx_ring_full,
            rx_fill_ring_empty_descs: sum.rx_fill_ring_empty_descs + one.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: sum.tx_ring_empty_descs + one.tx_ring_empty_descs,
        })
    }

    /// Ends it: the program first, so that no packet meets a closing socket, as `on_exit` says. The
    /// sockets are closed by the workers that have them.
    pub fn close(self) {
        self.attachment.close();
    }

    /// Undoes the opening, for a start that did not succeed. Where an earlier Weir's program was dropping
    /// forwarded traffic, this one stays in its place and goes on dropping it, if `on_exit` still says so;
    /// with `pass` it goes, and the other with it.
    pub fn abandon(self) {
        if self.took_over {
            self.attachment.close();
        } else {
            self.withdraw();
        }
    }

    /// Ends it and takes the program off, whatever `on_exit` says: Weir no longer serves the interface.
    pub fn withdraw(self) {
        // If the program cannot be removed, there is nothing more to be done: the interface is gone, or
        // somebody else has put another in its place.
        let _ = self.attachment.remove();
    }

    /// What is wrong with the interface, so that packets may pass Weir by: queues without a socket, or a
    /// program that somebody has removed.
    #[must_use]
    pub fn bypass(&self) -> Option<String> {
        let name = &self.interface;
        match af_xdp::nic::queues(name) {
            Ok(queues) if queues.bindable() as usize != self.handles.len() => {
                return Some(format!("it has {} queue(s) now", queues.bindable()));
            }
            _ => {}
        }
        match self.attachment.is_in_place() {
            Ok(false) => Some("somebody has removed or replaced its XDP program".to_owned()),
            _ => None,
        }
    }
}
