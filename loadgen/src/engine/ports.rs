//! The two sides over AF_XDP: opened, looked after, closed.

use af_xdp::{AreaConfig, ModeChoice};
use weir_dataplane::config::SocketOptions;
use weir_dataplane::frame::FramePool;
use weir_dataplane::port::xdp::{Bank, HostAddresses, OpenPort, XdpQueue};
use weir_dataplane::program::{OnExit, ProgramConfig};
use weir_dataplane::wire::MacAddr;
use weir_dataplane::wire::ethernet::HEADER_BYTES as ETHERNET_BYTES;

use super::worker::Equipment;
use crate::device::{self, Device};
use crate::environment;
use crate::error::Error;
use crate::live_frames::{LiveFrames, LiveFramesError};
use crate::neighbour::Residents;
use crate::packet::FRAME_BYTES_MAX;
use crate::profile::Side;
use crate::result::Interface;

/// Slots of each ring.
const RING_ENTRIES: u32 = 4096;

/// Chunks of packet memory for each thread: four rings' worth, for receiving and sending on both sides.
const CHUNKS_EACH: u32 = 16_384;

/// Most threads.
pub(crate) const THREADS_MAX: usize = 16;

/// What is asked about the devices, outside the threads.
pub trait Watch: Send {
    /// What has become of a device, if it cannot be used any more.
    fn lost(&mut self) -> Option<String>;

    /// Frames that the kernel had no room for in our rings, so far.
    fn overruns(&self) -> u64;

    /// The interfaces, for results.
    fn interfaces(&self) -> Vec<Interface>;
}

/// The ports of a run: for each thread its equipment.
pub struct Ports {
    /// By thread. Empty while a run has it.
    pub equipment: Vec<Equipment>,
    /// By side: the station that frames are sent from, and the one that they are sent to.
    pub macs: [[MacAddr; 2]; 2],
    /// By side: who else has addresses on the link, and which are ours beside those of a profile.
    pub residents: [Residents; 2],
    /// The longest frame that both sides carry, in bytes without the frame check sequence.
    pub frame_bytes_max: usize,
    /// The devices.
    pub watch: Box<dyn Watch>,
    /// By side: what live frames are sent by, if it is one of the kernel's devices.
    devices: [Option<(String, u32)>; 2],
    /// By side: why live frames cannot be sent, once that has been found out.
    live_refusals: [Option<String>; 2],
    runs: u64,
}

/// Which interfaces, and how.
#[derive(Clone, Debug)]
pub struct Sides {
    /// Their names, left first.
    pub interfaces: [String; 2],
    /// The next hop's station on either side; `None`: the other interface, as on a cable or a bridge, until another is
    /// found ([`find_next_hops`](crate::neighbour::find_next_hops)).
    pub next_hops: [Option<MacAddr>; 2],
    /// How packets reach the devices.
    pub mode: ModeChoice,
    /// Threads; each has a queue of either side.
    pub threads: usize,
    /// Interfaces that may be used although they hold the default route.
    pub allow_default_route: Vec<String>,
}

impl Ports {
    /// Ports that are there already, over memory or whatever else.
    #[must_use]
    pub fn new(equipment: Vec<Equipment>, macs: [[MacAddr; 2]; 2], watch: Box<dyn Watch>) -> Self {
        Self {
            equipment,
            macs,
            residents: [Residents::default(), Residents::default()],
            frame_bytes_max: FRAME_BYTES_MAX,
            watch,
            devices: [None, None],
            live_refusals: [None, None],
            runs: 0,
        }
    }

    /// Opens the queues of two interfaces. Nothing is left behind when it fails, or when the ports are dropped.
    ///
    /// # Errors
    /// When an interface may not or cannot be used; each says why, and what to do.
    pub fn open(sides: &Sides) -> Result<Self, Error> {
        let [left, right] = &sides.interfaces;
        if left == right {
            let allowed = "another interface than --left".to_owned();
            return Err(Error::Value { option: "--right", value: right.clone(), allowed });
        }
        let check = |name: &String| {
            let is_allowed = sides.allow_default_route.contains(name);
            device::check(name, is_allowed)
        };
        let devices = [check(left)?, check(right)?];
        let macs = Side::BOTH.map(|side| {
            let next_hop = sides.next_hops[side.index()];
            let other = devices[side.other().index()].mac;
            [devices[side.index()].mac, next_hop.unwrap_or(other)]
        });
        let threads = sides.threads.clamp(1, THREADS_MAX);
        let opened =
            bank(sides.mode, threads).open(&sides.interfaces, &HostAddresses::default())?;
        let pools = FramePool::split(opened.frames, threads);
        let chunks = opened.memory.chunks();
        let mut equipment: Vec<Equipment> = pools
            .into_iter()
            .map(|pool| Equipment::new([Vec::new(), Vec::new()], pool, chunks))
            .collect();
        let mut guarded = Vec::new();
        for (side, (port, sockets)) in Side::BOTH.into_iter().zip(opened.ports) {
            let name = sides.interfaces[side.index()].clone();
            for (queue, socket) in sockets.into_iter().enumerate() {
                let queue_port =
                    XdpQueue::new(port.index(), socket, &opened.memory, port.fill_frames());
                equipment[queue % threads].ports[side.index()].push(Box::new(queue_port));
            }
            let device = devices[side.index()];
            guarded.push(Guarded {
                side,
                name,
                device,
                mode: opened.rung.to_string(),
                port: Some(port),
            });
        }
        for Equipment { ports, pool, .. } in &mut equipment {
            ports.iter_mut().flatten().for_each(|port| port.recycle(pool));
        }
        let longest = devices.iter().map(|device| device.mtu + ETHERNET_BYTES).min().unwrap_or(0);
        let mut ports = Self::new(equipment, macs, Box::new(Devices(guarded)));
        ports.frame_bytes_max = ports.frame_bytes_max.min(longest);
        ports.devices = Side::BOTH.map(|side| {
            Some((sides.interfaces[side.index()].clone(), devices[side.index()].ifindex))
        });
        Ok(ports)
    }

