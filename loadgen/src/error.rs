//! Why a run cannot start, or had to end.

use std::io;
use std::path::PathBuf;

use weir_dataplane::port::xdp::OpenError;

use crate::compare::comparable::Incomparable;
use crate::neighbour::NextHopError;
use crate::profile::ProfileError;
use crate::report::file::FileError;
use crate::report::plot::PlotError;
use crate::search::Failure;

/// Each says what was tried, why it failed, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket, its memory, or a question about the interface.
    #[error("{0}")]
    Setup(#[from] af_xdp::SetupError),
    /// The sink's sockets or its XDP program.
    #[error("{0}")]
    Open(#[from] OpenError),
    /// The interface is switched off.
    #[error("{interface} is down: `ip link set {interface} up`, and check its cable or peer")]
    Down {
        /// The interface.
        interface: String,
    },
    /// The interface is the machine's way to the world.
    #[error(
        "{interface} holds the default route: generated traffic there leaves this machine, and \
         a sink takes the machine's own packets; if that is meant, add --allow-default-route"
    )]
    DefaultRoute {
        /// The interface.
        interface: String,
    },
    /// An option's value that this interface or protocol cannot have.
    #[error("{option} = {value} is not possible: {allowed}")]
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Live frames that cannot be sent.
    #[error("{0}")]
    LiveFrames(String),
    /// A next hop that cannot be found.
    #[error(transparent)]
    NextHop(#[from] NextHopError),
    /// A frame of the profile that cannot be made.
    #[error("the profile cannot be sent: {0}")]
    Profile(String),
    /// A profile that cannot be read.
    #[error("{0}")]
    ProfileFile(#[from] ProfileError),
    /// A file of the kernel's.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The handler of Ctrl-C.
    #[error("cannot install the handler of Ctrl-C: {0}")]
    Signal(io::Error),
    /// Waiting for packets.
    #[error("cannot wait for packets: {0}")]
    Wait(io::Error),
    /// Standard output.
    #[error("cannot write the report: {0}")]
    Output(io::Error),
    /// A search that could not go on.
    #[error(transparent)]
    Search(#[from] Failure),
    /// Results that have nothing in common.
    #[error(transparent)]
    Incomparable(#[from] Incomparable),
    /// A file of results.
    #[error(transparent)]
    Results(#[from] FileError),
    /// A plot of a report.
    #[error(transparent)]
    Plot(#[from] PlotError),
    /// A report in CSV.
    #[error("cannot write the report: {0}")]
    Csv(#[from] csv::Error),
    /// A file of ours.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
