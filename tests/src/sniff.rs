//! What arrived: the trojan's packets, as one interface sees them.
//!
//! The sniffer is a small Python program on an `AF_PACKET` socket (`tests/lab/sniff.py`) that
//! writes one line of JSON for every TCP packet carrying the trojan's text. So that "nothing
//! leaked" is never said too early, [`Sniffer::packets`] sends a fence, a UDP packet with a number,
//! out of the same interface and reads until the sniffer has seen it: the socket delivers in order,
//! so whatever arrived before the fence has been written before it.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::netns::Namespace;
use crate::process::Process;
use crate::{Error, Result, lab_files};

/// Debian's own Python: the one that sees Debian's packages, whatever else is in `PATH`.
pub const PYTHON: &str = "/usr/bin/python3";

/// How long the sniffer may take to start, and to see a fence.
const READY_MAX: Duration = Duration::from_secs(20);

/// One of the trojan's packets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Leak {
    /// Where it goes.
    pub destination: String,
    /// Its source port.
    pub source_port: u16,
    /// Its destination port.
    pub destination_port: u16,
    /// Its TCP flags as Wireshark names them, as in "SYN" or "SYN, ACK".
    pub flags: String,
    /// Its payload as text.
    pub payload: String,
}

/// A line of the sniffer.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Leak(Leak),
    Fence(u32),
}

/// Which packets of an interface are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that arrive.
    Incoming,
    /// Those that leave.
    Outgoing,
}

/// A sniffer on one interface, ended when dropped.
#[derive(Debug)]
pub struct Sniffer {
    process: Process,
    fence_to: SocketAddr,
    fences: u32,
    /// How many lines of the log have been read.
    read: usize,
}

impl Sniffer {
    /// Starts a sniffer. `neighbour` is an address behind the interface, where the fences are sent;
    /// nobody has to listen there.
    ///
    /// # Errors
    ///
    /// [`Error::Died`] with what Python said when it cannot start.
    pub fn start(
        namespace: &Namespace,
        device: &str,
        direction: Direction,
        neighbour: [u8; 4],
        log: &Path,
    ) -> Result<Self> {
        let mut command = namespace.command(PYTHON);
        let direction = match direction {
            Direction::Incoming => "incoming",
            Direction::Outgoing => "outgoing",
        };
        command.arg("-u").arg(lab_files().join("sniff.py")).args([device, direction]);
        let name = format!("the sniffer in {}", namespace.name());
        let mut process = Process::spawn(&name, command, log)?;
        process.wait_for_line("ready", READY_MAX)?;
        // Port 9 is "discard" (RFC 863).
        Ok(Self { process, fence_to: (neighbour, 9).into(), fences: 0, read: 1 })
    }

    /// The trojan's packets seen since the last call.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] when the sniffer does not see its own fence, [`Error::Unreadable`] when
    /// it writes what is not a line of ours.
    pub fn packets(&mut self, namespace: &Namespace) -> Result<Vec<Leak>> {
        self.fences += 1;
        let fence = self.fences;
        {
            let _inside = namespace.enter()?;
            UdpSocket::bind("0.0.0.0:0")
                .and_then(|socket| {
                    socket.send_to(format!("weir fence {fence}").as_bytes(), self.fence_to)
                })
                .map_err(Error::io(format!("send a fence in {}", namespace.name())))?;
        }
        self.process.wait_for_line(&format!("{{\"fence\": {fence}}}"), READY_MAX)?;

        let mut leaks = Vec::new();
        for line in self.process.text()?.lines().skip(self.read) {
            self.read += 1;
            match serde_json::from_str(line) {
                Ok(Line::Leak(leak)) => leaks.push(leak),
                Ok(Line::Fence(number)) if number == fence => break,
                Ok(Line::Fence(_)) => {}
                Err(_) => {
                    let what = "a line of the sniffer".to_owned();
                    return Err(Error::Unreadable { what, text: line.to_owned() });
                }
            }
        }
        Ok(leaks)
    }

    /// Lets the sniffer run on after us.
    pub fn keep(&mut self) {
        self.process.keep();
    }
}