    /// Gives every thread what it takes to send live frames on a side. Tried once: a refusal stays.
    ///
    /// # Errors
    /// When the kernel or the device cannot do it.
    pub(super) fn open_live(&mut self, side: Side) -> Result<(), Error> {
        if self.live_refusals[side.index()].is_none() {
            let opened = self.open_live_anew(side);
            self.live_refusals[side.index()] = opened.err().map(|refusal| refusal.to_string());
        }
        let refusal = &self.live_refusals[side.index()];
        refusal.clone().map_or(Ok(()), |refusal| Err(Error::LiveFrames(refusal)))
    }

    fn open_live_anew(&mut self, side: Side) -> Result<(), LiveFramesError> {
        let device = self.devices[side.index()].as_ref();
        let (interface, ifindex) = device.ok_or(LiveFramesError::NoDevice)?;
        let MacAddr(mac) = self.macs[side.index()][0];
        for equipment in &mut self.equipment {
            let live = &mut equipment.live[side.index()];
            if live.is_none() {
                *live = Some(LiveFrames::open(interface, *ifindex, mac)?);
            }
        }
        Ok(())
    }

    /// Why live frames cannot be sent on a side, if that was tried.
    #[must_use]
    pub fn live_refusal(&self, side: Side) -> Option<&str> {
        self.live_refusals[side.index()].as_deref()
    }

    /// Another number in every run.
    pub(super) fn next_run(&mut self) -> u64 {
        self.runs += 1;
        self.runs
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        // The programs are taken off before the sockets close, so that nothing meets a program without a socket.
        self.watch = Box::new(Nothing);
        for Equipment { ports, mut pool, .. } in self.equipment.drain(..) {
            ports.into_iter().flatten().for_each(|port| port.close(&mut |frame| pool.put(frame)));
        }
    }
}

fn bank(mode: ModeChoice, threads: usize) -> Bank {
    let chunks = CHUNKS_EACH * u32::try_from(threads).unwrap_or(1);
    Bank {
        area: AreaConfig { chunk_bytes: 2048, chunks, huge_pages: false },
        mode,
        sockets: SocketOptions {
            rx_entries: RING_ENTRIES,
            tx_entries: RING_ENTRIES,
            fill_entries: RING_ENTRIES,
            completion_entries: RING_ENTRIES,
            busy_poll: None,
            bind_retry_ms: 1000,
        },
        // Held by a bpf_link, which the kernel removes however this process ends.
        program: ProgramConfig {
            on_exit: OnExit::Pass,
            host_firewalled: false,
            discovery_redirected: true,
        },
        workers: threads,
        early: None,
        ports: 2,
    }
}

/// An interface that is in use.
struct Guarded {
    side: Side,
    name: String,
    device: Device,
    mode: String,
    /// Taken when it is closed.
    port: Option<OpenPort>,
}

struct Devices(Vec<Guarded>);

impl Watch for Devices {
    fn lost(&mut self) -> Option<String> {
        self.0.iter().find_map(|guarded| {
            let Guarded { side, name, device, .. } = guarded;
            match af_xdp::nic::ifindex(name) {
                Err(_) => return Some(format!("{name} ({side}) vanished during the run")),
                Ok(index) if index != device.ifindex => {
                    return Some(format!(
                        "{name} ({side}) was replaced by another device during the run"
                    ));
                }
                Ok(_) => {}
            }
            match (af_xdp::nic::is_up(name), af_xdp::nic::is_running(name)) {
                (Ok(false), _) => Some(format!("{name} ({side}) was switched off during the run")),
                (_, Ok(false)) => Some(format!(
                    "{name} ({side}) lost its carrier during the run: its peer is down"
                )),
                _ => None,
            }
        })
    }

    fn overruns(&self) -> u64 {
        let ports = self.0.iter().filter_map(|guarded| guarded.port.as_ref());
        ports.map(|port| port.statistics()).map(|of| of.rx_dropped + of.rx_ring_full).sum()
    }

    fn interfaces(&self) -> Vec<Interface> {
        let interface = |guarded: &Guarded| {
            let queues = guarded.port.as_ref().map_or(0, OpenPort::queues);
            let side = guarded.side.to_string();
            environment::interface(&guarded.name, &side, &guarded.mode, queues)
        };
        self.0.iter().map(interface).collect()
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.0.iter_mut().filter_map(|guarded| guarded.port.take()).for_each(OpenPort::close);
    }
}

/// Nothing to look after: ports in memory are never lost.
pub struct Nothing;

impl Watch for Nothing {
    fn lost(&mut self) -> Option<String> {
        None
    }

    fn overruns(&self) -> u64 {
        0
    }

    fn interfaces(&self) -> Vec<Interface> {
        Vec::new()
    }
}
